"""Pages of support staff: start a session, one's own, all of them, one as a film strip."""

from __future__ import annotations

import uuid
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
from operations import events
from operations.models import OPEN, Operation
from tenants.models import PlatformRole, Tenant, User
from tenants.pages import platform_page
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.scope import platform_scope
from tenants.sessions import stored_key

from . import factors, guardrails, selectors, services
from .browser import browser_of, marked, origin_of
from .errors import ConsentNeeded
from .forms import StartForm
from .live import HINT
from .models import ImpersonationSession

DRAFT = "support_draft"
TABS = (("", "All"), ("live", "Live"), ("ended", "Ended"), ("glass", "Emergencies"))
FILM = (("", "Everything"), ("reads", "Reads"), ("writes", "Writes"), ("effects", "Outside"), ("refusals", "Refusals"))
BOTH = ("GET", "HEAD", "POST")


def may_look(user: User) -> bool:
    """Support staff, compliance officers and platform admins see every session."""
    return user.role == PlatformRole.COMPLIANCE_OFFICER or guardrails.may_support(user)


def _require_look(request: HttpRequest) -> None:
    if not may_look(person_of(request)):
        raise Forbidden("Only support, compliance officers and platform admins see this page.")


@in_support_session(LEAVES)
@platform_page()
def sessions(request: HttpRequest) -> HttpResponse:
    """Every support session, newest first, and what waits for an answer."""
    _require_look(request)
    state, q = request.GET.get("state", ""), request.GET.get("q", "").strip()
    page = selectors.list_sessions(state=state, q=q, cursor=request.GET.get("cursor", ""))
    now, user = clock.now(), person_of(request)
    for row in page.rows:
        row.over, row.counts = row.over_at(now), selectors.counts_of(row)
        row.flags = selectors.flags(row, row.counts)
    context = {
        "page": page,
        "tabs": TABS,
        "state": state,
        "q": q,
        "waiting": [w for w in selectors.pending_requests() if services.may_see(w, user)],
        "may_start": guardrails.may_support(user),
        "is_admin": is_platform_admin(user),
        "mine": selectors.live_session_of(user),
        "nav_section": "support-sessions",
    }
    return marked(request, render(request, "impersonation/sessions.html", context))


# ---- starting


@in_support_session(OUTSIDE)
@platform_page(methods=BOTH, scope=False)
def start(request: HttpRequest) -> HttpResponse:
    """Choose a customer and one of its people, say why. What was typed survives the second factor."""
    user = person_of(request)
    if not guardrails.may_support(user):
        raise Forbidden("Only support staff and platform admins start support sessions.")
    given: Any = request.POST if request.method == "POST" else request.GET
    draft = request.session.pop(DRAFT, None) if request.method != "POST" else None
    slug = given.get("tenant", "") or (draft or {}).get("tenant", "")
    with platform_scope():
        tenant = Tenant.objects.filter(slug=slug).first() if slug else None
        people = selectors.candidates(tenant=tenant) if tenant else []
        policy = guardrails.policy_of(tenant) if tenant else None
    initial = draft or {"person": given.get("person", "")}
    form = StartForm(request.POST if request.method == "POST" else None, initial=initial, people=people)
    if tenant is not None and form.is_valid():
        if not factors.is_fresh(request):
            request.session[DRAFT] = {**form.cleaned_data, "tenant": tenant.slug}
            messages.info(request, "Confirm that it is you, then go on. What you typed is kept.")
            return redirect(factors.confirm_url(user, reverse("support-start")))
        answer = _start(request, user, tenant, form)
        if answer is not None:
            return answer
    with platform_scope():
        found = selectors.find_tenants(request.GET.get("q", "").strip())
        mine = selectors.live_session_of(user)
    context = {
        "form": form,
        "chosen": tenant,
        "policy": policy,
        "tenants": found,
        "q": request.GET.get("q", ""),
        "mine": mine,
        "nav_section": "support-sessions",
    }
    return marked(request, render(request, "impersonation/start.html", context, status=422 if form.errors else 200))


def _start(request: HttpRequest, user: User, tenant: Tenant, form: StartForm) -> HttpResponse | None:
    told = form.cleaned_data
    with platform_scope():
        target = User.objects.get(pk=told["person"])
    try:
        session = services.start_session(
            actor=user, target=target, tenant=tenant, reason=told["reason"], ticket=told["ticket"],
            origin=origin_of(request), break_glass=told["break_glass"],
        )  # fmt: skip
    except Invalid as error:
        for name, words in error.details.items():
            form.add_error(name if name in form.fields else None, words)
        return None
    except ConsentNeeded as error:
        request.session[DRAFT] = {**told, "tenant": tenant.slug}
        messages.info(request, f"{error.message} They have been asked; press Start again once they have agreed.")
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
    """The own session: how long, in which mode, what waits; and the ways on and out."""
    with platform_scope():
        found = selectors.live_session_of(person_of(request))
        context: dict[str, Any] = {"session": found, "nav_section": "support-sessions"}
        if found is not None:
            now = clock.now()
            wishes = selectors.requests_of(found)
            jobs = Operation.objects.filter(status__in=OPEN, context__session_id=str(found.pk))
            context |= {
                "wishes": [(wish, wish.state(now)) for wish in wishes],
                "agreed": any(wish.state(now) == "approved" for wish in wishes),
                "policy": guardrails.policy_of(found.impersonated_tenant),
                "counts": selectors.counts_of(found),
                "jobs": list(jobs.order_by("created_at")[:20]),
                "here": found.sign_in == origin_of(request).sign_in,
            }
    return marked(request, render(request, "impersonation/mine.html", context))


