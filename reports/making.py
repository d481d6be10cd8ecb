"""One run from claim to file: taken by compare-and-set, kept by a heartbeat, concluded only by whoever still holds it.

A report reads and writes a file of its own, so it is simply made again after a crash. What must not happen twice, the
mail, is in ``mailing``.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F, Q

from audit.models import Seal
from audit.services import record_event
from core import clock, context
from core.errors import OpsError
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope

from . import files, formats
from .definitions import Asked, Report, report_named
from .models import MailStatus, ReportRun, RunStatus

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 4
RETRY_DELAYS_SECONDS = (5, 60, 600)
TABLE = "report_runs"


class Lost(RuntimeError):
    """Another worker has this run now."""


@contextmanager
def reading_scope(tenant_id: uuid.UUID | None) -> Iterator[None]:
    """The role that a report reads with: a tenant's rows, or for the platform everybody's. It can only SELECT."""
    with tenant_scope(tenant_id, read_only=True) if tenant_id else platform_scope(read_only=True):
        yield


@contextmanager
def place_scope(tenant_id: uuid.UUID | None) -> Iterator[None]:
    """The scope in which a run's own row is read and written."""
    with tenant_scope(tenant_id) if tenant_id else platform_scope():
        yield


def claim(run_id: uuid.UUID) -> ReportRun | None:
    """Take a run that waits, or whose worker is gone; None if there is nothing to take. Counts the attempt first."""
    now = clock.now()
    waiting = Q(status__in=[RunStatus.PENDING, RunStatus.RETRY_PENDING]) & (Q(run_after=None) | Q(run_after__lte=now))
    orphaned = Q(status=RunStatus.RUNNING, lease_expires_at__lt=now)
    with platform_scope():
        free = ReportRun.objects.filter(waiting | orphaned, pk=run_id)
        if free.filter(attempt__gte=MAX_ATTEMPTS).update(
            status=RunStatus.FAILED, error="Its workers were lost again and again.", ended_at=now
        ):
            return None
        taken = free.update(
            status=RunStatus.RUNNING,
            fence=F("fence") + 1,
            attempt=F("attempt") + 1,
            lease_expires_at=now + timedelta(seconds=settings.LEASE_SECONDS),
            started_at=now,
            progress_done=0,
        )
        return ReportRun.objects.select_related("tenant", "requested_by").get(pk=run_id) if taken else None


def make(run_id: uuid.UUID) -> ReportRun | None:
    """Make the file of a run that is free to be taken; the run as it stands afterwards."""
    run = claim(run_id)
    if run is None:
        return None
    token = context.set_current(replace(context.ActionContext.from_dict(run.context), source="task"))
    heart = _Heart(run)
    heart.start()
    try:
        _carry_out(run, heart)
    finally:
        heart.stop()
        context.reset(token)
    with platform_scope():
        return ReportRun.objects.get(pk=run_id)


def _carry_out(run: ReportRun, heart: _Heart) -> None:
    name = f"{run.pk}-{run.fence}.{run.format}"
    part, path = files.path_of(run.tenant_id, f"{name}.part"), files.path_of(run.tenant_id, name)
    try:
        manifest = produce(run, part, told=heart.told)
        part.rename(path)
        _conclude(run, name, manifest)
    except Lost:
        path.unlink(missing_ok=True)
    except OpsError as error:
        _fail(run, error.message, again=False)
    except Exception as error:
        logger.exception("report could not be made", extra={"report_run": str(run.pk)})
        _fail(run, f"Unexpected: {type(error).__name__}", again=True)
    finally:
        part.unlink(missing_ok=True)


def produce(run: ReportRun, path: Path, *, told: formats.Told = lambda _count: None) -> dict[str, Any]:
    """Write the rows of a run to ``path``; its manifest."""
    report = report_named(run.report)
    asked = Asked.from_dict(run.params, run.as_of)
    place = run.tenant.slug if run.tenant else ""
    path.touch(mode=0o600)
    with reading_scope(run.tenant_id):
        values = formats.query_values(asked, platform=run.tenant_id is None) | ({"tenant": place} if place else {})
        seal = last_seal()
        rows = formats.write(report, values, run.format, path, title=title_of(report, run.tenant), told=told)
    return manifest_of(run, report, asked, rows=rows, path=path, seal=seal)


def title_of(report: Report, tenant: Tenant | None) -> str:
    return f"{report.title}: {tenant.name if tenant else 'the whole platform'}"


