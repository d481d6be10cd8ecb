"""Reports that are sent by themselves. When they are due is the one scheduler's work (``operations.timing``)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime

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
from .making import KIND
from .models import Format, Frequency, Period, ReportRun, ReportSchedule, RunStatus

MOST_RECIPIENTS = 20


def cron_of(frequency: str, hour: int) -> str:
    """Every day, on Mondays, or on the first of the month, at an hour."""
    day, weekday = {Frequency.DAILY: ("*", "*"), Frequency.WEEKLY: ("*", "1"), Frequency.MONTHLY: ("1", "*")}[
        Frequency(frequency)
    ]
    return f"0 {hour} {day} * {weekday}"


def create_schedule(
    *,
    report: Report,
    tenant: Tenant | None,
    kind: str,
    frequency: str,
    hour: int,
    recipients: Iterable[str],
    by: User,
    period: str = "",
    person: str = "",
    about: str = "",
) -> ReportSchedule:
    """A report that is sent by itself; ``about`` narrows the platform's to one tenant. Checks every recipient."""
    wanted = sorted({address.strip().lower() for address in recipients if address.strip()})
    _refuse_wrong(report, tenant, kind=kind, frequency=frequency, hour=hour, period=period, recipients=wanted)
    tenant_id, pk = tenant.pk if tenant else None, uuid.uuid4()
    with tenant_or_platform_scope(tenant_id):
        timer = operations.set_schedule(
            tenant_id=tenant_id,
            name=f"Send a report ({str(pk)[:8]})",
            kind=KIND,
            params={"schedule_id": str(pk), "due_at": ""},
            cron=cron_of(frequency, hour),
        )
        return ReportSchedule.objects.create(
            pk=pk,
            tenant=tenant,
            timer=timer,
            report=report.name,
            format=kind,
            period=period if report.has_period else "",
            params={name: value.strip() for name, value in (("person", person), ("tenant", about)) if value.strip()},
            recipients=wanted,
            frequency=frequency,
            hour=hour,
            created_by=by,
        )


def _refuse_wrong(
    report: Report,
    tenant: Tenant | None,
    *,
    kind: str,
    frequency: str,
    hour: int,
    period: str,
    recipients: list[str],
) -> None:
    wrong: dict[str, str] = {}
    refused = sorted(set(recipients) - set(mailing.who_may_receive(tenant, recipients)))
    if not recipients or len(recipients) > MOST_RECIPIENTS:
        wrong["recipients"] = f"1 to {MOST_RECIPIENTS} addresses."
    elif refused:
        wrong["recipients"] = f"Not somebody who may read this report here: {', '.join(refused)}."
    for name, value, choices in (("format", kind, Format), ("frequency", frequency, Frequency)):
        if value not in choices.values:
            wrong[name] = f"one of {', '.join(choices.values)}"
    if report.has_period and period not in Period.values:
        wrong["period"] = f"one of {', '.join(Period.values)}"
    if not 0 <= hour <= 23:
        wrong["hour"] = "0 to 23"
    if wrong:
        raise Invalid(" ".join(wrong.values()), details=wrong)


def change_schedule(*, tenant_id: uuid.UUID | None, schedule_id: uuid.UUID, action: str) -> None:
    """``pause``, ``resume`` or ``remove`` a schedule of the place; raises ``NotFound``."""
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
    """Put on record what a schedule's job is to make; None where the schedule is gone. Inside the job's fence."""
    schedule = ReportSchedule.objects.filter(belongs_to(run.tenant_id_or_none), pk=run.params["schedule_id"]).first()
    if schedule is None:
        return None
    now = clock.now()
    # The period counts from when it was due: late is not another week.
    since, until = span(schedule.period or Period.DAYS_90, datetime.fromisoformat(run.params["due_at"]))
    asked = Asked(as_of=now, since=since, until=until, **schedule.params)
    made = ReportRun.objects.create(
        tenant_id=schedule.tenant_id,
        schedule=schedule,
        operation_id=run.operation.pk,
        report=schedule.report,
        format=schedule.format,
        params=asked.to_dict(report_named(schedule.report)),
        as_of=now,
        context=run.operation.context,
        mail_to=schedule.recipients,
        status=RunStatus.RUNNING,
        fence=run.operation.fence,
        attempt=run.operation.attempt,
        started_at=now,
    )
    return ReportRun.objects.select_related("tenant", "requested_by").get(pk=made.pk)
