"""Jobs on the tiles of the estate."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db.models import Count, Q

from core import clock
from core.tiles import TenantIds, TileArea, TileFacts, TilePart, TileTrouble

from .models import OPEN, Operation, OperationStatus

FAILED_WITHIN = timedelta(hours=24)
#: How much a job weighs when tiles are put in order.
FAILED_WEIGHT, PARKED_WEIGHT = 120, 150
PARKED = TileTrouble(rank=30, state="parked", word="Waits for a person")
FAILED = TileTrouble(rank=40, state="failed", word="Jobs failed")
AT_WORK = (OperationStatus.PENDING, OperationStatus.RUNNING, OperationStatus.RETRY_PENDING)


def facts(tenant_ids: TenantIds | None) -> dict[uuid.UUID, TileFacts]:
    """Jobs of each tenant that run, are parked, or failed within a day."""
    since = clock.now() - FAILED_WITHIN
    rows = Operation.objects.filter(Q(status__in=OPEN) | Q(status=OperationStatus.FAILED, ended_at__gte=since))
    rows = rows.filter(tenant__isnull=False) if tenant_ids is None else rows.filter(tenant_id__in=tenant_ids)
    counts = (
        rows.order_by()
        .values_list("tenant_id")
        .annotate(
            running=Count("pk", filter=Q(status__in=AT_WORK)),
            parked=Count("pk", filter=Q(status=OperationStatus.PARKED)),
            failed=Count("pk", filter=Q(status=OperationStatus.FAILED)),
        )
    )
    return {tenant_id: _facts(running, parked, failed) for tenant_id, running, parked, failed in counts}


def _facts(running: int, parked: int, failed: int) -> TileFacts:
    return TileFacts(
        score=parked * PARKED_WEIGHT + failed * FAILED_WEIGHT,
        is_busy=running > 0,
        troubles=(*((PARKED,) if parked else ()), *((FAILED,) if failed else ())),
        values={"running": running, "parked": parked, "failed": failed},
    )


TILE_PART = TilePart(
    name="jobs",
    area=TileArea.LINE,
    position=10,
    template="operations/_tile.html",
    facts=facts,
    without=TileFacts(values={"running": 0, "failed": 0}),
)
