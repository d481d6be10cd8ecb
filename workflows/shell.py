"""The environments of a tenant, for the rail of every page."""

from __future__ import annotations

from typing import Any

from tenants.models import Tenant, User

from .models import Environment

RAIL_LENGTH = 12


def environment_chips(tenant: Tenant, user: User) -> dict[str, Any]:
    """``environments`` in pipeline order. Needs a scope that sees the tenant."""
    rows = Environment.objects.filter(tenant_id=tenant.pk, is_archived=False)
    return {"environments": list(rows.only("id", "name", "slug", "kind").order_by("position", "name")[:RAIL_LENGTH])}
