"""Reports in the demo: an owner's monthly review of access, and one of support sessions for compliance."""

from __future__ import annotations

from core import clock
from core.demo import DemoChapter, DemoStage, as_person
from core.reports import Report
from operations.demo import carry
from tenants.models import Tenant, User

from . import scheduling, services
from .definitions import report_named, settle
from .models import Format, Frequency


def tell(stage: DemoStage) -> None:
    review, owner = report_named("access-review"), stage.people["owner"]
    with as_person(owner):
        monthly = scheduling.NewSchedule(
            report=review, kind=Format.XLSX, frequency=Frequency.MONTHLY, hour=6, recipients=(owner.email,)
        )
        scheduling.create_schedule(monthly, tenant=stage.tenant, by=owner)
        _make(review, stage.tenant, owner)
    with as_person(stage.people["compliance"]):
        _make(report_named("impersonation-sessions"), None, stage.people["compliance"])


def _make(report: Report, tenant: Tenant | None, by: User) -> None:
    asked = settle(as_of=clock.now())
    run = services.request_report(report=report, tenant=tenant, asked=asked, kind=Format.CSV, requested_by=by)
    if job := services.job_of(run):
        carry(job)


DEMO_CHAPTER = DemoChapter(name="reports", position=20, tell=tell)