def last_seal() -> dict[str, Any] | None:
    """The newest seal of the trail: what was sealed up to here cannot have been changed since unnoticed."""
    seal = Seal.objects.order_by("-number").values("number", "chain", "sealed_at").first()
    return {**seal, "sealed_at": seal["sealed_at"].isoformat()} if seal else None


def manifest_of(
    run: ReportRun, report: Report, asked: Asked, *, rows: int, path: Path, seal: dict[str, Any] | None
) -> dict[str, Any]:
    """What stands beside the file: enough to ask again and to prove that the bytes are the ones that were made."""
    by = run.requested_by
    return {
        "run": str(run.pk),
        "report": report.name,
        "title": title_of(report, run.tenant),
        "tenant": {"id": str(run.tenant.pk), "slug": run.tenant.slug} if run.tenant else None,
        "parameters": asked.to_dict(report),
        "as_of": run.as_of.isoformat(),
        "format": run.format,
        "columns": [column.name for column in report.columns],
        "made_at": clock.now().isoformat(),
        "made_by": {"id": str(by.pk), "email": by.email} if by else None,
        "schedule": str(run.schedule_id) if run.schedule_id else None,
        "rows": rows,
        "bytes": path.stat().st_size,
        "sha256": files.digest_of(path),
        "trail_seal": seal,
    }


def record_export(run: ReportRun, manifest: dict[str, Any]) -> None:
    """The event that keeps the file's hash where nobody can change it. Needs the place's scope."""
    kept = ("report", "parameters", "as_of", "format", "rows", "bytes", "sha256", "schedule", "trail_seal")
    record_event(
        action="REPORT_EXPORTED",
        resource_type=TABLE,
        resource_id=run.pk,
        tenant_id=run.tenant_id,
        name=manifest["title"],
        details={name: manifest[name] for name in kept},
    )


def _held(run: ReportRun, **changes: Any) -> None:
    if not ReportRun.objects.filter(pk=run.pk, fence=run.fence, status=RunStatus.RUNNING).update(**changes):
        raise Lost


def _conclude(run: ReportRun, name: str, manifest: dict[str, Any]) -> None:
    with place_scope(run.tenant_id):
        _held(
            run,
            status=RunStatus.COMPLETED,
            error="",
            lease_expires_at=None,
            ended_at=clock.now(),
            rows=manifest["rows"],
            progress_done=manifest["rows"],
            size_bytes=manifest["bytes"],
            sha256=manifest["sha256"],
            file_name=name,
            manifest=manifest,
            mail_status=MailStatus.WAITING if run.mail_to else MailStatus.NONE,
        )
        record_export(run, manifest)


def _fail(run: ReportRun, message: str, *, again: bool) -> None:
    now = clock.now()
    changes: dict[str, Any] = {"status": RunStatus.FAILED, "ended_at": now}
    if again and run.attempt < MAX_ATTEMPTS:
        delay = RETRY_DELAYS_SECONDS[min(run.attempt, len(RETRY_DELAYS_SECONDS)) - 1]
        changes = {"status": RunStatus.RETRY_PENDING, "run_after": now + timedelta(seconds=delay)}
    try:
        with place_scope(run.tenant_id):
            _held(run, error=message[:500], lease_expires_at=None, **changes)
    except Lost:
        return


class _Heart(threading.Thread):
    """Renews the lease beside the work, on a connection of its own, and says how far it is."""

    def __init__(self, run: ReportRun) -> None:
        super().__init__(name=f"report-{run.pk}", daemon=True)
        self._run, self._rows = run, 0
        self._lost, self._ended = threading.Event(), threading.Event()

    def told(self, rows: int) -> None:
        """Hear of the rows so far; raises ``Lost`` once somebody else has the run."""
        self._rows = rows
        if self._lost.is_set():
            raise Lost

    def run(self) -> None:
        try:
            while not self._ended.wait(settings.LEASE_SECONDS / 3):
                try:
                    self._beat()
                except Lost:
                    self._lost.set()
                    return
                except Exception:
                    logger.warning("a report's heartbeat failed", exc_info=True)
                    connection.close()
        finally:
            connection.close()

    def _beat(self) -> None:
        with context.acting(source="system"), place_scope(self._run.tenant_id):
            until = clock.now() + timedelta(seconds=settings.LEASE_SECONDS)
            _held(self._run, lease_expires_at=until, progress_done=self._rows)

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=10)
