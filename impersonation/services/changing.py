"""While a session stands: longer, asking to write, writing, back to reading."""

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

from .consent import ask, use
from .ending import why_over
from .origins import RequestOrigin
from .records import inside, note, why_given

#: How long a session may last in all, extensions included, as a multiple of its own limit.
EXTENSIONS = 3
#: Each request for write mode is mailed to those who may agree.
MOST_ASKS, ASKS_SECONDS = 6, 300


def extend_session(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Another limit's length from now, on record as an event of its own; at most three times the limit in all."""
    with support.suspended(), inside(session), platform_scope():
        row = _live(session.pk, by)
        policy = guardrails.policy_of(row.impersonated_tenant)
        limit = timedelta(minutes=min(policy.longest_minutes, LONGEST_MINUTES))
        until = min(clock.now() + limit, row.started_at + EXTENSIONS * limit)
        if until <= row.expires_at + timedelta(seconds=30):
            raise Invalid("This session cannot be extended any more.", recovery="End it and start a new one.")
        before, row.expires_at, row.last_seen_at = row.expires_at, until, clock.now()
        row.save(update_fields=["expires_at", "last_seen_at"])
        note("IMPERSONATION_EXTENDED", row, {"from": before, "until": until})
        return row


def request_write(*, session: ImpersonationSession, by: User, reason: str, origin: RequestOrigin) -> SupportRequest:
    """Ask the second person for write mode in a live session. The second factor has been checked by the caller."""
    reason, ticket = why_given(reason, session.ticket)
    if limits.count("support-ask", str(by.pk), seconds=ASKS_SECONDS) > MOST_ASKS:
        raise limits.TooMany("You asked for write mode too often.", recovery="Wait five minutes for an answer.")
    with support.suspended(), inside(session), platform_scope():
        row = _live(session.pk, by)
        SupportRequest.objects.filter(session_id=row.pk, approved=None).update(expires_at=clock.now())
        return ask(
            kind=RequestKind.WRITE, actor=by, target=row.impersonated_user, tenant=row.impersonated_tenant,
            reason=reason, ticket=ticket, origin=origin, session=row,
        )  # fmt: skip


def take_write(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Use the second person's agreement, once. The second factor has been checked by the caller."""
    with support.suspended(), inside(session), platform_scope():
        row = _live(session.pk, by)
        use(kind=RequestKind.WRITE, actor=by, tenant=row.impersonated_tenant, session_id=row.pk)
        row.mode = Mode.WRITE
        row.save(update_fields=["mode"])
        note("IMPERSONATION_MODE", row, {"mode": row.mode})
        return row


def leave_write(*, session: ImpersonationSession, by: User) -> ImpersonationSession:
    """Back to reading."""
    with support.suspended(), inside(session), platform_scope():
        row = _live(session.pk, by)
        row.mode = Mode.READ_ONLY
        row.save(update_fields=["mode"])
        note("IMPERSONATION_MODE", row, {"mode": row.mode})
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
