"""Scheduled reports. When they are due is decided by the scheduler (``operations.timing``)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from msgspec import UNSET

from core import clock
from core.errors import Invalid, NotFound
from core.reports import Report
from operations import services as operations
from operations import timing
from operations.models import Schedule
from operations.run import Run
from tenants.base import belongs_to
from tenants.models import Tenant, User
from tenants.scope import tenant_or_platform_scope

from . import mailing
from .definitions import Asked, report_named, span
from .documents import ReportParameters, parameters_of
from .making import KIND
from .models import Format, Frequency, Period, ReportRun, ReportSchedule, RunStatus

MOST_RECIPIENTS = 20


def cron_of(frequency: str, hour: int) -> str:
    """The cron expression: every day, on Mondays, or on the first of the month, at ``hour`` (UTC)."""
    day, weekday = {Frequency.DAILY: ("*", "*"), Frequency.WEEKLY: ("*", "1"), Frequency.MONTHLY: ("1", "*")}[
        Frequency(frequency)
    ]
    return f"0 {hour} {day} * {weekday}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """What is made, how often, and who receives it. ``hour`` is UTC.

    ``person`` and ``about`` (a tenant's short name, for the platform's reports) narrow the report where given.
    """

    report: Report
    kind: str
    frequency: str
    hour: int
    recipients: tuple[str, ...]
    period: str = ""
    person: str = ""
    about: str = ""

    @property
    def addresses(self) -> list[str]:
        """The recipients in lower case, each once."""
        return sorted({address.strip().lower() for address in self.recipients if address.strip()})

    @property
    def parameters(self) -> ReportParameters:
        """What the report is narrowed to."""
        return ReportParameters(person=self.person.strip() or UNSET, tenant=self.about.strip() or UNSET)


def create_schedule(new: NewSchedule, *, tenant: Tenant | None, by: User) -> ReportSchedule:
    """A report that is made and mailed regularly; ``tenant`` None: the platform's.

    Raises ``Invalid`` with the fields that are wrong, recipients who may not read the report included.
    """
    _refuse_wrong(new, tenant)
    tenant_id, pk = tenant.pk if tenant else None, uuid.uuid4()
    with tenant_or_platform_scope(tenant_id):
        timer = operations.set_schedule(
            tenant_id=tenant_id,
            name=f"Send a report ({str(pk)[:8]})",
            kind=KIND,
            params={"schedule_id": str(pk), "due_at": ""},
            cron=cron_of(new.frequency, new.hour),
        )
        return ReportSchedule.objects.create(
            pk=pk,
            tenant=tenant,
            timer=timer,
            report=new.report.name,
            format=new.kind,
            period=new.period if new.report.has_period else "",
            params=new.parameters.to_json(),
            recipients=new.addresses,
            frequency=new.frequency,
            hour=new.hour,
            created_by=by,
        )


def _refuse_wrong(new: NewSchedule, tenant: Tenant | None) -> None:
    wrong = _wrong_recipients(new, tenant)
    choices = [("format", new.kind, Format), ("frequency", new.frequency, Frequency)]
    if new.report.has_period:
        choices.append(("period", new.period, Period))
    for name, value, known in choices:
        if value not in known.values:
            wrong[name] = f"one of {', '.join(known.values)}"
    if not 0 <= new.hour <= 23:
        wrong["hour"] = "0 to 23"
    if wrong:
        raise Invalid(" ".join(wrong.values()), details=wrong)


def _wrong_recipients(new: NewSchedule, tenant: Tenant | None) -> dict[str, str]:
    if not new.addresses or len(new.addresses) > MOST_RECIPIENTS:
        return {"recipients": f"1 to {MOST_RECIPIENTS} addresses."}
    refused = sorted(set(new.addresses) - set(mailing.who_may_receive(tenant, new.addresses)))
    if refused:
        return {"recipients": f"May not read this report here: {', '.join(refused)}."}
    return {}


def change_schedule(*, tenant_id: uuid.UUID | None, schedule_id: uuid.UUID, action: str) -> None:
    """``pause``, ``resume`` or ``remove`` a schedule of the tenant or platform. Raises ``NotFound``, ``Invalid``."""
    with tenant_or_platform_scope(tenant_id):
        found = ReportSchedule.objects.select_related("timer").filter(belongs_to(tenant_id), pk=schedule_id).first()
        if found is None:
            raise NotFound
        if action == "remove":
            timer = found.timer
            found.delete()
            timer.delete()
        elif action in ("pause", "resume"):
            now = clock.now()
            Schedule.objects.filter(pk=found.timer_id).update(
                is_enabled=action == "resume", next_run_at=timing.next_run(found.timer, now), updated_at=now
            )
        else:
            raise Invalid(details={"action": "pause, resume or remove"})


def ask(run: Run) -> ReportRun | None:
    """Record the run that a schedule's job makes; None where the schedule is gone. Inside the job's fence."""
    schedule = ReportSchedule.objects.filter(belongs_to(run.tenant_id_or_none), pk=run.params["schedule_id"]).first()
    if schedule is None:
        return None
    now = clock.now()
    # The period counts from when it was due: a late job must not report another week.
    since, until = span(schedule.period or Period.DAYS_90, datetime.fromisoformat(run.params["due_at"]))
    narrowed = parameters_of(schedule.params)
    asked = Asked(as_of=now, since=since, until=until, person=narrowed.person or "", tenant=narrowed.tenant or "")
    made = ReportRun.objects.create(
        tenant_id=schedule.tenant_id,
        schedule=schedule,
        operation_id=run.operation.pk,
        report=schedule.report,
        format=schedule.format,
        params=asked.stored(report_named(schedule.report)).to_json(),
        as_of=now,
        context=run.operation.context,
        mail_to=schedule.recipients,
        status=RunStatus.RUNNING,
        fence=run.operation.fence,
        attempt=run.operation.attempt,
        started_at=now,
    )
    return ReportRun.objects.select_related("tenant", "requested_by").get(pk=made.pk)
