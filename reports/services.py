"""Writes about reports: request one, verify its file, retry, send again, remove old files."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from audit.models import AuditLog
from audit.services import record_event
from core import clock, context
from core.errors import Invalid, NotFound
from core.reports import Report
from operations import services as operations
from operations.models import Operation
from tenants.base import belongs_to
from tenants.models import Tenant, User
from tenants.scope import platform_scope, tenant_or_platform_scope

from . import files, making
from .definitions import Asked
from .documents import Manifest, manifest_of
from .errors import FileGone, NotReady
from .models import Format, MailStatus, ReportRun, RunStatus

AT_ONCE = 200


def request_report(
    *, report: Report, tenant: Tenant | None, asked: Asked, kind: str, requested_by: User | None
) -> ReportRun:
    """Record a report and start the job that makes it. ``tenant`` None: the platform's. Raises ``Invalid``."""
    if kind not in Format.values:
        raise Invalid(details={"format": f"one of {', '.join(Format.values)}"})
    with tenant_or_platform_scope(tenant.pk if tenant else None):
        run = ReportRun.objects.create(
            tenant=tenant,
            report=report.name,
            format=kind,
            params=asked.stored(report).to_json(),
            as_of=asked.as_of,
            requested_by=requested_by,
            context=context.current().to_dict(),
        )
        _begin(run, key=f"report-{run.pk}", by=requested_by)
    return run


def get_run(*, tenant_id: uuid.UUID | None, run_id: uuid.UUID) -> ReportRun:
    """A run of the tenant, or of the platform where ``tenant_id`` is None. Raises ``NotFound``."""
    with tenant_or_platform_scope(tenant_id):
        found = ReportRun.objects.select_related("tenant", "requested_by", "schedule").filter(pk=run_id).first()
    if found is None or found.tenant_id != tenant_id:
        raise NotFound
    return found


def job_of(run: ReportRun) -> Operation | None:
    """The job that makes or sends a run: the last one."""
    if run.operation_id is None:
        return None
    with tenant_or_platform_scope(run.tenant_id):
        return Operation.objects.filter(belongs_to(run.tenant_id), pk=run.operation_id).first()


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
    """Record who downloaded the file."""
    with tenant_or_platform_scope(run.tenant_id):
        record_event(
            action="REPORT_DOWNLOADED",
            resource_type=making.TABLE,
            resource_id=run.pk,
            tenant_id=run.tenant_id,
            details={"sha256": run.sha256},
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """SHA-256 of the file as it is now, and as the manifest and the trail's entry say ('': no longer there)."""

    found: str
    manifest: str
    trail: str

    @property
    def holds(self) -> bool:
        return self.found == self.manifest == self.trail


def verify(run: ReportRun) -> Verdict:
    """Hash the file again and compare it with the manifest and the trail. Raises ``NotReady`` or ``FileGone``."""
    path = file_of(run)
    found = files.digest_of(path)
    with tenant_or_platform_scope(run.tenant_id):
        entry = AuditLog.objects.filter(
            resource_id=run.pk, resource_type=making.TABLE, action="REPORT_EXPORTED"
        ).order_by("id")
        details: Any = entry.values_list("details", flat=True).first()
    manifest = manifest_of(run.manifest)
    return Verdict(found, manifest.sha256 if manifest else "", str((details or {}).get("sha256", "")))


def write_now(
    *, report: Report, tenant: Tenant | None, asked: Asked, kind: str, out: BinaryIO, requested_by: User | None = None
) -> Manifest:
    """Make a report at once and copy it to ``out``. Returns its manifest. For the command line: no file is kept."""
    run = ReportRun(
        tenant=tenant, report=report.name, format=kind, params=asked.stored(report).to_json(), as_of=asked.as_of,
        requested_by=requested_by,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"report.{kind}"
        manifest = making.produce(run, path)
        with tenant_or_platform_scope(run.tenant_id):
            making.record_export(run, manifest)
        with path.open("rb") as made:
            shutil.copyfileobj(made, out)
    return manifest


def send_again(*, run: ReportRun) -> None:
    """Send a mail that failed, or that may have been sent, once more. Raises ``NotReady``."""
    with tenant_or_platform_scope(run.tenant_id):
        updated = ReportRun.objects.filter(
            pk=run.pk, mail_status__in=[MailStatus.FAILED, MailStatus.UNKNOWN], status=RunStatus.COMPLETED
        ).update(mail_status=MailStatus.WAITING, mail_attempt=0)
        if not updated:
            raise NotReady("This report has no mail that can be sent again.")
        _work_again(run)


def try_again(*, run: ReportRun) -> None:
    """Make a failed report again, counting attempts from zero. Raises ``NotReady``."""
    with tenant_or_platform_scope(run.tenant_id):
        updated = ReportRun.objects.filter(pk=run.pk, status=RunStatus.FAILED).update(
            status=RunStatus.PENDING, attempt=0, run_after=None, error=""
        )
        if not updated:
            raise NotReady("Only a failed report can be made again.")
        _work_again(run)


def _work_again(run: ReportRun) -> None:
    """Retry its parked job, or start another where it has ended."""
    job = job_of(run)
    if job is not None and job.is_open:
        operations.retry(tenant_id=run.tenant_id, operation_id=job.pk)
    else:
        _begin(run, key=f"report-{run.pk}-after-{run.operation_id}", by=run.requested_by)


def _begin(run: ReportRun, *, key: str, by: User | None) -> None:
    """Start the job of a run. Needs the scope of the run's owner.

    Everybody in a tenant sees its jobs, but few its reports: the job shows neither which one it is nor about whom.
    """
    job = operations.start(
        tenant_id=run.tenant_id,
        kind=making.KIND,
        title="Make a report",
        params={"run_id": str(run.pk)},
        requested_by=by,
        idempotency_key=key,
        subject_type="report",
        subject_id=run.pk,
    )
    ReportRun.objects.filter(pk=run.pk).update(operation_id=job.pk)
    run.operation_id = job.pk


# -- files ------------------------------------------------------------------------------------------------------------


def remove_old_files() -> int:
    """Remove files past their time and what killed workers left; manifests stay. Returns how many runs lost theirs."""
    limit = clock.now() - timedelta(days=settings.REPORT_FILES_DAYS)
    with platform_scope():
        old = list(
            ReportRun.objects.filter(ended_at__lt=limit).exclude(file_name="").values_list("pk", "tenant_id")[:AT_ONCE]
        )
    for run_id, tenant_id in old:
        with tenant_or_platform_scope(tenant_id):
            ReportRun.objects.filter(pk=run_id).update(file_name="")
    _sweep(limit)
    return len(old)


def _sweep(limit: datetime) -> None:
    """Remove files that no row names, once they are older than any that is kept."""
    root: Path = settings.REPORTS_ROOT
    for path in root.glob("*/*") if root.is_dir() else ():
        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < limit:
            path.unlink(missing_ok=True)
