"""Writes about people as such: invitations, sign-in links, roles on the platform, leaving."""

from __future__ import annotations

import hashlib
import logging
import uuid

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils.text import slugify

from core import clock
from core.errors import Conflict, Invalid, NotFound
from core.notices import notify

from . import services
from .mail import TenantMessage
from .models import ApiToken, Membership, PlatformAdmin, PlatformRole, Tenant, TenantRole, User, UserSession
from .notices import AccessLost, SignInLinkShown, SignInsEnded
from .permissions import is_platform_admin, role_grants
from .scope import platform_scope
from .tokens import end_tokens_made_by

logger = logging.getLogger(__name__)
OWNERS_TOLD = 20
ROLES_ON_PLATFORM = tuple(PlatformRole.values)


class LastPlatformAdmin(Conflict):
    code = "PLATFORM_LAST_ADMIN"
    title = "The platform needs an admin"
    message = "This is the last platform admin who can sign in."
    recovery = "Make somebody else a platform admin first."


class NotYourself(Conflict):
    code = "NOT_YOURSELF"
    title = "Not on yourself"
    message = "You cannot take away your own access."
    recovery = "Ask another platform admin to do it."


def get_person(user_id: uuid.UUID | str) -> User:
    """A person by id; raises ``NotFound``."""
    try:
        return User.objects.get(pk=user_id)
    except (User.DoesNotExist, ValidationError, ValueError, TypeError) as error:
        raise NotFound from error


def sends_mail() -> bool:
    """Whether invitations leave this machine."""
    return bool(settings.SENDS_MAIL)


def sign_in_link(user: User) -> str:
    """The path of a page on which the person chooses a password; it works once and for three days.

    Whoever holds it becomes that person: it goes to their mailbox, or is shown to a platform admin, never to others.
    """
    uid, key = user_pk_to_url_str(user), default_token_generator.make_token(user)
    return reverse("account_reset_password_from_key", kwargs={"uidb36": uid, "key": key})


def show_sign_in_link(*, user: User, by: User | None) -> str:
    """The same for a platform admin's eyes, on record: also in the trail of each tenant that the person belongs to."""
    with platform_scope():
        notify(SignInLinkShown(user, by))
    return sign_in_link(user)


def mail_sign_in_link(*, user: User, base_url: str, tenant: Tenant | None = None) -> bool:
    """Send the link to the person's own address, once they are on record; whether mail is set up here."""
    if not sends_mail():
        return False
    where = f" to {tenant.name}" if tenant else ""
    known = user.has_usable_password()
    message = TenantMessage(
        "A new password for OpsConsole" if known else f"You are invited{where} on OpsConsole",
        f"Choose a password to sign in{where}:\n\n{base_url.rstrip('/')}{sign_in_link(user)}\n\n"
        "The link works once, for three days.",
        to=[user.email],
        tenant_id=tenant.pk if tenant else None,
    )
    transaction.on_commit(message.send)
    return True


def add_member(*, tenant: Tenant, email: str, role: str, by: User, name: str = "") -> tuple[Membership, bool]:
    """Give the person with this address a role; the second value says whether the person was created for it."""
    if role not in TenantRole.values:
        raise Invalid(details={"role": f"one of {', '.join(TenantRole.values)}"})
    with platform_scope():
        user = User.objects.filter(email__iexact=email.strip()).first()
        created = user is None
        if user is None:
            user = services.create_user(email=email, name=name)
        elif user.is_service:
            raise Invalid("A service account gets its role where it is made.", details={"email": user.email})
        elif Membership.objects.filter(tenant=tenant, user=user).exists():
            raise Conflict(
                "This person is a member already.",
                details={"email": user.email},
                recovery="Change the role in the list.",
            )
        tell_owners(tenant=tenant, user=user, role=role, by=by)
        return services.set_membership(tenant=tenant, user=user, role=role, by=by), created


def tell_owners(*, tenant: Tenant, user: User, role: str, by: User) -> None:
    """A platform admin from outside gives a role here, perhaps to themselves: the owners learn it at once."""
    owners = Membership.objects.filter(tenant=tenant, role=TenantRole.OWNER, user__is_active=True)
    if not is_platform_admin(by) or owners.filter(user=by).exists():
        return
    to = sorted(owners.exclude(user=user).values_list("user__email", flat=True)[:OWNERS_TOLD])
    message = TenantMessage(
        f"{by} made {user} {TenantRole(role).label.lower()} in {tenant.name}",
        f"{by} ({by.email}), a platform admin, gave {user} ({user.email}) the role {TenantRole(role).label} in"
        f" {tenant.name}.\n\nThe tenant's pages “Members” and “Trail” show it; there you can take it away.\n",
        to=to,
        tenant_id=tenant.pk,
    )

    def send() -> None:
        try:
            message.send()
        except Exception:
            logger.exception("owners could not be told of a role that was given", extra={"to": len(to)})

    if to:
        transaction.on_commit(send)


def change_role(*, tenant: Tenant, user_id: uuid.UUID, role: str, by: User) -> Membership:
    """Give a member another role; a service account never becomes an owner.

    With a role that holds less, the tokens that the member made for machines end.
    """
    if role not in TenantRole.values:
        raise Invalid(details={"role": f"one of {', '.join(TenantRole.values)}"})
    member = _member(tenant, user_id)
    if member.is_service and role == TenantRole.OWNER:
        raise Invalid("A service account cannot be an owner.", details={"role": role})
    with platform_scope():
        tell_owners(tenant=tenant, user=member, role=role, by=by)
        before = Membership.objects.get(tenant=tenant, user=member).role
        if not role_grants(before) <= role_grants(role):
            end_tokens_made_by(user=member, tenant=tenant)
        return services.set_membership(tenant=tenant, user=member, role=role, by=by)


