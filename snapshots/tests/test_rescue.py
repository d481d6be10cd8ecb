"""Restoring an estate into an n8n that refuses some of it and has none of its credentials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core import crypto
from operations import engine
from operations.handlers import boundary_observers
from operations.models import Operation
from sandbox.testing import SandboxInstance, SandboxServer
from snapshots.models import Snapshot
from snapshots.planning import RestoreOptions
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from workflows.models import Environment, KnownCredential
from workflows.stubs import secret_entered, waiting_for_secrets

from .conftest import caller, workflow
from .test_capture import Crash, _release


@pytest.fixture
def empty(sandbox_server: SandboxServer) -> Iterator[SandboxInstance]:
    """The newest n8n, without a workflow or a credential."""
    instance = sandbox_server.control.create(profile="2.41")
    yield instance
    instance.delete()


@pytest.fixture
def rescue(live_cast: Any, environment: Environment, run_operations: Any, empty: SandboxInstance) -> Any:
    """Restore into the empty n8n, which has taken the place of the old one."""

    def go(snapshot: Snapshot, **options: Any) -> Operation:
        with tenant_scope(live_cast.tenant.pk):
            Environment.objects.filter(pk=environment.pk).update(
                base_url=empty.base_url, api_key_encrypted=crypto.encrypt(empty.api_key)
            )
        operation = start_restore(
            tenant_id=live_cast.tenant.pk,
            environment_id=environment.pk,
            snapshot_id=snapshot.pk,
            requested_by=live_cast.operator,
            options=RestoreOptions.from_params(options),
            dry_run=bool(options.get("dry_run")),
        )
        run_operations(live_cast.tenant)
        with tenant_scope(live_cast.tenant.pk):
            return Operation.objects.get(pk=operation.pk)

    return go


def loose(name: str) -> dict[str, Any]:
    """A connection leads to a node that is not there: old versions take that, new ones do not."""
    made = workflow(name)
    made["connections"]["Every hour"]["main"][0].append({"node": "Gone", "type": "main", "index": 0})
    return made


def twice(name: str) -> dict[str, Any]:
    """Two nodes of one name: nobody but a person can mend that."""
    made = workflow(name)
    made["nodes"].append({**made["nodes"][-1], "id": "another"})
    return made


def asking(name: str, credential: Any = None, *, active: bool = True) -> dict[str, Any]:
    made = workflow(name, active=active)
    made["nodes"][-1]["credentials"] = {"slackApi": credential or {"id": "old-id", "name": "Main"}}
    return made


def there(instance: SandboxInstance) -> dict[str, dict[str, Any]]:
    return {w["name"]: w for w in instance.state()["workflows"]}


def writes(instance: SandboxInstance) -> list[str]:
    return [call["method"] for call in instance.calls() if call["method"] not in ("GET", "OPTIONS")]


def test_what_n8n_refuses_is_named_before_a_write(capture: Any, rescue: Any, n8n: Any, empty: Any) -> None:
    n8n.seed([workflow("Orders"), loose("Loose"), twice("Twice")])
    done = rescue(capture())
    assert (done.status, done.error_code) == ("FAILED", "REST_001")
    found = {p["workflow_name"]: (p["code"], p["repairable"]) for p in done.error_details["details"]["problems"]}
    assert found == {"Loose": ("structure", True), "Twice": ("structure", False)}
    assert writes(empty) == []


def test_what_n8n_refuses_is_mended_or_left_out_by_name(
    capture: Any, rescue: Any, n8n: Any, empty: Any, environment: Environment
) -> None:
    sub = n8n.seed([workflow("Orders"), loose("Loose"), twice("Twice")])[2]
    outer = n8n.seed([caller("Caller", sub["id"])])[0]
    n8n.seed([caller("Outermost", outer["id"])])
    snapshot = capture()
    done = rescue(snapshot, repair=True, leave_out=True)
    assert done.status == "COMPLETED", done.error_details
    assert sorted(there(empty)) == ["Loose", "Orders"]
    assert done.result["proof"]["equal"] is True
    left = {row["name"]: row["why"] for row in done.result["left_out"]}
    assert sorted(left) == ["Caller", "Outermost", "Twice"]
    assert "Two nodes are called" in left["Twice"][0] and "calls “twice”" in left["Caller"][0]
    hashes = {e["key"]: e["content_hash"] for e in snapshot.workflows}
    after = {e["key"]: e["content_hash"] for e in capture().workflows}
    assert after["orders"] == hashes["orders"] and after.keys() == {"orders", "loose"}

    again = rescue(snapshot, repair=True, leave_out=True)
    assert again.result["counts"]["updated"] == 0, "what was mended is not written again and again"


def test_a_mended_workflow_is_put_back_when_the_restore_fails(capture: Any, rescue: Any, n8n: Any, empty: Any) -> None:
    n8n.seed([loose("Loose"), workflow("Orders", active=True)])
    snapshot = capture()
    empty.fault(kind="status", status=400, method="POST", path="/(publish|activate)$")
    done = rescue(snapshot, repair=True)
    assert done.status == "FAILED" and done.error_details["details"]["status"] == "put_back", done.error_details
    assert there(empty) == {}


def test_missing_credentials_are_made_without_their_secrets(
    capture: Any, rescue: Any, n8n: Any, empty: Any, environment: Environment
) -> None:
    n8n.seed([asking("Orders"), asking("Same"), workflow("Stock", active=True)])
    snapshot = capture()
    assert (refused := rescue(snapshot)).status == "FAILED"
    assert {p["code"] for p in refused.error_details["details"]["problems"]} == {"credential_missing"}
    assert writes(empty) == []

    done = rescue(snapshot, stubs=True)
    assert done.status == "COMPLETED", done.error_details
    assert done.result["proof"]["equal"] is True
    [stub] = done.result["worklist"]
    assert (stub["name"], stub["type"], stub["needs_secret"]) == ("Main", "slackApi", True)
    now = there(empty)
    assert {name: w["active"] for name, w in now.items()} == {"Orders": False, "Same": False, "Stock": True}
    assert {row["name"] for row in done.result["unpublished"]} == {"Orders", "Same"}
    assert stub["id"] == "old-id", "the newest n8n gives a credential back the id that it had"
    again = {e["key"]: e["content_hash"] for e in capture().workflows}
    assert again == {e["key"]: e["content_hash"] for e in snapshot.workflows}


def test_where_no_id_can_be_had_the_contents_point_to_the_new_one(
    capture: Any, rescue: Any, n8n: Any, empty: Any
) -> None:
    """Old workflows know a credential by its name; some ids are none that n8n takes."""
    n8n.seed([asking("Orders", {"id": "far too long for an id", "name": "Other"}), asking("Old", "Main")])
    snapshot = capture()
    done = rescue(snapshot, stubs=True)
    assert done.status == "COMPLETED", done.error_details
    made = {stub["name"]: stub["id"] for stub in done.result["worklist"]}
    held = {name: w["nodes"][-1]["credentials"]["slackApi"] for name, w in there(empty).items()}
    assert held == {"Orders": {"id": made["Other"], "name": "Other"}, "Old": {"id": made["Main"], "name": "Main"}}
    again = rescue(snapshot, stubs=True)
    assert again.status == "COMPLETED" and again.result["worklist"] == []
    assert {row["reason"] for row in again.result["skipped"]} == {"unchanged"}, again.result["skipped"]


def test_what_points_to_another_credential_is_put_back_when_the_restore_fails(
    capture: Any, rescue: Any, empty: Any, environment: Environment
) -> None:
    """The credential has another id now, so what is written is not the snapshot's content by its hash."""
    with tenant_scope(environment.tenant_id):
        Environment.objects.filter(pk=environment.pk).update(
            base_url=empty.base_url, api_key_encrypted=crypto.encrypt(empty.api_key)
        )
        environment.refresh_from_db()
    empty.add_credentials({"id": "old-id", "name": "Main", "type": "slackApi"})
    orders, stock = empty.seed([asking("Orders", active=False), workflow("Stock", active=True)])
    snapshot = capture()
    with empty.client() as client:
        assert client.delete("/credentials/old-id").is_success
    empty.add_credentials({"id": "new-id", "name": "Main", "type": "slackApi"})
    empty.edit(orders["id"], nodes=asking("Orders", {"id": "new-id", "name": "Main"})["nodes"][:1], connections={})
    empty.edit(stock["id"], nodes=workflow("Stock", url="https://example.org/b")["nodes"])
    before = there(empty)
    empty.fault(kind="status", status=400, method="POST", path=f"/workflows/{stock['id']}/(publish|activate)$", times=2)
    done = rescue(snapshot)
    assert done.status == "FAILED" and done.error_details["details"]["status"] == "put_back", done.error_details
    now = there(empty)
    assert {n: (w["nodes"], w["active"]) for n, w in now.items()} == {
        n: (w["nodes"], w["active"]) for n, w in before.items()
    }


