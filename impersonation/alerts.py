"""Who is told at once, by e-mail: break-glass, requests, repeated refusals. Sent after the commit."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction

from audit.selectors import TrailFilter, filtered
from audit.services import record_event
from core import clock
from tenants.mail import TenantMessage
from tenants.models import Membership, PlatformAdmin, PlatformRole, TenantRole, User

from .models import ImpersonationSession, SupportPolicy, SupportRequest, WriteConsent

logger = logging.getLogger(__name__)

#: So many refusals of one person within a day are told to the platform's admins.
MANY_REFUSALS = 3


def owners_of(tenant_id: uuid.UUID) -> list[str]:
    """Addresses of a tenant's owners."""
    rows = Membership.objects.filter(tenant_id=tenant_id, role=TenantRole.OWNER, user__is_active=True)
    return list(rows.values_list("user__email", flat=True)[:20])


def _admins() -> list[str]:
    return list(PlatformAdmin.objects.filter(user__is_active=True).values_list("user__email", flat=True)[:20])


def _tell(addresses: Iterable[str], subject: str, text: str, *, tenant_id: uuid.UUID | None = None) -> None:
    to = sorted(set(addresses))
    if not to:
        return

    def send() -> None:
        try:
            TenantMessage(subject, text, to=to, tenant_id=tenant_id).send()
        except Exception:
            logger.exception("an alert about a support session could not be sent", extra={"to": len(to)})

    transaction.on_commit(send)


def break_glass(session: ImpersonationSession) -> None:
    """The owners learn at once that support went in without asking."""
    _tell(
        [*owners_of(session.impersonated_tenant_id), *_admins()],
        f"Support entered {session.impersonated_tenant.name} without asking first",
        f"{session.actor_user} began a support session as {session.impersonated_user} in"
        f" {session.impersonated_tenant.name}, as an emergency.\n\nReason: {session.reason}\n\n"
        "You can follow and end it on the tenant's page “Support access”.",
        tenant_id=session.impersonated_tenant_id,
    )


def consent_wanted(wish: SupportRequest, *, policy: SupportPolicy) -> None:
    """Those who may agree learn that they are asked."""
    addresses = []
    if wish.kind == "START" or policy.write_consent != WriteConsent.SECOND_STAFF:
        addresses += owners_of(wish.tenant_id)
    if wish.kind == "WRITE" and policy.write_consent != WriteConsent.OWNER:
        staff = User.objects.filter(role=PlatformRole.SUPPORT, is_active=True, is_service=False)
        addresses += list(staff.exclude(pk=wish.requested_by_id).values_list("email", flat=True)[:20])
    what = "start a support session" if wish.kind == "START" else "write in a support session"
    _tell(
        addresses,
        f"{wish.requested_by} asks to {what} in {wish.tenant.name}",
        f"{wish.requested_by} asks to {what} as {wish.impersonated_user}.\n\nReason: {wish.reason}\n\n"
        "Answer on the page “Support access” (or “Support”) within 15 minutes.",
        tenant_id=wish.tenant_id,
    )


def repeated_tries(actor: User) -> None:
    """After several refusals within a day the platform's admins are told, once for each further one."""
    since = (clock.now() - timedelta(days=1)).isoformat()
    count = filtered(TrailFilter(person=str(actor.pk), action="IMPERSONATION_BLOCKED", since=since)).count()
    if count < MANY_REFUSALS:
        return
    record_event(
        action="IMPERSONATION_ALERT",
        resource_type="users",
        resource_id=actor.pk,
        details={"why": "repeated refusals", "count": count, "hours": 24},
    )
    _tell(
        _admins(),
        f"{actor} was refused {count} support sessions within a day",
        f"{actor} ({actor.email}) tried {count} times within 24 hours to take a place that nobody may take.\n"
        "Look at the refusals on the trail's page: action IMPERSONATION_BLOCKED.",
    )