def remove_member(*, tenant: Tenant, user_id: uuid.UUID) -> User:
    """Take somebody out of a tenant: grants and tokens there end, also those made for machines.

    A service account ends altogether.
    """
    member = _member(tenant, user_id)
    with platform_scope():
        services.remove_member(tenant=tenant, user=member)
        ApiToken.objects.filter(tenant=tenant, user=member, revoked_at=None).update(revoked_at=clock.now())
        end_tokens_made_by(user=member, tenant=tenant)
        if member.is_service:
            revoke_tokens_of(user=member)
            User.objects.filter(pk=member.pk).update(is_active=False, updated_at=clock.now())
        notify(AccessLost(member, None, "no longer a member"))
    return member


def _member(tenant: Tenant, user_id: uuid.UUID) -> User:
    with platform_scope():
        found = User.objects.filter(pk=user_id, memberships__tenant=tenant).first()
    if found is None:
        raise NotFound
    return found


def create_service_account(*, tenant: Tenant, name: str, role: str, by: User) -> User:
    """A machine's account in one tenant. It has tokens and never signs in; nobody makes another owner this way."""
    slug = slugify(name)[:40].strip("-")
    if not slug:
        raise Invalid(
            "A service account needs a name that has letters or digits.", details={"service_name": "required"}
        )
    if role not in TenantRole.values or role == TenantRole.OWNER:
        raise Invalid("A service account is an operator, an approver or a viewer.", details={"role": role})
    email = f"{slug}@{tenant.slug}.service.invalid"
    with platform_scope():
        user = services.create_user(email=email, name=name, is_service=True)
        services.set_membership(tenant=tenant, user=user, role=role, by=by)
    return user


def role_is_within(role: str, grants: frozenset[str]) -> bool:
    """Whether someone with ``grants`` holds everything that ``role`` gives."""
    return (role_grants(role) or frozenset({"?"})) <= grants


def set_platform_role(*, user: User, role: str, by: User | None = None) -> None:
    """Make a person support, compliance officer or neither."""
    if role not in ROLES_ON_PLATFORM:
        raise Invalid(details={"role": f"one of {', '.join(ROLES_ON_PLATFORM)}"})
    if user.is_service:
        raise Invalid("A service account has no role on the platform.")
    with platform_scope():
        User.objects.filter(pk=user.pk).update(role=role, updated_at=clock.now())
        notify(AccessLost(user, by, "another role on the platform"))


def remove_platform_admin(*, user: User, by: User | None) -> None:
    """Take a person off the list of platform admins; their sign-ins and tokens end with it."""
    with platform_scope():
        rows = list(PlatformAdmin.objects.select_for_update().select_related("user").order_by("pk"))
        if user.pk not in {row.user_id for row in rows}:
            raise NotFound("This person is no platform admin.")
        _keep_an_admin(rows, user)
        PlatformAdmin.objects.filter(user=user).delete()
        User.objects.filter(pk=user.pk).update(is_staff=False, updated_at=clock.now())
        revoke_tokens_of(user=user)
        end_sign_ins(user=user, by=by, why="no longer a platform admin")
        notify(AccessLost(user, by, "no longer a platform admin"))


def set_active(*, user: User, active: bool, by: User | None) -> None:
    """Shut a person out of the console, or let them in again. Shutting out ends sign-ins and tokens at once."""
    if not active and by is not None and by.pk == user.pk:
        raise NotYourself
    with platform_scope():
        if not active:
            rows = list(PlatformAdmin.objects.select_for_update().select_related("user").order_by("pk"))
            if user.pk in {row.user_id for row in rows}:
                _keep_an_admin(rows, user)
        User.objects.filter(pk=user.pk).update(is_active=active, updated_at=clock.now())
        if not active:
            revoke_tokens_of(user=user)
            end_tokens_made_by(user=user)
            end_sign_ins(user=user, by=by, why="shut out")
            notify(AccessLost(user, by, "shut out"))


def _keep_an_admin(rows: list[PlatformAdmin], leaving: User) -> None:
    if not any(row.user_id != leaving.pk and row.user.is_active for row in rows):
        raise LastPlatformAdmin


def revoke_tokens_of(*, user: User) -> int:
    """End every live token of a person; how many there were."""
    with platform_scope():
        return ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=clock.now())


def session_digest(session_key: str) -> str:
    """What a page may show of a sign-in."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:32]


def end_sign_in(*, user: User, digest: str, by: User | None = None) -> None:
    """End one of a person's sign-ins, named by ``session_digest``; raises ``NotFound``."""
    keys = UserSession.objects.filter(user=user).values_list("session_key", flat=True)
    key = next((key for key in keys if session_digest(key) == digest), None)
    if key is None or not services.end_sign_in(user=user, session_key=key):
        raise NotFound("That sign-in has ended already.")
    notify(SignInsEnded(user, 1, by, "ended"))


def end_sign_ins(*, user: User, by: User | None = None, keep: str = "", why: str = "ended") -> int:
    """End all of a person's sign-ins but ``keep`` (a key as it is stored); how many."""
    deleted, _ = UserSession.objects.filter(user=user).exclude(session_key=keep).delete()
    if deleted:
        notify(SignInsEnded(user, deleted, by, why))
    return deleted
