"""Reads about reports. The scope decides whose; the platform's pages show the platform's own runs only."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import DatabaseError, connection, transaction

from core.paging import Page, by_time
from core.reports import Report
from tenants.base import of_place

from . import formats
from .definitions import Asked
from .errors import TooSlow
from .making import reading_scope
from .models import ReportRun, ReportSchedule

PREVIEW_ROWS = 20
PREVIEW_TIMEOUT_MS = 5_000


def list_runs(*, tenant_id: uuid.UUID | None, report: str = "", cursor: str = "", limit: int = 50) -> Page:
    """Runs of one place, newest first."""
    rows = ReportRun.objects.select_related("requested_by", "schedule").filter(of_place(tenant_id))
    if report:
        rows = rows.filter(report=report)
    return by_time(rows, cursor=cursor, limit=limit)


def list_schedules(*, tenant_id: uuid.UUID | None) -> list[ReportSchedule]:
    """Schedules of one place (at most 100)."""
    rows = ReportSchedule.objects.select_related("created_by", "timer").filter(of_place(tenant_id))
    return list(rows.order_by("report", "created_at", "pk")[:100])


def preview(report: Report, asked: Asked, *, tenant_id: uuid.UUID | None, slug: str = "") -> list[tuple[Any, ...]]:
    """The first rows, in a scope of its own; raises ``TooSlow`` rather than hold a page up."""
    with reading_scope(tenant_id):
        values = formats.query_values(asked, platform=tenant_id is None) | ({"tenant": slug} if slug else {})
        try:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(PREVIEW_TIMEOUT_MS)])
                return list(formats.rows_of(report, values, limit=PREVIEW_ROWS))
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", "") == "57014":
                raise TooSlow from error
            raise


def report_row(report: Report) -> dict[str, Any]:
    """JSON-able facts about a definition."""
    return {
        "name": report.name,
        "title": report.title,
        "answers": report.answers,
        "note": report.note,
        "has_period": report.has_period,
        "columns": [{"name": c.name, "label": c.label, "type": c.kind} for c in report.columns],
    }


def run_row(run: ReportRun) -> dict[str, Any]:
    """JSON-able facts about a run."""
    return {
        "id": run.pk,
        "report": run.report,
        "tenant_id": run.tenant_id,
        "format": run.format,
        "status": run.status,
        "error": run.error,
        "parameters": run.params,
        "as_of": run.as_of,
        "rows": run.rows if run.rows is not None else run.progress_done,
        "bytes": run.size_bytes,
        "sha256": run.sha256,
        "has_file": bool(run.file_name),
        "manifest": run.manifest,
        "mail": {"status": run.mail_status, "to": run.mail_to, "note": run.mail_note} if run.mail_to else None,
        "requested_by": run.requested_by.email if run.requested_by else None,
        "schedule_id": run.schedule_id,
        "operation_id": run.operation_id,
        "created_at": run.created_at,
        "ended_at": run.ended_at,
    }
