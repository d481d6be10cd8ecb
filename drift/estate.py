"""Drift on the tiles of the estate: open incidents by severity, and their number over the last days."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count

from core import clock
from core.tiles import TenantIds, TileArea, TileFacts, TilePart, TileTrouble

from .models import ACTIVE, DriftIncident, Severity

DAYS = 14
#: How much an incident weighs when tiles are put in order.
WEIGHTS = {Severity.CRITICAL: 1000, Severity.HIGH: 200, Severity.MEDIUM: 20, Severity.LOW: 5}
GRAVE = TileTrouble(rank=20, state="drifted", word="Drifted")
DRIFTED = TileTrouble(rank=50, state="drifted", word="Drifted")


def facts(tenant_ids: TenantIds | None) -> dict[uuid.UUID, TileFacts]:
    """Open incidents of each tenant by severity."""
    rows = DriftIncident.objects.filter(incident_state__in=ACTIVE)
    if tenant_ids is not None:
        rows = rows.filter(tenant_id__in=tenant_ids)
    counts: dict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    for tenant_id, severity, count in rows.order_by().values_list("tenant_id", "severity").annotate(n=Count("pk")):
        counts[tenant_id][severity] = count
    return {tenant_id: _facts(severities) for tenant_id, severities in counts.items()}


def _facts(severities: Mapping[str, int]) -> TileFacts:
    is_grave = bool(severities.get(Severity.CRITICAL) or severities.get(Severity.HIGH))
    return TileFacts(
        score=sum(WEIGHTS[Severity(name)] * count for name, count in severities.items()),
        troubles=(GRAVE if is_grave else DRIFTED,),
        values={
            "incidents": sum(severities.values()),
            "severities": [
                (value, label, severities[value]) for value, label in Severity.choices if severities.get(value)
            ],
        },
    )


def details(tenant_ids: TenantIds) -> dict[uuid.UUID, dict[str, Any]]:
    return {tenant_id: {"line": line} for tenant_id, line in open_by_day(tenant_ids).items()}


def open_by_day(tenant_ids: TenantIds) -> dict[uuid.UUID, list[int]]:
    """For each tenant, how many incidents stood open at the end of each of the last 14 days. One query."""
    today = clock.now().date()
    changes = _changes_by_day(tenant_ids, today - timedelta(days=DAYS - 1))
    return {tenant_id: _running_total(changes[tenant_id][:DAYS]) for tenant_id in tenant_ids}


def _changes_by_day(tenant_ids: TenantIds, first: date) -> dict[uuid.UUID, list[int]]:
    """Opened less closed on each day; what was opened before the first day counts there."""
    changes: dict[uuid.UUID, list[int]] = defaultdict(lambda: [0] * (DAYS + 1))
    if not tenant_ids:
        return changes
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, greatest(0, (created_at AT TIME ZONE 'UTC')::date - %s::date),"
            " CASE WHEN incident_state IN ('OPEN', 'ACKNOWLEDGED') THEN NULL"
            " ELSE greatest(0, (coalesce(resolved_at, updated_at) AT TIME ZONE 'UTC')::date - %s::date) END,"
            " count(*)"
            " FROM drift_incidents WHERE tenant_id = ANY(%s) AND (incident_state IN ('OPEN', 'ACKNOWLEDGED')"
            " OR coalesce(resolved_at, updated_at) >= %s) GROUP BY 1, 2, 3",
            [first, first, list(tenant_ids), first],
        )
        for tenant_id, opened, closed, count in cursor.fetchall():
            changes[tenant_id][min(opened, DAYS)] += count
            if closed is not None:
                changes[tenant_id][min(closed, DAYS)] -= count
    return changes


def _running_total(changes: list[int]) -> list[int]:
    total, line = 0, []
    for change in changes:
        total += change
        line.append(total)
    return line


TILE_PART = TilePart(
    name="drift",
    area=TileArea.MIDDLE,
    position=10,
    template="drift/_tile.html",
    facts=facts,
    details=details,
    without=TileFacts(values={"incidents": 0}),
)
