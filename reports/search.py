"""Reports that can be made, and those that were made, for the command bar."""

from __future__ import annotations

from django.db.models import QuerySet

from core.declarations import SearchRow, SearchScope
from core.ids import uuid_or_none
from core.search import EACH, page_of_place
from tenants.base import belongs_to

from .definitions import all_reports
from .models import ReportRun


def reports(q: str, scope: SearchScope) -> list[SearchRow]:
    """By words of their titles; of those that were made, the newest."""
    if not scope.sees_trail:
        return []
    words = q.lower().split()
    titles = {r.name: r.title for r in all_reports() if all(word in r.title.lower() for word in words)}
    made = _runs(scope).filter(report__in=list(titles)).order_by("-created_at", "-pk")
    offered: list[SearchRow] = [
        {
            "title": title,
            "hint": "report",
            "url": page_of_place(scope, "report", name=name),
            "symbol": "document-chart-bar",
        }
        for name, title in titles.items()
    ]
    return offered + [_row(run, titles[run.report], scope) for run in made[: EACH // 2]]


def run_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    wanted = uuid_or_none(q)
    run = _runs(scope).filter(pk=wanted).first() if wanted and scope.sees_trail else None
    titles = {report.name: report.title for report in all_reports()}
    return [_row(run, titles.get(run.report, run.report), scope)] if run else []


def _runs(scope: SearchScope) -> QuerySet[ReportRun]:
    return ReportRun.objects.filter(belongs_to(scope.tenant_id))


def _row(run: ReportRun, title: str, scope: SearchScope) -> SearchRow:
    return {
        "title": title,
        "hint": f"made {run.created_at:%d %b %Y}, {run.get_format_display()}",
        "url": page_of_place(scope, "report-run", pk=run.pk),
        "state": run.status,
    }
