"""Whether the person has confirmed a second factor within the last minutes, and one that is not too new to count.

Whoever has only somebody's password can set a factor up: it counts once its person has had time to notice.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from audit.services import record_event
from core import clock
from tenants.models import User
from tenants.scope import platform_scope

from .errors import FactorTooNew, FreshFactorNeeded

FRESH_SECONDS = 5 * 60
MOST_ATTEMPTS, ATTEMPTS_SECONDS = 5, 300


def second_factor_needed() -> bool:
    """False only in the demo: its password is printed, so a second factor would protect nothing."""
    return bool(settings.SUPPORT_SECOND_FACTOR)


def is_fresh(request: HttpRequest) -> bool:
    """Whether this sign-in confirmed a second factor (in the demo: any) within ``FRESH_SECONDS``."""
    methods = get_authentication_records(request, request.user)
    wanted = [m for m in methods if m.get("method") == "mfa" or not second_factor_needed()]
    fresh = [m for m in wanted if time.time() - float(m.get("at", 0)) < FRESH_SECONDS]
    if fresh and second_factor_needed() and not _has_settled(request.user, {str(m.get("type", "")) for m in fresh}):
        raise FactorTooNew
    return bool(fresh)


def _has_settled(user: Any, kinds: Collection[str]) -> bool:
    """Whether the person has factors of one of these kinds, none of them too new: a record does not tell two apart."""
    by_kind: dict[str, list[bool]] = {}
    for factor in Authenticator.objects.filter(user=user, type__in=kinds):
        by_kind.setdefault(factor.type, []).append(_is_settled(factor))
    return any(all(settled) for settled in by_kind.values())


def _is_settled(factor: Authenticator) -> bool:
    return bool(factor.created_at <= clock.now() - timedelta(hours=settings.SUPPORT_FACTOR_WAIT_HOURS))


def confirm_url(user: User, back_to: str) -> str:
    """The address where the person confirms a factor, or sets one up, before coming back to ``back_to``."""
    kinds = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    if not second_factor_needed():
        name = "account_reauthenticate"
    elif Authenticator.Type.TOTP in kinds:
        name = "mfa_reauthenticate"
    elif Authenticator.Type.WEBAUTHN in kinds:
        name = "mfa_reauthenticate_webauthn"
    else:
        name = "mfa_index"
    return f"{reverse(name)}?{urlencode({'next': back_to})}"


def check_code(user: User, code: str) -> None:
    """Check a code of the person's app or a recovery code, each of which works once.

    Raises ``FreshFactorNeeded``, and ``FactorTooNew`` where the code is right.
    """
    if not second_factor_needed():
        return
    if not _is_valid_code(user, code.strip()):
        with platform_scope():
            record_event(action="SECOND_FACTOR_FAILED", resource_type="users", resource_id=user.pk)
        raise FreshFactorNeeded


def _is_valid_code(user: User, code: str) -> bool:
    key = f"support-code-tries:{user.pk}"
    cache.add(key, 0, ATTEMPTS_SECONDS)
    if cache.incr(key) > MOST_ATTEMPTS:
        raise FreshFactorNeeded("Too many codes were tried.", recovery="Wait five minutes, then send a new code.")
    factors: list[Any] = list(Authenticator.objects.filter(user=user))
    for factor in factors:
        if _opens(factor, code):
            cache.delete(key)
            if not _is_settled(factor):
                raise FactorTooNew
            return True
    return False


def _opens(factor: Authenticator, code: str) -> bool:
    if factor.type == Authenticator.Type.TOTP:
        return bool(TOTP(factor).validate_code(code))
    return factor.type == Authenticator.Type.RECOVERY_CODES and bool(RecoveryCodes(factor).validate_code(code))
