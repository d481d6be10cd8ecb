"""On an n8n that publishes versions: what is called keeps running, and what calls it follows it to a new id."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from operations import services as operations
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import selectors, services
from promotions.models import Promotion
from promotions.tests.conftest import _environment
from promotions.tests.test_pages import browser, diff_of
from promotions.tests.world import World, calls, flow, node
from sandbox.testing import SandboxInstance, SandboxServer
from snapshots.models import Snapshot
from snapshots.planning import RestoreOptions
from snapshots.restore import start_restore
from tenants.scope import tenant_scope
from workflows.models import WorkflowEnvMap
from workflows.n8n import outages
from workflows.writes import lease


@pytest.fixture
def versions(live_cast: Any, sandbox_server: SandboxServer, no_drift: list[Any]) -> Iterator[World]:
    source, target = (sandbox_server.control.create(profile="2.41") for _ in range(2))
    staging = _environment(live_cast, source, "Staging", "staging", 1)
    production = _environment(live_cast, target, "Production", "production", 2)
    yield World(live_cast, staging, production, source, target)
    boundary_observers.clear()
    source.delete()
    target.delete()


def called_flow(name: str, text: str) -> dict[str, Any]:
    start = node("In", "n8n-nodes-base.executeWorkflowTrigger", parameters={"inputSource": "passthrough"})
    made = flow(name, node("Set", parameters={"value": text}))
    return {**made, "nodes": [start, made["nodes"][1]], "connections": {}}


def publish(instance: SandboxInstance, *ids: str) -> None:
    with instance.client() as client:
        for ident in ids:
            assert client.post(f"/workflows/{ident}/publish", json={}).status_code == 200
    instance.settle()


def estate(instance: SandboxInstance, text: str) -> dict[str, str]:
    """Main calls Sub; both are published."""
    sub = instance.seed([called_flow("Sub", text)])[0]["id"]
    main = instance.seed([flow("Main", calls("Call", sub))])[0]["id"]
    publish(instance, sub, main)
    return {"Sub": sub, "Main": main}


def text_that_runs(raw: dict[str, Any]) -> str:
    live = raw["activeVersion"] or {"nodes": []}
    return next((n["parameters"]["value"] for n in live["nodes"] if n["name"] == "Set"), "")


@pytest.mark.parametrize("policy", ["keep", "inactive"])
def test_a_called_workflow_that_runs_is_never_switched_off(versions: World, policy: str) -> None:
    estate(versions.source, "new")
    estate(versions.target, "old")
    versions.capture()
    done = versions.carry_out(versions.approved("sub", active=policy))
    assert done.status == "COMPLETED", done.execution_result
    sub = versions.by_name()["Sub"]
    assert (sub["active"], text_that_runs(sub)) == (True, "new")
    codes = [warning["code"] for warning in done.plan["items"][0]["warnings"]]
    assert ("must_run" in codes) is (policy == "inactive")


def recreated(world: World) -> tuple[dict[str, str], Operation]:
    """Main runs, and holds somebody's draft; what it calls was deleted, and is about to be restored."""
    ids = estate(world.target, "old")
    world.target.edit(ids["Main"], draft=True, nodes=flow("Main", calls("Call", ids["Sub"]), node("Mine"))["nodes"])
    world.capture(world.production)
    with tenant_scope(world.tenant_id):
        snapshot = Snapshot.objects.get(environment=world.production)
    world.target.delete_workflow(ids["Sub"])
    operation = start_restore(
        tenant_id=world.tenant_id,
        environment_id=world.production.pk,
        snapshot_id=snapshot.pk,
        requested_by=None,
        options=RestoreOptions(keys=frozenset({"sub"})),
    )
    return ids, operation


def called_by(version: dict[str, Any]) -> str:
    call = next(n for n in version["nodes"] if n["name"] == "Call")
    return str(call["parameters"]["workflowId"]["value"])


def the_draft_is_theirs(main: dict[str, Any]) -> None:
    assert any(n["name"] == "Mine" for n in main["nodes"]), "the draft is still somebody's work"
    assert not any(n["name"] == "Mine" for n in main["activeVersion"]["nodes"])


