"""What a platform admin does for a whole tenant when its secrets may be in wrong hands."""

from __future__ import annotations

from django.db.models import Q

from audit.services import record_event
from opsconsole.core import clock, context
from tenants import people
from tenants.models import ApiToken, PlatformAdmin, Tenant, User
from tenants.scope import platform_scope

from . import services

ACTS = ("revoke-tokens", "sign-out", "reset-credentials", "end-sessions")


def act(*, tenant: Tenant, what: str, by: User) -> str:
    """Carry one of ``ACTS`` out; what was done, as a sentence."""
    with context.acting(actor_id=by.pk):
        if what == "end-sessions":
            count = services.end_all(by=by, reason="ended for the whole tenant", tenant=tenant)
            said = f"{count} support sessions in {tenant.name} ended."
        elif what == "revoke-tokens":
            count = revoke_tokens(tenant)
            said = f"{count} tokens of {tenant.name} open nothing any more."
        elif what == "sign-out":
            count = sum(people.end_sign_ins(user=user, by=by, why="tenant signed out") for user in _members(tenant))
            said = f"{count} sign-ins of people in {tenant.name} ended."
        else:
            count = _reset(tenant, by)
            said = f"{count} people of {tenant.name} must choose a new password; their sign-ins and tokens ended."
        with platform_scope():
            record_event(
                action="TENANT_EMERGENCY",
                resource_type="tenants",
                resource_id=tenant.pk,
                tenant_id=tenant.pk,
                details={"what": what, "count": count},
            )
    return said


def _members(tenant: Tenant) -> list[User]:
    """People of the tenant, without platform admins: those are the platform's to reset."""
    with platform_scope():
        rows = User.objects.filter(memberships__tenant=tenant)
        return list(rows.exclude(pk__in=PlatformAdmin.objects.values("user_id")))


def revoke_tokens(tenant: Tenant) -> int:
    """End every token bound to the tenant, and the unbound ones of its people; how many."""
    members = [user.pk for user in _members(tenant)]
    with platform_scope():
        rows = ApiToken.objects.filter(Q(tenant=tenant) | Q(tenant=None, user_id__in=members), revoked_at=None)
        return rows.update(revoked_at=clock.now())


def _reset(tenant: Tenant, by: User) -> int:
    revoke_tokens(tenant)
    members = [user for user in _members(tenant) if not user.is_service]
    for user in members:
        user.set_unusable_password()
        with platform_scope():
            User.objects.filter(pk=user.pk).update(password=user.password, updated_at=clock.now())
        people.end_sign_ins(user=user, by=by, why="credentials reset")
    return len(members)
