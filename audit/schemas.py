"""The trail as the API answers it."""

from __future__ import annotations

import uuid
from datetime import datetime

from ninja import Schema
from pydantic import JsonValue


class Entry(Schema):
    """``actor`` is the real person, ``impersonated`` whose place they took. ``details`` depends on the action."""

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
    request_id: str
    source: str
    ip_address: str | None
    details: JsonValue


class Entries(Schema):
    audit_logs: list[Entry]
    next_cursor: str | None


class Events(Schema):
    """OCSF events (https://schema.ocsf.io); go on with ``next_cursor``."""

    events: list[dict[str, JsonValue]]
    next_cursor: str
