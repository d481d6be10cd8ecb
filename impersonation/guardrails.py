"""Who may work as whom: questions about people and tenants. Each answer names the guardrail or is ''."""

from __future__ import annotations

from tenants.models import Membership, PlatformAdmin, PlatformRole, Tenant, TenantStatus, User
from tenants.permissions import is_platform_admin
from tenants.persons import mailbox

from .models import Access, SupportOptOut, SupportPolicy

#: The sentence that a person reads, by guardrail.
SENTENCES = {
    "target_is_platform_admin": "Impersonation blocked (target is platform admin).",
    "target_is_staff": "Impersonation blocked: the person works for support or compliance.",
    "target_is_oneself": "Impersonation blocked: nobody impersonates themselves.",
    "target_is_inactive": "Impersonation blocked: the person is deactivated.",
    "target_is_service_account": "Impersonation blocked: the account is a service account.",
    "target_not_in_tenant": "Impersonation blocked: the person is not a member of this tenant.",
    "target_opted_out": "Impersonation blocked: the person does not allow it.",
    "tenant_refuses_support": "Impersonation blocked: this customer does not allow support sessions.",
    "tenant_is_suspended": "Impersonation blocked: the tenant is suspended.",
    "actor_is_in_a_session": "Impersonation blocked: the request came from inside a support session.",
}


def may_support(user: User) -> bool:
    """Whether the person works for support or is a platform admin."""
    return user.is_active and not user.is_service and (user.role == PlatformRole.SUPPORT or is_platform_admin(user))


def policy_of(tenant: Tenant) -> SupportPolicy:
    """The customer's policy, with the defaults where none is set. Needs a scope that sees the tenant."""
    return SupportPolicy.objects.filter(tenant=tenant).first() or SupportPolicy(tenant=tenant)


def blocked_by(*, actor: User, target: User, tenant: Tenant | None) -> str:
    """The guardrail that keeps ``actor`` from working as ``target``, or ''. Needs the platform's scope.

    Without a tenant only the guardrails about the person are checked.
    """
    return _blocked_by_person(actor, target) or (_blocked_by_tenant(target, tenant) if tenant else "")


def _blocked_by_person(actor: User, target: User) -> str:
    if same_person(actor, target):
        return "target_is_oneself"
    if PlatformAdmin.objects.filter(user=target).exists() or target.is_staff or target.is_superuser:
        return "target_is_platform_admin"
    if target.role != PlatformRole.MEMBER:
        return "target_is_staff"
    if target.is_service:
        return "target_is_service_account"
    if not target.is_active:
        return "target_is_inactive"
    return "target_opted_out" if SupportOptOut.objects.filter(user=target).exists() else ""


def _blocked_by_tenant(target: User, tenant: Tenant) -> str:
    if not Membership.objects.filter(user=target, tenant=tenant).exists():
        return "target_not_in_tenant"
    if tenant.status != TenantStatus.ACTIVE:
        return "tenant_is_suspended"
    return "tenant_refuses_support" if policy_of(tenant).access == Access.REFUSED else ""


def same_person(one: User, other: User) -> bool:
    """Whether two accounts belong to one person, judged by their mailboxes (``name+tag@host`` is ``name@host``)."""
    return one.pk == other.pk or mailbox(one.email) == mailbox(other.email)


def outside_usual_hours(hour: int) -> bool:
    """Whether an hour of the day (UTC, 0 to 23) is before 6 or from 21 on."""
    return hour < 6 or hour >= 21