@in_support_session(OUTSIDE)
@platform_page(methods=("POST",), scope=False)
def mine_act(request: HttpRequest, what: str) -> HttpResponse:
    """One act on the own session: end, extend, ask (for write mode), write, read (write mode no more)."""
    user, session = person_of(request), _mine(request)
    if what == "end":
        services.end_session(session_id=session.pk, by=user, reason="ended by its own person")
        request.session.pop(HINT, None)
        messages.success(request, "The support session has ended. You are yourself again.")
        return redirect("support-session", pk=session.pk)
    if what in ("ask", "write") and not factors.is_fresh(request):
        messages.info(request, "Confirm that it is you, then press the button again.")
        return redirect(factors.confirm_url(user, reverse("support-mine")))
    if what == "extend":
        services.extend_session(session=session, by=user)
        messages.success(request, "The session lasts longer; the customer sees that it was extended.")
    elif what == "ask":
        reason = request.POST.get("reason", "")
        services.request_write(session=session, by=user, reason=reason, origin=origin_of(request))
        messages.info(request, "The request is with those who may agree. It stands for 15 minutes.")
    elif what == "write":
        services.take_write(session=session, by=user)
        messages.warning(request, "You may write now. Each write is on record, and the customer sees it.")
        return redirect("tenant-home", tenant_slug=session.impersonated_tenant.slug)
    elif what == "read":
        services.leave_write(session=session, by=user)
        messages.success(request, "The session only reads again.")
    else:
        raise NotFound
    return redirect("support-mine")


# ---- any session


def session_context(session: ImpersonationSession, *, slug: str, kind: str) -> dict[str, Any]:
    """What the page of a session and its live part show; in the scope of who looks."""
    now = clock.now()
    counts = selectors.counts_of(session)
    return {
        "session": session,
        "over": session.over_at(now),
        "counts": counts,
        "entries": selectors.timeline(session, slug=slug, kind=kind),
        "impact": selectors.impact(session, slug=slug),
        "film": FILM,
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
    """One session as a film strip, live while it runs."""
    _require_look(request)
    found, person = _session(pk), person_of(request)
    context = session_context(found, slug=found.impersonated_tenant.slug, kind=request.GET.get("kind", ""))
    context |= {
        "flags": selectors.flags(found, context["counts"], tenants_that_day=selectors.tenants_within_a_day(found)),
        "may_end": context["over"] is None and services.may_end(found, person),
        "end_url": reverse("support-session-end", kwargs={"pk": pk}),
        "revert_url": reverse("support-session-revert", kwargs={"pk": pk}) if is_platform_admin(person) else "",
        "events_url": reverse("support-session-events", kwargs={"pk": pk}),
        "trail_url": f"{reverse('platform-trail')}?session={pk}",
        "nav_section": "support-sessions",
    }
    part = "#live" if request.GET.get("part") == "live" else ""
    return render(request, f"impersonation/session.html{part}", context)


@in_support_session(LEAVES)
@platform_page(methods=("POST",), scope=False)
def session_end(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """End somebody's session now: a platform admin's, or one's own from another browser."""
    user = person_of(request)
    with platform_scope():
        found = _session(pk)
        if not services.may_end(found, user):
            raise Forbidden("Only its own person, a platform admin or an owner of the customer ends a session.")
    reason = request.POST.get("reason", "").strip() or "ended from the page of support sessions"
    services.end_session(session_id=pk, by=user, reason=reason)
    messages.success(request, "The session has ended. Its pages, streams and jobs stop with it.")
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
    """A second person of support agrees to write mode, or does not."""
    approve = request.POST.get("answer") == "approve"
    services.decide(request_id=pk, by=person_of(request), approve=approve, browser=browser_of(request))
    messages.success(request, "Agreed. It can be used once, within 15 minutes." if approve else "Turned down.")
    return redirect("support-sessions")


@in_support_session(OUTSIDE)
async def session_events(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """News of a session while it runs: each new entry in the trail."""
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
    """A stream that says ``changed`` whenever a session has new entries, and ``done`` when it has ended."""
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
