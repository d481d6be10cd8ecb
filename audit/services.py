"""Events that are not a write of a row: sign-ins, refusals, effects outside."""

from __future__ import annotations

import uuid
from typing import Any

from opsconsole.core import context

from .models import AuditLog


def record_event(
    *,
    action: str,
    resource_type: str,
    resource_id: uuid.UUID | None = None,
    tenant_id: uuid.UUID | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Append an event to the trail. Needs a scope that may write for ``tenant_id`` (None: the platform's)."""
    acting = context.current()
    AuditLog.objects.create(
        tenant_id=tenant_id,
        actor_user_id=acting.actor_id,
        impersonated_user_id=acting.acting_as_id,
        session_id=acting.session_id,
        request_id=acting.request_id,
        operation_id=acting.operation_id,
        source=acting.source,
        action=action,
        resource_type=resource_type,
        resource_id=resource_id,
        details=details or {},
        ip_address=acting.ip_address or None,
    )
