"""A session begins: reading, by one real person, through one door, for a reason."""

from __future__ import annotations

from datetime import timedelta

from django.db import IntegrityError, transaction

from audit.services import record_event
from core import clock, context, limits, support
from core.errors import NotFound
from impersonation import alerts, guardrails
from impersonation.domain_events import publish_started
from impersonation.errors import AlreadyInSession, ImpersonationBlocked, NotSupport
from impersonation.models import (
    LONGEST_IDLE_MINUTES,
    LONGEST_MINUTES,
    Access,
    ImpersonationSession,
    SupportPolicy,
    SupportRequest,
)
from tenants.models import Tenant, User
from tenants.scope import platform_scope

from .consent import use_or_ask
from .ending import end_fallen
from .origins import RequestOrigin
from .records import note, why_given

#: So many tries of one person within five minutes, refused or not: each may write to owners and platform admins.
MOST_TRIES, TRIES_SECONDS = 12, 300


def start_session(
    *,
    actor: User,
    target: User,
    tenant: Tenant | None,
    reason: str,
    ticket: str = "",
    origin: RequestOrigin,
    break_glass: bool = False,
) -> ImpersonationSession:
    """Begin a reading session. The second factor has been checked by the caller.

    Raises ``NotSupport``, ``TooMany``, ``ImpersonationBlocked`` (on record), ``AlreadyInSession``, ``Invalid``, or
    ``ConsentNeeded`` after putting the request to the customer's owners. Without its event in the trail there is no
    session: both are one transaction.
    """
    _refuse_nested(actor=actor, target=target, tenant=tenant)
    if not guardrails.may_support(actor):
        raise NotSupport
    _not_too_often(actor)
    blocked = blocked_by(actor=actor, target=target, tenant=tenant)
    if blocked:
        _record_blocked(actor=actor, target=target, tenant=tenant, why=blocked)
        raise ImpersonationBlocked(guardrails.SENTENCES[blocked], details={"reason": blocked})
    if tenant is None:
        raise NotFound("There is no such tenant.", recovery="Name the tenant: an id or a short name.")
    reason, ticket = why_given(reason, ticket)
    # Earlier sessions whose time is over do not stand in the way.
    end_fallen(user=actor)
    with context.acting(actor_id=actor.pk), platform_scope():
        policy = guardrails.policy_of(tenant)
        if ImpersonationSession.objects.filter(actor_user=actor, ended_at=None).exists():
            raise AlreadyInSession
    agreed: SupportRequest | None = None
    if policy.access == Access.APPROVAL and not break_glass:
        agreed = use_or_ask(actor=actor, target=target, tenant=tenant, reason=reason, ticket=ticket, origin=origin)
        # The owner agreed to these words, whatever has been typed since.
        reason, ticket = agreed.reason, agreed.ticket
    return _begin(
        actor=actor, target=target, tenant=tenant, reason=reason, ticket=ticket, origin=origin, policy=policy,
        break_glass=break_glass, agreed=agreed,
    )  # fmt: skip


def _not_too_often(actor: User) -> None:
    if limits.count("support-start", str(actor.pk), seconds=TRIES_SECONDS) > MOST_TRIES:
        raise limits.TooMany(
            "You tried to start support sessions too often.", recovery="Wait five minutes, then try again."
        )


def blocked_by(*, actor: User, target: User, tenant: Tenant | None) -> str:
    """The guardrail that stands in the way whatever is typed, or ''; ``start_session`` puts the try on record."""
    with context.acting(actor_id=actor.pk), platform_scope():
        now_is = User.objects.get(pk=target.pk)
        return guardrails.blocked_by(actor=actor, target=now_is, tenant=tenant)


def _refuse_nested(*, actor: User, target: User, tenant: Tenant | None) -> None:
    if support.current() is None and context.current().session_id is None:
        return
    with support.suspended():
        _record_blocked(actor=actor, target=target, tenant=tenant, why="actor_is_in_a_session")
    raise AlreadyInSession


def _record_blocked(*, actor: User, target: User, tenant: Tenant | None, why: str) -> None:
    with context.acting(actor_id=actor.pk), platform_scope():
        record_event(
            action="IMPERSONATION_BLOCKED",
            resource_type="users",
            resource_id=target.pk,
            tenant_id=tenant.pk if tenant else None,
            details={"target_user_id": str(target.pk), "target_email": target.email, "reason": why},
        )
        alerts.repeated_tries(actor)


def _begin(
    *,
    actor: User,
    target: User,
    tenant: Tenant,
    reason: str,
    ticket: str,
    origin: RequestOrigin,
    policy: SupportPolicy,
    break_glass: bool,
    agreed: SupportRequest | None,
) -> ImpersonationSession:
    now, acting = clock.now(), context.current()
    session = ImpersonationSession(
        actor_user=actor,
        impersonated_user=target,
        impersonated_tenant=tenant,
        reason=reason,
        ticket=ticket,
        break_glass=break_glass,
        ip_address=acting.ip_address or None,
        user_agent=acting.user_agent,
        sign_in=origin.sign_in,
        api_token_id=origin.token_id,
        started_at=now,
        last_seen_at=now,
        expires_at=now + timedelta(minutes=min(policy.longest_minutes, LONGEST_MINUTES)),
        idle_seconds=60 * min(policy.idle_minutes, LONGEST_IDLE_MINUTES),
    )
    marked = context.acting(actor_id=actor.pk, acting_as_id=target.pk, session_id=session.pk)
    with marked, platform_scope():
        try:
            with transaction.atomic():
                session.save(force_insert=True)
        except IntegrityError as error:
            raise AlreadyInSession from error
        details = {"reason": reason, "ticket": ticket, "mode": session.mode, "expires_at": session.expires_at}
        if agreed is not None:
            SupportRequest.objects.filter(pk=agreed.pk).update(session_id=session.pk)
            details["request_id"] = agreed.pk
        note("IMPERSONATION_START", session, {**details, "break_glass": break_glass})
        publish_started(session)
        if break_glass:
            note("IMPERSONATION_BREAK_GLASS", session, {"reason": reason})
            alerts.break_glass(session)
    return session
