"""Pages of support staff: start a session, one's own, all of them, and one with its timeline."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from core import clock
from core.errors import Forbidden, Invalid, NotFound, OpsError
from core.middleware import error_response
from core.support_rules import LEAVES, OUTSIDE, in_support_session
from core.swaps import live_page
from operations import events
from operations.models import OPEN, Operation
from tenants.models import PlatformRole, Tenant, User
from tenants.pages import platform_page
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.scope import platform_scope
from tenants.sessions import stored_key

from . import activity, factors, guardrails, selectors, services
from .browser import browser_of, origin_of, with_browser_cookie
from .errors import ConsentNeeded
from .forms import StartForm
from .live import HINT
from .models import ImpersonationSession, SupportPolicy

DRAFT = "support_draft"
TABS = (("", "All"), ("live", "Live"), ("ended", "Ended"), ("glass", "Emergencies"))
TIMELINE_TABS = (
    ("", "Everything"),
    ("reads", "Reads"),
    ("writes", "Writes"),
    ("effects", "Effects"),
    ("refusals", "Refusals"),
)
READS_AND_POST = ("GET", "HEAD", "POST")


def may_look(user: User) -> bool:
    """Support staff, compliance officers and platform admins see every session."""
    return user.role == PlatformRole.COMPLIANCE_OFFICER or guardrails.may_support(user)


def _require_look(request: HttpRequest) -> None:
    if not may_look(person_of(request)):
        raise Forbidden("Only support, compliance officers and platform admins see this page.")


@in_support_session(LEAVES)
@platform_page()
def sessions(request: HttpRequest) -> HttpResponse:
    """Every support session, newest first, and the requests that wait for an answer."""
    _require_look(request)
    state, q = request.GET.get("state", ""), request.GET.get("q", "").strip()
    page = selectors.list_sessions(state=state, q=q, cursor=request.GET.get("cursor", ""))
    now, user = clock.now(), person_of(request)
    for row in page.rows:
        row.over, row.counts = row.over_at(now), activity.counts_of(row)
        row.flags = activity.flags(row, row.counts)
    context = {
        "page": page,
        "tabs": TABS,
        "state": state,
        "q": q,
        "waiting": [pending for pending in selectors.pending_requests() if services.may_see(pending, user)],
        "may_start": guardrails.may_support(user),
        "is_admin": is_platform_admin(user),
        "mine": selectors.live_session_of(user),
        "nav_section": "support-sessions",
    }
    return with_browser_cookie(request, render(request, "impersonation/sessions.html", context))


# ---- starting


@dataclass(frozen=True, slots=True)
class StartChoice:
    """The customer that was chosen, or None; with its people, its policy and what was typed before."""

    tenant: Tenant | None
    people: list[User]
    policy: SupportPolicy | None
    initial: dict[str, Any]


def _start_choice(request: HttpRequest) -> StartChoice:
    """What was chosen so far: sent with the request, or kept while the second factor was confirmed."""
    given: Any = request.POST if request.method == "POST" else request.GET
    draft = request.session.pop(DRAFT, None) if request.method != "POST" else None
    slug = given.get("tenant", "") or (draft or {}).get("tenant", "")
    initial = draft or {"person": given.get("person", "")}
    with platform_scope():
        tenant = Tenant.objects.filter(slug=slug).first() if slug else None
        if tenant is None:
            return StartChoice(None, [], None, initial)
        return StartChoice(tenant, selectors.candidates(tenant=tenant), guardrails.policy_of(tenant), initial)


@in_support_session(OUTSIDE)
@platform_page(methods=READS_AND_POST, scope=False)
def start(request: HttpRequest) -> HttpResponse:
    """Choose a customer and one of its people, and give a reason. What was typed survives the second factor."""
    user = person_of(request)
    if not guardrails.may_support(user):
        raise Forbidden("Only support staff and platform admins start support sessions.")
    choice = _start_choice(request)
    posted = request.POST if request.method == "POST" else None
    form = StartForm(posted, initial=choice.initial, people=choice.people)
    if choice.tenant is not None and form.is_valid():
        started = _confirm_and_start(request, choice.tenant, form)
        if started is not None:
            return started
    return _show_start(request, user, choice, form)


def _confirm_and_start(request: HttpRequest, tenant: Tenant, form: StartForm) -> HttpResponse | None:
    """Start the session, after the second factor; None where the form says why it did not start."""
    user = person_of(request)
    if factors.is_fresh(request):
        return _start(request, user, tenant, form)
    request.session[DRAFT] = {**form.cleaned_data, "tenant": tenant.slug}
    messages.info(request, "Confirm it is you, then continue. Your input is kept.")
    return redirect(factors.confirm_url(user, reverse("support-start")))


def _show_start(request: HttpRequest, user: User, choice: StartChoice, form: StartForm) -> HttpResponse:
    query = request.GET.get("q", "")
    with platform_scope():
        tenants = selectors.find_tenants(query.strip())
        own_session = selectors.live_session_of(user)
    context = {
        "form": form,
        "chosen": choice.tenant,
        "policy": choice.policy,
        "tenants": tenants,
        "q": query,
        "mine": own_session,
        "nav_section": "support-sessions",
    }
    page = render(request, "impersonation/start.html", context, status=422 if form.errors else 200)
    return with_browser_cookie(request, page)


def _start(request: HttpRequest, user: User, tenant: Tenant, form: StartForm) -> HttpResponse | None:
    fields = form.cleaned_data
    with platform_scope():
        target = User.objects.get(pk=fields["person"])
    try:
        session = services.start_session(
            actor=user, target=target, tenant=tenant, reason=fields["reason"], ticket=fields["ticket"],
            origin=origin_of(request), break_glass=fields["break_glass"],
        )  # fmt: skip
    except Invalid as error:
        for name, message in error.details.items():
            form.add_error(name if name in form.fields else None, message)
        return None
    except ConsentNeeded as error:
        request.session[DRAFT] = {**fields, "tenant": tenant.slug}
        messages.info(request, f"{error.message} They have been notified; press Start again once they have approved.")
        return redirect("support-start")
    except OpsError as error:
        form.add_error(None, f"{error.message} {error.recovery}")
        return None
    request.session[HINT] = str(session.pk)
    return redirect("tenant-home", tenant_slug=tenant.slug)


# ---- one's own


def _mine(request: HttpRequest) -> ImpersonationSession:
    with platform_scope():
        found = selectors.live_session_of(person_of(request))
    if found is None:
        raise NotFound("You have no support session.", recovery="Start one on the page “Support”.")
    return found


@in_support_session(OUTSIDE)
@platform_page(scope=False)
def mine(request: HttpRequest) -> HttpResponse:
    """One's own session: its mode, its limits, its requests and jobs."""
    with platform_scope():
        found = selectors.live_session_of(person_of(request))
        context: dict[str, Any] = {"session": found, "nav_section": "support-sessions"}
        if found is not None:
            now = clock.now()
            requests = selectors.requests_of(found)
            jobs = Operation.objects.filter(status__in=OPEN, context__session_id=str(found.pk))
            context |= {
                "requests": [(requested, requested.state(now)) for requested in requests],
                "approved": any(requested.state(now) == "approved" for requested in requests),
                "policy": guardrails.policy_of(found.impersonated_tenant),
                "counts": activity.counts_of(found),
                "jobs": list(jobs.order_by("created_at")[:20]),
                "here": found.sign_in == origin_of(request).sign_in,
            }
    return with_browser_cookie(request, render(request, "impersonation/mine.html", context))


