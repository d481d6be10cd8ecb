"""Who may take whose place: pure questions about people and tenants. Each answer names the guardrail or is ''."""

from __future__ import annotations

from core import clock
from tenants.models import Membership, PlatformAdmin, PlatformRole, Tenant, TenantStatus, User
from tenants.permissions import is_platform_admin

from .models import Access, SupportOptOut, SupportPolicy

#: The guardrail's name to the sentence that a person reads.
SENTENCES = {
    "target_is_platform_admin": "Impersonation blocked (target is platform admin).",
    "target_is_staff": "Impersonation blocked: the person works for support or compliance.",
    "target_is_oneself": "Impersonation blocked: one does not take one's own place.",
    "target_is_inactive": "Impersonation blocked: the person is shut out of the console.",
    "target_is_service_account": "Impersonation blocked: a service account has no place to take.",
    "target_not_in_tenant": "Impersonation blocked: the person is no member of this tenant.",
    "target_opted_out": "Impersonation blocked: the person does not allow it.",
    "tenant_refuses_support": "Impersonation blocked: this customer does not allow support sessions.",
    "tenant_is_suspended": "Impersonation blocked: the tenant is suspended.",
    "actor_is_in_a_session": "Impersonation blocked: it was tried from inside a support session.",
}


def may_support(user: User) -> bool:
    """Whether the person works for support or is a platform admin."""
    return user.is_active and not user.is_service and (user.role == PlatformRole.SUPPORT or is_platform_admin(user))


def policy_of(tenant: Tenant) -> SupportPolicy:
    """The customer's policy, with the defaults where none is set. Needs a scope that sees the tenant."""
    return SupportPolicy.objects.filter(tenant=tenant).first() or SupportPolicy(tenant=tenant)


def blocked_by(*, actor: User, target: User, tenant: Tenant | None) -> str:
    """The guardrail that keeps ``actor`` from taking ``target``'s place, or ''. Needs the platform's scope.

    Without a tenant only what is true of the person everywhere is asked.
    """
    if target.pk == actor.pk or same_person(actor, target):
        return "target_is_oneself"
    if PlatformAdmin.objects.filter(user=target).exists() or target.is_staff or target.is_superuser:
        return "target_is_platform_admin"
    if target.role != PlatformRole.MEMBER:
        return "target_is_staff"
    if target.is_service:
        return "target_is_service_account"
    if not target.is_active:
        return "target_is_inactive"
    if SupportOptOut.objects.filter(user=target).exists():
        return "target_opted_out"
    if tenant is None:
        return ""
    if not Membership.objects.filter(user=target, tenant=tenant).exists():
        return "target_not_in_tenant"
    if tenant.status != TenantStatus.ACTIVE:
        return "tenant_is_suspended"
    return "tenant_refuses_support" if policy_of(tenant).access == Access.REFUSED else ""


def same_person(one: User, other: User) -> bool:
    """Whether two accounts are one person's, as far as their mailboxes tell (``name+tag@host`` is ``name@host``)."""
    return one.pk == other.pk or mailbox(one.email) == mailbox(other.email)


def mailbox(email: str) -> str:
    """Where mail to an address ends up: without a tag, in small letters; Gmail leaves dots aside."""
    name, _, host = email.strip().lower().rpartition("@")
    name = name.partition("+")[0]
    if host in ("gmail.com", "googlemail.com"):
        name, host = name.replace(".", ""), "gmail.com"
    return f"{name}@{host}"


def night(user_hour: int) -> bool:
    """Whether an hour (UTC) is outside the usual ones."""
    return user_hour < 6 or user_hour >= 21


def now_is_unusual() -> bool:
    return night(clock.now().hour)
