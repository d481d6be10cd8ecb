"""The customer's page “Support access”: who was here, when, why and what they did; its policy; pending requests."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from core import clock
from core.errors import Forbidden, NotFound
from core.support_rules import LEAVES, NEVER, in_support_session
from core.swaps import live_page
from tenants.models import Grants, User
from tenants.pages import Visit, open_visit, tenant_page
from tenants.requests import person_of
from tenants.scope import tenant_scope
from tenants.sessions import stored_key

from . import activity, guardrails, selectors, services
from .browser import browser_of, with_browser_cookie
from .forms import PolicyForm
from .models import ImpersonationSession, SupportOptOut
from .views import session_context, stream_of


def _may_decide(visit: Visit) -> bool:
    return visit.may(Grants.ADMINISTER)


def _show(request: HttpRequest, visit: Visit, form: PolicyForm | None = None) -> HttpResponse:
    with tenant_scope(visit.tenant.pk):
        page = selectors.list_sessions(tenant=visit.tenant, cursor=request.GET.get("cursor", ""))
        now = clock.now()
        for row in page.rows:
            row.over, row.counts = row.over_at(now), activity.counts_of(row)
        policy = guardrails.policy_of(visit.tenant)
        waiting = selectors.pending_requests(visit.tenant)
    names = ("access", "write_consent", "longest_minutes", "idle_minutes")
    context: dict[str, Any] = {
        "page": page,
        "policy": policy,
        "waiting": waiting,
        "form": form or PolicyForm(initial={name: getattr(policy, name) for name in names}),
        "may_decide": _may_decide(visit),
        "nav_section": "support-access",
    }
    return with_browser_cookie(
        request, render(request, "impersonation/access.html", context, status=422 if form is not None else 200)
    )


@in_support_session(NEVER)
@tenant_page(Grants.VIEW_TRAIL, scope=False)
def access(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Support's sessions in this tenant."""
    return _show(request, visit)


@in_support_session(NEVER)
@tenant_page(Grants.VIEW_TRAIL, write_grant=Grants.ADMINISTER, methods=("POST",), scope=False)
def policy(request: HttpRequest, visit: Visit) -> HttpResponse:
    form = PolicyForm(request.POST)
    if not form.is_valid():
        return _show(request, visit, form)
    services.set_policy(tenant=visit.tenant, by=visit.user, **form.cleaned_data)
    messages.success(request, "The policy for support is saved.")
    return redirect("support-access", tenant_slug=visit.tenant.slug)


@in_support_session(NEVER)
@tenant_page(Grants.VIEW_TRAIL, write_grant=Grants.ADMINISTER, methods=("POST",), scope=False)
def request_answer(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """An owner approves a session or write mode, or declines."""
    with tenant_scope(visit.tenant.pk):
        if not any(pending.pk == pk for pending in selectors.pending_requests(visit.tenant)):
            raise NotFound("That request has been answered or has expired.")
    approve = request.POST.get("answer") == "approve"
    services.decide(request_id=pk, by=visit.user, approve=approve, browser=browser_of(request))
    messages.success(request, "Approved. It can be used once, within 15 minutes." if approve else "Declined.")
    return redirect("support-access", tenant_slug=visit.tenant.slug)


def _session(visit: Visit, pk: uuid.UUID) -> ImpersonationSession:
    found = selectors.session_by_id(pk)
    if found is None or found.impersonated_tenant_id != visit.tenant.pk:
        raise NotFound
    return found


@in_support_session(NEVER)
@tenant_page(Grants.VIEW_TRAIL)
def session(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """What support did in one session."""
    found = _session(visit, pk)
    slug = visit.tenant.slug
    context = session_context(found, slug=slug, kind=request.GET.get("kind", ""))
    keys = {"tenant_slug": slug, "pk": pk}
    context |= {
        "may_end": context["over"] is None and _may_decide(visit),
        "end_url": reverse("support-access-end", kwargs=keys),
        "revert_url": reverse("support-access-revert", kwargs=keys) if _may_decide(visit) else "",
        "events_url": reverse("support-access-events", kwargs=keys),
        "trail_url": f"{reverse('trail', kwargs={'tenant_slug': slug})}?session={pk}",
        "customer": True,
        "nav_section": "support-access",
    }
    return live_page(request, "impersonation/session.html", context, goes_on=context["over"] is None)


@in_support_session(NEVER)
@tenant_page(Grants.VIEW_TRAIL, write_grant=Grants.ADMINISTER, methods=("POST",), scope=False)
def session_end(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """An owner ends support's session."""
    with tenant_scope(visit.tenant.pk):
        _session(visit, pk)
    if not _may_decide(visit):
        raise Forbidden
    reason = request.POST.get("reason", "").strip() or "ended by the customer"
    services.end_session(session_id=pk, by=visit.user, reason=reason)
    messages.success(request, "The session has ended. Its pages, streams and jobs stop.")
    return redirect("support-access-session", tenant_slug=visit.tenant.slug, pk=pk)


@in_support_session(NEVER)
async def session_events(request: HttpRequest, tenant_slug: str, pk: uuid.UUID) -> HttpResponseBase:
    """Events of a session for the customer who watches it."""
    user = await request.auser()
    if isinstance(user, AnonymousUser):
        return HttpResponse(status=401)

    def look() -> tuple[int, bool]:
        visit = open_visit(user=user, slug=tenant_slug)
        visit.require(Grants.VIEW_TRAIL)
        with tenant_scope(visit.tenant.pk):
            found = _session(visit, pk)
            return selectors.trail_of(found).count(), found.over_at(clock.now()) is None

    session_key = stored_key(request.session.session_key)

    def allowed() -> bool:
        return User.objects.filter(pk=user.pk, is_active=True, sign_ins__session_key=session_key).exists()

    return await stream_of(request, pk, look, allowed)


@in_support_session(LEAVES)
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def opt_out(request: HttpRequest) -> HttpResponse:
    """A person's own choice: whether support may ever impersonate them."""
    user = person_of(request)
    if request.method == "POST":
        refused = request.POST.get("choice") == "refuse"
        services.set_opt_out(user=user, opted_out=refused)
        messages.success(request, "Support can no longer work as you." if refused else "Support may work as you.")
        return redirect("support-opt-out")
    context = {"opted_out": SupportOptOut.objects.filter(user=user).exists()}
    return render(request, "impersonation/opt_out.html", context)