def test_what_runs_of_a_caller_follows_what_was_recreated(versions: World) -> None:
    _ids, operation = recreated(versions)
    assert versions.drive(operation) == "COMPLETED", versions.failure(operation.pk)
    now = versions.by_name()
    assert now["Sub"]["active"] is True
    assert called_by(now["Main"]) == called_by(now["Main"]["activeVersion"]) == now["Sub"]["id"]
    the_draft_is_theirs(now["Main"])


def test_a_worker_killed_anywhere_while_it_rewires_forgets_no_draft(versions: World) -> None:
    _ids, operation = recreated(versions)
    met: list[str] = []

    def die(name: str) -> None:
        if name.startswith(("restore:calling", "restore:rewire")) and name not in met:
            met.append(name)
            raise SystemExit(f"killed at {name}")

    boundary_observers.append(die)
    for _ in range(60):
        with contextlib.suppress(SystemExit):
            if versions.drive(operation, tries=1, patient=True) in ("COMPLETED", "FAILED", "PARKED"):
                break
    assert len(met) > 15, met
    with tenant_scope(versions.tenant_id):
        operation.refresh_from_db()
    assert operation.status == "COMPLETED", operation.error_details
    now = versions.by_name()
    assert called_by(now["Main"]) == called_by(now["Main"]["activeVersion"]) == now["Sub"]["id"]
    the_draft_is_theirs(now["Main"])


@pytest.mark.parametrize("verb", ["PUT", "POST"])
def test_a_caller_that_n8n_does_not_let_be_rewired_keeps_its_draft(versions: World, verb: str) -> None:
    """Refused before its new content waits in the editor, or after."""
    ids, operation = recreated(versions)
    versions.target.fault(kind="status", status=400, method=verb, path=f"/workflows/{ids['Main']}", times=1)
    assert versions.drive(operation) == "FAILED"
    main = versions.by_name()["Main"]
    the_draft_is_theirs(main)
    assert main["active"] is True


def test_cancelled_after_a_kill_a_half_rewired_caller_gets_its_draft_back(versions: World) -> None:
    _ids, operation = recreated(versions)

    def die(name: str) -> None:
        if name == "restore:rewire:write:main:after-effect":
            boundary_observers.clear()
            raise SystemExit

    boundary_observers.append(die)
    with pytest.raises(SystemExit):
        versions.drive(operation, tries=1)
    operations.cancel(tenant_id=versions.tenant_id, operation_id=operation.pk, by=versions.cast.operator)
    assert versions.drive(operation) == "CANCELLED", versions.failure(operation.pk)
    the_draft_is_theirs(versions.by_name()["Main"])


def test_a_draft_that_is_begun_while_a_promotion_publishes_is_left_alone(versions: World) -> None:
    versions.source.seed([flow("Front", node("Set", parameters={"value": "new"}))])
    there = versions.target.seed([flow("Front", node("Set", parameters={"value": "old"}))])[0]["id"]
    publish(versions.target, there)
    versions.capture()
    chosen = versions.approved("front")

    def autosave(step: str, *_more: Any) -> None:
        if "activate" in str(step):
            mine = flow("Front", node("Set", parameters={"value": "mine"}))["nodes"]
            versions.target.edit(there, draft=True, nodes=mine)

    boundary_observers.append(autosave)
    done = versions.carry_out(chosen)
    assert done.status == "COMPLETED", done.execution_result
    front = versions.by_name()["Front"]
    assert text_that_runs(front) == "new"
    assert next(n["parameters"]["value"] for n in front["nodes"] if n["name"] == "Set") == "mine"


def switches(instance: SandboxInstance, ids: dict[str, str]) -> list[str]:
    """What was published, unpublished and deleted, in its order."""
    names = {ident: name for name, ident in ids.items()}
    found = []
    for call in instance.calls():
        _, _, ident, *verb = call["path"].removeprefix("/api/v1").split("/") if "/workflows/" in call["path"] else "---"
        if ident in names and (call["method"] == "DELETE" or (verb and verb[0] in ("publish", "unpublish"))):
            found.append(f"{verb[0] if verb else 'delete'} {names[ident]}")
    return found