def test_what_waits_for_a_secret_is_published_once_it_is_entered(
    capture: Any, rescue: Any, n8n: Any, empty: Any, environment: Environment
) -> None:
    sub = n8n.seed([asking("Sub")])[0]
    n8n.seed([{**caller("Caller", sub["id"]), "active": True}])
    snapshot = capture()
    assert rescue(snapshot, stubs=True).status == "COMPLETED"
    assert not any(w["active"] for w in there(empty).values()), "n8n publishes no caller of what is not published"
    early = rescue(snapshot)
    assert early.status == "COMPLETED", early.error_details
    assert early.result["counts"]["updated"] == 0
    assert not any(w["active"] for w in there(empty).values())
    with tenant_scope(environment.tenant_id):
        [stub] = waiting_for_secrets(environment)
        assert secret_entered(environment=environment, credential_id=stub.id) == 1
    done = rescue(snapshot)
    assert done.status == "COMPLETED", done.error_details
    assert done.result["unpublished"] == [] and all(w["active"] for w in there(empty).values())


def test_a_type_that_n8n_does_not_have_is_named_and_the_workflow_rests(
    capture: Any, rescue: Any, n8n: Any, empty: Any
) -> None:
    made = asking("Orders")
    made["nodes"][-1]["credentials"] = {"longGone": {"id": "1", "name": "Main"}}
    n8n.seed([made, workflow("Stock", active=True)])
    done = rescue(capture(), stubs=True)
    assert done.status == "COMPLETED", done.error_details
    assert done.result["worklist"] == []
    assert [(r["name"], "longGone" in r["why"]) for r in done.result["unpublished"]] == [("Orders", True)]
    assert {name: w["active"] for name, w in there(empty).items()} == {"Orders": False, "Stock": True}


