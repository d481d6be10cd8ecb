"""Events that are not a write of a row: sign-ins, reads in a support session, refusals, effects outside."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from core import clock, context
from core.errors import Invalid
from core.texts import json_for_rows
from tenants.scope import platform_scope, tenant_scope

from .models import LegalHold


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to what. ``action`` in upper case; ``name`` is what the object is called (up to 200 characters)."""

    action: str
    resource_type: str
    resource_id: uuid.UUID | None = None
    tenant_id: uuid.UUID | None = None
    name: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def record_event(
    *,
    action: str,
    resource_type: str,
    resource_id: uuid.UUID | None = None,
    tenant_id: uuid.UUID | None = None,
    name: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Append an event to the trail, as the people and through the door of the context in force.

    Needs a scope that may write for ``tenant_id`` (None: the platform's); a read-only scope may append as well. Raises
    ``ProgrammingError`` for another tenant's, or where nobody has said who is acting.
    """
    record_events([Event(action, resource_type, resource_id, tenant_id, name, details or {})])


def record_events(events: Iterable[Event]) -> int:
    """Append many at the price of one statement; how many. Otherwise as ``record_event``."""
    who = context.current().to_dict()
    rows = [
        {
            **who,
            "tenant_id": event.tenant_id,
            "action": event.action,
            "resource_type": event.resource_type,
            "resource_id": event.resource_id,
            "name": event.name,
            "details": event.details,
        }
        for event in events
    ]
    if not rows:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT opsconsole_record_events(%s)", [json_for_rows(rows)])
        return int(cursor.fetchone()[0])


def make_partitions(*, months_ahead: int = 3) -> int:
    """Make the partitions of this month and the next; how many were new."""
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT opsconsole_trail_partitions(%s)", [months_ahead])
        return int(cursor.fetchone()[0])


def place_hold(*, tenant_id: uuid.UUID, reason: str, by_id: uuid.UUID | None = None) -> LegalHold:
    """From now on nothing of the tenant leaves the trail. Raises ``Invalid`` without a reason."""
    if len(reason.strip()) < 10:
        raise Invalid("Say why the trail is to be kept, in ten characters or more.")
    with tenant_scope(tenant_id):
        return LegalHold.objects.create(tenant_id=tenant_id, reason=reason.strip(), placed_by_id=by_id)


def release_holds(*, tenant_id: uuid.UUID) -> int:
    """End the tenant's holds; how many were in force."""
    with tenant_scope(tenant_id):
        return LegalHold.objects.filter(tenant_id=tenant_id, released_at=None).update(released_at=clock.now())
