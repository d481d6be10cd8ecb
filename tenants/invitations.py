"""Invitations: a role is offered to a mailbox, and whoever has that mailbox takes it or not.

Nobody who invites learns whether an account has the address: what they see and how long it takes is the same.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import Q
from django.urls import reverse

from core import clock, context
from core.errors import Conflict, Forbidden, Invalid, NotFound

from . import people, services
from .mail import TenantMessage
from .models import Grants, Invitation, Membership, Tenant, TenantRole, User
from .permissions import grants_on_tenant, is_platform_admin
from .scope import platform_scope

LIFE = timedelta(days=7)


class InvitationOver(Conflict):
    code = "INVITATION_OVER"
    title = "This invitation is over"
    message = "It was answered, taken back or replaced by a newer one, or its week has passed."
    recovery = "Ask whoever invited you for a new one."


class NotYourInvitation(Forbidden):
    code = "INVITATION_OF_ANOTHER"
    title = "This invitation is somebody else's"
    message = "You are signed in with another address than the one that was invited."
    recovery = "Sign out and open the link again, or ask for an invitation to your own address."


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _open() -> Q:
    return Q(accepted_at=None, declined_at=None, revoked_at=None, expires_at__gt=clock.now())


# -- those who invite -------------------------------------------------------------------------------------------------


def invite(*, tenant: Tenant, email: str, role: str, by: User, name: str = "") -> tuple[Invitation, str]:
    """Offer a role; the second value is the path of the link, for the mailbox (``deliver``) alone.

    Raises ``Invalid``, and ``Conflict`` where the address is a member's, or invited already.
    """
    email = email.strip().lower()
    if role not in TenantRole.values:
        raise Invalid(details={"role": f"one of {', '.join(TenantRole.values)}"})
    try:
        validate_email(email)
    except ValidationError as error:
        raise Invalid(details={"email": error.messages}) from error
    with platform_scope():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        _refuse_known(tenant, email)
        row = Invitation(tenant=tenant, email=email, name=name.strip(), role=role, invited_by=by)
        path = _renew(row)
        row.save(force_insert=True)
        return row, path


def _refuse_known(tenant: Tenant, email: str) -> None:
    if Membership.objects.filter(tenant=tenant, user__email__iexact=email).exists():
        recovery = "Change the role in the list."
        raise Conflict("This person is a member already.", details={"email": email}, recovery=recovery)
    if Invitation.objects.filter(_open(), tenant=tenant, email=email).exists():
        recovery = "Send it again, or take it back, in the list of invitations."
        raise Conflict("This address is invited already.", details={"email": email}, recovery=recovery)


def _renew(row: Invitation) -> str:
    secret = secrets.token_urlsafe(32)
    row.secret_digest, row.sent_at = _digest(secret), clock.now()
    row.expires_at = row.sent_at + LIFE
    return reverse("invitation", kwargs={"secret": secret})


def deliver(*, invitation: Invitation, path: str, base_url: str) -> bool:
    """Mail the link to the address that is invited; whether this console sends mail."""
    if not people.sends_mail():
        return False
    tenant = invitation.tenant
    message = TenantMessage(
        f"You are invited to {tenant.name} on OpsConsole",
        f"{invitation.invited_by} invites you to {tenant.name} as {invitation.get_role_display().lower()}.\n\n"
        f"Accept or decline: {base_url.rstrip('/')}{path}\n\n"
        f"The link works until {invitation.expires_at:%d %B %Y}. If you do not know them, ignore this mail.",
        to=[invitation.email],
        tenant_id=tenant.pk,
    )
    transaction.on_commit(message.send)
    return True


def send_again(*, tenant: Tenant, invitation_id: uuid.UUID, by: User) -> tuple[Invitation, str]:
    """A new link, for another week; the one before opens nothing any more. Also of one whose week has passed."""
    with platform_scope():
        row = _locked(tenant, invitation_id)
        if row.accepted_at or row.declined_at or row.revoked_at:
            raise InvitationOver
        row.invited_by = by
        path = _renew(row)
        row.save()
        return row, path


def revoke(*, tenant: Tenant, invitation_id: uuid.UUID) -> Invitation:
    """Take an invitation back."""
    with platform_scope():
        row = _locked(tenant, invitation_id)
        if row.accepted_at or row.declined_at:
            raise InvitationOver
        row.revoked_at = row.revoked_at or clock.now()
        row.save(update_fields=["revoked_at"])
        return row


def _locked(tenant: Tenant, invitation_id: uuid.UUID) -> Invitation:
    rows = Invitation.objects.select_for_update(of=("self",)).select_related("tenant", "invited_by")
    row = rows.filter(pk=invitation_id, tenant=tenant).first()
    if row is None:
        raise NotFound
    return row


def unanswered() -> list[Invitation]:
    """The invitations of the tenant that nobody has answered, also those whose week has passed. In its scope."""
    rows = Invitation.objects.filter(accepted_at=None, declined_at=None, revoked_at=None)
    return list(rows.select_related("invited_by")[:100])


# -- those who are invited --------------------------------------------------------------------------------------------


def find(secret: str) -> Invitation:
    """The open invitation behind a link. Raises ``InvitationOver``, whatever is wrong with it."""
    with platform_scope():
        rows = Invitation.objects.select_related("tenant", "invited_by").filter(_open())
        row = rows.filter(secret_digest=_digest(secret)).first()
        if row is None or not _could_invite_now(row):
            raise InvitationOver
    return row


def _could_invite_now(row: Invitation) -> bool:
    """Whether whoever invited still may: else somebody who is let go would leave a way in for themselves behind."""
    by = row.invited_by
    if by is None or not by.is_active:
        return by is None
    held = grants_on_tenant(user_id=by.pk, tenant_id=row.tenant_id)
    return is_platform_admin(by) or (Grants.MANAGE_MEMBERS in held and people.role_is_within(row.role, held))


def account_of(invitation: Invitation) -> User | None:
    """The account that has the invited address, or has confirmed it as a further one."""
    named = User.objects.filter(email__iexact=invitation.email, is_service=False).first()
    if named is not None:
        return named
    confirmed = EmailAddress.objects.filter(email__iexact=invitation.email, verified=True, user__is_service=False)
    further = confirmed.select_related("user").first()
    return further.user if further else None


def accept(*, secret: str, user: User | None) -> tuple[User, bool]:
    """Take the role: by the account that has the address, or by a new one. Whether it was made is the second value.

    Raises ``InvitationOver``, ``NotYourInvitation``; an account that is there must be signed in (``Forbidden``).
    """
    row = find(secret)
    account = account_of(row)
    if account is not None and (user is None or user.pk != account.pk):
        raise NotYourInvitation if user else Forbidden("Sign in to accept.", recovery="Sign in with this address.")
    if account is None and user is not None:
        raise NotYourInvitation
    with platform_scope():
        row = _still_open(row.pk)
        taker = account or services.create_user(email=row.email, name=row.name)
        with context.acting(actor_id=taker.pk), platform_scope():
            row.accepted_at = clock.now()
            row.save(update_fields=["accepted_at"])
            if not Membership.objects.filter(tenant=row.tenant, user=taker).exists():
                if row.invited_by is not None:
                    people.tell_owners(tenant=row.tenant, user=taker, role=row.role, by=row.invited_by)
                services.set_membership(tenant=row.tenant, user=taker, role=row.role, by=row.invited_by)
        return taker, account is None


def decline(*, secret: str) -> Invitation:
    """Say no; whoever has the link may."""
    found = find(secret)
    with platform_scope():
        row = _still_open(found.pk)
        row.declined_at = clock.now()
        row.save(update_fields=["declined_at"])
        return row


def _still_open(pk: uuid.UUID) -> Invitation:
    rows = Invitation.objects.select_for_update(of=("self",)).select_related("tenant", "invited_by")
    row = rows.filter(_open(), pk=pk).first()
    if row is None:
        raise InvitationOver
    return row


def may_see_link(user: User) -> bool:
    """Whether the link may be shown to whoever sends it: a platform admin, where no mail is set up."""
    return is_platform_admin(user) and not people.sends_mail()
