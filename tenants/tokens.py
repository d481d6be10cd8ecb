"""Bearer tokens: made, shown once, kept as a hash, checked, revoked."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db.models import Q

from opsconsole.core import clock
from opsconsole.core.errors import OpsError

from .models import ApiToken, Tenant, User
from .scope import platform_scope

PREFIX = "opc_"
SEEN_EVERY = timedelta(minutes=1)


class TokenRefused(OpsError):
    code = "UNAUTHORIZED"
    title = "Sign in first"
    message = "The token is missing, unknown, expired or revoked."
    recovery = "Send 'Authorization: Bearer <token>' with a token from the Tokens page or `manage.py token`."
    status = 401


def token_digest(token: str) -> str:
    """What is stored of a token: it has 256 bits of chance, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def create_token(
    *,
    user: User,
    name: str,
    tenant: Tenant | None = None,
    created_by: User | None = None,
    expires_in_days: int | None = 90,
    permissions: list[str] | None = None,
) -> tuple[ApiToken, str]:
    """Make a token; the second value is the secret, never to be seen again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    with platform_scope():
        token = ApiToken.objects.create(
            user=user,
            tenant=tenant,
            name=name.strip() or "token",
            prefix=secret[:10],
            token_hash=token_digest(secret),
            permissions=permissions or [],
            expires_at=clock.now() + timedelta(days=expires_in_days) if expires_in_days else None,
            created_by=created_by,
        )
    return token, secret


def authenticate(secret: str) -> ApiToken:
    """The live token behind a secret, with its person; raises ``TokenRefused``."""
    now = clock.now()
    with platform_scope():
        token = (
            ApiToken.objects.select_related("user")
            .filter(token_hash=token_digest(secret), revoked_at=None, user__is_active=True)
            .filter(Q(expires_at=None) | Q(expires_at__gt=now))
            .first()
        )
        if token is None:
            raise TokenRefused
        if token.last_used_at is None or now - token.last_used_at > SEEN_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def revoke_token(*, token_id: str, tenant: Tenant | None) -> None:
    """End a token now."""
    with platform_scope():
        ApiToken.objects.filter(pk=token_id, tenant=tenant, revoked_at=None).update(revoked_at=clock.now())
