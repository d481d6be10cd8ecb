"""Kill -9 of the worker that makes and sends a report of the platform, which has no tenant: made once, sent once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from audit.models import AuditLog
from core import clock
from operations.models import Operation
from reports import services
from reports.definitions import report_named, settle
from reports.models import ReportRun
from tenants.models import PlatformRole
from tenants.scope import platform_scope

from .stage import ENDED, Stage, TakenByAnother, Victim, until

pytestmark = [pytest.mark.kill, pytest.mark.xdist_group("kill")]


@pytest.fixture
def _reports(stage: Stage, settings: Any) -> Iterator[None]:
    """The folder that the stage's workers write to."""
    settings.REPORTS_ROOT = stage.forge.folder / "reports"
    yield


def officer() -> str:
    from tenants import services as people

    return people.create_user(
        email=f"{uuid.uuid4().hex}@example.org", name="Officer", password="correct horse battery",
        role=PlatformRole.COMPLIANCE_OFFICER,
    ).email  # fmt: skip


def ask(address: str) -> ReportRun:
    run = services.request_report(
        report=report_named("access-review"),
        tenant=None,
        asked=settle(as_of=clock.now()),
        kind="csv",
        requested_by=None,
    )
    with platform_scope():
        ReportRun.objects.filter(pk=run.pk).update(mail_to=[address])
    return run


def job_of(run: ReportRun) -> Operation:
    with platform_scope():
        return Operation.objects.get(pk=ReportRun.objects.get(pk=run.pk).operation_id)


def killed(stage: Stage, boundary: str) -> ReportRun:
    """A report whose worker was killed there."""
    address = officer()
    for _ in range(3):
        victim = stage.forge.worker(kill_at=boundary)
        try:
            return _killed(stage, victim, address)
        except TakenByAnother:
            continue
        finally:
            victim.stop()
    raise AssertionError("the machine is too busy: the reaper was always faster than the worker")


def _killed(stage: Stage, victim: Victim, address: str) -> ReportRun:
    until("the worker is ready", victim.ready.exists)
    with stage.broker.lock:
        run = ask(address)
        stage.broker.wake(job_of(run), queue=victim.queue)
        until("somebody has begun", lambda: job_of(run).fence >= 1)
        try:
            until("it is ours", lambda: "operation:claimed" in victim.boundaries(), seconds=15)
        except AssertionError as error:
            raise TakenByAnother from error
    until("the worker was killed", lambda: victim.exit_code() is not None)
    with stage.broker.lock:
        stage.broker.empty()
    return run


def said(run: ReportRun) -> list[str]:
    with platform_scope():
        rows = AuditLog.objects.filter(resource_id=run.pk, action__startswith="REPORT_").order_by("pk")
        return list(rows.values_list("action", flat=True))


@pytest.mark.parametrize(
    "boundary",
    [
        "operation:claimed", "file:before-intent", "file:after-intent", "file:effect-answered", "file:after-effect",
        "file:after-result", "mail:before-intent", "mail:after-intent", "mail:effect-answered", "mail:after-effect",
        "mail:after-result", "operation:before-end", "operation:after-end",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_reports")
def test_another_worker_finishes_it(stage: Stage, boundary: str) -> None:
    run = killed(stage, boundary)
    until("another worker took over and ended it", lambda: job_of(run).status in (*ENDED, "PARKED"))
    job = job_of(run)
    fence = 1 if boundary == "operation:after-end" else 2
    assert (job.tenant_id, job.status, job.fence) == (None, "COMPLETED", fence), job.error_message
    with platform_scope():
        done = ReportRun.objects.get(pk=run.pk)
    assert (done.status, done.mail_status, done.mail_attempt, done.fence) == ("COMPLETED", "SENT", 1, fence)
    assert services.verify(done).holds
    assert said(run) == ["REPORT_EXPORTED", "REPORT_MAILED"]
    assert [p.name for p in services.file_of(done).parent.glob(f"{run.pk}*")] == [done.file_name]


@pytest.mark.usefixtures("_reports")
def test_a_mail_that_was_leaving_is_left_to_a_person(stage: Stage) -> None:
    run = killed(stage, "mail:leaving")
    until("another worker looked at it", lambda: job_of(run).status == "PARKED")
    with platform_scope():
        done = ReportRun.objects.get(pk=run.pk)
    assert (done.status, done.mail_status, done.mail_attempt) == ("COMPLETED", "UNKNOWN", 1)
    services.send_again(run=done)
    until("it is sent", lambda: job_of(run).status == "COMPLETED")
    assert said(run) == ["REPORT_EXPORTED", "REPORT_NOT_MAILED", "REPORT_MAILED"]