def roll_back(world: World, promotion: Any) -> Any:
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    return (world.fresh(promotion).execution_result or {})["manual_rollback"]


def uncoupled(world: World) -> dict[str, str]:
    """In the target Main calls Sub and both run; in the source Main no longer calls it, and Sub rests."""
    ids, there = estate(world.target, "old"), estate(world.source, "new")
    world.capture()
    alone = flow("Main", node("Alone"))
    world.source.edit(there["Main"], nodes=alone["nodes"], connections=alone["connections"])
    world.source.edit(there["Sub"], active=False)
    world.source.settle()
    world.capture(world.staging)
    world.target.clear_calls()
    return ids


def test_what_is_called_is_unpublished_once_its_callers_have_been_cut_over(versions: World) -> None:
    ids = uncoupled(versions)
    done = versions.carry_out(versions.approved("main", "sub", active="copy"))
    assert done.status == "COMPLETED", done.execution_result
    assert switches(versions.target, ids) == ["publish Main", "unpublish Sub"]
    sub = versions.by_name()["Sub"]
    assert sub["active"] is False
    assert next(n["parameters"]["value"] for n in sub["nodes"] if n["name"] == "Set") == "new"


def asked_while_mixed(instance: SandboxInstance) -> list[str]:
    """What else n8n was asked between the first and the last publish."""
    calls = [f"{call['method']} {call['path']}" for call in instance.calls()]
    publishing = [at for at, call in enumerate(calls) if call.endswith("/publish")]
    assert len(publishing) > 1
    return [call for call in calls[publishing[0] : publishing[-1]] if not call.endswith("/publish")]


@pytest.mark.parametrize("count", [3, 12])
def test_nothing_else_is_asked_while_old_and_new_run_side_by_side(versions: World, count: int) -> None:
    names = [f"Flow {n}" for n in range(count)]
    for instance, text in ((versions.target, "old"), (versions.source, "new")):
        publish(instance, *[made["id"] for made in instance.seed([called_flow(name, text) for name in names])])
    versions.capture()
    versions.target.clear_calls()
    done = versions.carry_out(versions.approved(*[f"flow-{n}" for n in range(count)]))
    assert done.status == "COMPLETED", done.execution_result
    assert asked_while_mixed(versions.target) == []
    versions.target.clear_calls()
    roll_back(versions, done)
    assert asked_while_mixed(versions.target) == []
    assert {text_that_runs(raw) for raw in versions.by_name().values()} == {"old"}


def test_where_all_is_unpublished_the_callers_go_first(versions: World) -> None:
    estate(versions.source, "new")
    ids = estate(versions.target, "old")
    versions.capture()
    versions.target.clear_calls()
    done = versions.carry_out(versions.approved("main", "sub", active="inactive"))
    assert done.status == "COMPLETED", done.execution_result
    assert switches(versions.target, ids) == ["unpublish Main", "unpublish Sub"]


def test_what_is_deleted_is_deleted_after_its_callers(versions: World) -> None:
    called = versions.source.seed([called_flow("A called one", "new")])[0]["id"]
    caller = versions.source.seed([flow("Zulu", calls("Call", called))])[0]["id"]
    publish(versions.source, called, caller)
    versions.capture()
    done = versions.carry_out(versions.approved("zulu", active="copy"))
    assert done.status == "COMPLETED", done.execution_result
    ids = {name: raw["id"] for name, raw in versions.by_name().items()}
    versions.target.clear_calls()
    roll_back(versions, done)
    assert versions.by_name() == {}
    gone = switches(versions.target, ids)
    assert gone.index("delete Zulu") < gone.index("unpublish A called one") < gone.index("delete A called one")


