"""A session ends: by its own person or another, by its time limits, or because it is no longer allowed."""

from __future__ import annotations

import uuid

from django.db import connection
from django.db.models import Q

from core import clock, context, support
from core.errors import NotFound
from impersonation.domain_events import publish_ended
from impersonation.models import ImpersonationSession
from impersonation.sql import FROM, WHY_OVER
from tenants.models import Tenant, User
from tenants.notices import AccessLost, SignInsEnded
from tenants.permissions import is_platform_admin
from tenants.scope import platform_scope

from .consent import is_owner
from .records import acting_as, record_session_event


def why_over(session_id: uuid.UUID) -> str | None:
    """Why a session is over (see ``impersonation.sql``); None while it is live. Needs the platform's scope."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {WHY_OVER} {FROM} WHERE s.id = %s", [session_id])
        row = cursor.fetchone()
    return row[0] if row else "ended"


def is_live(session_id: uuid.UUID) -> bool:
    """Whether a session is live now. Works without a scope, for streams and jobs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT opsconsole_support_session_stands(%s)", [session_id])
        return bool(cursor.fetchone()[0])


def end_session(*, session_id: uuid.UUID, by: User | None, reason: str) -> ImpersonationSession:
    """End a session, whoever leads it; one that has ended stays as it is. Raises ``NotFound``.

    Waits for the session's writes in flight; none commits afterwards. Its jobs are cancelled with it.
    """
    with support.suspended(), acting_as(by), platform_scope():
        session = ImpersonationSession.objects.filter(pk=session_id).first()
        if session is None:
            raise NotFound
        if session.ended_at is None:
            end_row(session, by=by, reason=reason)
        return session


def end_all(*, by: User, reason: str, tenant: Tenant | None = None) -> int:
    """End every live session, or those of one tenant. Returns how many."""
    with support.suspended(), acting_as(by), platform_scope():
        rows = ImpersonationSession.objects.filter(ended_at=None).order_by("pk")
        if tenant is not None:
            rows = rows.filter(impersonated_tenant=tenant)
        found = list(rows)
        for session in found:
            end_row(session, by=by, reason=reason)
        return len(found)


def end_sessions_of(*, user: User, by: User | None, reason: str) -> int:
    """End the live sessions that a person leads, and those that impersonate the person. Returns how many."""
    with support.suspended(), acting_as(by), platform_scope():
        found = list(ImpersonationSession.objects.filter(_about(user), ended_at=None))
        for session in found:
            end_row(session, by=by, reason=reason)
        return len(found)


def end_after(notice: AccessLost | SignInsEnded) -> int:
    """End the sessions that a person's loss of access makes invalid, in the transaction of the loss; how many."""
    return end_invalid(user=notice.user, by=notice.by, why=notice.why)


def end_invalid(*, user: User, by: User | None = None, why: str = "") -> int:
    """End the sessions about a person that are no longer allowed, in the caller's transaction. Returns how many.

    A request of such a session is refused anyway. This is for whoever took the person's access away: the rows show it
    at once.
    """
    ended = 0
    with support.suspended(), acting_as(by), platform_scope():
        for session in ImpersonationSession.objects.filter(_about(user), ended_at=None):
            if over := why_over(session.pk):
                end_row(session, by=by, reason=why or over)
                ended += 1
    return ended


def _about(user: User) -> Q:
    return Q(actor_user=user) | Q(impersonated_user=user)


def end_row(session: ImpersonationSession, *, by: User | None, reason: str) -> None:
    """End one session and record who ended it. Needs the platform's scope."""
    now = clock.now()
    changed = ImpersonationSession.objects.filter(pk=session.pk, ended_at=None).update(
        ended_at=now, ended_by=by, end_reason=reason.strip()[:300] or "ended", end_recorded=True
    )
    if changed:
        _record_end(session, by=by.pk if by else None, reason=reason)
    session.refresh_from_db()


def _record_end(session: ImpersonationSession, *, by: uuid.UUID | None, reason: str) -> None:
    forced = by is not None and by != session.actor_user_id
    acting = context.acting(
        actor_id=by, acting_as_id=None if forced or by is None else session.impersonated_user_id, session_id=session.pk
    )
    with acting, platform_scope():
        record_session_event("IMPERSONATION_END", session, {"reason": reason or "ended", "forced": forced})
        publish_ended(session, reason or "ended")


def end_overdue() -> int:
    """Every few seconds: end sessions whose time is over, and record ends made by hand in SQL. Returns how many."""
    count = 0
    with context.acting(actor_id=None, source="system"), platform_scope():
        for session in ImpersonationSession.objects.filter(end_recorded=False).order_by("started_at")[:200]:
            if session.ended_at is not None:
                ImpersonationSession.objects.filter(pk=session.pk).update(end_recorded=True)
                _record_end(session, by=None, reason=session.end_reason)
                count += 1
            elif over := why_over(session.pk):
                end_row(session, by=None, reason=over)
                count += 1
    return count


def may_end(session: ImpersonationSession, user: User) -> bool:
    """Whether the person leads it, is a platform admin, or owns the tenant. Needs the platform's scope."""
    return session.actor_user_id == user.pk or is_platform_admin(user) or is_owner(user, session.impersonated_tenant)
