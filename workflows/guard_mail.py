"""Owners are told by mail that a change of the guards waits for one of them, and what became of it."""

from __future__ import annotations

from tenants.mail import owners_of, send_after_commit
from tenants.models import Tenant, User

from .models import GuardChange


def waits(change: GuardChange) -> None:
    """To the owners but the one who asked. Needs the tenant's scope."""
    tenant, asked_by = _tenant(change), change.requested_by
    send_after_commit(
        [address for address in owners_of(tenant.pk) if address != asked_by.email],
        f"{asked_by} asks to lower a guard in {tenant.name}",
        f"{asked_by} ({asked_by.email}) asks for this in {tenant.name}:\n\n{change.sentence}\n\n"
        "It is done once another owner agrees, on the page “Approval rules”, within a week. Whoever agrees lowers what"
        " keeps one person alone from changing production: ask back where you did not expect it.",
        tenant_id=tenant.pk,
    )


def answered(change: GuardChange, *, by: User) -> None:
    """To all owners and to whoever asked. Needs the tenant's scope."""
    tenant = _tenant(change)
    did = "agreed" if change.approved else "declined"
    send_after_commit(
        [*owners_of(tenant.pk), change.requested_by.email],
        f"{by} {did}: {change.sentence} ({tenant.name})",
        f"{change.requested_by} ({change.requested_by.email}) asked for this in {tenant.name}:\n\n{change.sentence}\n\n"
        f"{by} ({by.email}) {did}{', and it is in force' if change.approved else '; nothing changes'}.",
        tenant_id=tenant.pk,
    )


def _tenant(change: GuardChange) -> Tenant:
    return Tenant.objects.get(pk=change.tenant_id)
