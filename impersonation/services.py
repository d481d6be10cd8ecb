"""Writes about support sessions: start, end, extend, mode, consent, the customer's policy."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from audit.services import record_event
from opsconsole.core import clock, context, support
from opsconsole.core.errors import Forbidden, Invalid, NotFound
from tenants.models import Membership, Tenant, TenantRole, User
from tenants.permissions import is_platform_admin
from tenants.scope import platform_scope

from . import alerts, guardrails
from .errors import (
    AlreadyInSession,
    ConsentNeeded,
    ConsentUnusable,
    ImpersonationBlocked,
    NotSupport,
    SupportEnded,
)
from .models import (
    LONGEST_IDLE_MINUTES,
    LONGEST_MINUTES,
    REQUEST_LIFE,
    Access,
    ImpersonationSession,
    Mode,
    RequestKind,
    SupportOptOut,
    SupportPolicy,
    SupportRequest,
    WriteConsent,
)

SHORTEST_REASON = 10
TABLE = "platform_impersonation_sessions"
#: How long a session may last in all, extensions included, as a multiple of its own limit.
EXTENSIONS = 3


@dataclass(frozen=True, slots=True)
class Door:
    """Through what a session is begun: a browser's sign-in or a token, never both."""

    sign_in: str = ""
    token_id: uuid.UUID | None = None
    browser: str = ""


def digest(text: str) -> str:
    """What is stored of a sign-in's key or a browser's mark."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


# ---- starting


def start_session(
    *,
    actor: User,
    target: User,
    tenant: Tenant | None,
    reason: str,
    ticket: str = "",
    door: Door,
    break_glass: bool = False,
) -> ImpersonationSession:
    """Begin a reading session. The second factor has been checked by the caller.

    Raises ``NotSupport``, ``ImpersonationBlocked`` (on record), ``AlreadyInSession``, ``Invalid``, or
    ``ConsentNeeded`` after putting the request to the customer's owners. Without its event in the trail there is no
    session: both are one transaction.
    """
    _refuse_nested(actor=actor, target=target, tenant=tenant)
    if not guardrails.may_support(actor):
        raise NotSupport
    blocked = blocked_by(actor=actor, target=target, tenant=tenant)
    if blocked:
        _record_blocked(actor=actor, target=target, tenant=tenant, why=blocked)
        raise ImpersonationBlocked(guardrails.SENTENCES[blocked], details={"reason": blocked})
    if tenant is None:
        raise NotFound("There is no such tenant.", recovery="Name the tenant: an id or a short name.")
    reason, ticket = _why(reason, ticket)
    _run_out(actor)
    with context.acting(actor_id=actor.pk), platform_scope():
        policy = guardrails.policy_of(tenant)
        if ImpersonationSession.objects.filter(actor_user=actor, ended_at=None).exists():
            raise AlreadyInSession
    if policy.access == Access.APPROVAL and not break_glass:
        _use_consent_or_ask(actor=actor, target=target, tenant=tenant, reason=reason, ticket=ticket, door=door)
    return _begin(
        actor=actor, target=target, tenant=tenant, reason=reason, ticket=ticket, door=door, policy=policy,
        break_glass=break_glass,
    )  # fmt: skip


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


def _why(reason: str, ticket: str) -> tuple[str, str]:
    reason, ticket = " ".join(reason.split()), ticket.strip()
    wrong: dict[str, str] = {}
    if len(reason) < SHORTEST_REASON:
        wrong["reason"] = f"Say why, in at least {SHORTEST_REASON} characters: the customer reads it."
    if settings.SUPPORT_TICKET_PATTERN and not re.fullmatch(settings.SUPPORT_TICKET_PATTERN, ticket):
        wrong["ticket"] = f"Give the ticket's number; it must match {settings.SUPPORT_TICKET_PATTERN}."
    elif len(ticket) > 80:
        wrong["ticket"] = "At most 80 characters."
    if wrong:
        raise Invalid(details=wrong)
    return reason, ticket


def _run_out(actor: User) -> None:
    """End the person's earlier sessions whose time is over, so that they do not stand in the way."""
    with context.acting(actor_id=None, source="system"), platform_scope():
        for session in ImpersonationSession.objects.filter(actor_user=actor, ended_at=None):
            over = why_over(session.pk)
            if over:
                _end(session, by=None, reason=over)


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
    door: Door,
    policy: SupportPolicy,
    break_glass: bool,
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
        sign_in=door.sign_in,
        api_token_id=door.token_id,
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
        _event("IMPERSONATION_START", session, {**details, "break_glass": break_glass})
        if break_glass:
            _event("IMPERSONATION_BREAK_GLASS", session, {"reason": reason})
            alerts.break_glass(session)
    return session


