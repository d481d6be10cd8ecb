"""Restores: exact, proven, never over somebody else's edit; and wholly undone where they fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from operations import engine
from operations import services as operations
from operations.handlers import boundary_observers
from operations.models import Operation
from snapshots import services
from snapshots.errors import EnvironmentLocked
from snapshots.models import Snapshot
from snapshots.planning import RestoreOptions
from snapshots.preview import preview
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import CanonicalWorkflow, Environment, WorkflowEnvMap

from .conftest import caller, make_environment, workflow
from .test_capture import Crash, _release, _status


@pytest.fixture
def restore(live_cast: Any, environment: Environment, run_operations: Any) -> Any:
    def go(snapshot: Snapshot, **options: Any) -> Operation:
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


def behaviour(n8n: Any) -> dict[str, Any]:
    """Name → what it does, ids aside."""
    names = {w["id"]: w["name"] for w in n8n.state()["workflows"]}

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: told(v) for k, v in value.items()}
        if isinstance(value, list):
            return [told(v) for v in value]
        return f"→{names[value]}" if isinstance(value, str) and value in names else value

    return {
        w["name"]: told({k: w[k] for k in ("nodes", "connections", "active")} | {"settings": w.get("settings")})
        for w in n8n.state()["workflows"]
    }


def test_a_restore_brings_everything_back(capture: Any, restore: Any, n8n: Any) -> None:
    made = n8n.seed([workflow("Orders", active=True), workflow("Invoices"), workflow("Stock")])
    snapshot = capture()
    was = behaviour(n8n)
    n8n.edit(made[0]["id"], nodes=workflow(url="https://evil.example")["nodes"], active=False)
    n8n.edit(made[1]["id"], settings={"executionOrder": "v1", "executionTimeout": 33})
    n8n.delete_workflow(made[2]["id"])
    done = restore(snapshot)
    assert done.status == "COMPLETED", (done.error_code, done.error_message, done.error_details)
    assert done.result["status"] == "restored"
    assert done.result["proof"] == {"equal": True, "compared": 3, "differing": [], "left": []}
    assert [w["key"] for w in done.result["created"]] == ["stock"]
    assert sorted(w["key"] for w in done.result["updated"]) == ["invoices", "orders"]
    now = behaviour(n8n)
    assert {n: now[n]["nodes"] for n in now} == {n: was[n]["nodes"] for n in was}
    assert now["Orders"]["active"] is True
    again = capture()
    assert {e["key"]: e["content_hash"] for e in again.workflows} == {
        e["key"]: e["content_hash"] for e in snapshot.workflows
    }


def test_restoring_into_an_empty_n8n_gives_equal_hashes(
    capture: Any, restore: Any, n8n: Any, environment: Environment
) -> None:
    sub = n8n.seed([workflow("Sub", active=True)])[0]
    main = n8n.seed([caller("Main", sub["id"])])[0]
    circle = n8n.seed([caller("Ping", main["id"])])[0]
    n8n.edit(main["id"], nodes=caller("Main", circle["id"])["nodes"])
    snapshot = capture()
    for row in n8n.state()["workflows"]:
        n8n.delete_workflow(row["id"])
    done = restore(snapshot)
    assert done.status == "COMPLETED", (done.error_code, done.error_message, done.error_details)
    again = capture()
    assert {e["key"]: e["content_hash"] for e in again.workflows} == {
        e["key"]: e["content_hash"] for e in snapshot.workflows
    }
    ids = {e["key"]: e["env_workflow_id"] for e in again.workflows}
    refs = {e["key"]: e.get("refs") for e in again.workflows}
    assert refs["main"] == [ids["ping"]] and refs["ping"] == [ids["main"]]
    with tenant_scope(environment.tenant_id):
        places = list(WorkflowEnvMap.objects.exclude(status="deleted"))
    assert len(places) == 3 and all(p.git_content_hash == p.env_content_hash for p in places)


def test_callers_of_a_recreated_workflow_are_rewired(capture: Any, restore: Any, n8n: Any) -> None:
    sub = n8n.seed([workflow("Sub")])[0]
    n8n.seed([caller("Main", sub["id"])])
    snapshot = capture()
    n8n.delete_workflow(sub["id"])
    done = restore(snapshot, keys=["sub"])
    assert done.status == "COMPLETED", (done.error_code, done.error_message, done.error_details)
    assert [w["key"] for w in done.result["rewired"]] == ["main"]
    again = capture()
    entries = {e["key"]: e for e in again.workflows}
    assert entries["main"]["refs"] == [entries["sub"]["env_workflow_id"]]


def test_a_lost_answer_creates_nothing_twice(capture: Any, restore: Any, n8n: Any) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Orders"), workflow("Orders", url="https://example.org/other")])
    snapshot = capture()
    for row in made:
        n8n.delete_workflow(row["id"])
    n8n.fault(kind="drop_after", method="POST", path="^/api/v1/workflows$")
    done = restore(snapshot)
    assert done.status == "COMPLETED", (done.error_code, done.error_message, done.error_details)
    assert len(n8n.state()["workflows"]) == 3


def test_an_edit_by_somebody_else_is_never_overwritten(capture: Any, restore: Any, n8n: Any) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    snapshot = capture()
    for row in made:
        n8n.edit(row["id"], nodes=workflow(url="https://changed.example")["nodes"])
    was = behaviour(n8n)
    # After the capture before the restore, just before the console reads it again to write.
    theirs = workflow(url="https://theirs.example")["nodes"]
    n8n.fault(
        kind="edit_before", method="GET", path=f"/workflows/{made[0]['id']}$", times=1, workflow_id=made[0]["id"],
        changes={"nodes": theirs},
    )  # fmt: skip
    done = restore(snapshot)
    assert done.status == "FAILED"
    now = behaviour(n8n)
    assert now["Orders"]["nodes"] == theirs
    assert now["Invoices"] == was["Invoices"]
    assert done.error_code == "REST_004"


@pytest.mark.parametrize(
    "fault",
    [
        {
            "kind": "status",
            "status": 400,
            "method": "PUT",
            "message": "request/body must NOT have additional properties",
        },
        {"kind": "status", "status": 500, "method": "PUT"},
        {"kind": "partial", "mode": "truncated_nodes", "method": "PUT"},
        {"kind": "partial", "mode": "lost_activation", "method": "PUT"},
        {"kind": "status", "status": 400, "method": "POST", "path": "/activate$"},
        {"kind": "status", "status": 400, "method": "POST", "path": "^/api/v1/workflows$"},
    ],
)
def test_a_failing_write_puts_everything_back(
    capture: Any, restore: Any, n8n: Any, fault: dict[str, Any], fast_retries: None
) -> None:
    made = n8n.seed([workflow(f"Flow {n}", active=n % 2 == 0) for n in range(4)])
    snapshot = capture()
    n8n.delete_workflow(made[3]["id"])
    for row in made[:2]:
        n8n.edit(row["id"], nodes=workflow(url="https://changed.example")["nodes"])
    n8n.edit(made[2]["id"], active=False)
    was = behaviour(n8n)
    # Three tries of one write; what is put back afterwards meets no fault.
    n8n.fault(**{"path": f"/workflows/{made[0]['id']}$", **fault, "times": 3 if fault.get("status") == 500 else 1})
    done = restore(snapshot)
    assert done.status == "FAILED", done.result
    assert done.error_code in ("REST_002", "REST_003"), done.error_details
    assert done.error_details["details"]["proof"]["equal"]
    assert behaviour(n8n) == was


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_n8n_that_goes_away_half_way_is_put_back_once_it_answers(
    capture: Any, restore: Any, n8n: Any, environment: Environment, fast_retries: None, comes_back: bool
) -> None:
    made = n8n.seed([workflow(f"Flow {n}") for n in range(3)])
    snapshot = capture()
    n8n.delete_workflow(made[2]["id"])
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    was = behaviour(n8n)
    # "Flow 2" is created first; then one write is refused for good, and then n8n is gone.
    n8n.fault(kind="status", status=400, method="PUT", path=f"/workflows/{made[0]['id']}$", times=1)
    n8n.fault(kind="status", status=503, method="DELETE")
    done = restore(snapshot)
    assert done.status == "RETRY_PENDING", "as long as it may pass, nobody is told that it ended"
    assert "did not come to its end" in done.error_message
    assert behaviour(n8n) != was
    if comes_back:
        n8n.clear_faults()
    for _ in range(6):
        with tenant_scope(environment.tenant_id):
            Operation.objects.filter(pk=done.pk).update(run_after=None)
        engine.drive(operation_id=done.pk, tenant_id=environment.tenant_id)
    with tenant_scope(environment.tenant_id):
        done.refresh_from_db()
    details = done.error_details["details"]
    if comes_back:
        assert (done.status, done.error_code) == ("FAILED", "REST_003")
        assert behaviour(n8n) == was and details["proof"]["equal"]
    else:
        assert (done.status, done.error_code) == ("FAILED", "REST_004")
        assert details["proof"]["differing"] and details["pre_snapshot_id"]


def test_what_was_created_and_could_not_be_read_back_is_taken_away_again(
    capture: Any, restore: Any, n8n: Any, fast_retries: None
) -> None:
    made = n8n.seed([workflow("Orders")])
    snapshot = capture()
    n8n.delete_workflow(made[0]["id"])
    n8n.fault(kind="status", status=502, method="GET", path="/workflows/[^/]+$", after=1, times=4)
    done = restore(snapshot)
    assert (done.status, done.error_code) == ("FAILED", "REST_002"), done.error_details
    assert done.error_details["details"]["proof"]["equal"]
    assert n8n.state()["workflows"] == []


def test_a_worker_stopped_right_after_a_failed_creation_leaves_no_second_one(
    capture: Any, n8n: Any, environment: Environment
) -> None:
    made = n8n.seed([workflow("Orders")])[0]
    snapshot = capture()
    n8n.delete_workflow(made["id"])
    n8n.fault(kind="partial", mode="truncated_nodes", method="POST", path="/workflows$", nth=1, times=1)
    operation = start_restore(
        tenant_id=environment.tenant_id, environment_id=environment.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    boundary_observers.append(lambda name: engine.stopping.set() if name == "restore:write:orders:after-result" else 0)
    try:
        assert engine.drive(operation_id=operation.pk, tenant_id=environment.tenant_id) == "RETRY_PENDING"
    finally:
        engine.stopping.clear()
        boundary_observers.clear()
    assert len(n8n.state()["workflows"]) == 1
    assert engine.drive(operation_id=operation.pk, tenant_id=environment.tenant_id) == "FAILED"
    assert n8n.state()["workflows"] == []


def test_cancelled_after_a_kill_what_was_created_is_taken_away(
    capture: Any, n8n: Any, environment: Environment, live_cast: Any
) -> None:
    """Nobody had put on record that it was created: whoever puts back has to look."""
    made = n8n.seed([workflow("Orders")])[0]
    snapshot = capture()
    n8n.delete_workflow(made["id"])
    operation = start_restore(
        tenant_id=environment.tenant_id, environment_id=environment.pk, snapshot_id=snapshot.pk, requested_by=None
    )

    def die(name: str) -> None:
        if name == "restore:write:orders:after-effect":
            boundary_observers.clear()
            raise Crash

    boundary_observers.append(die)
    with pytest.raises(Crash):
        engine.drive(operation_id=operation.pk, tenant_id=environment.tenant_id)
    assert len(n8n.state()["workflows"]) == 1
    operations.cancel(tenant_id=environment.tenant_id, operation_id=operation.pk, by=live_cast.operator)
    _release(live_cast.tenant, operation)
    assert engine.drive(operation_id=operation.pk, tenant_id=environment.tenant_id) == "CANCELLED"
    assert n8n.state()["workflows"] == []


def test_what_only_git_remembers_is_restored_under_its_key(
    capture: Any, restore: Any, n8n: Any, environment: Environment
) -> None:
    """The rows of a tenant are lost and n8n is empty; Git still has all of it."""
    sub = n8n.seed([workflow("Sub")])[0]
    n8n.seed([caller("Main", sub["id"])])
    snapshot = capture()
    for row in n8n.state()["workflows"]:
        n8n.delete_workflow(row["id"])
    with tenant_scope(environment.tenant_id):
        WorkflowEnvMap.objects.all().delete()
        CanonicalWorkflow.objects.all().delete()
    done = restore(snapshot)
    assert done.status == "COMPLETED", (done.error_code, done.error_message, done.error_details)
    assert {e["key"]: e["content_hash"] for e in capture().workflows} == {
        e["key"]: e["content_hash"] for e in snapshot.workflows
    }


def test_a_key_that_cannot_be_a_file_in_git_is_refused_before_anything_is_written(
    capture: Any, restore: Any, n8n: Any, environment: Environment
) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture()
    with tenant_scope(environment.tenant_id):
        Snapshot.objects.filter(pk=snapshot.pk).update(workflows=[{**snapshot.workflows[0], "key": "../../orders"}])
    n8n.clear_calls()
    done = restore(snapshot)
    assert done.status == "FAILED" and "../../orders" in done.error_message
    assert not [call for call in n8n.calls() if call["method"] in ("POST", "PUT", "DELETE")]


def test_a_silently_inactive_workflow_is_switched_on(capture: Any, restore: Any, n8n: Any) -> None:
    made = n8n.seed([workflow("Orders", active=True)])
    snapshot = capture()
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    n8n.fault(kind="partial", mode="silent_inactive", method="PUT", times=1)
    done = restore(snapshot)
    assert done.status == "COMPLETED", (done.error_code, done.error_message)
    assert n8n.workflow(made[0]["id"])["active"]


def test_dry_run_changes_nothing(capture: Any, restore: Any, n8n: Any) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Extra")])
    snapshot = capture()
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    n8n.clear_calls()
    done = restore(snapshot, dry_run=True)
    assert done.status == "COMPLETED"
    assert [w["key"] for w in done.result["updated"]] == ["orders"]
    assert {c["method"] for c in n8n.calls()} == {"GET"}
    with tenant_scope(snapshot.tenant_id):
        assert Snapshot.objects.count() == 1


def test_overwrite_existing_off_only_creates(capture: Any, restore: Any, n8n: Any) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    snapshot = capture()
    n8n.edit(made[0]["id"], nodes=workflow(url="https://changed.example")["nodes"])
    n8n.delete_workflow(made[1]["id"])
    done = restore(snapshot, overwrite_existing=False)
    assert [w["key"] for w in done.result["created"]] == ["invoices"]
    assert [w["key"] for w in done.result["skipped"]] == ["orders"]
    assert n8n.workflow(made[0]["id"])["nodes"][1]["parameters"]["url"] == "https://changed.example"


def test_extra_workflows_are_left_alone_unless_asked(capture: Any, restore: Any, n8n: Any, environment: Any) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture()
    n8n.seed([workflow("New one")])
    plan = preview(tenant_id=environment.tenant_id, environment_id=environment.pk, snapshot_id=snapshot.pk).preview()
    assert [(w.name, w.effect) for w in plan.extra_workflows] == [("New one", "left alone")]
    assert restore(snapshot).status == "COMPLETED"
    assert len(n8n.state()["workflows"]) == 2
    done = restore(snapshot, delete_extra=True)
    assert done.status == "COMPLETED", done.error_details
    assert [w["key"] for w in done.result["deleted"]] == ["new-one"]
    assert [w["name"] for w in n8n.state()["workflows"]] == ["Orders"]


def test_a_dangling_call_is_refused_before_anything_is_written(capture: Any, restore: Any, n8n: Any) -> None:
    sub = n8n.seed([workflow("Sub")])[0]
    main = n8n.seed([caller("Main", sub["id"])])[0]
    snapshot = capture()
    n8n.delete_workflow(sub["id"])
    n8n.delete_workflow(main["id"])
    done = restore(snapshot, keys=["main"])
    assert (done.status, done.error_code) == ("FAILED", "REST_001")
    problem = done.error_details["details"]["problems"][0]
    assert (problem["code"], problem["needs"]) == ("workflow_missing", "sub")
    assert n8n.state()["workflows"] == []
    assert restore(snapshot, keys=["main"], skip_validation=True).status == "COMPLETED"


def test_one_restore_at_a_time(capture: Any, n8n: Any, environment: Environment, live_cast: Any) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture()

    def go() -> Operation:
        return start_restore(
            tenant_id=environment.tenant_id, environment_id=environment.pk, snapshot_id=snapshot.pk, requested_by=None
        )

    first = go()
    with pytest.raises(EnvironmentLocked) as refused:
        go()
    assert refused.value.details["operation_id"] == str(first.pk)


@pytest.mark.parametrize("fail", [False, True])
def test_a_crash_at_any_boundary_ends_all_or_before(
    capture: Any, n8n: Any, environment: Environment, live_cast: Any, fail: bool, fast_retries: None
) -> None:
    """One restore after the other on the same instance, each killed one boundary later than the last."""
    sub = n8n.seed([workflow("Sub")])[0]
    n8n.seed([caller("Main", sub["id"]), workflow("Orders", active=True)])
    good = capture()
    wanted = behaviour(n8n)
    reached = 0
    while True:
        n8n.clear_faults()
        for row in n8n.state()["workflows"]:
            if row["name"] == "Sub":
                n8n.delete_workflow(row["id"])
            if row["name"] == "Orders":
                n8n.edit(row["id"], nodes=workflow(url="https://changed.example")["nodes"], active=False)
        was = behaviour(n8n)
        if fail:
            n8n.fault(kind="status", status=400, method="POST", path="/activate$", times=5)
        operation = start_restore(
            tenant_id=environment.tenant_id, environment_id=environment.pk, snapshot_id=good.pk, requested_by=None
        )
        passed = 0

        def die(_name: str, at: int = reached) -> None:
            nonlocal passed
            passed += 1
            if passed > at:
                boundary_observers.clear()
                raise Crash

        boundary_observers.append(die)
        try:
            engine.drive(operation_id=operation.pk, tenant_id=environment.tenant_id)
        except Crash:
            _release(live_cast.tenant, operation)
            engine.drive(operation_id=operation.pk, tenant_id=environment.tenant_id)
        finally:
            boundary_observers.clear()
        assert _status(live_cast.tenant, operation) == ("FAILED" if fail else "COMPLETED"), reached
        now = behaviour(n8n)
        if fail:
            assert {k: v for k, v in now.items() if k != "Main"} == {k: v for k, v in was.items() if k != "Main"}
        else:
            assert now == wanted, reached
        assert len(n8n.state()["workflows"]) == len(was if fail else wanted)
        if passed <= reached:
            break
        reached += 3
    assert reached > 12


def test_another_tenants_snapshot_is_not_there(capture: Any, n8n: Any, live_cast: Any) -> None:
    from core.errors import NotFound

    n8n.seed([workflow("Orders")])
    snapshot = capture()
    with pytest.raises(NotFound):
        services.snapshot_by_id(live_cast.other_tenant.pk, snapshot.pk)


@pytest.fixture
def of_staging(live_cast: Any, environment: Environment, run_operations: Any, sandbox_server: Any) -> Iterator[Any]:
    """A snapshot of staging, an environment of the same tenant with an n8n of its own."""
    instance = sandbox_server.control.create()
    instance.seed([workflow("Orders", url="https://staging.example")])
    staging = make_environment(live_cast.tenant, instance, name="Staging", slug="staging", kind="staging", position=1)
    operation = services.start_capture(
        tenant_id=live_cast.tenant.pk, environment_id=staging.pk, requested_by=live_cast.operator
    )
    run_operations(live_cast.tenant)
    yield services.snapshot_by_id(live_cast.tenant.pk, operation.subject_id)
    instance.delete()


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("who", ["operator", "owner"])
def test_anothers_snapshot_enters_production_only_as_a_promotion(
    of_staging: Snapshot, n8n: Any, environment: Environment, live_cast: Any, who: str, dry_run: bool
) -> None:
    """Over REST, as the runbook restores: whoever asks, with whichever switches."""
    n8n.seed([workflow("Orders")])
    before = n8n.state()["workflows"]
    _, secret = create_token(user=getattr(live_cast, who), name="x", tenant=live_cast.tenant)
    answer = Client().post(
        f"/api/v1/restore/{environment.pk}/execute",
        {"snapshot_id": str(of_staging.pk), "skip_validation": True, "overwrite_existing": True, "dry_run": dry_run},
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "REST_008"), answer.content
    assert "Promote" in answer.json()["error"]["recovery"]
    assert n8n.state()["workflows"] == before


def test_a_restore_that_waits_is_refused_once_its_environment_is_guarded(
    of_staging: Snapshot, n8n: Any, environment: Environment, live_cast: Any, run_operations: Any
) -> None:
    place = {"tenant_id": live_cast.tenant.pk, "environment_id": environment.pk}
    with tenant_scope(live_cast.tenant.pk):
        Environment.objects.filter(pk=environment.pk).update(kind="staging")
    operation = start_restore(**place, snapshot_id=of_staging.pk, requested_by=live_cast.operator)
    with tenant_scope(live_cast.tenant.pk):
        Environment.objects.filter(pk=environment.pk).update(kind="production")
    run_operations(live_cast.tenant)
    assert _status(live_cast.tenant, operation) == "FAILED"
    assert n8n.state()["workflows"] == []
    again = start_restore(**place, snapshot_id=_own(live_cast, environment, run_operations), requested_by=None)
    run_operations(live_cast.tenant)
    assert _status(live_cast.tenant, again) == "COMPLETED", "its own snapshot is restored as ever"


def _own(cast: Any, environment: Environment, run_operations: Any) -> Any:
    operation = services.start_capture(
        tenant_id=cast.tenant.pk, environment_id=environment.pk, requested_by=cast.operator
    )
    run_operations(cast.tenant)
    return operation.subject_id
