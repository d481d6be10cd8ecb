"""A session begins: read only, by one real person, through one sign-in or token, for a reason."""

from __future__ import annotations

from dataclasses import replace
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

from .consent import use_or_request
from .ending import end_invalid
from .origins import RequestOrigin, SessionTerms
from .records import checked_reason, record_own_event

#: Attempts of one person within five minutes, refused or not: each may send mail to owners and platform admins.
MOST_ATTEMPTS, ATTEMPTS_SECONDS = 12, 300


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
    """Begin a read-only session. The caller has checked the second factor.

    Raises ``NotSupport``, ``TooMany``, ``ImpersonationBlocked`` (recorded), ``NotFound`` (no tenant),
    ``AlreadyInSession``, ``Invalid``, or ``ConsentNeeded`` after requesting the owners' approval. The session and its
    event in the trail are one transaction.
    """
    _refuse_nested(actor=actor, target=target, tenant=tenant)
    if not guardrails.may_support(actor):
        raise NotSupport
    _limit_attempts(actor)
    _refuse_blocked(actor=actor, target=target, tenant=tenant)
    if tenant is None:
        raise NotFound("There is no such tenant.", recovery="Name the tenant: an id or a short name.")
    reason, ticket = checked_reason(reason, ticket)
    # Earlier sessions whose time is over must not block this one.
    end_invalid(user=actor)
    terms = SessionTerms(actor=actor, target=target, tenant=tenant, reason=reason, ticket=ticket, origin=origin)
    policy = _policy_for_new_session(terms)
    if policy.access != Access.APPROVAL or break_glass:
        return _begin(terms, policy, break_glass=break_glass)
    approval = use_or_request(terms)
    # The owner approved this reason, whatever has been typed since.
    terms = replace(terms, reason=approval.reason, ticket=approval.ticket)
    return _begin(terms, policy, approval=approval)


def _policy_for_new_session(terms: SessionTerms) -> SupportPolicy:
    """The customer's policy. Raises ``AlreadyInSession`` where the person leads a session."""
    with context.acting(actor_id=terms.actor.pk), platform_scope():
        if ImpersonationSession.objects.filter(actor_user=terms.actor, ended_at=None).exists():
            raise AlreadyInSession
        return guardrails.policy_of(terms.tenant)


def _limit_attempts(actor: User) -> None:
    if limits.count("support-start", str(actor.pk), seconds=ATTEMPTS_SECONDS) > MOST_ATTEMPTS:
        raise limits.TooMany(
            "You tried to start support sessions too often.", recovery="Wait five minutes, then try again."
        )


def blocked_by(*, actor: User, target: User, tenant: Tenant | None) -> str:
    """The guardrail that blocks the session whatever is typed, or ''. ``start_session`` records the attempt."""
    with context.acting(actor_id=actor.pk), platform_scope():
        current = User.objects.get(pk=target.pk)
        return guardrails.blocked_by(actor=actor, target=current, tenant=tenant)


def _refuse_nested(*, actor: User, target: User, tenant: Tenant | None) -> None:
    if support.current() is None and context.current().session_id is None:
        return
    with support.suspended():
        _record_blocked(actor=actor, target=target, tenant=tenant, guardrail="actor_is_in_a_session")
    raise AlreadyInSession


def _refuse_blocked(*, actor: User, target: User, tenant: Tenant | None) -> None:
    guardrail = blocked_by(actor=actor, target=target, tenant=tenant)
    if guardrail:
        _record_blocked(actor=actor, target=target, tenant=tenant, guardrail=guardrail)
        raise ImpersonationBlocked(guardrails.SENTENCES[guardrail], details={"reason": guardrail})


def _record_blocked(*, actor: User, target: User, tenant: Tenant | None, guardrail: str) -> None:
    with context.acting(actor_id=actor.pk), platform_scope():
        record_event(
            action="IMPERSONATION_BLOCKED",
            resource_type="users",
            resource_id=target.pk,
            tenant_id=tenant.pk if tenant else None,
            details={"target_user_id": str(target.pk), "target_email": target.email, "reason": guardrail},
        )
        alerts.repeated_attempts(actor)


def _begin(
    terms: SessionTerms, policy: SupportPolicy, *, break_glass: bool = False, approval: SupportRequest | None = None
) -> ImpersonationSession:
    """Write the session and its events in one transaction. Raises ``AlreadyInSession`` where another was faster."""
    session = _new_session(terms, policy, break_glass=break_glass)
    with context.acting(actor_id=terms.actor.pk), platform_scope():
        try:
            with transaction.atomic():
                session.save(force_insert=True)
        except IntegrityError as error:
            raise AlreadyInSession from error
        _record_start(session, approval)
    return session


def _new_session(terms: SessionTerms, policy: SupportPolicy, *, break_glass: bool) -> ImpersonationSession:
    now, acting = clock.now(), context.current()
    return ImpersonationSession(
        actor_user=terms.actor,
        impersonated_user=terms.target,
        impersonated_tenant=terms.tenant,
        reason=terms.reason,
        ticket=terms.ticket,
        break_glass=break_glass,
        ip_address=acting.ip_address or None,
        user_agent=acting.user_agent,
        sign_in=terms.origin.sign_in,
        api_token_id=terms.origin.token_id,
        started_at=now,
        last_seen_at=now,
        expires_at=now + timedelta(minutes=min(policy.longest_minutes, LONGEST_MINUTES)),
        idle_seconds=60 * min(policy.idle_minutes, LONGEST_IDLE_MINUTES),
    )


def _record_start(session: ImpersonationSession, approval: SupportRequest | None) -> None:
    details = {
        "reason": session.reason, "ticket": session.ticket, "mode": session.mode, "expires_at": session.expires_at,
    }  # fmt: skip
    if approval is not None:
        SupportRequest.objects.filter(pk=approval.pk).update(session_id=session.pk)
        details["request_id"] = approval.pk
    record_own_event("IMPERSONATION_START", session, {**details, "break_glass": session.break_glass})
    publish_started(session)
    if session.break_glass:
        record_own_event("IMPERSONATION_BREAK_GLASS", session, {"reason": session.reason})
        alerts.break_glass(session)