def _event(action: str, session: ImpersonationSession, details: dict[str, Any]) -> None:
    record_event(
        action=action,
        resource_type=TABLE,
        resource_id=session.pk,
        tenant_id=session.impersonated_tenant_id,
        details={name: value if isinstance(value, bool | int) else str(value) for name, value in details.items()},
    )


# ---- ending


def why_over(session_id: uuid.UUID) -> str | None:
    """Why a session no longer stands (see ``impersonation.sql``), or None while it does. Platform scope."""
    from .sql import FROM, WHY_OVER

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {WHY_OVER} {FROM} WHERE s.id = %s", [session_id])
        row = cursor.fetchone()
    return row[0] if row else "ended"


def stands(session_id: uuid.UUID) -> bool:
    """Whether a session stands now; asks without a scope, for streams and jobs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT opsconsole_support_session_stands(%s)", [session_id])
        return bool(cursor.fetchone()[0])


def end_session(*, session_id: uuid.UUID, by: User | None, reason: str) -> ImpersonationSession:
    """End a session, whoever's it is; one that has ended stays as it is.

    Waits for the session's writes in flight, and none commits after it; its jobs are cancelled with it.
    """
    with support.suspended(), _as(by), platform_scope():
        session = ImpersonationSession.objects.filter(pk=session_id).first()
        if session is None:
            raise NotFound
        if session.ended_at is None:
            _end(session, by=by, reason=reason)
        return session


def end_all(*, by: User, reason: str, tenant: Tenant | None = None) -> int:
    """End every live session (of one tenant, if given); how many."""
    with support.suspended(), _as(by), platform_scope():
        rows = ImpersonationSession.objects.filter(ended_at=None).order_by("pk")
        if tenant is not None:
            rows = rows.filter(impersonated_tenant=tenant)
        found = list(rows)
        for session in found:
            _end(session, by=by, reason=reason)
        return len(found)


def end_sessions_of(*, user: User, by: User | None, reason: str) -> int:
    """End the live sessions that a person leads, and those that take the person's place; how many."""
    with support.suspended(), _as(by), platform_scope():
        rows = ImpersonationSession.objects.filter(ended_at=None)
        found = list(rows.filter(actor_user=user) | rows.filter(impersonated_user=user))
        for session in found:
            _end(session, by=by, reason=reason)
        return len(found)


def _as(by: User | None) -> Any:
    return context.acting(actor_id=by.pk) if by else context.acting(actor_id=None, source="system")


def _end(session: ImpersonationSession, *, by: User | None, reason: str) -> None:
    """Needs the platform's scope. The trail says who ended it, and whose session it was."""
    now = clock.now()
    changed = ImpersonationSession.objects.filter(pk=session.pk, ended_at=None).update(
        ended_at=now, ended_by=by, end_reason=reason.strip()[:300] or "ended", end_recorded=True
    )
    if changed:
        _record_end(session, by=by.pk if by else None, reason=reason)
    session.refresh_from_db()


def _record_end(session: ImpersonationSession, *, by: uuid.UUID | None, reason: str) -> None:
    forced = by is not None and by != session.actor_user_id
    marked = context.acting(
        actor_id=by, acting_as_id=None if forced or by is None else session.impersonated_user_id, session_id=session.pk
    )
    with marked, platform_scope():
        _event("IMPERSONATION_END", session, {"reason": reason or "ended", "forced": forced})


def settle() -> int:
    """Every few seconds: end what has run out, and put on record what was ended by hand in SQL. How many."""
    settled = 0
    with context.acting(actor_id=None, source="system"), platform_scope():
        for session in ImpersonationSession.objects.filter(end_recorded=False).order_by("started_at")[:200]:
            if session.ended_at is not None:
                ImpersonationSession.objects.filter(pk=session.pk).update(end_recorded=True)
                _record_end(session, by=None, reason=session.end_reason)
                settled += 1
            elif over := why_over(session.pk):
                _end(session, by=None, reason=over)
                settled += 1
    return settled


# ---- longer, and more


