"""Pages of jobs: the tenant's, one's own, all of them, and one with its steps."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from core.errors import NotFound
from core.support_rules import LEAVES, READS, WRITES, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, platform_page, tenant_page
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.scope import tenant_scope

from . import events, presenters, selectors, services
from .handlers import result_template
from .models import Operation

TABS = (("", "All"), ("open", "Open"), ("parked", "Parked"), ("failed", "Failed"), ("completed", "Completed"))


def _filters(request: HttpRequest) -> dict[str, Any]:
    return {"state": request.GET.get("state", ""), "cursor": request.GET.get("cursor", "")}


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def jobs(request: HttpRequest, visit: Visit) -> HttpResponse:
    """The tenant's jobs, newest first."""
    mine = request.GET.get("mine") == "1"
    page = selectors.list_operations(**_filters(request), mine=visit.user.pk if mine else None)
    counts = selectors.status_counts()
    context = {"page": page, "tabs": TABS, "state": request.GET.get("state", ""), "mine": mine, "counts": counts}
    return render(request, "operations/jobs.html", {**context, "nav_section": "jobs"})


@in_support_session(LEAVES)
@platform_page()
def platform_jobs(request: HttpRequest) -> HttpResponse:
    """Every tenant's jobs for platform admins; for others their own, where they still belong."""
    user = person_of(request)
    admin = is_platform_admin(user)
    own: dict[str, Any] = (
        {} if admin else {"mine": user.pk, "tenant_ids": list(user.memberships.values_list("tenant_id", flat=True))}
    )
    page = selectors.list_operations(**_filters(request), **own)
    counts = selectors.status_counts() if admin else {}
    context = {"page": page, "tabs": TABS, "state": request.GET.get("state", ""), "counts": counts}
    return render(request, "operations/jobs.html", {**context, "nav_section": "platform-jobs", "everywhere": True})


def job_context(operation: Operation, visit: Visit) -> dict[str, Any]:
    """What the page and its live part show; needs the tenant's scope."""
    steps, hidden = presenters.open_steps_first(list(operation.steps.all()), selectors.STEPS_SHOWN)
    return {
        "operation": operation,
        "steps": presenters.step_rows(steps),
        "hidden_steps": hidden,
        "pace": presenters.pace(operation),
        "result_template": result_template(operation.kind) if operation.result else "",
        "subject_url": presenters.subject_url(operation, visit.tenant.slug),
        "may_operate": visit.may(Grants.OPERATE),
    }


def _operation(pk: uuid.UUID) -> Operation:
    operation = Operation.objects.select_related("requested_by", "cancel_requested_by").filter(pk=pk).first()
    if operation is None:
        raise NotFound
    return operation


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def job(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """One job: progress, steps, result; the record once it has ended."""
    context = job_context(_operation(pk), visit)
    name = "operations/job.html#live" if request.GET.get("part") == "live" else "operations/job.html"
    return render(request, name, {**context, "nav_section": "jobs"})


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("POST",))
def job_cancel(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    services.cancel(tenant_id=visit.tenant.pk, operation_id=pk, by=visit.user)
    messages.success(request, "The job was asked to stop; what it had begun is being put back.")
    return redirect("job", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("POST",))
def job_retry(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    services.retry(tenant_id=visit.tenant.pk, operation_id=pk)
    messages.success(request, "The job tries again.")
    return redirect("job", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("POST",))
def job_give_up(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    reason = request.POST.get("reason", "")
    services.give_up(tenant_id=visit.tenant.pk, operation_id=pk, by=visit.user, reason=reason)
    messages.success(request, "The job was given up.")
    return redirect("job", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(READS)
async def job_events(request: HttpRequest, tenant_slug: str, pk: uuid.UUID) -> HttpResponseBase:
    """News of one job as server-sent events, for as long as the person may see it."""
    last_id = request.headers.get("Last-Event-ID", "")

    def begin(visit: Visit) -> Callable[[], list[events.Event]]:
        with tenant_scope(visit.tenant.pk):
            if not Operation.objects.filter(pk=pk).exists():
                raise NotFound
        return events.operation_poll(tenant_id=visit.tenant.pk, operation_id=pk, last_id=last_id)

    return await events.tenant_stream(request, tenant_slug, begin)
