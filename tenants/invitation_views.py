"""Pages of invitations: for those who are invited, and for those who invite."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from core.errors import Forbidden, Invalid
from core.limits import TooMany, count
from core.support_rules import LEAVES, NEVER, in_support_session

from . import invitations, people
from .models import Grants, Invitation, User
from .pages import Visit, tenant_page

MOST_LOOKS, LOOKS_SECONDS = 60, 300


@in_support_session(LEAVES)
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """What is offered, by whom; a POST accepts or declines."""
    if count("invitation", str(request.META.get("REMOTE_ADDR", "")), seconds=LOOKS_SECONDS) > MOST_LOOKS:
        raise TooMany("Too many invitations were opened from this address.", recovery="Wait five minutes.")
    found = invitations.find(secret)
    if request.method == "POST":
        return _answer(request, secret, found)
    user = request.user if isinstance(request.user, User) else None
    account = invitations.account_of(found)
    context = {
        "invitation": found,
        "may_accept": account is None if user is None else account is not None and account.pk == user.pk,
        "signed_in": user,
        "has_account": account is not None,
    }
    response = render(request, "tenants/invitation.html", context)
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _answer(request: HttpRequest, secret: str, found: Invitation) -> HttpResponse:
    answer = request.POST.get("answer", "")
    if answer == "decline":
        invitations.decline(secret=secret)
        return render(request, "tenants/invitation.html", {"invitation": found, "declined": True})
    if answer != "accept":
        raise Invalid("That answer is not known.")
    user = request.user if isinstance(request.user, User) else None
    taker, is_new = invitations.accept(secret=secret, user=user)
    if is_new:
        # Whoever opened the link has the mailbox, so the way to a password need not be mailed once more.
        return redirect(people.sign_in_link(taker))
    messages.success(request, f"You are a member of {found.tenant.name} now.")
    return redirect("tenant-home", tenant_slug=found.tenant.slug)


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, write_grant=Grants.MANAGE_MEMBERS, methods=("POST",), scope=False)
def invitation_send(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    """Send it again, with a new link for another week."""
    row, path = invitations.send_again(tenant=visit.tenant, invitation_id=pk, by=visit.user)
    say_sent(request, visit, row, path)
    return redirect("members", tenant_slug=visit.tenant.slug)


@in_support_session(NEVER)
@tenant_page(Grants.VIEW, write_grant=Grants.MANAGE_MEMBERS, methods=("POST",), scope=False)
def invitation_revoke(request: HttpRequest, visit: Visit, pk: uuid.UUID) -> HttpResponse:
    row = invitations.revoke(tenant=visit.tenant, invitation_id=pk)
    messages.success(request, f"The invitation of {row.email} is taken back.")
    return redirect("members", tenant_slug=visit.tenant.slug)


def say_sent(request: HttpRequest, visit: Visit, row: Invitation, path: str) -> None:
    """Mail the link, or say what to do without mail. The same, whoever has the address."""
    if invitations.deliver(invitation=row, path=path, base_url=request.build_absolute_uri("/")):
        messages.success(request, f"{row.email} was invited by e-mail.")
    elif invitations.may_see_link(visit.user):
        link = request.build_absolute_uri(path)
        messages.warning(request, f"No e-mail is sent here. Give this link to {row.email}: {link}")
    else:
        messages.warning(
            request,
            f"{row.email} is invited, but this console sends no e-mail: ask a platform admin to press “Send again” and"
            " to hand the link over.",
        )


def within_own_grants(visit: Visit, role: str) -> None:
    """Raise ``Forbidden`` where a role would hold more than the visitor's own."""
    if not visit.is_platform_admin and not people.role_is_within(role, visit.grants):
        raise Forbidden("You cannot give a role that holds more than your own.", details={"role": role})
