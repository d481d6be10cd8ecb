"""Reverting a session's writes: the same page for platform admins and for the customer's owners."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core import clock
from core.errors import Invalid, NotFound, OpsError
from core.support_rules import LEAVES, NEVER, in_support_session
from operations.models import Operation
from tenants.models import Grants
from tenants.pages import Visit, platform_page, tenant_page
from tenants.requests import person_of
from tenants.scope import platform_scope, tenant_scope

from . import selectors
from .models import ImpersonationSession
from .reverting.items import Verdict
from .reverting.planning import plan_of
from .reverting.services import is_under_way, reverts_of, start_revert

READS_AND_POST = ("GET", "HEAD", "POST")
#: How reverting an item ended: the state that is drawn, and its word.
OUTCOMES = {
    "undone": ("completed", "Reverted"),
    "already": ("completed", "Already as before"),
    "conflict": ("drifted", "Skipped: changed since"),
    "failed": ("failed", "Failed"),
    "nothing": ("inactive", "Nothing to revert"),
}


@in_support_session(LEAVES)
@platform_page(admins_only=True, methods=READS_AND_POST, scope=False)
def staff(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """A platform admin reverts a session's writes."""
    with platform_scope():
        session = selectors.session_by_id(pk)
    if session is None:
        raise NotFound
    urls = {name: reverse(f"support-{name}", kwargs={"pk": pk}) for name in ("session", "session-end")}
    return _page(request, session, urls["session"], urls["session-end"], customer=False)


@in_support_session(NEVER)
@tenant_page(Grants.ADMINISTER, methods=READS_AND_POST, scope=False)
def customer(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """An owner of the customer reverts a session's writes."""
    with tenant_scope(visit.tenant.pk):
        session = selectors.session_by_id(pk)
    if session is None or session.impersonated_tenant_id != visit.tenant.pk:
        raise NotFound
    keys = {"tenant_slug": visit.tenant.slug, "pk": pk}
    session_url = reverse("support-access-session", kwargs=keys)
    return _page(request, session, session_url, reverse("support-access-end", kwargs=keys), customer=True)


def _page(
    request: HttpRequest, session: ImpersonationSession, session_url: str, end_url: str, *, customer: bool
) -> HttpResponse:
    refused: OpsError | None = None
    if request.method == "POST":
        try:
            operation = _start(request, session)
        except OpsError as error:
            refused = error
        else:
            messages.success(request, "The revert has started. Its job shows each step.")
            return redirect("job", tenant_slug=session.impersonated_tenant.slug, pk=operation.pk)
    plan = plan_of(session)
    with tenant_scope(session.impersonated_tenant_id):
        reverts = reverts_of(session)
    context: dict[str, Any] = {
        "session": session,
        "over": session.over_at(clock.now()),
        "plan": plan,
        "ready": len(plan.of(Verdict.READY)),
        "conflicts": len(plan.of(Verdict.CONFLICT)),
        "reverts": reverts,
        "under_way": is_under_way(reverts),
        "last": _outcomes(reverts[0].result) if reverts else [],
        "chosen": set(request.POST.getlist("selected")),
        "refused": refused,
        "session_url": session_url,
        "end_url": end_url,
        "customer": customer,
        "nav_section": "support-access" if customer else "support-sessions",
    }
    return render(request, "impersonation/revert.html", context, status=refused.status if refused else 200)


def _start(request: HttpRequest, session: ImpersonationSession) -> Operation:
    name = session.impersonated_tenant.name
    if request.POST.get("typed", "").strip() != name:
        raise Invalid(f"Type the name exactly: “{name}”.", recovery="Nothing was reverted.", details={"typed": name})
    user = person_of(request)
    everything = request.POST.get("choice") == "all"
    return start_revert(
        session=session,
        by=user,
        items=None if everything else request.POST.getlist("selected"),
        force=[] if everything else request.POST.getlist("force"),
    )


def _outcomes(result: Any) -> list[dict[str, Any]]:
    """How the items of a revert ended, with words."""
    rows = (result or {}).get("items") or []
    return [{**row, "words": OUTCOMES.get(row["outcome"], ("unknown", row["outcome"]))} for row in rows]
