"""Reads about support sessions. The scope decides which are seen: a tenant's, or all of them."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db.models import Q, QuerySet

from audit.models import AuditLog
from audit.selectors import TrailFilter, filtered
from core import clock
from core.paging import Page, by_time
from tenants.models import Membership, Tenant, User

from .models import ImpersonationSession, RequestKind, SupportRequest

WRITES = ("CREATE", "UPDATE", "DELETE")
REFUSALS = ("REFUSED", "IMPERSONATION_BLOCKED")
#: What lists can be narrowed to; ``glass`` are emergencies.
STATES = ("live", "ended", "glass")


def sessions() -> QuerySet[ImpersonationSession]:
    """Sessions with their people."""
    return ImpersonationSession.objects.select_related(
        "actor_user", "impersonated_user", "impersonated_tenant", "ended_by"
    )


def list_sessions(
    *, state: str = "", q: str = "", tenant: Tenant | None = None, cursor: str = "", limit: int = 50
) -> Page:
    """Newest first. ``state`` is one of ``STATES``, or '' for all."""
    rows, now = sessions(), clock.now()
    if tenant is not None:
        rows = rows.filter(impersonated_tenant=tenant)
    if state == "live":
        rows = rows.filter(ended_at=None, expires_at__gt=now)
    elif state == "ended":
        rows = rows.filter(Q(ended_at__isnull=False) | Q(expires_at__lte=now))
    elif state == "glass":
        rows = rows.filter(break_glass=True)
    if q:
        staff = Q(actor_user__email__icontains=q) | Q(actor_user__name__icontains=q)
        people = Q(impersonated_user__email__icontains=q) | Q(impersonated_user__name__icontains=q)
        rows = rows.filter(
            staff | people | Q(impersonated_tenant__name__icontains=q) | Q(ticket__icontains=q) | Q(reason__icontains=q)
        )
    return by_time(rows, cursor=cursor, limit=limit, field="started_at")


def session_by_id(session_id: uuid.UUID, *, near: User | None = None) -> ImpersonationSession | None:
    """A session; with ``near`` only one that the person leads, or in a tenant that they are a member of."""
    rows = sessions().filter(pk=session_id)
    if near is not None:
        own = Membership.objects.filter(user=near).values("tenant_id")
        rows = rows.filter(Q(actor_user=near) | Q(impersonated_tenant_id__in=own))
    return rows.first()


def live_session_of(user: User) -> ImpersonationSession | None:
    """The session that a person leads now. Needs the platform's scope."""
    found = sessions().filter(actor_user=user, ended_at=None).first()
    return found if found is not None and found.is_live(clock.now()) else None


def pending_requests(tenant: Tenant | None = None) -> list[SupportRequest]:
    """Requests that wait for an answer, oldest first."""
    rows = SupportRequest.objects.select_related("requested_by", "impersonated_user", "tenant")
    rows = rows.filter(approved=None, expires_at__gt=clock.now())
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    return list(rows.order_by("created_at")[:50])


def requests_of(session: ImpersonationSession) -> list[SupportRequest]:
    """Requests for write mode in a session, newest first."""
    rows = SupportRequest.objects.filter(session_id=session.pk, kind=RequestKind.WRITE).select_related("decided_by")
    return list(rows.order_by("-created_at")[:10])


def trail_of(session: ImpersonationSession) -> QuerySet[AuditLog]:
    """The entries of a session that the scope may see."""
    return filtered(TrailFilter(session=str(session.pk)))


def tenants_within_a_day(session: ImpersonationSession) -> int:
    """In how many tenants the person had sessions within 12 hours of this one. Needs the platform's scope."""
    half_day = timedelta(hours=12)
    rows = ImpersonationSession.objects.filter(
        actor_user=session.actor_user_id,
        started_at__range=(session.started_at - half_day, session.started_at + half_day),
    )
    return rows.values("impersonated_tenant").distinct().count()


def candidates(*, tenant: Tenant, q: str = "") -> list[User]:
    """The first 50 members of a tenant whom support might impersonate, by address. Needs the platform's scope."""
    rows = User.objects.filter(memberships__tenant=tenant, is_active=True, is_service=False)
    if q:
        rows = rows.filter(Q(email__icontains=q) | Q(name__icontains=q))
    return list(rows.order_by("email")[:50])


def find_tenants(q: str) -> list[Tenant]:
    """The first 20 tenants by name or short name. Needs the platform's scope."""
    rows = Tenant.objects.all()
    if q:
        rows = rows.filter(Q(name__icontains=q) | Q(slug__icontains=q))
    return list(rows.order_by("name")[:20])
