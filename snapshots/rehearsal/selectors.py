"""Reads about rehearsals. All need the tenant's scope."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterator
from typing import Any

from core.paging import Page, by_time
from core.spreadsheets import FORMULA_STARTS
from snapshots.models import Rehearsal

from .documents import OUTCOMES, Rehearsed, Report, report_from

COLUMNS = ("workflow_key", "workflow_name", "active", "outcome", "kind", "rule", "node", "sentence", "way_out")


def page(environment_id: uuid.UUID, *, cursor: str = "", limit: int = 50) -> Page:
    """Rehearsals of an environment, newest first, without their reports."""
    rows = Rehearsal.objects.select_related("environment").defer("report").filter(environment_id=environment_id)
    return by_time(rows, cursor=cursor, limit=limit)


def shown(report: Report, *, outcome: str = "", rule: str = "", q: str = "") -> list[Rehearsed]:
    """The workflows of a report that fit the filters: the refused first, then by name."""
    order, wanted = list(OUTCOMES), q.strip().lower()
    rows = [
        workflow
        for workflow in report.workflows
        if (not outcome or workflow.outcome == outcome)
        and (not rule or any(finding.rule == rule for finding in workflow.findings))
        and (not wanted or wanted in workflow.name.lower() or wanted in workflow.key)
    ]
    return sorted(rows, key=lambda w: (order.index(w.outcome), not w.active, w.name.lower()))


def rehearsal_row(rehearsal: Rehearsal, *, whole: bool = False) -> dict[str, Any]:
    """JSON-able facts for the API; ``whole`` adds the report."""
    row: dict[str, Any] = {
        "id": str(rehearsal.pk),
        "environment_id": str(rehearsal.environment_id),
        "version": rehearsal.version,
        "snapshot_id": str(rehearsal.snapshot_id) if rehearsal.snapshot_id else None,
        "operation_id": str(rehearsal.operation_id) if rehearsal.operation_id else None,
        "created_at": rehearsal.created_at,
        "finished_at": rehearsal.finished_at,
    }
    if whole:
        report = report_from(rehearsal.report)
        row["counts"] = report.counts() if report is not None else None
        row["report"] = report.to_dict() if report is not None else None
    return row


def as_csv(report: Report) -> Iterator[str]:
    """One line for each reason, at least one for each workflow."""
    yield _line(COLUMNS)
    for workflow in shown(report):
        common = (workflow.key, workflow.name, "yes" if workflow.active else "no", workflow.outcome)
        lines: list[tuple[str, str, str, str, str]] = []
        if workflow.said:
            lines.append(("refused", "", "", workflow.said, ""))
        lines += [("differs", f.rule, f.node, f.sentence, f.way_out) for f in workflow.findings]
        lines += [("changed", "", "", sentence, "") for sentence in workflow.changes]
        for line in lines or [("", "", "", "", "")]:
            yield _line((*common, *line))


def _line(values: tuple[str, ...]) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow([f"'{v}" if v.startswith(tuple(FORMULA_STARTS)) else v for v in values])
    return buffer.getvalue()
