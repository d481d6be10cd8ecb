"""Pages of an environment's executions: the list, reading it now, retrying what failed."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render

from core import clock
from core.errors import Invalid, OpsError
from core.htmx import is_partial
from core.support_rules import READS, READS_AND_WRITES, WRITES, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope
from workflows.models import Environment, Execution
from workflows.permissions import may_operate, require_operate
from workflows.selectors import environment_or_404

from . import counting, selectors, services
from .presenting import STATUSES, lines_of
from .statuses import FILTERS

PAGE_ROWS = 50
#: Hours that a person may go back with *retry all that failed*.
HOURS = ((1, "in the last hour"), (6, "in the last 6 hours"), (24, "in the last 24 hours"), (168, "in the last 7 days"))


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def executions(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """The executions of an environment, the newest first."""
    environment = environment_or_404(pk)
    status, q = request.GET.get("status", ""), request.GET.get("q", "")[:200]
    status = status if status in FILTERS else ""
    named = selectors.workflow_ids_named(pk, q) if q.strip() else None
    page = selectors.page(
        environment_id=pk, status=status, workflow_ids=named, cursor=request.GET.get("cursor", ""), limit=PAGE_ROWS
    )
    reading = selectors.reading(pk)
    operate = may_operate(visit, environment) and not environment.is_archived
    context = {
        "environment": environment,
        "lines": lines_of(environment, page.rows),
        "page": page,
        "status": status,
        "statuses": STATUSES if status in dict(STATUSES) else (*STATUSES, (status, status.capitalize())),
        "q": q,
        "filtered": bool(status or q.strip()),
        "reading": reading,
        "day": counting.totals(pk),
        "hours": HOURS,
        "may_operate": operate,
        "may_retry": operate and reading.can_retry is not False,
        "nav_section": "environments",
    }
    if is_partial(request):
        return render(request, "workflows/executions.html#list", context)
    return render(request, "workflows/executions.html", context | selectors.outcomes_by_day(pk))


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("POST",))
def read_now(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Have the executions read at once."""
    with tenant_scope(visit.tenant.pk):
        environment = environment_or_404(pk)
        require_operate(visit, environment)
    services.read_soon(tenant_id=visit.tenant.pk, environment_id=pk)
    messages.info(request, "The executions are being read.")
    return redirect("executions", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def retry(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Show what a retry would repeat; a POST starts it. By ``selected=…``, or by ``hours`` and ``workflow``."""
    given = request.POST if request.method == "POST" else request.GET
    with tenant_scope(visit.tenant.pk):
        environment = environment_or_404(pk)
        require_operate(visit, environment)
    wanted = _wanted(given)
    error: OpsError | None = None
    if request.method == "POST":
        try:
            return _begin(request, visit, environment, wanted)
        except OpsError as refused:
            error = refused
    with tenant_scope(visit.tenant.pk):
        found = _found(environment, wanted)
        context = {
            "environment": environment,
            "lines": lines_of(environment, found),
            "count": len(found),
            "at_most": services.RETRIES_AT_MOST,
            "error": error,
            "hidden": _as_fields(wanted),
            "since": wanted["since"],
            "reading": selectors.reading(pk),
            "nav_section": "environments",
        }
    return render(request, "workflows/executions_retry.html", context, status=error.status if error else 200)


def _wanted(given: QueryDict) -> dict[str, Any]:
    chosen = list(dict.fromkeys(given.getlist("selected")))[: services.RETRIES_AT_MOST + 1]
    since: datetime | None = None
    if not chosen:
        try:
            # Fixed when the list was drawn, so that what is confirmed is what was seen.
            since = datetime.fromisoformat(given.get("since", "")) if given.get("since") else None
            hours = int(given.get("hours") or 0)
        except ValueError as error:
            raise Invalid("That is no moment.") from error
        if since is None and hours in dict(HOURS):
            since = clock.now() - timedelta(hours=hours)
        if since is None or since.tzinfo is None:
            raise Invalid("Nothing was chosen.", recovery="Select executions, or say since when.")
    return {"executions": chosen, "since": since, "workflow": given.get("workflow", "")[:200] if since else ""}


def _as_fields(wanted: dict[str, Any]) -> list[tuple[str, str]]:
    if wanted["since"] is None:
        return [("selected", execution_id) for execution_id in wanted["executions"]]
    return [("since", wanted["since"].isoformat()), ("workflow", wanted["workflow"])]


def _found(environment: Environment, wanted: dict[str, Any]) -> list[Execution]:
    try:
        rows = services.retriable(environment, **wanted)
    except OpsError:
        return []
    return list(rows.order_by("-number")[: services.RETRIES_AT_MOST + 1])


def _begin(request: HttpRequest, visit: Visit, environment: Environment, wanted: dict[str, Any]) -> HttpResponse:
    if environment.is_production and request.POST.get("typed", "").strip() != environment.name:
        raise Invalid("The name that was typed is not the environment's.", recovery="Type the name as it is shown.")
    operation = services.start_retry(
        tenant_id=visit.tenant.pk, environment_id=environment.pk, requested_by=visit.user, **wanted
    )
    messages.success(request, "The executions are being retried.")
    return redirect("job", tenant_slug=visit.tenant.slug, pk=operation.pk)
