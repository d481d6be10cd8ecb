"""How a report is made, kept and proven."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from audit.models import AuditLog
from core import clock
from operations import engine
from operations import services as operations
from operations.errors import LeaseLost
from operations.models import Operation
from operations.run import Run
from reports import files, formats, making, services
from reports.definitions import report_named, settle
from reports.errors import NotReady
from reports.models import ReportRun
from reports.tests.helpers import asked_for, carry, fresh, made, now_is_its_time, some_events
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db


def test_rows_are_streamed(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than one chunk is fetched before its rows are asked for."""
    monkeypatch.setattr(formats, "CHUNK_ROWS", 10)
    some_events(cast.tenant, 35)
    fetched: list[int] = []
    with tenant_scope(cast.tenant.pk, read_only=True):
        from django.db import connection

        real = connection.chunked_cursor

        def watched() -> Any:
            cursor = real()
            fetch = cursor.fetchmany
            # The wrapper hands attributes through, so that what is set here is what is called.
            cursor.fetchmany = lambda count: fetched.append(count) or fetch(count)
            return cursor

        monkeypatch.setattr(connection, "chunked_cursor", watched)
        asked = settle(as_of=clock.now())
        rows = formats.rows_of(report_named("refused-attempts"), formats.query_values(asked, platform=False))
        next(rows)
        assert fetched == [10]
        assert len(list(rows)) == 34
    assert fetched == [10] * 5


def test_a_changed_file_is_found(cast: Any) -> None:
    some_events(cast.tenant, 1)
    run = made("refused-attempts", cast.tenant)
    path = services.file_of(run)
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes().replace(b"REFUSED", b"ALLOWED"))
    assert not services.verify(run).holds
    # Whoever can change the row as well still has the trail against them.
    forged = {**run.manifest, "sha256": files.digest_of(path)}
    with tenant_scope(cast.tenant.pk):
        ReportRun.objects.filter(pk=run.pk).update(manifest=forged, sha256=forged["sha256"])
        run.refresh_from_db()
    verdict = services.verify(run)
    assert verdict.found == verdict.manifest and not verdict.holds


def test_the_manifest_and_the_trail_say_what_was_made(cast: Any) -> None:
    some_events(cast.tenant, 3)
    run = made("refused-attempts", cast.tenant, by=cast.owner)
    manifest = run.manifest
    assert (manifest["rows"], manifest["tenant"]["slug"], manifest["made_by"]["email"]) == (
        3,
        "acme",
        "owner@example.org",
    )
    assert manifest["bytes"] == services.file_of(run).stat().st_size
    with tenant_scope(cast.tenant.pk):
        entry = AuditLog.objects.get(action="REPORT_EXPORTED", resource_id=run.pk)
    assert entry.details["sha256"] == manifest["sha256"] and entry.details["parameters"] == manifest["parameters"]


def test_files_go_after_a_while_and_manifests_stay(cast: Any, settings: Any, client: Any) -> None:
    run = made("access-review", cast.tenant)
    path = services.file_of(run)
    settings.REPORT_FILES_DAYS = -1
    assert services.remove_old_files() == 1
    assert not path.exists()
    again = services.get_run(tenant_id=cast.tenant.pk, run_id=run.pk)
    assert again.manifest["sha256"] == run.sha256 and not again.file_name
    secret = create_token(user=cast.owner, name="x", tenant=cast.tenant)[1]
    answer = client.get(f"/api/v1/reports/runs/{run.pk}/download", headers={"Authorization": f"Bearer {secret}"})
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (410, "REPORT_FILE_GONE")
    assert "removed after its retention period" in told["message"]
    assert told["recovery"] == "Make the report again with the same parameters."


# -- durability -------------------------------------------------------------------------------------------------------


def job_of(run: ReportRun) -> Operation:
    return operations.get_operation(tenant_id=run.tenant_id, operation_id=run.operation_id)


def claimed(run: ReportRun) -> Run | None:
    return engine.claim(operation_id=run.operation_id, tenant_id=run.tenant_id)


def lease_runs_out(run: ReportRun) -> None:
    with platform_scope():
        Operation.objects.filter(pk=run.operation_id).update(lease_expires_at=clock.now() - timedelta(seconds=1))


def test_a_run_is_made_by_one_worker(cast: Any) -> None:
    run = asked_for("access-review")
    assert fresh(run).status == "PENDING"
    assert claimed(run) is not None
    assert fresh(run).status == "RUNNING"
    assert claimed(run) is None
    assert carry(run).status == "RUNNING"


def test_a_lost_worker_is_replaced_and_leaves_nothing(cast: Any) -> None:
    run = asked_for("access-review")
    late = claimed(run)
    lease_runs_out(run)
    done = carry(run)
    assert done.status == "COMPLETED" and done.fence == 2
    with pytest.raises(LeaseLost):
        making._make(late, run)
    after = fresh(run)
    assert (after.file_name, after.sha256) == (done.file_name, done.sha256)
    assert [p.name for p in files.folder_of(None).iterdir()] == [done.file_name]


@pytest.mark.parametrize("where", ["tenant", "platform"])
def test_a_failure_is_tried_again_and_then_seen(cast: Any, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    run = asked_for("access-review", cast.tenant if where == "tenant" else None)

    def breaks(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(formats, "write", breaks)
    seen = []
    tries = job_of(run).max_attempts
    for _ in range(tries):
        seen.append(carry(run).status)
        now_is_its_time()
    assert seen == ["RETRY_PENDING"] * (tries - 1) + ["FAILED"]
    assert "disk full" in fresh(run).error and job_of(run).status == "PARKED"
    monkeypatch.undo()
    services.try_again(run=run)
    assert fresh(run).status == "RETRY_PENDING"
    done = carry(run)
    assert (done.status, done.error, job_of(run).status) == ("COMPLETED", "", "COMPLETED")


def test_it_is_put_back_by_another_job_where_the_first_was_ended(cast: Any) -> None:
    """The runbook's emergency stop, then Try again: pressed twice it is one job."""
    run = asked_for("access-review", cast.tenant)
    late = claimed(run)
    assert late is not None
    with platform_scope():
        Operation.objects.filter(pk=run.operation_id).update(
            status="FAILED", error_message="Emergency stop executed", ended_at=clock.now()
        )
    stopped = fresh(run)
    assert (stopped.status, stopped.error) == ("FAILED", "Emergency stop executed")
    services.try_again(run=stopped)
    with pytest.raises(NotReady):
        services.try_again(run=stopped)
    again = fresh(run)
    assert again.operation_id != run.operation_id and again.status == "PENDING"
    assert carry(run).status == "COMPLETED"
    with pytest.raises(LeaseLost):
        making._make(late, run)


def test_a_cancelled_job_says_so_on_the_run(cast: Any) -> None:
    run = asked_for("access-review", cast.tenant)
    operations.cancel(tenant_id=cast.tenant.pk, operation_id=run.operation_id, by=cast.owner)
    assert (fresh(run).status, fresh(run).error) == ("FAILED", "The job was cancelled.")
    services.try_again(run=fresh(run))
    assert carry(run).status == "COMPLETED"


def test_a_job_tells_those_who_see_jobs_no_names(cast: Any) -> None:
    """Everybody in a tenant sees its jobs; its reports are for those who read the trail."""
    asked = settle(as_of=clock.now(), person="viewer@example.org")
    run = made("refused-attempts", cast.tenant, asked=asked)
    job = job_of(run)
    with tenant_scope(cast.tenant.pk):
        steps = [step.to_dict() for step in job.steps.all()]
    assert [step["state"] for step in steps] == ["DONE"]
    told = f"{job.title} {job.params} {job.result} {steps}"
    assert "@" not in told and "refused" not in told.lower()


# -- doors ------------------------------------------------------------------------------------------------------------
