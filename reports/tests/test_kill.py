"""A worker that dies at every boundary of a report: one file, one mail, and the truth about both."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from audit.models import AuditLog
from core import clock
from operations import handlers
from operations import services as operations
from operations.models import Operation
from reports import files, services
from reports.models import ReportRun
from reports.tests.helpers import drive, jobs
from reports.tests.test_schedules import a_schedule, runs
from tenants.scope import platform_scope
from tests.killing import killed_everywhere

pytestmark = pytest.mark.django_db


def carry_on(job: Operation) -> str:
    """As the reaper would have it: the next worker takes over at once. Attempts are not counted."""
    with platform_scope():
        Operation.objects.filter(pk=job.pk).update(attempt=0, run_after=None)
        Operation.objects.filter(pk=job.pk, status="RUNNING").update(
            lease_expires_at=clock.now() - timedelta(seconds=1)
        )
    drive(job)
    with platform_scope():
        return str(Operation.objects.get(pk=job.pk).status)


def in_trail(run: ReportRun) -> list[str]:
    with platform_scope():
        rows = AuditLog.objects.filter(resource_id=run.pk, action__startswith="REPORT_").order_by("pk")
        return list(rows.values_list("action", flat=True))


@pytest.mark.parametrize("where", ["tenant", "platform"])
def test_killed_at_every_boundary_it_is_made_once_and_no_mail_is_sent_twice(cast: Any, where: str) -> None:
    """Also where nobody can know whether the mail has left: then a person is asked, and sends it again."""
    tenant = cast.tenant if where == "tenant" else None
    a_schedule(cast, tenant)
    operations.run_due_schedules()
    (job,) = jobs()
    met: list[str] = []
    handlers.boundary_observers.append(met.append)
    try:
        assert killed_everywhere(lambda: carry_on(job)) == "PARKED"
    finally:
        handlers.boundary_observers.remove(met.append)
    assert {"operation:claimed", "file:before-intent", "file:after-result", "mail:leaving"} <= set(met)
    (run,) = runs()
    assert (run.status, run.mail_status, run.mail_attempt) == ("COMPLETED", "UNKNOWN", 1)
    assert mail.outbox == [], "it died before anything had left"
    services.send_again(run=run)
    assert killed_everywhere(lambda: carry_on(job), spared={"mail:leaving"}, at_least=5) == "COMPLETED"
    (run,) = runs()
    assert run.mail_status == "SENT" and len(mail.outbox) == 1
    assert services.verify(run).holds
    assert in_trail(run) == ["REPORT_EXPORTED", "REPORT_NOT_MAILED", "REPORT_MAILED"]
    assert [path.name for path in files.folder_of(tenant.pk if tenant else None).iterdir()] == [run.file_name]
