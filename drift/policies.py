"""A tenant's rules about drift: how long it may stand, and whether it stops promotions."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db.models import Case, DateTimeField, DurationField, ExpressionWrapper, F, Value, When

from core import clock
from core.errors import Invalid
from tenants.scope import tenant_scope

from .models import ACTIVE, DriftIncident, DriftPolicy, Severity

LONGEST_HOURS = 24 * 365
TTL_FIELDS = {str(level): f"ttl_hours_{level}" for level in Severity.values}


def policy_of(tenant_id: uuid.UUID) -> DriftPolicy:
    """The tenant's policy, made with the defaults where there is none yet (runbooks join on the row)."""
    with tenant_scope(tenant_id):
        return DriftPolicy.objects.get_or_create(tenant_id=tenant_id)[0]


def read_policy(tenant_id: uuid.UUID) -> DriftPolicy:
    """The tenant's policy without writing anything: the defaults where there is no row."""
    with tenant_scope(tenant_id):
        return DriftPolicy.objects.filter(tenant_id=tenant_id).first() or DriftPolicy(tenant_id=tenant_id)


def hours_for(policy: DriftPolicy, severity: str) -> int:
    """Hours that drift of this severity may stand."""
    return int(getattr(policy, TTL_FIELDS[severity]))


def deadline(policy: DriftPolicy, severity: str, since: datetime) -> datetime:
    """When drift that was first seen at ``since`` must be settled."""
    return since + timedelta(hours=hours_for(policy, severity))


def save_policy(
    *, tenant_id: uuid.UUID, enforce_ttl: bool, block_on_active_drift: bool, hours: dict[str, int]
) -> DriftPolicy:
    """Change the rules; the clocks of standing incidents follow, counted from when each was first seen."""
    wrong = {
        TTL_FIELDS[level]: f"Between 1 and {LONGEST_HOURS} hours."
        for level, count in hours.items()
        if not 1 <= count <= LONGEST_HOURS
    }
    if wrong:
        raise Invalid(details={"fields": wrong})
    with tenant_scope(tenant_id):
        policy, _ = DriftPolicy.objects.update_or_create(
            tenant_id=tenant_id,
            defaults={
                "enforce_ttl": enforce_ttl,
                "block_on_active_drift": block_on_active_drift,
                **{TTL_FIELDS[level]: count for level, count in hours.items()},
            },
        )
        allowed = Case(
            *[When(severity=level, then=Value(timedelta(hours=hours_for(policy, level)))) for level in Severity.values],
            output_field=DurationField(),
        )
        DriftIncident.objects.filter(incident_state__in=ACTIVE).update(
            ttl_expires_at=ExpressionWrapper(F("created_at") + allowed, output_field=DateTimeField()),
            updated_at=clock.now(),
        )
        return policy
