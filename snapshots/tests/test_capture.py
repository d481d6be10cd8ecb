"""Captures: what is kept, what is noted, and what a crash or a bad instance leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import OpsError
from operations.handlers import boundary_observers
from operations.models import Operation
from snapshots import repository, services
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from tests.pressing import pressed_twice
from workflows import bulk
from workflows.models import Environment, WorkflowEnvMap

from .conftest import caller, workflow


def test_the_first_capture_becomes_the_baseline(capture: Any, n8n: Any, environment: Environment) -> None:
    n8n.seed([workflow("Orders", active=True), workflow("Invoices", url="https://example.org/b")])
    snapshot = capture(description="before the holidays")
    assert [e["key"] for e in snapshot.workflows] == ["invoices", "orders"]
    assert snapshot.workflow_count == 2
    assert {e["name"]: e["active"] for e in snapshot.workflows} == {"Invoices": False, "Orders": True}
    store = repository.store_for(environment.tenant_id)
    assert store.tip("snapshots/production") == snapshot.git_commit_sha
    info = store.commit_info(snapshot.git_commit_sha)
    assert info.trailers["Snapshot-Id"] == str(snapshot.pk)
    assert info.trailers["Requested-By"] == "operator@example.org"
    with tenant_scope(environment.tenant_id):
        row = Environment.objects.get(pk=environment.pk)
        places = list(WorkflowEnvMap.objects.all())
    assert row.last_snapshot_id == snapshot.pk
    assert row.baseline_commit_sha == store.tip("env/production")
    assert all(p.git_content_hash == p.env_content_hash for p in places)
    contents = {e["key"]: c for e, c in services.load_content(snapshot)}
    assert contents["orders"]["nodes"][1]["parameters"]["url"] == "https://example.org/a"


def test_a_second_capture_writes_only_what_changed_and_leaves_the_baseline(
    capture: Any, n8n: Any, environment: Environment
) -> None:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    first = capture()
    store = repository.store_for(environment.tenant_id)
    baseline = store.tip("env/production")
    n8n.edit(made[0]["id"], name="Orders", nodes=workflow(url="https://example.org/new")["nodes"])
    second = capture()
    before, after = ({e["key"]: e["blob"] for e in s.workflows} for s in (first, second))
    assert before["invoices"] == after["invoices"] and before["orders"] != after["orders"]
    assert store.tip("env/production") == baseline
    with tenant_scope(environment.tenant_id):
        drifted = [p.env_name for p in WorkflowEnvMap.objects.all() if p.is_drifted]
    assert drifted == ["Orders"]


def test_references_are_hashed_by_key(capture: Any, n8n: Any) -> None:
    sub = n8n.seed([workflow("Sub")])[0]
    n8n.seed([caller("Caller", sub["id"])])
    snapshot = capture()
    entry = next(e for e in snapshot.workflows if e["key"] == "caller")
    assert entry["refs"] == [sub["id"]]
    assert services.verify_snapshot(snapshot).status == "verified"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"kind": "status", "status": 401, "message": "unauthorized"}, "N8N_010"),
        ({"kind": "html", "status": 502}, "N8N_018"),
        ({"kind": "garbage"}, "N8N_007"),
    ],
)
def test_a_failing_instance_is_named_and_nothing_is_marked_missing(
    capture: Any, n8n: Any, environment: Environment, fault: dict[str, Any], code: str, fast_retries: None
) -> None:
    n8n.seed([workflow("Orders")])
    capture()
    n8n.fault(path="/workflows", method="GET", **fault)
    failed = capture()
    assert isinstance(failed, Operation)
    assert failed.status == "FAILED"
    assert failed.error_code == code
    with tenant_scope(environment.tenant_id):
        row = Environment.objects.get(pk=environment.pk)
        statuses = set(WorkflowEnvMap.objects.values_list("status", flat=True))
    assert row.last_capture_error["code"] == code
    assert row.last_capture_error["recovery"]
    assert statuses == {"linked"}


def test_a_short_outage_is_ridden_out(capture: Any, n8n: Any, fast_retries: None) -> None:
    n8n.seed([workflow("Orders")])
    n8n.fault(kind="status", status=500, method="GET", path="/workflows", times=2)
    assert isinstance(capture(), Snapshot)


class Crash(BaseException):
    """The process dies here."""


def test_a_crash_at_any_boundary_ends_in_one_snapshot(live_cast: Any, n8n: Any, environment: Environment) -> None:
    from operations import engine

    n8n.seed([workflow("Orders"), workflow("Invoices")])
    boundaries: list[str] = []
    boundary_observers.append(boundaries.append)
    operation = start(live_cast, environment)
    drive = lambda: engine.drive(operation_id=operation.pk, tenant_id=live_cast.tenant.pk)  # noqa: E731
    assert drive() == "COMPLETED"
    boundary_observers.clear()
    assert len(boundaries) >= 9
    for crash_at in boundaries:
        operation = start(live_cast, environment)

        def die(name: str, crash_at: str = crash_at) -> None:
            if name == crash_at:
                boundary_observers.clear()
                raise Crash

        boundary_observers.append(die)
        try:
            with pytest.raises(Crash):
                drive()
        except BaseException:
            boundary_observers.clear()
            if "baseline" in crash_at:
                continue
            raise
        _release(live_cast.tenant, operation)
        drive()
        assert _status(live_cast.tenant, operation) == "COMPLETED", crash_at
        with tenant_scope(live_cast.tenant.pk):
            assert Snapshot.objects.filter(pk=operation.subject_id).count() == 1
        store = repository.store_for(live_cast.tenant.pk)
        commits = [
            c
            for c in store.log("snapshots/production", limit=200).commits
            if c.trailers["Snapshot-Id"] == str(operation.subject_id)
        ]
        assert len(commits) == 1, crash_at


def start(cast: Any, environment: Environment) -> Operation:
    return services.start_capture(tenant_id=cast.tenant.pk, environment_id=environment.pk, requested_by=cast.operator)


def _status(tenant: Any, operation: Operation) -> str:
    with tenant_scope(tenant.pk):
        return str(Operation.objects.values_list("status", flat=True).get(pk=operation.pk))


def _release(tenant: Any, operation: Operation) -> None:
    """The lease of the dead worker runs out."""
    from datetime import timedelta

    from django.db.models import F

    from core import clock

    with tenant_scope(tenant.pk):
        # The fence rises too: in this one process the dead worker's heart may still beat.
        Operation.objects.filter(pk=operation.pk).update(
            lease_expires_at=clock.now() - timedelta(seconds=60), fence=F("fence") + 1
        )


def test_a_lost_row_is_made_again_from_git(capture: Any, n8n: Any, environment: Environment) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture(description="keep me")
    with tenant_scope(environment.tenant_id):
        Snapshot.objects.all().delete()
    assert services.recover(tenant_id=environment.tenant_id) == [snapshot.pk]
    again = services.snapshot_by_id(environment.tenant_id, snapshot.pk)
    assert (again.workflows, again.git_commit_sha, again.description) == (
        snapshot.workflows,
        snapshot.git_commit_sha,
        "keep me",
    )
    assert again.created_at == snapshot.created_at
    assert services.recover(tenant_id=environment.tenant_id) == []


def test_a_row_without_its_commit_still_reads(capture: Any, n8n: Any, environment: Environment) -> None:
    n8n.seed([workflow("Orders")])
    snapshot = capture()
    with tenant_scope(environment.tenant_id):
        Snapshot.objects.update(git_commit_sha=None, workflows=[])
    lost = services.snapshot_by_id(environment.tenant_id, snapshot.pk)
    assert [e["key"] for e, _ in services.load_content(lost)] == ["orders"]


def test_where_the_rows_cannot_be_written_no_commit_becomes_visible(
    capture: Any, n8n: Any, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    n8n.seed([workflow("Orders")])

    insert = bulk.insert

    def refused(rows: Any) -> None:
        if isinstance(rows[0], WorkflowEnvMap):
            # The commit is being made beside by now.
            raise OpsError("The database refuses.")
        insert(rows)

    with monkeypatch.context() as broken:
        broken.setattr("workflows.recording.bulk.insert", refused)
        failed = capture()
    store = repository.store_for(environment.tenant_id)
    assert isinstance(failed, Operation) and failed.error_message == "The database refuses."
    assert store.tip(environment.seen_branch) is None
    assert [e["key"] for e, _ in services.load_content(capture())] == ["orders"]


def test_two_presses_at_the_same_moment_are_one_capture(
    live_cast: Any, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"tenant_id": live_cast.tenant.pk, "environment_id": environment.pk, "requested_by": None}
    first, second = pressed_twice(monkeypatch, services, "_open_capture", lambda: services.start_capture(**asked).pk)
    assert first == second
