"""What customers decide: who may come in, how, and whom support never impersonates."""

from __future__ import annotations

from core import context
from core.errors import Invalid
from impersonation.models import (
    LONGEST_IDLE_MINUTES,
    LONGEST_MINUTES,
    Access,
    SupportOptOut,
    SupportPolicy,
    WriteConsent,
)
from tenants.models import Tenant, User
from tenants.scope import platform_scope

from .ending import end_all, end_sessions_of


def set_policy(
    *, tenant: Tenant, by: User, access: str, write_consent: str, longest_minutes: int, idle_minutes: int
) -> SupportPolicy:
    """Save the customer's policy. Refusing support ends the sessions that run. Raises ``Invalid``."""
    wrong = {}
    if access not in Access.values:
        wrong["access"] = f"one of {', '.join(Access.values)}"
    if write_consent not in WriteConsent.values:
        wrong["write_consent"] = f"one of {', '.join(WriteConsent.values)}"
    if not 5 <= longest_minutes <= LONGEST_MINUTES:
        wrong["longest_minutes"] = f"5 to {LONGEST_MINUTES} minutes"
    if not 1 <= idle_minutes <= LONGEST_IDLE_MINUTES:
        wrong["idle_minutes"] = f"1 to {LONGEST_IDLE_MINUTES} minutes"
    if wrong:
        raise Invalid(details=wrong)
    with context.acting(actor_id=by.pk), platform_scope():
        policy, _ = SupportPolicy.objects.update_or_create(
            tenant=tenant,
            defaults={
                "access": access,
                "write_consent": write_consent,
                "longest_minutes": longest_minutes,
                "idle_minutes": idle_minutes,
                "updated_by": by,
            },
        )
    if access == Access.REFUSED:
        end_all(by=by, reason="The customer no longer allows support sessions.", tenant=tenant)
    return policy


def set_opt_out(*, user: User, opted_out: bool) -> None:
    """Save whether support may impersonate the person. Opting out ends a session that does."""
    with context.acting(actor_id=user.pk), platform_scope():
        if opted_out:
            SupportOptOut.objects.get_or_create(user=user)
            end_sessions_of(user=user, by=user, reason="The person no longer allows it.")
        else:
            SupportOptOut.objects.filter(user=user).delete()
