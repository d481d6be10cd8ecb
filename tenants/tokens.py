"""Bearer tokens: made, shown once, kept as a hash, checked, revoked."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db.models import Q

from core import clock, context, limits
from core.errors import Conflict, Invalid, OpsError
from core.notices import notify

from .models import ApiToken, Tenant, User
from .notices import TokenTriesRefused
from .scope import platform_scope

PREFIX = "opc_"
SEEN_EVERY = timedelta(minutes=1)
LONGEST_OVERLAP_HOURS = 72
LARGEST_REFUSALS = 30
REFUSALS_WINDOW_SECONDS = 60


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


def authenticate_slowly(secret: str) -> ApiToken:
    """``authenticate``, which slows down whoever tries many: a good token from the same address goes on working.

    Raises ``TooMany`` in place of ``TokenRefused`` from the ``LARGEST_REFUSALS``-th refusal within a minute.
    """
    try:
        return authenticate(secret)
    except TokenRefused:
        address = context.current().ip_address
        tries = limits.count("token-refused", address, seconds=REFUSALS_WINDOW_SECONDS)
        if tries < LARGEST_REFUSALS:
            raise
        if tries == LARGEST_REFUSALS:
            notify(TokenTriesRefused(address, tries))
        raise limits.TooMany(
            "Too many tokens were refused from this address.",
            recovery="Wait a minute; check the token that your program sends.",
        ) from None


def rotate_token(*, token: ApiToken, by: User, keep_old_hours: int = 0) -> tuple[ApiToken, str]:
    """A new secret for the same use: same person, tenant, permissions and end.

    A machine that rotates its own token stays on the account of whoever made it. The old one is refused at once, or
    after ``keep_old_hours`` (at most 72) where programs are still to be changed.
    """
    if not 0 <= keep_old_hours <= LONGEST_OVERLAP_HOURS:
        raise Invalid(f"`keep_old_hours` is between 0 and {LONGEST_OVERLAP_HOURS}.")
    with platform_scope():
        # Locked: of two who press at once, the second finds it ended and gets no token beside the first's.
        token = (
            ApiToken.objects.select_for_update(of=("self",))
            .select_related("user", "tenant", "created_by")
            .get(pk=token.pk)
        )
        now = clock.now()
        if token.revoked_at or (token.expires_at and token.expires_at <= now):
            raise Conflict("This token has ended already.", recovery="Make a new one.")
        ends = token.expires_at
        if keep_old_hours:
            overlap = now + timedelta(hours=keep_old_hours)
            token.expires_at = min(overlap, ends) if ends else overlap
        else:
            token.revoked_at = now
        token.save(update_fields=["expires_at", "revoked_at"])
        made, secret = create_token(
            user=token.user,
            name=token.name,
            tenant=token.tenant,
            created_by=token.created_by if by.pk == token.user_id else by,
            expires_in_days=None,
            permissions=list(token.permissions),
        )
        made.expires_at = ends
        made.save(update_fields=["expires_at"])
    return made, secret


def end_tokens_made_by(*, user: User, tenant: Tenant | None = None) -> int:
    """End the live tokens of machines that a person made, in one tenant or everywhere; how many. They know them."""
    with platform_scope():
        rows = ApiToken.objects.filter(created_by=user, user__is_service=True, revoked_at=None)
        return (rows.filter(tenant=tenant) if tenant else rows).update(revoked_at=clock.now())


def revoke_token(*, token_id: str, tenant: Tenant | None) -> None:
    """End a token now."""
    with platform_scope():
        ApiToken.objects.filter(pk=token_id, tenant=tenant, revoked_at=None).update(revoked_at=clock.now())