@in_support_session(OUTSIDE)
@platform_page(methods=("POST",), scope=False)
def mine_act(request: HttpRequest, what: str) -> HttpResponse:
    """Do one of ``OWN_ACTS`` to one's own session."""
    user, session = person_of(request), _mine(request)
    if what not in OWN_ACTS:
        raise NotFound
    if what in NEED_FACTOR and not factors.is_fresh(request):
        messages.info(request, "Confirm it is you, then press the button again.")
        return redirect(factors.confirm_url(user, reverse("support-mine")))
    return OWN_ACTS[what](request, user, session)


def _end_own(request: HttpRequest, user: User, session: ImpersonationSession) -> HttpResponse:
    services.end_session(session_id=session.pk, by=user, reason="ended by its own person")
    request.session.pop(HINT, None)
    messages.success(request, "The support session has ended. You are yourself again.")
    return redirect("support-session", pk=session.pk)


def _extend_own(request: HttpRequest, user: User, session: ImpersonationSession) -> HttpResponse:
    services.extend_session(session=session, by=user)
    messages.success(request, "The session is extended. The customer can see that.")
    return redirect("support-mine")


def _request_write(request: HttpRequest, user: User, session: ImpersonationSession) -> HttpResponse:
    reason = request.POST.get("reason", "")
    services.request_write(session=session, by=user, reason=reason, origin=origin_of(request))
    messages.info(request, "The request has been sent to those who may approve it. It is valid for 15 minutes.")
    return redirect("support-mine")


def _take_write(request: HttpRequest, user: User, session: ImpersonationSession) -> HttpResponse:
    services.take_write(session=session, by=user)
    messages.warning(request, "You may write now. Each write is recorded, and the customer can see it.")
    return redirect("tenant-home", tenant_slug=session.impersonated_tenant.slug)


def _leave_write(request: HttpRequest, user: User, session: ImpersonationSession) -> HttpResponse:
    services.leave_write(session=session, by=user)
    messages.success(request, "The session is read only again.")
    return redirect("support-mine")


