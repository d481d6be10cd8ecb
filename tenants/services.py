"""Writes about tenants and people."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from core import crypto
from core.errors import Conflict, Invalid

from .models import Membership, PlatformAdmin, Tenant, TenantRole, User, UserSession
from .permissions import set_role_grants
from .scope import platform_scope


class SlugTaken(Conflict):
    code = "TENANT_SLUG_TAKEN"
    title = "That short name is taken"
    message = "Another tenant already uses this short name."
    recovery = "Choose another short name."


class LastOwner(Conflict):
    code = "TENANT_LAST_OWNER"
    title = "A tenant needs an owner"
    message = "This is the tenant's only owner."
    recovery = "Make somebody else an owner first."


def create_tenant(*, name: str, slug: str = "", owner: User | None = None) -> Tenant:
    """A new tenant, with its first owner."""
    name = name.strip()
    slug = slug.strip() or slugify(name)[:48].strip("-")
    if not name or not slug:
        raise Invalid("A tenant needs a name that has letters or digits.", details={"name": "required"})
    with platform_scope():
        try:
            with transaction.atomic():
                tenant = Tenant(name=name, slug=slug)
                tenant.clean_fields()
                tenant.save(force_insert=True)
        except ValidationError as error:
            raise Invalid(details=error.message_dict) from error
        except IntegrityError as error:
            raise SlugTaken(details={"slug": slug}) from error
        if owner is not None:
            set_membership(tenant=tenant, user=owner, role=TenantRole.OWNER, by=owner)
        return tenant


def create_user(
    *, email: str, name: str = "", password: str | None = None, role: str = "member", is_service: bool = False
) -> User:
    """A new person (or service account, which never signs in)."""
    user = User(email=email.strip().lower(), name=name.strip(), role=role, is_service=is_service)
    try:
        user.clean_fields(exclude=["password"])
        if password:
            validate_password(password, user)
    except ValidationError as error:
        details = error.message_dict if hasattr(error, "error_dict") else {"password": error.messages}
        raise Invalid(details=details) from error
    if password:
        user.set_password(password)
    else:
        user.set_unusable_password()
    with platform_scope():
        if User.objects.filter(email__iexact=user.email).exists():
            raise Conflict("A person with this e-mail address is already here.", details={"email": user.email})
        user.save(force_insert=True)
    return user


def set_membership(*, tenant: Tenant, user: User, role: str, by: User | None) -> Membership:
    """Give a person a role in a tenant, replacing the one they had."""
    with platform_scope():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        if role != TenantRole.OWNER:
            _keep_an_owner(tenant, leaving=user)
        membership, _ = Membership.objects.update_or_create(
            tenant=tenant, user=user, defaults={"role": role}, create_defaults={"role": role, "created_by": by}
        )
        set_role_grants(user=user, tenant=tenant, role=role)
        return membership


def remove_member(*, tenant: Tenant, user: User) -> None:
    """Take a person out of a tenant, with every grant there."""
    with platform_scope():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        _keep_an_owner(tenant, leaving=user)
        Membership.objects.filter(tenant=tenant, user=user).delete()
        set_role_grants(user=user, tenant=tenant, role=None)


def make_platform_admin(*, user: User, by: User | None) -> None:
    """Put a person on the list of platform admins."""
    if user.is_service or not user.is_active:
        raise Invalid("Only a person who can sign in can be a platform admin.", details={"email": user.email})
    with platform_scope():
        PlatformAdmin.objects.get_or_create(user=user, defaults={"created_by": by})
        User.objects.filter(pk=user.pk).update(is_staff=True)


def end_sign_in(*, user: User, session_key: str) -> bool:
    """Sign one of a person's own sign-ins out; whether it was there."""
    deleted, _ = UserSession.objects.filter(user=user, session_key=session_key).delete()
    return bool(deleted)


def _keep_an_owner(tenant: Tenant, *, leaving: User) -> None:
    owners = Membership.objects.filter(tenant=tenant, role=TenantRole.OWNER)
    if owners.filter(user=leaving).exists() and not owners.exclude(user=leaving).exists():
        raise LastOwner


def _host(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url.strip())
    return parts.scheme, (parts.hostname or "").lower(), parts.port


def update_settings(
    *,
    tenant: Tenant,
    name: str,
    git_remote_url: str,
    secret: str | None = None,
    username: str = "",
    known_hosts: str = "",
) -> Tenant:
    """Change a tenant's name and Git remote.

    Another host needs the secret again (``Invalid``): it is sent to no place that it was not entered for.

    ``secret``: a token, or for ssh a private key; None keeps the stored one, '' forgets it. ``known_hosts``: the
    remote's host keys, as lines of OpenSSH's file.
    """
    name = name.strip()
    if not name:
        raise Invalid("A tenant needs a name.", details={"name": "required"})
    with platform_scope():
        row = Tenant.objects.select_for_update().get(pk=tenant.pk)
        moved = git_remote_url.strip() and _host(git_remote_url) != _host(row.git_remote_url)
        if secret is None and row.git_remote_secret and moved:
            message = "Enter the token or key for the new host: the stored one was for another."
            fields = {"git_remote_secret": message}
            raise Invalid("Another host needs its own secret.", details=fields, recovery=message)
        row.name, row.git_remote_url = name, git_remote_url.strip()
        row.git_remote_username, row.git_remote_known_hosts = username.strip(), known_hosts.strip()
        if secret is not None:
            row.git_remote_secret = crypto.encrypt(secret) if secret else ""
        remote = [f"git_remote_{part}" for part in ("url", "username", "secret", "known_hosts")]
        row.save(update_fields=["name", *remote, "updated_at"])
    return row
