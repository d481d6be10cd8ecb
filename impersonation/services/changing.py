"""While a session runs: extend it, request write mode, use it, and go back to reading."""

from __future__ import annotations

import uuid
from datetime import timedelta

from core import clock, limits, support
from core.errors import Invalid, NotFound
from impersonation import guardrails
from impersonation.errors import SupportEnded
from impersonation.models import LONGEST_MINUTES, ImpersonationSession, Mode, RequestKind, SupportRequest
from tenants.models import User
from tenants.scope import platform_scope

from .consent import request_consent, use
from .ending import why_over
from .origins import RequestOrigin, SessionTerms
from .records import acting_as, checked_reason, record_own_event

#: How long a session may last in all, extensions included, as a multiple of its own limit.
MOST_EXTENSIONS = 3
#: Each request for write mode is mailed to those who may approve it.
MOST_REQUESTS, REQUESTS_SECONDS = 6, 300


def extend_session(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Let it run for another full limit from now, at most three times the limit in all; recorded as an event.

    Raises ``Invalid`` where that is reached, ``SupportEnded`` and ``NotFound``.
    """
    with support.suspended(), acting_as(by), platform_scope():
        row = _live(session.pk, by)
        policy = guardrails.policy_of(row.impersonated_tenant)
        limit = timedelta(minutes=min(policy.longest_minutes, LONGEST_MINUTES))
        until = min(clock.now() + limit, row.started_at + MOST_EXTENSIONS * limit)
        if until <= row.expires_at + timedelta(seconds=30):
            raise Invalid("This session cannot be extended further.", recovery="End it and start a new one.")
        before, row.expires_at, row.last_seen_at = row.expires_at, until, clock.now()
        row.save(update_fields=["expires_at", "last_seen_at"])
        record_own_event("IMPERSONATION_EXTENDED", row, {"from": before, "until": until})
        return row


def request_write(*, session: ImpersonationSession, by: User, reason: str, origin: RequestOrigin) -> SupportRequest:
    """Ask the second person for write mode in a live session. The caller has checked the second factor.

    Raises ``Invalid`` (no proper reason), ``TooMany``, ``SupportEnded`` and ``NotFound``.
    """
    reason, ticket = checked_reason(reason, session.ticket)
    if limits.count("support-ask", str(by.pk), seconds=REQUESTS_SECONDS) > MOST_REQUESTS:
        raise limits.TooMany("You requested write mode too often.", recovery="Wait five minutes for an answer.")
    with support.suspended(), acting_as(by), platform_scope():
        row = _live(session.pk, by)
        SupportRequest.objects.filter(session_id=row.pk, approved=None).update(expires_at=clock.now())
        terms = SessionTerms(
            actor=by,
            target=row.impersonated_user,
            tenant=row.impersonated_tenant,
            reason=reason,
            ticket=ticket,
            origin=origin,
        )
        return request_consent(terms, kind=RequestKind.WRITE, session_id=row.pk)


def take_write(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Use the second person's approval, once. The caller has checked the second factor. Raises ``ConsentNeeded``."""
    with support.suspended(), acting_as(by), platform_scope():
        row = _live(session.pk, by)
        use(kind=RequestKind.WRITE, actor=by, tenant=row.impersonated_tenant, session_id=row.pk)
        row.mode = Mode.WRITE
        row.save(update_fields=["mode"])
        record_own_event("IMPERSONATION_MODE", row, {"mode": row.mode})
        return row


def leave_write(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Go back to reading."""
    with support.suspended(), acting_as(by), platform_scope():
        row = _live(session.pk, by)
        row.mode = Mode.READ_ONLY
        row.save(update_fields=["mode"])
        record_own_event("IMPERSONATION_MODE", row, {"mode": row.mode})
        return row


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
