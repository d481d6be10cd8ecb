"""Writes about reports: ask for one, verify its file, schedules, and what beat does every minute."""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from audit.models import AuditLog
from audit.services import record_event
from core import clock, context
from core.errors import Invalid, NotFound
from tenants.models import Tenant, User
from tenants.scope import platform_scope

from . import files, mailing, making
from .definitions import Asked, Report, report_named, span
from .errors import FileGone, NotReady
from .making import place_scope
from .models import Format, Frequency, MailStatus, Period, ReportRun, ReportSchedule, RunStatus

logger = logging.getLogger(__name__)

AT_ONCE = 200
MOST_RECIPIENTS = 20


def request_report(
    *, report: Report, tenant: Tenant | None, asked: Asked, kind: str, requested_by: User | None
) -> ReportRun:
    """Put a report on record and wake a worker once the transaction has committed. ``tenant`` None: the platform's."""
    if kind not in Format.values:
        raise Invalid(details={"format": f"one of {', '.join(Format.values)}"})
    with place_scope(tenant.pk if tenant else None):
        run = ReportRun.objects.create(
            tenant=tenant,
            report=report.name,
            format=kind,
            params=asked.to_dict(report),
            as_of=asked.as_of,
            requested_by=requested_by,
            context=context.current().to_dict(),
        )
        transaction.on_commit(lambda: wake(run.pk))
    return run


def wake(run_id: uuid.UUID) -> None:
    """Tell a worker. A broker that is away is no failure: the next minute finds the row."""
    from .tasks import make

    try:
        make.apply_async(args=[str(run_id)], retry=False)
    except Exception:
        logger.warning("could not wake a worker; the next minute will", exc_info=True)


def carry(run_id: uuid.UUID) -> None:
    """Make a run's file, then send its mail, as far as either is still to be done."""
    making.make(run_id)
    mailing.send(run_id)


def get_run(*, tenant_id: uuid.UUID | None, run_id: uuid.UUID) -> ReportRun:
    """A run of the place, or ``NotFound``."""
    with place_scope(tenant_id):
        found = ReportRun.objects.select_related("tenant", "requested_by", "schedule").filter(pk=run_id).first()
    if found is None or found.tenant_id != tenant_id:
        raise NotFound
    return found


def file_of(run: ReportRun) -> Path:
    """The file of a run; raises ``NotReady`` or ``FileGone``."""
    if run.status != RunStatus.COMPLETED:
        raise NotReady
    if not run.file_name:
        raise FileGone
    path = files.path_of(run.tenant_id, run.file_name)
    if not path.is_file():
        raise FileGone
    return path