def test_what_n8n_refuses_to_publish_rests_while_the_others_run(
    capture: Any, rescue: Any, n8n: Any, empty: Any
) -> None:
    strange = workflow("Strange", active=True)
    strange["nodes"].append({**strange["nodes"][-1], "id": "s", "name": "S", "type": "n8n-nodes-lost.lost"})
    n8n.change(packages=["n8n-nodes-lost"])
    n8n.seed([strange, workflow("Stock", active=True)])
    snapshot = capture()
    done = rescue(snapshot, leave_out=True)
    assert done.status == "COMPLETED", done.error_details
    assert {name: w["active"] for name, w in there(empty).items()} == {"Strange": False, "Stock": True}
    [resting] = done.result["unpublished"]
    assert resting["name"] == "Strange" and "n8n-nodes-lost.lost" in resting["why"]
    assert done.result["proof"]["equal"] is True


def test_a_worker_that_dies_makes_no_second_stub(
    capture: Any, rescue: Any, n8n: Any, empty: Any, live_cast: Any
) -> None:
    n8n.seed([asking("Orders")])
    snapshot = capture()
    died: list[str] = []

    def die_once(name: str) -> None:
        if name == "stub:slackApi:old-id:effect-answered" and not died:
            died.append(name)
            raise Crash

    boundary_observers.append(die_once)
    try:
        with pytest.raises(Crash):
            rescue(snapshot, stubs=True)
    finally:
        boundary_observers.remove(die_once)
    with tenant_scope(live_cast.tenant.pk):
        operation = Operation.objects.latest("created_at")
    _release(live_cast.tenant, operation)
    engine.drive(operation_id=operation.pk, tenant_id=live_cast.tenant.pk)
    with tenant_scope(live_cast.tenant.pk):
        operation.refresh_from_db()
        assert KnownCredential.objects.filter(needs_secret=True).count() == 1
    assert operation.status == "COMPLETED", operation.error_details
    assert len(empty.state()["credentials"]) == 1


def test_the_page_offers_the_choices_and_lists_the_secrets_to_enter(
    client: Any, live_cast: Any, capture: Any, rescue: Any, n8n: Any, empty: Any, environment: Environment
) -> None:
    n8n.seed([asking("Orders"), twice("Twice")])
    snapshot = capture()
    assert rescue(snapshot).status == "FAILED"
    client.force_login(live_cast.owner)
    page = f"/t/acme/snapshots/{snapshot.pk}/restore/"
    said = client.get(page).content.decode()
    assert "Problems" in said and "Two nodes are called" in said
    choices = {"overwrite_existing": "on", "stubs": "on", "leave_out": "on", "choice": "all"}
    said = client.post(page, {**choices, "look": "1"}).content.decode()
    assert "Problems" not in said and writes(empty) == []
    assert "Left out" in said and "Credentials to be created without their secrets" in said

    assert rescue(snapshot, stubs=True, leave_out=True).status == "COMPLETED"
    said = client.get(page).content.decode()
    assert "Secrets to enter in n8n" in said and f"{empty.base_url}/home/credentials/old-id" in said
    assert client.post(page, {"entered": "old-id"}).status_code == 302
    assert "Secrets to enter in n8n" not in client.get(page).content.decode()


def test_what_a_switched_off_node_holds_becomes_what_n8n_would_make_of_it(
    capture: Any, rescue: Any, n8n: Any, empty: Any
) -> None:
    """n8n gives a reference without a known id the only credential of its type and name, used or not."""
    made = asking("Orders")
    off = {**made["nodes"][-1], "id": "off", "name": "Off", "disabled": True, "credentials": {"slackApi": "Main"}}
    made["nodes"].append(off)
    n8n.seed([made])
    done = rescue(capture(), stubs=True)
    assert done.status == "COMPLETED", done.error_details
    assert len(done.result["worklist"]) == 1
    held = {node["name"]: node.get("credentials") for node in there(empty)["Orders"]["nodes"]}
    assert held["Off"] == {"slackApi": {"id": "old-id", "name": "Main"}}
