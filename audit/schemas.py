"""The audit trail as the REST API answers it."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from core.answers import Answer, FreeForm, PageAnswer


class AuditLogOut(Answer):
    """One entry of the trail. ``tenant_id`` null: the platform's. ``resource_id`` null: no single row."""

    id: int
    tenant_id: uuid.UUID | None
    created_at: datetime
    action: str
    resource_type: str
    resource_id: uuid.UUID | None
    actor_user_id: uuid.UUID | None
    actor_email: str | None
    impersonated_user_id: uuid.UUID | None
    impersonated_email: str | None
    session_id: uuid.UUID | None
    operation_id: uuid.UUID | None
    request_id: str | None
    source: str
    ip_address: str | None
    details: Any


class AuditLogList(PageAnswer):
    audit_logs: list[AuditLogOut]


class OcsfEvents(PageAnswer):
    """Events of OCSF 1.3.0; ``next_cursor`` is always given, for the entries still to come."""

    events: list[FreeForm]