def record_download(run: ReportRun) -> None:
    """Who took the file is on record like who made it."""
    with place_scope(run.tenant_id):
        record_event(
            action="REPORT_DOWNLOADED",
            resource_type=making.TABLE,
            resource_id=run.pk,
            tenant_id=run.tenant_id,
            details={"sha256": run.sha256},
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Digests of the file as it is now, of the manifest, and of the trail's entry (empty: there is none any more)."""

    found: str
    manifest: str
    trail: str

    @property
    def holds(self) -> bool:
        return self.found == self.manifest == self.trail


def verify(run: ReportRun) -> Verdict:
    """Read the file again and compare it with the manifest and with what the trail says was made."""
    path = file_of(run)
    found = files.digest_of(path)
    with place_scope(run.tenant_id):
        entry = AuditLog.objects.filter(
            resource_id=run.pk, resource_type=making.TABLE, action="REPORT_EXPORTED"
        ).order_by("id")
        details: Any = entry.values_list("details", flat=True).first()
    return Verdict(found, str((run.manifest or {}).get("sha256", "")), str((details or {}).get("sha256", "")))


def write_now(
    *, report: Report, tenant: Tenant | None, asked: Asked, kind: str, out: BinaryIO, requested_by: User | None = None
) -> dict[str, Any]:
    """Make a report at once and copy it to ``out``; its manifest. For the command line: no file is kept."""
    run = ReportRun(
        tenant=tenant, report=report.name, format=kind, params=asked.to_dict(report), as_of=asked.as_of,
        requested_by=requested_by,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"report.{kind}"
        manifest = making.produce(run, path)
        with place_scope(run.tenant_id):
            making.record_export(run, manifest)
        with path.open("rb") as made:
            shutil.copyfileobj(made, out)
    return manifest


def send_again(*, run: ReportRun) -> None:
    """A person has decided that a mail which failed, or may have left, is to be sent (once more)."""
    with place_scope(run.tenant_id):
        updated = ReportRun.objects.filter(
            pk=run.pk, mail_status__in=[MailStatus.FAILED, MailStatus.UNKNOWN], status=RunStatus.COMPLETED
        ).update(mail_status=MailStatus.WAITING, mail_attempt=0, run_after=None)
        if not updated:
            raise NotReady("This report has no mail that waits for your word.")
        transaction.on_commit(lambda: wake(run.pk))


def try_again(*, run: ReportRun) -> None:
    """Make a report that failed once more, with its attempts counted anew."""
    with place_scope(run.tenant_id):
        updated = ReportRun.objects.filter(pk=run.pk, status=RunStatus.FAILED).update(
            status=RunStatus.PENDING, attempt=0, run_after=None, error=""
        )
        if not updated:
            raise NotReady("Only a report that failed can be tried again.")
        transaction.on_commit(lambda: wake(run.pk))


# -- schedules --------------------------------------------------------------------------------------------------------


def next_time(frequency: str, hour: int, after: datetime) -> datetime:
    """The first moment later than ``after`` that a schedule names: every day, on Mondays, on the first; UTC."""
    moment = after.astimezone(UTC).replace(hour=hour, minute=0, second=0, microsecond=0)
    rules: dict[Frequency, Callable[[datetime], bool]] = {
        Frequency.DAILY: lambda m: True,
        Frequency.WEEKLY: lambda m: m.weekday() == 0,
        Frequency.MONTHLY: lambda m: m.day == 1,
    }
    due = rules[Frequency(frequency)]
    while moment <= after or not due(moment):
        moment += timedelta(days=1)
    return moment


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
    wrong: dict[str, str] = {}
    wanted = sorted({address.strip().lower() for address in recipients if address.strip()})
    refused = sorted(set(wanted) - set(mailing.who_may_receive(tenant, wanted)))
    if not wanted or len(wanted) > MOST_RECIPIENTS:
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
    with place_scope(tenant.pk if tenant else None):
        return ReportSchedule.objects.create(
            tenant=tenant,
            report=report.name,
            format=kind,
            period=period if report.has_period else "",
            params={name: value.strip() for name, value in (("person", person), ("tenant", about)) if value.strip()},
            recipients=wanted,
            frequency=frequency,
            hour=hour,
            next_run_at=next_time(frequency, hour, clock.now()),
            created_by=by,
        )


def change_schedule(*, tenant_id: uuid.UUID | None, schedule_id: uuid.UUID, action: str) -> None:
    """``pause``, ``resume`` or ``remove`` a schedule of the place; raises ``NotFound``."""
    with place_scope(tenant_id):
        schedule = ReportSchedule.objects.filter(pk=schedule_id).first()
        if schedule is None or schedule.tenant_id != tenant_id:
            raise NotFound
        if action == "remove":
            schedule.delete()
        elif action in ("pause", "resume"):
            following = next_time(schedule.frequency, schedule.hour, clock.now())
            ReportSchedule.objects.filter(pk=schedule_id).update(is_enabled=action == "resume", next_run_at=following)
        else:
            raise Invalid(details={"action": "pause, resume or remove"})


def run_due_schedules() -> int:
    """Ask for what is due; each row is claimed by compare-and-set, so two beats ask once. How many."""
    now, started = clock.now(), 0
    with platform_scope():
        due = list(ReportSchedule.objects.filter(is_enabled=True, next_run_at__lte=now)[:AT_ONCE])
    for schedule in due:
        with place_scope(schedule.tenant_id):
            claimed = ReportSchedule.objects.filter(
                pk=schedule.pk, is_enabled=True, next_run_at=schedule.next_run_at
            ).update(next_run_at=next_time(schedule.frequency, schedule.hour, now), last_run_at=now)
            if claimed:
                _start(schedule, now)
                started += 1
    return started


def _start(schedule: ReportSchedule, now: datetime) -> None:
    # The period counts from when it was due: late is not another week.
    since, until = span(schedule.period or Period.DAYS_90, schedule.next_run_at)
    asked = Asked(as_of=now, since=since, until=until, **schedule.params)
    run = ReportRun.objects.create(
        tenant_id=schedule.tenant_id,
        schedule=schedule,
        report=schedule.report,
        format=schedule.format,
        params=asked.to_dict(report_named(schedule.report)),
        as_of=now,
        context=context.ActionContext(source="system").to_dict(),
        mail_to=schedule.recipients,
    )
    transaction.on_commit(lambda: wake(run.pk))


# -- every minute -----------------------------------------------------------------------------------------------------


def tick() -> dict[str, int]:
    """Start what is due, wake what was dropped. Run twice at once it does no harm."""
    started = run_due_schedules()
    lost = mailing.give_up_on_the_unknown()
    now = clock.now()
    open_run = Q(status__in=[RunStatus.PENDING, RunStatus.RETRY_PENDING]) | Q(
        status=RunStatus.RUNNING, lease_expires_at__lt=now
    )
    waiting_mail = Q(status=RunStatus.COMPLETED, mail_status=MailStatus.WAITING)
    with platform_scope():
        dropped = list(
            ReportRun.objects.filter(open_run | waiting_mail)
            .filter(Q(run_after=None) | Q(run_after__lte=now))
            .filter(created_at__lt=now - timedelta(seconds=settings.LEASE_SECONDS))
            .order_by("created_at")
            .values_list("pk", flat=True)[:AT_ONCE]
        )
    for run_id in dropped:
        wake(run_id)
    return {"started": started, "woken": len(dropped), "unknown": lost}


def remove_old_files() -> int:
    """Take away files past their time, and what a killed worker left; manifests stay. How many runs lost theirs."""
    limit = clock.now() - timedelta(days=settings.REPORT_FILES_DAYS)
    with platform_scope():
        old = list(
            ReportRun.objects.filter(ended_at__lt=limit).exclude(file_name="").values_list("pk", "tenant_id")[:AT_ONCE]
        )
    for run_id, tenant_id in old:
        with place_scope(tenant_id):
            ReportRun.objects.filter(pk=run_id).update(file_name="")
    _sweep(limit)
    return len(old)


def _sweep(limit: datetime) -> None:
    """Files that no row names any more, once they are older than any that is kept."""
    root: Path = settings.REPORTS_ROOT
    for path in root.glob("*/*") if root.is_dir() else ():
        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < limit:
            path.unlink(missing_ok=True)
