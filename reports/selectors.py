"""Reads about reports: of one tenant, or of the platform where ``tenant_id`` is None."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import DatabaseError, connection, transaction

from core.paging import Page, by_time
from core.reports import Report
from tenants.base import belongs_to

from . import formats
from .definitions import Asked
from .errors import TooSlow
from .making import reading_scope
from .models import ReportRun, ReportSchedule

PREVIEW_ROWS = 20
PREVIEW_TIMEOUT_MS = 5_000


def list_runs(*, tenant_id: uuid.UUID | None, report: str = "", cursor: str = "", limit: int = 50) -> Page:
    """Runs of a tenant or of the platform, newest first."""
    rows = ReportRun.objects.select_related("requested_by", "schedule").filter(belongs_to(tenant_id))
    if report:
        rows = rows.filter(report=report)
    return by_time(rows, cursor=cursor, limit=limit)


def list_schedules(*, tenant_id: uuid.UUID | None) -> list[ReportSchedule]:
    """Schedules of a tenant or of the platform, at most 100."""
    rows = ReportSchedule.objects.select_related("created_by", "timer").filter(belongs_to(tenant_id))
    return list(rows.order_by("report", "created_at", "pk")[:100])


def preview(report: Report, asked: Asked, *, tenant_id: uuid.UUID | None, slug: str = "") -> list[tuple[Any, ...]]:
    """The first ``PREVIEW_ROWS`` rows, in a scope of its own. Raises ``TooSlow`` after ``PREVIEW_TIMEOUT_MS``."""
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