#: What a person may do to their own session, by the last part of the address.
OWN_ACTS = {
    "end": _end_own,
    "extend": _extend_own,
    "ask": _request_write,
    "write": _take_write,
    "read": _leave_write,
}
NEED_FACTOR = ("ask", "write")


# ---- any session


def session_context(session: ImpersonationSession, *, slug: str, kind: str) -> dict[str, Any]:
    """What the page of a session and its live part show, in the viewer's scope."""
    now = clock.now()
    counts = activity.counts_of(session)
    return {
        "session": session,
        "over": session.over_at(now),
        "counts": counts,
        "entries": activity.timeline(session, slug=slug, kind=kind),
        "impact": activity.impact(session, slug=slug),
        "timeline_tabs": TIMELINE_TABS,
        "kind": kind,
    }


def _session(pk: uuid.UUID) -> ImpersonationSession:
    found = selectors.session_by_id(pk)
    if found is None:
        raise NotFound
    return found


@in_support_session(OUTSIDE)
@platform_page()
def session(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """One session with its timeline, live while it runs."""
    _require_look(request)
    found, person = _session(pk), person_of(request)
    context = session_context(found, slug=found.impersonated_tenant.slug, kind=request.GET.get("kind", ""))
    context |= {
        "flags": activity.flags(found, context["counts"], tenants_that_day=selectors.tenants_within_a_day(found)),
        "may_end": context["over"] is None and services.may_end(found, person),
        "end_url": reverse("support-session-end", kwargs={"pk": pk}),
        "revert_url": reverse("support-session-revert", kwargs={"pk": pk}) if is_platform_admin(person) else "",
        "events_url": reverse("support-session-events", kwargs={"pk": pk}),
        "trail_url": f"{reverse('platform-trail')}?session={pk}",
        "nav_section": "support-sessions",
    }
    return live_page(request, "impersonation/session.html", context, goes_on=context["over"] is None)


@in_support_session(LEAVES)
@platform_page(methods=("POST",), scope=False)
def session_end(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """End a session now: somebody else's, or one's own from another browser."""
    user = person_of(request)
    with platform_scope():
        found = _session(pk)
        if not services.may_end(found, user):
            raise Forbidden("Only its own person, a platform admin or an owner of the customer ends a session.")
    reason = request.POST.get("reason", "").strip() or "ended from the page of support sessions"
    services.end_session(session_id=pk, by=user, reason=reason)
    messages.success(request, "The session has ended. Its pages, streams and jobs stop.")
    return redirect("support-session", pk=pk)


@in_support_session(LEAVES)
@platform_page(admins_only=True, methods=("POST",), scope=False)
def end_all(request: HttpRequest) -> HttpResponse:
    """End every session on the platform."""
    reason = request.POST.get("reason", "").strip() or "all sessions ended by a platform admin"
    count = services.end_all(by=person_of(request), reason=reason)
    messages.success(request, f"{count} support session{'' if count == 1 else 's'} ended.")
    return redirect("support-sessions")


@in_support_session(LEAVES)
@platform_page(methods=("POST",), scope=False)
def request_answer(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """A second person of support approves write mode, or declines."""
    approve = request.POST.get("answer") == "approve"
    services.decide(request_id=pk, by=person_of(request), approve=approve, browser=browser_of(request))
    messages.success(request, "Approved. It can be used once, within 15 minutes." if approve else "Declined.")
    return redirect("support-sessions")


@in_support_session(OUTSIDE)
async def session_events(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """Events of a session while it runs: one for each new entry in the trail."""
    user = await request.auser()
    if isinstance(user, AnonymousUser):
        return HttpResponse(status=401)
    session_key = stored_key(request.session.session_key)

    def look() -> tuple[int, bool]:
        with platform_scope():
            found = _session(pk)
            return selectors.trail_of(found).count(), found.over_at(clock.now()) is None

    def allowed() -> bool:
        with platform_scope():
            fresh = User.objects.filter(pk=user.pk, is_active=True, sign_ins__session_key=session_key).first()
            return fresh is not None and may_look(fresh)

    return await stream_of(request, pk, look, allowed)


async def stream_of(request: HttpRequest, pk: uuid.UUID, look: Any, allowed: Any) -> HttpResponseBase:
    """A stream that sends ``changed`` whenever a session has new entries, and ``done`` when it has ended."""
    try:
        if not await sync_to_async(allowed)():
            raise NotFound
        await sync_to_async(look)()
    except OpsError as error:
        return error_response(request, error)
    seen = {"count": -1}

    def poll() -> list[events.Event]:
        count, live = look()
        if not live:
            return [(str(count), "done", {"id": str(pk)})]
        if count == seen["count"]:
            return []
        seen["count"] = count
        return [(str(count), "changed", {"id": str(pk)})]

    try:
        return events.stream(poll, allowed, listener_id=(await request.auser()).pk)
    except OpsError as error:
        return error_response(request, error)
