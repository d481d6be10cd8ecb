"""The file of a run: written under a temporary name, and renamed by the worker that still holds the job.

That the file is there, its manifest and the trail's entry are committed together, by the job's fence. What a killed
worker left is removed before the file is made again. The mail, which must not be sent twice, is in ``mailing``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audit.models import Seal
from audit.services import record_event
from core import clock
from core.reports import Report
from operations.effects import Effect, ProbeResult
from operations.errors import Interrupted
from operations.run import Run
from tenants.models import Tenant
from tenants.scope import tenant_or_platform_scope

from . import files, formats
from .definitions import Asked, report_named
from .documents import Manifest, ManifestPerson, ManifestTenant, TrailSeal, parameters_of
from .models import MailStatus, ReportRun, RunStatus

KIND = "reports.make"
FILE_STEP = "file"
TABLE = "report_runs"


@contextmanager
def reading_scope(tenant_id: uuid.UUID | None) -> Iterator[None]:
    """The role that a report reads with: a tenant's rows, or for the platform everybody's. It can only SELECT."""
    with tenant_or_platform_scope(tenant_id, read_only=True):
        yield


def file_effect(run: Run, record: ReportRun) -> Effect:
    """Making the file, as a step: done where its manifest is committed."""

    def look(_intent: dict[str, Any]) -> ProbeResult:
        with tenant_or_platform_scope(record.tenant_id):
            found = ReportRun.objects.get(pk=record.pk)
        return ProbeResult.done(facts_of(found)) if found.status == RunStatus.COMPLETED else ProbeResult.not_done()

    return Effect(FILE_STEP, "Write the file", {"format": record.format}, lambda: _make(run, record), look)


def _make(run: Run, record: ReportRun) -> dict[str, Any]:
    name = f"{record.pk}-{run.operation.fence}.{record.format}"
    with run.fenced():
        # A worker that lost the job must not remove what the next one made.
        files.forget(record.tenant_id, f"{record.pk}-")
    part, path = files.path_of(record.tenant_id, f"{name}.part"), files.path_of(record.tenant_id, name)

    def on_progress(rows: int) -> None:
        run.progress(rows, 0, _rows(rows))
        run.check()

    try:
        manifest = produce(record, part, on_progress=on_progress)
        part.rename(path)
        with run.fenced():
            _conclude(record, name, manifest)
        run.progress(manifest.rows, manifest.rows, _rows(manifest.rows))
    except Interrupted:
        # The worker that has the job now makes a file of another name.
        path.unlink(missing_ok=True)
        raise
    finally:
        part.unlink(missing_ok=True)
    return facts_of(record)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _conclude(record: ReportRun, name: str, manifest: Manifest) -> None:
    record.status, record.error, record.ended_at = RunStatus.COMPLETED, "", clock.now()
    record.rows = record.progress_done = manifest.rows
    record.size_bytes, record.sha256 = manifest.bytes, manifest.sha256
    record.file_name, record.manifest = name, manifest.to_json()
    record.mail_status = MailStatus.WAITING if record.mail_to else MailStatus.NONE
    record.save(update_fields=CONCLUDED)
    record_export(record, manifest)


CONCLUDED = (
    "status", "error", "ended_at", "rows", "progress_done", "size_bytes", "sha256", "file_name", "manifest",
    "mail_status",
)  # fmt: skip


def facts_of(record: ReportRun) -> dict[str, Any]:
    """The job's result. Everybody who sees jobs sees it, so it holds neither names nor which report it is."""
    return {"rows": record.rows, "bytes": record.size_bytes, "sha256": record.sha256}


def produce(run: ReportRun, path: Path, *, on_progress: formats.OnProgress = lambda _rows: None) -> Manifest:
    """Write the rows of a run to ``path``. ``on_progress`` gets the number of rows so far and may raise to stop."""
    report = report_named(run.report)
    asked = Asked.of(parameters_of(run.params), run.as_of)
    own_tenant = {"tenant": run.tenant.slug} if run.tenant else {}
    path.touch(mode=0o600)
    with reading_scope(run.tenant_id):
        values = formats.query_values(asked, platform=run.tenant_id is None) | own_tenant
        seal = last_seal()
        rows = formats.write(
            report, values, run.format, path, title=title_of(report, run.tenant), on_progress=on_progress
        )
    return manifest_of(run, report, asked, rows=rows, path=path, seal=seal)


def title_of(report: Report, tenant: Tenant | None) -> str:
    return f"{report.title}: {tenant.name if tenant else 'the platform'}"


def last_seal() -> TrailSeal | None:
    """The newest seal of the trail."""
    seal = Seal.objects.order_by("-number").first()
    return TrailSeal(number=seal.number, chain=seal.chain, sealed_at=seal.sealed_at.isoformat()) if seal else None


def manifest_of(
    run: ReportRun, report: Report, asked: Asked, *, rows: int, path: Path, seal: TrailSeal | None
) -> Manifest:
    """The manifest of the file at ``path``."""
    by = run.requested_by
    return Manifest(
        run=str(run.pk),
        report=report.name,
        title=title_of(report, run.tenant),
        tenant=ManifestTenant(id=str(run.tenant.pk), slug=run.tenant.slug) if run.tenant else None,
        parameters=asked.stored(report),
        as_of=run.as_of.isoformat(),
        format=run.format,
        columns=[column.name for column in report.columns],
        made_at=clock.now().isoformat(),
        made_by=ManifestPerson(id=str(by.pk), email=by.email) if by else None,
        schedule=str(run.schedule_id) if run.schedule_id else None,
        rows=rows,
        bytes=path.stat().st_size,
        sha256=files.digest_of(path),
        trail_seal=seal,
    )


def record_export(run: ReportRun, manifest: Manifest) -> None:
    """The event that keeps the file's hash where nobody can change it. Needs the scope of the run's owner."""
    kept = ("report", "parameters", "as_of", "format", "rows", "bytes", "sha256", "schedule", "trail_seal")
    details = manifest.to_json()
    record_event(
        action="REPORT_EXPORTED",
        resource_type=TABLE,
        resource_id=run.pk,
        tenant_id=run.tenant_id,
        name=manifest.title,
        details={name: details[name] for name in kept},
    )
