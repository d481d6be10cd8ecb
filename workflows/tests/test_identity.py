"""Keys for life: what captures, people and the console itself may do to identities."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import clock
from core.errors import NotFound
from tenants.scope import tenant_scope
from workflows import identity
from workflows.credentials import enter_credential
from workflows.errors import DuplicateId, MappingInvalid, MappingTaken
from workflows.facts import Facts
from workflows.models import CanonicalWorkflow, Environment, KnownCredential, WorkflowEnvMap
from workflows.recording import record_seen


def raw(ident: str, name: str, *, note: str = "", calls: str = "", kind: str = "httpRequest", cred: str = "") -> dict:
    node: dict[str, Any] = {
        "id": "n1",
        "name": "Start",
        "type": f"n8n-nodes-base.{kind}",
        "typeVersion": 1,
        "position": [0, 0],
        "parameters": {"url": note},
    }
    if cred:
        node["credentials"] = {"httpApi": {"id": f"id-{cred}", "name": cred}}
    nodes = [node]
    if calls:
        nodes.append(
            {
                "id": "n2",
                "name": "Call",
                "type": "n8n-nodes-base.executeWorkflow",
                "typeVersion": 1,
                "position": [0, 0],
                "parameters": {"workflowId": {"__rl": True, "mode": "list", "value": calls}},
            }
        )
    return {"id": ident, "name": name, "nodes": nodes, "connections": {}, "settings": {}, "active": False}


def make_environments(cast: Any, *slugs: str) -> list[Environment]:
    with tenant_scope(cast.tenant.pk):
        return [
            Environment.objects.create(
                tenant=cast.tenant, name=slug.title(), slug=slug, kind="dev", position=n, base_url="http://127.0.0.1:1"
            )
            for n, slug in enumerate(slugs)
        ]


def capture(environment: Environment, *raws: dict, complete: bool = True) -> dict[str, identity.Placed]:
    return record_seen(
        tenant_id=environment.tenant_id,
        environment_id=environment.pk,
        seen=[identity.seen_workflow(r) for r in raws],
        captured_at=clock.now(),
        unread=frozenset() if complete else None,
    )


def statuses(environment: Environment) -> dict[str, str]:
    with tenant_scope(environment.tenant_id):
        return dict(WorkflowEnvMap.objects.filter(environment=environment).values_list("env_workflow_id", "status"))


def approve(environment: Environment, placed: dict[str, identity.Placed]) -> None:
    identity.mark_approved(
        tenant_id=environment.tenant_id,
        environment_id=environment.pk,
        approvals={p.key: identity.Approval(p.content_hash, False, facts=Facts()) for p in placed.values()},
    )


def test_names_do_not_identify(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    placed = capture(dev, raw("1", "Sync"), raw("2", "Sync"), raw("3", "sync"), raw("4", ""), raw("5", "", note="x"))
    assert len({p.key for p in placed.values()}) == 5
    assert len({p.key.lower() for p in placed.values()}) == 5


def test_a_counterpart_in_another_environment_is_linked_by_name_and_types(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    first = capture(dev, raw("1", "Sync"), raw("2", "Bill", kind="webhook"), raw("3", "Mail"))
    second = capture(prod, raw("a", "Sync", note="other"), raw("b", "Bill", kind="slack"), raw("c", "mail"))
    assert second["a"].key == first["1"].key and second["a"].status == "linked"
    assert second["b"].key != first["2"].key and second["b"].status == "unmapped", "the node types disagree"
    assert second["c"].key != first["3"].key and second["c"].status == "unmapped", "another case is another name"


def test_ambiguous_names_wait_for_a_person(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    first = capture(dev, raw("1", "Sync", note="1"), raw("2", "Sync", note="2"))
    second = capture(prod, raw("a", "Sync", note="3"))
    assert second["a"].status == "unmapped" and second["a"].key not in {p.key for p in first.values()}


def test_a_recreated_workflow_keeps_its_key(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    before = capture(dev, raw("1", "Sync"), raw("2", "Other"))
    approve(dev, before)
    after = capture(dev, raw("9", "Sync"), raw("2", "Other"))
    assert after["9"].key == before["1"].key and after["9"].content_hash == before["1"].content_hash
    assert statuses(dev) == {"9": "linked", "2": "linked"}


def test_only_a_complete_capture_says_missing(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    placed = capture(dev, raw("1", "Sync"), raw("2", "Other"))
    approve(dev, {"1": placed["1"]})
    capture(dev, raw("3", "Third"), complete=False)
    assert statuses(dev) == {"1": "linked", "2": "linked", "3": "linked"}
    capture(dev, raw("3", "Third"))
    assert statuses(dev) == {"1": "missing", "2": "deleted", "3": "linked"}
    back = capture(dev, raw("1", "Sync"), raw("2", "Other"), raw("3", "Third"))
    assert {i: p.key for i, p in back.items() if i != "3"} == {i: p.key for i, p in placed.items()}
    assert set(statuses(dev).values()) == {"linked"}


def versions(environment: Environment) -> dict[str, str]:
    """n8n id to the mark that PostgreSQL gives each version of a row."""
    with tenant_scope(environment.tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT env_workflow_id, ctid FROM workflow_env_map WHERE environment_id = %s", [environment.pk])
        return dict(cursor.fetchall())


def test_what_is_as_it_was_is_not_written(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    first = capture(dev, raw("1", "Sync"), raw("2", "Bill"))
    approve(dev, first)
    before = versions(dev)
    second = capture(dev, raw("1", "Sync"), raw("2", "Bill", note="edited"))
    after = versions(dev)
    assert after["1"] == before["1"] and after["2"] != before["2"]
    approve(dev, second)
    assert versions(dev)["1"] == before["1"] and versions(dev)["2"] != after["2"]


def test_what_is_there_was_seen_by_the_last_capture(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    approve(dev, capture(dev, raw("1", "Sync"), raw("2", "Bill")))
    moments = [clock.now() + timedelta(hours=n) for n in (1, 2)]
    for moment, seen in zip(moments, ([raw("1", "Sync"), raw("2", "Bill")], [raw("1", "Sync")]), strict=True):
        capture(dev, *seen)
        with tenant_scope(dev.tenant_id):
            Environment.objects.filter(pk=dev.pk).update(last_captured_at=moment)
    with tenant_scope(dev.tenant_id):
        places = WorkflowEnvMap.objects.select_related("environment").in_bulk(field_name="pk").values()
        assert {p.env_workflow_id: p.seen_at for p in places} == {"1": moments[1], "2": moments[0]}


def test_the_first_rows_of_an_environment_are_born_approved_unless_it_has_a_baseline(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    with tenant_scope(dev.tenant_id):
        Environment.objects.filter(pk=prod.pk).update(baseline_commit_sha="a" * 40)
    for environment, approved in ((dev, True), (prod, False)):
        record_seen(
            tenant_id=environment.tenant_id,
            environment_id=environment.pk,
            seen=[identity.seen_workflow(raw("1", "Sync"))],
            captured_at=clock.now(),
            unread=frozenset(),
            is_baseline=True,
        )
        with tenant_scope(environment.tenant_id):
            place = WorkflowEnvMap.objects.get(environment=environment)
        assert (place.git_content_hash == place.env_content_hash) is approved
        assert (place.git_fingerprint == place.fingerprint) is approved


def test_approving_the_whole_takes_the_approval_of_what_is_not_named(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    placed = capture(dev, raw("1", "Sync"), raw("2", "Bill"))
    approve(dev, placed)
    identity.mark_approved(
        tenant_id=dev.tenant_id,
        environment_id=dev.pk,
        approvals={placed["1"].key: identity.Approval(placed["1"].content_hash, False)},
        whole=True,
    )
    with tenant_scope(dev.tenant_id):
        held = dict(WorkflowEnvMap.objects.values_list("env_workflow_id", "git_content_hash"))
    assert held == {"1": placed["1"].content_hash, "2": None}


def test_hashes_are_equal_across_environments_up_to_ids_and_credential_names(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    first = capture(dev, raw("1", "Callee"), raw("2", "Caller", calls="1", cred="dev key"))
    second = capture(prod, raw("a", "Callee"), raw("b", "Caller", calls="a", cred="prod key"))
    assert second["b"].key == first["2"].key
    assert second["b"].comparable_hash == first["2"].comparable_hash
    assert second["b"].content_hash != first["2"].content_hash


def test_linking_moves_the_key_and_leaves_callers_in_sync(cast: Any, monkeypatch: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    first = capture(dev, raw("1", "Callee"), raw("2", "Caller", calls="1"))
    second = capture(prod, raw("a", "Callee (new)", note="x"), raw("b", "Caller", calls="a"))
    approve(prod, second)
    told: list[identity.Relinked] = []
    monkeypatch.setattr("workflows.linking.notify", told.append)
    identity.link(tenant_id=cast.tenant.pk, map_id=second["a"].map_id, key=first["1"].key)
    with tenant_scope(cast.tenant.pk):
        caller = WorkflowEnvMap.objects.get(pk=second["b"].map_id)
        assert caller.env_content_hash == caller.git_content_hash != second["b"].content_hash
        assert caller.comparable_hash == first["2"].comparable_hash
        assert identity.key_by_workflow_id(prod.pk)["a"] == first["1"].key
    assert (told[0].old_key, told[0].new_key) == (second["a"].key, first["1"].key)
    again = capture(prod, raw("a", "Callee (new)", note="x"), raw("b", "Caller", calls="a"))
    assert again["a"].key == first["1"].key and again["b"].content_hash == caller.env_content_hash


def test_linking_to_one_that_lives_here_is_refused_and_to_a_missing_one_inherits_its_approval(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    placed = capture(dev, raw("1", "Sync"), raw("2", "Other"))
    approve(dev, placed)
    with pytest.raises(MappingTaken):
        identity.link(tenant_id=cast.tenant.pk, map_id=placed["1"].map_id, key=placed["2"].key)
    edited = capture(dev, raw("9", "Sync", note="edited"), raw("2", "Other"))
    identity.link(tenant_id=cast.tenant.pk, map_id=edited["9"].map_id, key=placed["1"].key)
    with tenant_scope(cast.tenant.pk):
        row = WorkflowEnvMap.objects.get(pk=edited["9"].map_id)
    assert row.git_content_hash == placed["1"].content_hash and row.is_drifted
    assert set(statuses(dev)) == {"9", "2"}


def test_separating_ignoring_and_taking_back(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    first = capture(dev, raw("1", "Sync"))
    second = capture(prod, raw("a", "Sync"))
    row = identity.separate(tenant_id=cast.tenant.pk, map_id=second["a"].map_id)
    with tenant_scope(cast.tenant.pk):
        assert row.canonical_workflow.key != first["1"].key
    assert identity.ignore(tenant_id=cast.tenant.pk, map_id=row.pk).status == "ignored"
    assert capture(prod, raw("a", "Sync"))["a"].status == "ignored", "a capture does not overrule a person"
    assert identity.restore_ignored(tenant_id=cast.tenant.pk, map_id=row.pk).status == "linked"


def test_what_is_deleted_cannot_be_linked(cast: Any, client: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    placed = capture(dev, raw("1", "Sync"))["1"]
    with tenant_scope(cast.tenant.pk):
        WorkflowEnvMap.objects.filter(pk=placed.map_id).update(status="deleted")
    client.force_login(cast.owner)
    form = {"place": str(placed.map_id), "action": "confirm"}
    refused = client.post(f"/t/acme/environments/{dev.pk}/mapping/", form)
    said = refused.content.decode()
    assert refused.status_code == 409 and "MAP_002" in said
    assert "This workflow is no longer in the environment." in said
    assert "Capture the environment again, then check the workflow mapping." in said


def test_one_id_for_two_workflows_is_refused(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    placed = capture(dev, raw("1", "Sync"), raw("2", "Other"))
    ids = {placed["1"].key: "9", placed["2"].key: "9"}
    with pytest.raises(DuplicateId) as refused:
        identity.bind(tenant_id=cast.tenant.pk, environment_id=dev.pk, ids=ids)
    assert refused.value.code == "MAP_003" and "already has this n8n id" in refused.value.message
    assert refused.value.recovery.startswith("Capture the environment again; if it stays like this, separate the two")


@pytest.mark.parametrize(("kind", "number"), [("", "1"), ("slackApi", ""), ("slackApi", "1" * 300)])
def test_a_credential_without_its_type_or_id_is_not_entered(cast: Any, kind: str, number: str) -> None:
    (dev,) = make_environments(cast, "dev")
    with pytest.raises(MappingInvalid) as refused:
        enter_credential(
            tenant_id=cast.tenant.pk, environment_id=dev.pk, name="x", credential_type=kind, credential_id=number
        )
    assert refused.value.code == "CRED_001"
    assert refused.value.message == "A credential needs its type and its id, as n8n shows them."
    assert refused.value.recovery == "Correct the named fields and send it again."


def test_another_tenants_place_is_not_there(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    placed = capture(dev, raw("1", "Sync"))
    with pytest.raises(NotFound):
        identity.ignore(tenant_id=cast.other_tenant.pk, map_id=placed["1"].map_id)


def test_binding_what_the_console_created(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    first = capture(dev, raw("1", "Sync"), raw("2", "Sync", note="2"))
    stranger = capture(prod, raw("a", "Sync", note="2"))
    assert stranger["a"].key == first["2"].key, "the same content on both sides"
    capture(prod, raw("a", "Sync", note="2"), raw("b", "Sync", note="edited meanwhile"))
    identity.bind(tenant_id=cast.tenant.pk, environment_id=prod.pk, ids={first["1"].key: "b"})
    with tenant_scope(cast.tenant.pk):
        assert identity.key_by_workflow_id(prod.pk) == {"a": first["2"].key, "b": first["1"].key}


def test_credentials_are_learned(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    capture(dev, raw("1", "A", cred="main"), raw("2", "B", cred="main"), raw("3", "C", cred="side"))
    capture(dev, raw("1", "A", cred="main"))
    with tenant_scope(cast.tenant.pk):
        rows = KnownCredential.objects.filter(environment=dev).values_list("name", "uses")
        assert dict(rows) == {"main": 1, "side": 0}


names = st.sampled_from(["", "Sync", "sync", "Bill", "Ärger", "日本", "con", "Sync 2"])
one_capture = st.tuples(
    st.integers(0, 1),
    st.dictionaries(st.sampled_from([str(n) for n in range(6)]), st.tuples(names, st.integers(0, 2)), max_size=6),
    st.booleans(),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(one_capture, min_size=1, max_size=5))
def test_invariants_over_any_sequence_of_captures(cast: Any, captures: list) -> None:
    environments = make_environments(cast, *[f"e{uuid.uuid4().hex[:8]}" for _ in range(2)])
    every_key: set[str] = set()
    for index, content, complete in captures:
        environment = environments[index]
        with tenant_scope(cast.tenant.pk):
            known = identity.key_by_workflow_id(environment.pk)
        raws = [raw(f"{index}-{i}", name, note=str(note)) for i, (name, note) in content.items()]
        placed = capture(environment, *raws, complete=complete)
        again = capture(environment, *raws, complete=complete)
        assert {i: p.key for i, p in placed.items()} == {i: p.key for i, p in again.items()}, "stable"
        assert all(placed[i].key == known[i] for i in placed if i in known), "an id keeps its key"
        assert {i: p.content_hash for i, p in placed.items()} == {i: p.content_hash for i, p in again.items()}
        assert len({p.key for p in placed.values()}) == len(placed), "one key, one workflow of an environment"
        with tenant_scope(cast.tenant.pk):
            keys = set(CanonicalWorkflow.objects.values_list("key", flat=True))
            assert every_key <= keys, "no key is lost"
            assert len({k.lower() for k in keys}) == len(keys)
            every_key = keys
            live = WorkflowEnvMap.objects.filter(environment=environment).exclude(status="deleted")
            idents = list(live.values_list("env_workflow_id", flat=True))
            assert len(idents) == len(set(idents)), "one id, one place"


def test_ten_thousand_in_seconds(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    here = [
        identity.seen_workflow(raw(str(n), f"Flow {n // 2}", note=str(n), cred=f"c{n % 50}")) for n in range(10_000)
    ]
    began = time.perf_counter()
    for environment in (dev, prod, prod):
        placed = record_seen(
            tenant_id=cast.tenant.pk,
            environment_id=environment.pk,
            seen=here,
            captured_at=clock.now(),
            unread=frozenset(),
        )
        print("captured", time.perf_counter() - began)
    approve(prod, placed)
    print("approved", time.perf_counter() - began)
    assert time.perf_counter() - began < 60
