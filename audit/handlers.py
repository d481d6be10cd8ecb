"""Sign-ins, failed tries and sign-outs, as events of the platform's trail."""

from __future__ import annotations

import hashlib
from typing import Any

from allauth.account.signals import password_changed, password_reset
from allauth.mfa.signals import authentication_failed, authenticator_added, authenticator_removed
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from core import context
from tenants.models import Membership, User
from tenants.notices import SignInLinkShown, SignInsEnded, TokenTriesRefused
from tenants.scope import platform_scope

from .services import Event, record_event, record_events

#: Whoever tried these may be anybody: the person is whom they were about.
TRIED = ("SIGN_IN_FAILED", "SECOND_FACTOR_FAILED")


def _record(action: str, user: User | None, details: dict[str, Any] | None = None, *, by: User | None = None) -> None:
    acting = context.current()
    actor = by.pk if by else acting.actor_id or (user.pk if user and action not in TRIED else None)
    with context.acting(actor_id=actor), platform_scope():
        record_event(action=action, resource_type="users", resource_id=user.pk if user else None, details=details)


def _browser() -> dict[str, str]:
    agent = context.current().user_agent
    return {"user_agent": agent} if agent else {}


@receiver(user_logged_in, dispatch_uid="trail")
def signed_in(sender: Any, request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    _record("SIGN_IN", user, _browser(), by=user)


@receiver(user_logged_out, dispatch_uid="trail")
def signed_out(sender: Any, request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        _record("SIGN_OUT", user, _browser(), by=user)


@receiver(user_login_failed, dispatch_uid="trail")
def sign_in_failed(sender: Any, credentials: dict[str, Any], **kwargs: Any) -> None:
    """Names the person whose address was typed. An unknown address is kept as a digest: it may be a password."""
    typed = str(credentials.get("email") or credentials.get("username") or "").strip().lower()
    user = User.objects.filter(email__iexact=typed).first() if typed else None
    details = _browser()
    if user is None and typed:
        details["unknown_address"] = hashlib.sha256(typed.encode()).hexdigest()[:16]
    _record("SIGN_IN_FAILED", user, details)


@receiver(authentication_failed, dispatch_uid="trail-mfa-failed")
def second_factor_failed(sender: Any, user: User, authenticator: Any, **kwargs: Any) -> None:
    """The password was right: a wrong code says more than a wrong password."""
    _record("SECOND_FACTOR_FAILED", user, {"type": authenticator.type, **_browser()})


def sign_ins_ended(notice: SignInsEnded) -> None:
    _record("SIGN_INS_ENDED", notice.user, {"count": notice.count, "why": notice.why}, by=notice.by)


def sign_in_link_shown(notice: SignInLinkShown) -> None:
    """In the person's tenants as well: their owners see that somebody may have come in as one of theirs."""
    user, by = notice.user, notice.by
    theirs = Membership.objects.filter(user=user).values_list("tenant_id", flat=True)
    with context.acting(actor_id=by.pk if by else context.current().actor_id):
        record_events(
            Event("SIGN_IN_LINK_SHOWN", "users", user.pk, tenant_id, name=str(user)) for tenant_id in (None, *theirs)
        )


@receiver([password_changed, password_reset], dispatch_uid="trail-password")
def password_is_new(sender: Any, user: User, **kwargs: Any) -> None:
    _record("PASSWORD_CHANGED", user, _browser(), by=user)


@receiver(authenticator_added, dispatch_uid="trail-mfa-added")
def second_factor_added(sender: Any, user: User, authenticator: Any, **kwargs: Any) -> None:
    _record("SECOND_FACTOR_ADDED", user, {"type": authenticator.type})


@receiver(authenticator_removed, dispatch_uid="trail-mfa-removed")
def second_factor_removed(sender: Any, user: User, authenticator: Any, **kwargs: Any) -> None:
    _record("SECOND_FACTOR_REMOVED", user, {"type": authenticator.type})


def token_tries_refused(notice: TokenTriesRefused) -> None:
    _record("TOKEN_TRIES_REFUSED", None, {"address": notice.address, "tries": notice.tries})
