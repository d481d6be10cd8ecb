"""Environments on the tiles of the estate: whether they answer, and when they were last captured."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q

from core import clock
from core.tiles import TenantIds, TileArea, TileFacts, TilePart, TileTrouble

from .models import ConnectionStatus, Environment, EnvironmentKind

OLD_CAPTURE = timedelta(hours=26)
#: How much an environment that does not answer weighs when tiles are put in order: a production of which nothing is
#: known stands before any drift that is known.
UNREACHABLE_WEIGHT, UNREACHABLE_PRODUCTION_WEIGHT = 400, 1_000_000
FAILING = Q(connection_status=ConnectionStatus.FAILED)
NOT_REACHABLE = TileTrouble(rank=10, state="failed", word="Not reachable", is_blinding=True)
NOT_SET_UP = TileTrouble(rank=60, state="unknown", word="Not set up")
NOT_CAPTURED = TileTrouble(rank=70, state="unknown", word="Not captured")
NOT_SEEN_LATELY = TileTrouble(rank=80, state="unknown", word="Not seen lately")


def facts(tenant_ids: TenantIds | None) -> dict[uuid.UUID, TileFacts]:
    """The environments of each tenant: how many there are, which do not answer, and the oldest of their captures."""
    rows = Environment.objects.filter(is_archived=False)
    if tenant_ids is not None:
        rows = rows.filter(tenant_id__in=tenant_ids)
    counts = (
        rows.order_by()
        .values_list("tenant_id")
        .annotate(
            n=Count("pk"),
            failing=Count("pk", filter=FAILING),
            blind=Count("pk", filter=FAILING & Q(kind=EnvironmentKind.PRODUCTION)),
            seen=Count("last_captured_at"),
            oldest=Min("last_captured_at"),
        )
    )
    return {
        tenant_id: _facts(n, failing, blind, oldest if seen == n else None)
        for tenant_id, n, failing, blind, seen, oldest in counts
    }


def _facts(count: int, unreachable: int, unreachable_productions: int, last_capture: datetime | None) -> TileFacts:
    """``last_capture`` is None while an environment was never captured: a tile is as fresh as its stalest part."""
    troubles = [NOT_REACHABLE] if unreachable else []
    if last_capture is None:
        troubles.append(NOT_CAPTURED)
    elif clock.now() - last_capture > OLD_CAPTURE:
        troubles.append(NOT_SEEN_LATELY)
    return TileFacts(
        score=unreachable * UNREACHABLE_WEIGHT + unreachable_productions * UNREACHABLE_PRODUCTION_WEIGHT,
        troubles=tuple(troubles),
        values={"count": count, "last_capture": last_capture},
    )


def details(tenant_ids: TenantIds) -> dict[uuid.UUID, dict[str, Any]]:
    """The environments themselves, in the order of the pipeline."""
    fields = ("id", "tenant_id", "name", "slug", "kind", "position")
    rows = Environment.objects.filter(tenant_id__in=tenant_ids, is_archived=False).only(*fields)
    found: dict[uuid.UUID, list[Environment]] = defaultdict(list)
    for environment in rows.order_by("position", "name"):
        found[environment.tenant_id].append(environment)
    return {tenant_id: {"environments": environments} for tenant_id, environments in found.items()}


TILE_PART = TilePart(
    name="environments",
    area=TileArea.FOOT,
    position=10,
    template="workflows/_tile.html",
    facts=facts,
    details=details,
    without=TileFacts(troubles=(NOT_SET_UP,)),
)