def test_a_crash_at_any_boundary_while_something_waits_to_be_unpublished(versions: World) -> None:
    ids = uncoupled(versions)
    promotion = versions.approved("main", "sub", active="copy")
    operation = versions.start(promotion)
    met: list[str] = []

    def observe(name: str) -> None:
        if name.startswith("promote") and name not in met:
            met.append(name)
            raise SystemExit(f"killed at {name}")

    boundary_observers.append(observe)
    for _ in range(60):
        try:
            if versions.drive(operation, tries=1, patient=True) in ("COMPLETED", "FAILED", "PARKED"):
                break
        except SystemExit:
            continue
    done = versions.fresh(promotion)
    assert any("promote:rest:sub" in name for name in met)
    assert done.status == "COMPLETED", done.execution_result
    order = list(dict.fromkeys(switches(versions.target, ids)))
    assert order == ["publish Main", "unpublish Sub"]
    assert versions.by_name()["Sub"]["active"] is False


def resting_sub(world: World) -> dict[str, str]:
    """Sub runs in the source and rests in the target, where nothing calls it yet."""
    publish(world.source, world.source.seed([called_flow("Sub", "new")])[0]["id"])
    ids = {"Sub": world.target.seed([called_flow("Sub", "old")])[0]["id"]}
    world.capture()
    return ids


def call_it(world: World, ids: dict[str, str]) -> None:
    """Somebody makes a workflow in the target that calls Sub, and publishes it."""
    ids["Later"] = world.target.seed([flow("Later", calls("Call", ids["Sub"]))])[0]["id"]
    publish(world.target, ids["Later"])


def test_a_rollback_keeps_published_what_others_call_and_says_so(versions: World) -> None:
    ids = resting_sub(versions)
    done = versions.carry_out(versions.approved("sub", active="copy"))
    assert done.status == "COMPLETED", done.execution_result
    call_it(versions, ids)
    versions.capture(versions.production)
    with tenant_scope(versions.tenant_id):
        assert selectors.kept_published(done) == [("Sub", ["Later"])]
    record = roll_back(versions, done)
    sub = versions.by_name()["Sub"]
    assert (sub["active"], text_that_runs(sub)) == (True, "old")
    assert record["proof"]["kept_published"] == [{"key": "sub", "name": "Sub", "called_by": ["Later"]}]
    assert record["proof"]["not_as_before"] == []
    versions.capture(versions.production)
    with tenant_scope(versions.tenant_id):
        row = WorkflowEnvMap.objects.get(environment=versions.production, env_name="Sub")
    assert (row.git_active, row.env_active) == (True, True), "it is approved as it runs"
    assert row.git_content_hash == row.env_content_hash


def test_a_rollback_switches_off_what_nobody_calls(versions: World) -> None:
    resting_sub(versions)
    done = versions.carry_out(versions.approved("sub", active="copy"))
    record = roll_back(versions, done)
    assert versions.by_name()["Sub"]["active"] is False
    assert record["proof"]["kept_published"] == []


def test_a_promotion_that_is_put_back_keeps_published_what_others_have_come_to_call(versions: World) -> None:
    ids = resting_sub(versions)
    promotion = versions.approved("sub", active="copy")

    def call_and_cancel(step: str) -> None:
        if step == "promote:activate:sub:after-result":
            boundary_observers.clear()
            call_it(versions, ids)
            services.cancel(tenant_id=versions.tenant_id, promotion_id=promotion.pk, by=versions.cast.operator)

    boundary_observers.append(call_and_cancel)
    done = versions.carry_out(promotion)
    assert done.status == "CANCELLED", done.execution_result
    sub = versions.by_name()["Sub"]
    assert (sub["active"], text_that_runs(sub)) == (True, "old")
    back = (done.execution_result or {})["rollback_result"]
    assert back["status"] == "success"
    assert back["proof"]["kept_published"] == [{"key": "sub", "name": "Sub", "called_by": ["Later"]}]


def test_drafts_are_compared_once_they_are_chosen(versions: World) -> None:
    for instance in (versions.source, versions.target):
        estate(instance, "same")
    sub = next(raw["id"] for raw in versions.source.state()["workflows"] if raw["name"] == "Sub")
    versions.source.edit(sub, draft=True, nodes=called_flow("Sub", "In the editor")["nodes"])
    versions.capture()
    operator = browser(versions.cast.operator, versions)
    base = f"/t/{versions.cast.tenant.slug}/promotions/"
    query = f"{base}new/?source={versions.staging.slug}&target={versions.production.slug}"
    as_published = operator.get(query).content.decode()
    assert 'value="sub"' not in as_published and "version=draft" in as_published, "it says that there is a draft"
    as_drafts = operator.get(f"{query}&version=draft").content.decode()
    assert 'value="sub"' in as_drafts and "Its draft" in as_drafts and 'value="main"' not in as_drafts
    assert "In the editor" in diff_of(operator, f"{query}&version=draft")
    promotion = versions.draft("sub", version="draft")
    assert "In the editor" in diff_of(operator, f"{base}{promotion.pk}/")