def extend_session(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Another limit's length from now, on record as an event of its own; at most three times the limit in all."""
    with support.suspended(), _in(session), platform_scope():
        row = _live(session.pk, by)
        policy = guardrails.policy_of(row.impersonated_tenant)
        limit = timedelta(minutes=min(policy.longest_minutes, LONGEST_MINUTES))
        until = min(clock.now() + limit, row.started_at + EXTENSIONS * limit)
        if until <= row.expires_at + timedelta(seconds=30):
            raise Invalid("This session cannot be extended any more.", recovery="End it and start a new one.")
        before, row.expires_at, row.last_seen_at = row.expires_at, until, clock.now()
        row.save(update_fields=["expires_at", "last_seen_at"])
        _event("IMPERSONATION_EXTENDED", row, {"from": before, "until": until})
        return row


def request_write(*, session: ImpersonationSession, by: User, reason: str, door: Door) -> SupportRequest:
    """Ask the second person for write mode in a live session. The second factor has been checked by the caller."""
    reason, ticket = _why(reason, session.ticket)
    with support.suspended(), _in(session), platform_scope():
        row = _live(session.pk, by)
        SupportRequest.objects.filter(session_id=row.pk, approved=None).update(expires_at=clock.now())
        return _ask(
            kind=RequestKind.WRITE, actor=by, target=row.impersonated_user, tenant=row.impersonated_tenant,
            reason=reason, ticket=ticket, door=door, session=row,
        )  # fmt: skip


def take_write(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Use the second person's agreement, once. The second factor has been checked by the caller."""
    with support.suspended(), _in(session), platform_scope():
        row = _live(session.pk, by)
        _use(kind=RequestKind.WRITE, actor=by, tenant=row.impersonated_tenant, session_id=row.pk)
        row.mode = Mode.WRITE
        row.save(update_fields=["mode"])
        _event("IMPERSONATION_MODE", row, {"mode": row.mode})
        return row


def leave_write(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Back to reading."""
    with support.suspended(), _in(session), platform_scope():
        row = _live(session.pk, by)
        row.mode = Mode.READ_ONLY
        row.save(update_fields=["mode"])
        _event("IMPERSONATION_MODE", row, {"mode": row.mode})
        return row


def _in(session: ImpersonationSession) -> Any:
    return context.acting(
        actor_id=session.actor_user_id, acting_as_id=session.impersonated_user_id, session_id=session.pk
    )


def _live(session_id: uuid.UUID, by: User) -> ImpersonationSession:
    rows = ImpersonationSession.objects.select_for_update(of=("self",)).select_related(
        "impersonated_user", "impersonated_tenant"
    )
    row = rows.filter(pk=session_id, actor_user=by).first()
    if row is None:
        raise NotFound
    if why_over(row.pk):
        raise SupportEnded
    return row


# ---- consent


def _ask(
    *,
    kind: RequestKind,
    actor: User,
    target: User,
    tenant: Tenant,
    reason: str,
    ticket: str,
    door: Door,
    session: ImpersonationSession | None = None,
) -> SupportRequest:
    now = clock.now()
    wish = SupportRequest.objects.create(
        tenant=tenant,
        kind=kind,
        requested_by=actor,
        impersonated_user=target,
        session_id=session.pk if session else None,
        reason=reason,
        ticket=ticket,
        browser=door.browser,
        created_at=now,
        expires_at=now + REQUEST_LIFE,
    )
    details = {"kind": str(kind), "reason": reason, "request_id": str(wish.pk), "target_user_id": str(target.pk)}
    record_event(
        action="IMPERSONATION_REQUESTED",
        resource_type="support_requests",
        resource_id=wish.pk,
        tenant_id=tenant.pk,
        details=details,
    )
    alerts.consent_wanted(wish, policy=guardrails.policy_of(tenant))
    return wish


def _use(
    *, kind: RequestKind, actor: User, tenant: Tenant, target: User | None = None, session_id: uuid.UUID | None = None
) -> SupportRequest:
    rows = SupportRequest.objects.select_for_update().filter(
        tenant=tenant, kind=kind, requested_by=actor, approved=True, used_at=None, expires_at__gt=clock.now()
    )
    rows = rows.filter(session_id=session_id) if session_id else rows.filter(impersonated_user=target)
    wish = rows.order_by("created_at").first()
    if wish is None:
        raise ConsentNeeded
    wish.used_at = clock.now()
    wish.save(update_fields=["used_at"])
    return wish


def _use_consent_or_ask(*, actor: User, target: User, tenant: Tenant, reason: str, ticket: str, door: Door) -> None:
    """Use an owner's approval of this start, or put the request to the owners and say so."""
    with context.acting(actor_id=actor.pk), platform_scope():
        try:
            _use(kind=RequestKind.START, actor=actor, tenant=tenant, target=target)
            return
        except ConsentNeeded:
            pending = SupportRequest.objects.filter(
                tenant=tenant, kind=RequestKind.START, requested_by=actor, impersonated_user=target, approved=None,
                expires_at__gt=clock.now(),
            ).first()  # fmt: skip
            wish = pending or _ask(
                kind=RequestKind.START, actor=actor, target=target, tenant=tenant, reason=reason, ticket=ticket,
                door=door,
            )  # fmt: skip
    raise ConsentNeeded(
        f"An owner of {tenant.name} must approve this session first.", details={"request_id": str(wish.pk)}
    )


def decide(*, request_id: uuid.UUID, by: User, approve: bool, browser: str = "") -> SupportRequest:
    """Agree to a request or turn it down, once. ``by`` is the real person, never one inside a session.

    Raises ``Forbidden`` for the requester, the same person under another account or in the same browser, and for
    people whose agreement the customer's policy does not ask for.
    """
    if support.current() is not None or context.current().session_id is not None:
        raise Forbidden("Nobody agrees to anything from inside a support session.", recovery="End your session first.")
    with context.acting(actor_id=by.pk), platform_scope():
        wish = (
            SupportRequest.objects.select_for_update(of=("self",))
            .select_related("tenant", "requested_by", "impersonated_user")
            .filter(pk=request_id)
            .first()
        )
        if wish is None or not may_see(wish, by):
            raise NotFound
        _refuse_decider(wish, by, browser)
        if wish.state(clock.now()) != "pending":
            raise ConsentUnusable(details={"state": wish.state(clock.now())})
        wish.approved, wish.decided_by, wish.decided_at = approve, by, clock.now()
        wish.expires_at = clock.now() + REQUEST_LIFE
        wish.save(update_fields=["approved", "decided_by", "decided_at", "expires_at"])
        record_event(
            action="IMPERSONATION_APPROVED" if approve else "IMPERSONATION_DECLINED",
            resource_type="support_requests",
            resource_id=wish.pk,
            tenant_id=wish.tenant_id,
            details={
                "kind": wish.kind,
                "requested_by": str(wish.requested_by_id),
                "session": str(wish.session_id or ""),
            },
        )
        return wish


def _is_owner(user: User, tenant: Tenant) -> bool:
    return Membership.objects.filter(tenant=tenant, user=user, role=TenantRole.OWNER).exists()


def may_see(wish: SupportRequest, user: User) -> bool:
    """Owners of the tenant and support staff see a request. Needs the platform's scope."""
    return _is_owner(user, wish.tenant) or guardrails.may_support(user)


def _refuse_decider(wish: SupportRequest, by: User, browser: str) -> None:
    requester = wish.requested_by
    if guardrails.same_person(requester, by):
        raise Forbidden("Nobody agrees to their own request.", recovery="Ask somebody else.")
    if browser and wish.browser and browser == wish.browser:
        raise Forbidden(
            "The request was made in this very browser: somebody else must agree, on their own device.",
            recovery="Ask somebody else.",
        )
    if by.is_service or not by.is_active:
        raise Forbidden
    owner, staff = _is_owner(by, wish.tenant), guardrails.may_support(by)
    if wish.kind == RequestKind.START:
        allowed = owner
    else:
        consent = guardrails.policy_of(wish.tenant).write_consent
        allowed = (owner and consent != WriteConsent.SECOND_STAFF) or (staff and consent != WriteConsent.OWNER)
    if not allowed:
        raise Forbidden("The customer's policy wants somebody else's agreement.", recovery="Look at the policy.")


# ---- what customers say


def set_policy(
    *, tenant: Tenant, by: User, access: str, write_consent: str, longest_minutes: int, idle_minutes: int
) -> SupportPolicy:
    """The customer's policy. Refusing support ends the sessions that run."""
    wrong = {}
    if access not in Access.values:
        wrong["access"] = f"one of {', '.join(Access.values)}"
    if write_consent not in WriteConsent.values:
        wrong["write_consent"] = f"one of {', '.join(WriteConsent.values)}"
    if not 5 <= longest_minutes <= LONGEST_MINUTES:
        wrong["longest_minutes"] = f"5 to {LONGEST_MINUTES} minutes"
    if not 1 <= idle_minutes <= LONGEST_IDLE_MINUTES:
        wrong["idle_minutes"] = f"1 to {LONGEST_IDLE_MINUTES} minutes"
    if wrong:
        raise Invalid(details=wrong)
    with context.acting(actor_id=by.pk), platform_scope():
        policy, _ = SupportPolicy.objects.update_or_create(
            tenant=tenant,
            defaults={
                "access": access,
                "write_consent": write_consent,
                "longest_minutes": longest_minutes,
                "idle_minutes": idle_minutes,
                "updated_by": by,
            },
        )
    if access == Access.REFUSED:
        end_all(by=by, reason="The customer no longer allows support sessions.", tenant=tenant)
    return policy


def set_opt_out(*, user: User, opted_out: bool) -> None:
    """Whether support may take the person's place. Opting out ends a session that does."""
    with context.acting(actor_id=user.pk), platform_scope():
        if opted_out:
            SupportOptOut.objects.get_or_create(user=user)
            end_sessions_of(user=user, by=user, reason="The person no longer allows it.")
        else:
            SupportOptOut.objects.filter(user=user).delete()


def may_end(session: ImpersonationSession, user: User) -> bool:
    """Its own person, platform admins, and owners of the tenant. Needs the platform's scope."""
    return session.actor_user_id == user.pk or is_platform_admin(user) or _is_owner(user, session.impersonated_tenant)
