"""Whether the person has confirmed a second factor within the last minutes."""

from __future__ import annotations

import time
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
from tenants.models import User
from tenants.scope import platform_scope

from .errors import FreshFactorNeeded

FRESH_SECONDS = 5 * 60
MOST_ATTEMPTS, ATTEMPTS_SECONDS = 5, 300


def second_factor_needed() -> bool:
    """False only in the demo: its password is printed, so a second factor would protect nothing."""
    return bool(settings.SUPPORT_SECOND_FACTOR)


def is_fresh(request: HttpRequest) -> bool:
    """Whether this sign-in confirmed a second factor (in the demo: any) within ``FRESH_SECONDS``."""
    methods = get_authentication_records(request, request.user)
    wanted = [m for m in methods if m.get("method") == "mfa" or not second_factor_needed()]
    return any(time.time() - float(m.get("at", 0)) < FRESH_SECONDS for m in wanted)


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
    """Check a code of the person's app or a recovery code, each of which works once. Raises ``FreshFactorNeeded``."""
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
        if factor.type == Authenticator.Type.TOTP and TOTP(factor).validate_code(code):
            cache.delete(key)
            return True
        if factor.type == Authenticator.Type.RECOVERY_CODES and RecoveryCodes(factor).validate_code(code):
            cache.delete(key)
            return True
    return False