def test_n8n_that_was_away_while_it_published_is_believed_once_its_lease_is_over(
    versions: World, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Killed amid publishing, n8n names the new version for two minutes and runs the former (measured on 2.41.1)."""
    settings.N8N_PUBLISHING_LEASE_SECONDS = 140.0
    estate(versions.source, "new")
    estate(versions.target, "old")
    versions.capture()
    waited: list[float] = []
    asked_before_the_end: list[str] = []
    real = lease.clock.now

    def pause(seconds: float) -> None:
        waited.append(seconds)
        asked_before_the_end.extend(call["method"] for call in versions.target.calls(method="OPTIONS"))

    monkeypatch.setattr(lease, "clock", SimpleNamespace(now=lambda: real() + timedelta(seconds=sum(waited))))
    monkeypatch.setattr(lease, "pause", pause)

    def away(boundary: str) -> None:
        if boundary.endswith(":after-result") and ":activate:" in boundary:
            outages.note(versions.target.base_url)

    boundary_observers.append(away)
    done = versions.carry_out(versions.approved("main", "sub", active="copy"))
    assert done.status == "COMPLETED", done.execution_result
    assert 135 < sum(waited) <= 141 and asked_before_the_end == []


def page_of(world: World, promotion: Promotion) -> str:
    path = f"/t/{world.cast.tenant.slug}/promotions/{promotion.pk}/"
    return " ".join(browser(world.cast.operator, world).get(path).content.decode().split())


def test_what_a_half_way_promotion_has_saved_as_drafts_is_no_edit_of_others(versions: World) -> None:
    """n8n is gone when the first version is to be published; back again, a rollback needs no force."""
    estate(versions.source, "new")
    estate(versions.target, "old")
    versions.capture()
    before = versions.hashes()

    def away(boundary: str) -> None:
        if ":activate:" in boundary and boundary.endswith(":before-intent"):
            boundary_observers.remove(away)
            versions.target.fault(kind="status", status=503)

    promotion = versions.approved("main", "sub", active="copy")
    boundary_observers.append(away)
    execution = versions.start(promotion)
    versions.drive(execution, tries=1)
    waits = page_of(versions, promotion)
    assert "The rollback did not come to its end" in waits and "Waiting to retry" in waits and "Rolling back" in waits
    assert versions.drive(execution) == "FAILED"
    assert versions.fresh(promotion).attention_since is not None
    left = page_of(versions, promotion)
    assert "The rollback could not be finished:" in left and "Then roll back on this page." in left
    assert "Ended by" in left and "Why it went back" in left
    versions.target.clear_faults()
    operation = services.rollback(
        tenant_id=versions.tenant_id, promotion_id=promotion.pk, by=versions.cast.operator, reason="It is back."
    )
    assert versions.drive(operation) == "COMPLETED", versions.failure(operation.pk)
    assert versions.hashes() == before and versions.fresh(promotion).attention_since is None
    live = [raw for raw in versions.target.state()["workflows"] if raw["active"]]
    assert live and all(raw["nodes"] == raw["activeVersion"]["nodes"] for raw in live), "no draft of it is left"


def test_n8n_that_was_there_all_the_time_is_not_waited_for(
    versions: World, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.N8N_PUBLISHING_LEASE_SECONDS = 140.0
    outages.note(versions.target.base_url)  # before the promotion began
    estate(versions.source, "new")
    versions.capture()
    monkeypatch.setattr(lease, "pause", lambda seconds: pytest.fail("it was not away"))
    assert versions.carry_out(versions.approved("sub", active="copy")).status == "COMPLETED"
