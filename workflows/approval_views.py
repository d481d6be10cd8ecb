"""The page “Approval rules”: how production is guarded, and changes of that which wait for a second person."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from core.errors import Invalid
from core.ids import uuid_or_not_found
from core.support_rules import NEVER, in_support_session
from tenants.models import Grants
from tenants.pages import Visit, tenant_page
from tenants.selectors import service_accounts

from . import guard_changes, guards
from .models import GuardChange


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, write_grant=Grants.ADMINISTER, methods=("GET", "HEAD", "POST"))
def approval_rules(request: HttpRequest, visit: Visit) -> HttpResponse:
    """Who approves, and which way promotions go. A POST tightens a rule at once, or asks for a looser one."""
    if request.method == "POST":
        action = _ACTIONS.get(request.POST.get("action", ""))
        if action is None:
            raise Invalid("That action is not known.")
        messages.success(request, action(request, visit))
        return redirect("approval-rules", tenant_slug=visit.tenant.slug)
    policy = guards.policy_of(visit.tenant.pk)
    context = {
        "policy": policy,
        "places": [place for place in guards.places() if not place.is_archived],
        "machines": [(row, row.user_id in policy.approving_accounts) for row in service_accounts()],
        "waiting": guards.waiting(),
        "may_administer": visit.may(Grants.ADMINISTER),
        "nav_section": "approval-rules",
    }
    return render(request, "workflows/approval_rules.html", context)


def _told(change: GuardChange | None) -> str:
    waits = "Another owner has to agree; until then nothing changes."
    return waits if change is not None else "That is allowed already; nothing changes."


def _allow_jumps(request: HttpRequest, visit: Visit) -> str:
    return _told(guards.ask_for_jumps(tenant_id=visit.tenant.pk, by=visit.user))


def _forbid_jumps(request: HttpRequest, visit: Visit) -> str:
    guards.forbid_jumps(tenant_id=visit.tenant.pk)
    return "Promotions follow the order of the environments."


def _allow_account(request: HttpRequest, visit: Visit) -> str:
    account = uuid_or_not_found(request.POST.get("account", ""))
    return _told(guards.ask_for_account(tenant_id=visit.tenant.pk, account_id=account, by=visit.user))


def _forbid_account(request: HttpRequest, visit: Visit) -> str:
    guards.forbid_account(tenant_id=visit.tenant.pk, account_id=uuid_or_not_found(request.POST.get("account", "")))
    return "Its approval counts no longer."


_ACTIONS: dict[str, Callable[[HttpRequest, Visit], str]] = {
    "allow-jumps": _allow_jumps,
    "forbid-jumps": _forbid_jumps,
    "allow-account": _allow_account,
    "forbid-account": _forbid_account,
}


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, write_grant=Grants.ADMINISTER, methods=("POST",))
def guard_answer(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """A second owner agrees to a change, or declines it."""
    approve = request.POST.get("answer") == "approve"
    change = guard_changes.answer(tenant_id=visit.tenant.pk, change_id=pk, by=visit.user, approve=approve)
    messages.success(request, f"{change.sentence}: {'agreed and done' if approve else 'declined'}.")
    return redirect("approval-rules", tenant_slug=visit.tenant.slug)
