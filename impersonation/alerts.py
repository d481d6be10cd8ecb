"""E-mail about support sessions: emergencies, requests, repeated refusals. Sent after the commit."""

from __future__ import annotations

from datetime import timedelta

from audit.selectors import TrailFilter, filtered
from audit.services import record_event
from core import clock
from tenants.mail import owners_of, send_after_commit
from tenants.models import PlatformAdmin, PlatformRole, Tenant, User

from .models import ImpersonationSession, SupportPolicy, SupportRequest, WriteConsent

#: From so many refusals of one person within a day on, the platform's admins are notified.
MANY_REFUSALS = 3


def _admins() -> list[str]:
    return list(PlatformAdmin.objects.filter(user__is_active=True).values_list("user__email", flat=True)[:20])


def break_glass(session: ImpersonationSession) -> None:
    """Notify the owners and the platform's admins that support started an emergency session."""
    send_after_commit(
        [*owners_of(session.impersonated_tenant_id), *_admins()],
        f"Support entered {session.impersonated_tenant.name} without asking first",
        f"{session.actor_user} started a support session as {session.impersonated_user} in"
        f" {session.impersonated_tenant.name}, as an emergency.\n\nReason: {session.reason}\n\n"
        "You can follow and end it on the tenant's page “Support access”.",
        tenant_id=session.impersonated_tenant_id,
    )


def admin_acted(*, by: User, tenant: Tenant, did: str, reason: str) -> None:
    """Tell the owners what a platform admin without a role there does in their tenant."""
    send_after_commit(
        owners_of(tenant.pk),
        f"{by} {did} in {tenant.name}, as an emergency",
        f"{by} ({by.email}), a platform admin, {did} in {tenant.name}.\n\nReason: {reason}\n\n"
        "More of the same within the hour, for the same reason, comes without a mail: the tenant's page “Trail” has"
        " each, as “Emergency act for a tenant”.",
        tenant_id=tenant.pk,
    )


def consent_wanted(request: SupportRequest, *, policy: SupportPolicy) -> None:
    """Notify those who may approve a request."""
    addresses = []
    if request.kind == "START" or policy.write_consent != WriteConsent.SECOND_STAFF:
        addresses += owners_of(request.tenant_id)
    if request.kind == "WRITE" and policy.write_consent != WriteConsent.OWNER:
        staff = User.objects.filter(role=PlatformRole.SUPPORT, is_active=True, is_service=False)
        addresses += list(staff.exclude(pk=request.requested_by_id).values_list("email", flat=True)[:20])
    what = "start a support session" if request.kind == "START" else "write in a support session"
    send_after_commit(
        addresses,
        f"{request.requested_by} requests to {what} in {request.tenant.name}",
        f"{request.requested_by} requests to {what} as {request.impersonated_user}.\n\nReason: {request.reason}\n\n"
        "Answer on the page “Support access” (or “Support”) within 15 minutes.",
        tenant_id=request.tenant_id,
    )


def repeated_attempts(actor: User) -> None:
    """Notify the platform's admins of several refusals within a day, and again of each further one."""
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
    send_after_commit(
        _admins(),
        f"{actor} was refused {count} support sessions within a day",
        f"{actor} ({actor.email}) tried {count} times within 24 hours to impersonate somebody whom nobody may"
        " impersonate.\n"
        "The audit trail has the refusals: action IMPERSONATION_BLOCKED.",
    )
