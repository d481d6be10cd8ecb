"""What was published, for tests of whoever publishes."""

from __future__ import annotations

import uuid
from typing import Any

from outbox.documents import from_stored
from outbox.models import OutboxEvent
from tenants.scope import tenant_or_platform_scope


def published(tenant_id: uuid.UUID | None, *names: str) -> list[tuple[str, Any]]:
    """(name, event) of a tenant, or of the platform, in the order of publishing; all of them, or those of ``names``."""
    with tenant_or_platform_scope(tenant_id):
        rows = OutboxEvent.objects.filter(tenant_id=tenant_id).order_by("position")
        wanted = rows.filter(name__in=names) if names else rows
        return [(row.name, from_stored(row.name, row.version, row.payload)) for row in wanted]
