"""Keeps the demo's examples recent: whoever asks a runbook's question at whatever hour finds one.

A demo stands for days, and runbooks ask for the last hour, the last day, for what runs now. So beat moves the times of
a few rows along, tries once a day what is refused, and lets the support session of the one on duty go on.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet

from audit.models import AuditLog
from core import clock, context
from drift.models import ACTIVE, DriftIncident
from impersonation import services as support
from impersonation.models import ImpersonationSession
from operations.models import Heartbeat
from promotions.models import Promotion
from tenants.models import Tenant, User
from tenants.scope import platform_scope, tenant_scope
from workflows.models import Execution

from .others import TENANTS
from .people import PEOPLE
from .supporting import look_along, try_the_admin

MAIN_SLUG = "larkfield"
#: Before a session would end by itself; and how long one that a visitor has ended stays ended.
BEFORE_ITS_END, LEFT_IN_PEACE = timedelta(minutes=5), timedelta(minutes=5)


def keep_fresh() -> None:
    """Of every demo tenant that is complete. Safe to call at any time, and by two at once."""
    with platform_scope():
        complete = [name.removeprefix("demo:") for name in _heartbeats()]
        tenants = {tenant.slug: tenant for tenant in Tenant.objects.filter(slug__in=complete)}
    for tenant in tenants.values():
        with context.acting(actor_id=None, source="system"), tenant_scope(tenant.pk):
            _move_times_along()
    if MAIN_SLUG in tenants:
        _keep_support_working(tenants[MAIN_SLUG])


def _heartbeats() -> QuerySet[Heartbeat, Any]:
    slugs = [MAIN_SLUG, *(plan.slug for plan in TENANTS)]
    return Heartbeat.objects.filter(name__in=[f"demo:{slug}" for slug in slugs]).values_list("name", flat=True)


def _move_times_along() -> None:
    """In the tenant's scope."""
    now = clock.now()
    Promotion.objects.filter(status="FAILED", updated_at__lt=now - timedelta(minutes=45)).update(updated_at=now)
    Promotion.objects.filter(status="COMPLETED", created_at__lt=now - timedelta(days=6)).update(
        created_at=F("created_at") + timedelta(days=5)
    )
    standing = DriftIncident.objects.filter(incident_state__in=ACTIVE, created_at__lt=now - timedelta(hours=20))
    standing.update(
        created_at=F("created_at") + timedelta(hours=12), ttl_expires_at=F("ttl_expires_at") + timedelta(hours=12)
    )
    days = timedelta(days=3)
    Execution.objects.filter(started_at__lt=now - 2 * days).update(
        started_at=F("started_at") + days, ended_at=F("ended_at") + days, sorted_at=F("sorted_at") + days
    )


def _keep_support_working(tenant: Tenant) -> None:
    now = clock.now()
    with platform_scope():
        known = {word: User.objects.filter(email=person.address).first() for word, person in PEOPLE.items()}
    people = {word: user for word, user in known.items() if user is not None}
    if people.keys() != PEOPLE.keys():
        return  # a demo of before, without the one on duty
    with platform_scope():
        refused = AuditLog.objects.filter(action="IMPERSONATION_BLOCKED", actor_user_id=people["support"].pk)
        tried_lately = refused.filter(created_at__gt=now - timedelta(hours=20)).exists()
        last = ImpersonationSession.objects.filter(actor_user=people["duty"]).order_by("-started_at").first()
    if not tried_lately:
        try_the_admin(people)
    if last is None or _may_follow(last, now):
        look_along(tenant, people)


def _may_follow(last: ImpersonationSession, now: datetime) -> bool:
    """Whether a new session takes the place of the last one, which ends then; else it goes on as if somebody looked."""
    if last.ended_at is not None:
        return last.ended_by_id is None or last.ended_at < now - LEFT_IN_PEACE
    if last.sign_in or last.api_token_id:
        return False  # a visitor's own
    if last.expires_at < now + BEFORE_ITS_END:
        support.end_session(session_id=last.pk, by=None, reason="its time was over")
        return True
    with context.acting(actor_id=None, source="system"), platform_scope():
        ImpersonationSession.objects.filter(pk=last.pk, ended_at=None).update(last_seen_at=now)
    return False
