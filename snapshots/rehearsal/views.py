"""Pages of rehearsals: those of an environment, with the form that starts one, and one report."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render

from core.errors import Invalid, OpsError
from core.support_rules import NEVER, READS, READS_AND_WRITES, in_support_session
from core.swaps import live_page
from operations.errors import Busy
from operations.models import Operation
from snapshots.models import Rehearsal
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.gateway import environment_by_id
from workflows.permissions import may_operate, require_operate

from . import selectors, services
from .documents import OUTCOMES, Report, report_from
from .errors import NothingToRehearse

SHOWN = 500
RULES = {
    "node_type": "Node type or version not there",
    "start_removed": "Start node",
    "environment_blocked": "Environment variables",
    "pyodide_removed": "Python in the Code node",
    "files_restricted": "Files",
    "callee_not_published": "Calls what is not published",
    "waiting_callee": "Calls what waits",
    "handler_not_published": "Error workflow not published",
    "not_published_by_n8n": "Not published by the upgrade",
    "awakened": "Begins to run by the upgrade",
    "triggers_switched_off": "Triggers switched off by the upgrade",
}
#: Offered in the form; any other version can be typed.
OFFERED = ("2.41.1", "2.0.3", "1.123.0")


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def rehearsals(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Rehearsals of an environment, and the form that starts another."""
    environment = environment_by_id(visit.tenant.pk, pk)
    error: OpsError | None = None
    if request.method == "POST":
        require_operate(visit, environment)
        try:
            made, _ = services.start_rehearsal(
                tenant_id=visit.tenant.pk,
                environment_id=pk,
                version=request.POST.get("version", ""),
                fresh=request.POST.get("fresh") == "on",
                requested_by=visit.user,
            )
        except (Invalid, Busy, NothingToRehearse) as refused:
            error = refused
        else:
            messages.info(request, "The rehearsal is under way; this page shows how it ends.")
            return redirect("rehearsal", tenant_slug=visit.tenant.slug, pk=made.pk)
    with tenant_scope(visit.tenant.pk):
        page = selectors.page(pk, cursor=request.GET.get("cursor", ""))
        ids = [row.operation_id for row in page.rows]
        operations = {op.pk: op for op in Operation.objects.filter(pk__in=ids).defer("params")}
        context = {
            "environment": environment,
            "page": page,
            "rows": [{"rehearsal": row, "operation": operations.get(row.operation_id)} for row in page.rows],
            "may_operate": may_operate(visit, environment),
            "offered": OFFERED,
            "submitted": request.POST,
            "error": error,
            "nav_section": "environments",
        }
        return render(request, "snapshots/rehearsals.html", context, status=error.status if error else 200)


@in_support_session(READS)
@tenant_page(Grants.VIEW, scope=False)
def rehearsal(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """What a rehearsal found, workflow by workflow."""
    found = services.rehearsal_by_id(visit.tenant.pk, pk)
    with tenant_scope(visit.tenant.pk):
        operation = Operation.objects.filter(pk=found.operation_id).first() if found.operation_id else None
        context = _context(request, found, operation)
        return live_page(request, "snapshots/rehearsal.html", context, goes_on=context["watching"])


def _context(request: HttpRequest, found: Rehearsal, operation: Operation | None) -> dict[str, Any]:
    report = report_from(found.report)
    asked = {name: request.GET.get(name, "") for name in ("outcome", "rule", "q")}
    shown = _shown(report, asked) if report is not None else {"rows": [], "left_out": 0, "counts": [], "rules": []}
    return {
        "rehearsal": found,
        "environment": found.environment,
        "report": report,
        "operation": operation,
        "watching": bool(operation and operation.is_open),
        "outcomes": list(OUTCOMES.items()),
        "filters": asked,
        "filtered": any(asked.values()),
        "nav_section": "environments",
        **shown,
    }


def _shown(report: Report, filters: dict[str, str]) -> dict[str, Any]:
    """The rows of a report that fit the filters, and what can be filtered by."""
    rows, counts = selectors.shown(report, **filters), report.counts()
    rules = {finding.rule for workflow in report.workflows for finding in workflow.findings}
    return {
        "rows": [{"workflow": row, "outcome": OUTCOMES[row.outcome]} for row in rows[:SHOWN]],
        "left_out": max(len(rows) - SHOWN, 0),
        "counts": [(name, label, counts[name]) for name, label in OUTCOMES.items() if name != "not_tried"],
        "rules": [(name, label) for name, label in RULES.items() if name in rules],
    }


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, scope=False)
def rehearsal_csv(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse | StreamingHttpResponse:
    """The report as a file for a spreadsheet."""
    found = services.rehearsal_by_id(visit.tenant.pk, pk)
    report = report_from(found.report)
    if report is None:
        return redirect("rehearsal", tenant_slug=visit.tenant.slug, pk=pk)
    answer = StreamingHttpResponse(selectors.as_csv(report), content_type="text/csv; charset=utf-8")
    name = f"rehearsal-{found.environment.slug}-{found.version}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer
