"""The page on which a workflow is tested without being run."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.errors import OpsError
from core.support_rules import READS_AND_WRITES, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.scope import tenant_scope

from . import selectors, trying
from .executions.statuses import FAILED
from .models import WorkflowEnvMap
from .permissions import require_operate

_SUMMARIES = {
    "passed": "Everything that it needs is there and works.",
    "failed": "Something that it needs is missing or does not work.",
    "incomplete": "Nothing wrong was found; not everything could be tested.",
}


@in_support_session(READS_AND_WRITES)
@tenant_page(Grants.VIEW, scope=False, methods=("GET", "HEAD", "POST"))
def workflow_test(request: HttpRequest, visit: Visit, pk: uuid.UUID, key: str) -> HttpResponse:
    """What a test would try; a POST tries it now and shows what was found. Nothing runs, nothing is kept."""
    with tenant_scope(visit.tenant.pk):
        environment = selectors.environment_or_404(pk)
        workflow = selectors.workflow_or_404(key)
        place = trying.place_of(workflow.pk, environment.pk)
    require_operate(visit, environment)
    context: dict[str, Any] = {"workflow": workflow, "environment": environment, "nav_section": "tenant-home"}
    if request.method == "POST":
        context |= _tried(place)
    return render(request, "workflows/workflow_test.html", context)


def _tried(place: WorkflowEnvMap) -> dict[str, Any]:
    """What was found, the worst first; or why n8n could not be asked."""
    runs = trying.last_runs(place.environment, place.env_workflow_id)
    try:
        trials = trying.try_out(place)
    except OpsError as error:
        return {"error": error}
    order = ("failed", "not_possible", "passed")
    return {
        "trials": sorted(trials, key=lambda trial: order.index(trial.verdict)),
        "summary": _SUMMARIES[trying.verdict_of(trials)],
        "failed_run": runs[0] if runs and runs[0].status in FAILED else None,
    }
