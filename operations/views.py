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
from core.swaps import live_page
from tenants.base import belongs_to
from tenants.models import Grants
from tenants.pages import Visit, may_open, platform_page, tenant_page
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.scope import tenant_scope

from . import admission, events, presenters, selectors, services
from .handlers import result_template
from .models import Operation
from .pace import pace
from .summaries import summary_of

TABS = (("", "All"), ("open", "Open"), ("parked", "Parked"), ("failed", "Failed"), ("completed", "Completed"))
DONE = {
    "cancel": "The job was asked to stop; what it had begun is being put back.",
    "retry": "The job tries again.",
    "give-up": "The job was given up.",
}


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
    admission.tell_why_waiting(page.rows)
    return render(request, "operations/jobs.html", {**context, "nav_section": "jobs"})


@in_support_session(LEAVES)
@platform_page()
def platform_jobs(request: HttpRequest) -> HttpResponse:
    """Every tenant's jobs and the platform's own for platform admins; for others their own, where they still belong."""
    user = person_of(request)
    admin = is_platform_admin(user)
    own: dict[str, Any] = (
        {} if admin else {"mine": user.pk, "tenant_ids": list(user.memberships.values_list("tenant_id", flat=True))}
    )
    page = selectors.list_operations(**_filters(request), **own)
    counts = selectors.status_counts() if admin else {}
    context = {"page": page, "tabs": TABS, "state": request.GET.get("state", ""), "counts": counts}
    admission.tell_why_waiting(page.rows)
    return render(request, "operations/jobs.html", {**context, "nav_section": "platform-jobs", "everywhere": True})


def job_context(operation: Operation, visit: Visit | None) -> dict[str, Any]:
    """What the page and its live part show; needs the operation's scope. Without a visit it is one of the platform."""
    admission.tell_why_waiting([operation])
    tenant_slug = visit.tenant.slug if visit else ""
    links = presenters.made_links(operation, tenant_slug)
    steps, hidden = presenters.open_steps_first(list(operation.steps.all()), selectors.STEPS_SHOWN)
    return {
        "operation": operation,
        "steps": presenters.step_rows(steps),
        "hidden_steps": hidden,
        "pace": pace(operation),
        "result_template": result_template(operation.kind) if operation.result else "",
        "summary": summary_of(operation),
        "links": [(words, url) for words, url in links if visit is None or may_open(visit, url)],
        "urls": presenters.job_urls(operation, tenant_slug),
        "may_operate": visit is None or visit.may(Grants.OPERATE),
    }


def _operation(pk: uuid.UUID, tenant_id: uuid.UUID | None) -> Operation:
    rows = Operation.objects.select_related("requested_by", "cancel_requested_by")
    operation = rows.filter(belongs_to(tenant_id), pk=pk).first()
    if operation is None:
        raise NotFound
    return operation


@in_support_session(READS)
@tenant_page(Grants.VIEW)
def job(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """One job: progress, steps, result; the record once it has ended."""
    operation = _operation(pk, visit.tenant.pk)
    return _job_page(request, operation, {**job_context(operation, visit), "nav_section": "jobs"})


def _job_page(request: HttpRequest, operation: Operation, context: dict[str, Any]) -> HttpResponse:
    return live_page(request, "operations/job.html", context, goes_on=operation.is_open)


@in_support_session(LEAVES)
@platform_page(admins_only=True)
def platform_job(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One job of the platform itself, for its admins. A tenant's job is on the tenant's pages."""
    operation = _operation(pk, None)
    return _job_page(request, operation, {**job_context(operation, None), "nav_section": "platform-jobs"})


@in_support_session(LEAVES)
@platform_page(admins_only=True, methods=("POST",))
def platform_job_act(request: HttpRequest, pk: uuid.UUID, what: str) -> HttpResponse:
    """Cancel a job of the platform, let it try again, or give it up."""
    by = person_of(request)
    if what == "cancel":
        services.cancel(tenant_id=None, operation_id=pk, by=by)
    elif what == "retry":
        services.retry(tenant_id=None, operation_id=pk)
    elif what == "give-up":
        services.give_up(tenant_id=None, operation_id=pk, by=by, reason=request.POST.get("reason", ""))
    else:
        raise NotFound
    messages.success(request, DONE[what])
    return redirect("platform-job", pk=pk)


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("POST",))
def job_cancel(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    services.cancel(tenant_id=visit.tenant.pk, operation_id=pk, by=visit.user)
    messages.success(request, DONE["cancel"])
    return redirect("job", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("POST",))
def job_retry(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    services.retry(tenant_id=visit.tenant.pk, operation_id=pk)
    messages.success(request, DONE["retry"])
    return redirect("job", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(WRITES)
@tenant_page(Grants.VIEW, write_grant=Grants.OPERATE, methods=("POST",))
def job_give_up(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    reason = request.POST.get("reason", "")
    services.give_up(tenant_id=visit.tenant.pk, operation_id=pk, by=visit.user, reason=reason)
    messages.success(request, DONE["give-up"])
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
