"""Promotions on the tiles of the estate: targets left half-way, and how many wait for approval."""

from __future__ import annotations

import uuid

from django.db.models import Count, Q

from core.tiles import TenantIds, TileArea, TileFacts, TilePart, TileTrouble

from .models import Promotion, PromotionStatus

#: Comes before all other trouble: nobody promotes there until a person has acted.
HALF_WAY = TileTrouble(rank=5, state="failed", word="Left half-way")
HALF_WAY_WEIGHT = 5000


def facts(tenant_ids: TenantIds | None) -> dict[uuid.UUID, TileFacts]:
    """Promotions of each tenant that hold their target, and those that wait for approval."""
    held, waiting = Q(attention_since__isnull=False), Q(status=PromotionStatus.PENDING_APPROVAL)
    rows = Promotion.objects.filter(held | waiting)
    if tenant_ids is not None:
        rows = rows.filter(tenant_id__in=tenant_ids)
    counted = rows.order_by().values_list("tenant_id")
    counts = counted.annotate(held=Count("pk", filter=held), waiting=Count("pk", filter=waiting))
    return {tenant_id: _facts(half_way, approvals) for tenant_id, half_way, approvals in counts}


def _facts(half_way: int, approvals: int) -> TileFacts:
    return TileFacts(
        score=half_way * HALF_WAY_WEIGHT,
        troubles=(HALF_WAY,) if half_way else (),
        values={"half_way": half_way, "approvals": approvals},
    )


TILE_PART = TilePart(name="promotions", area=TileArea.LINE, position=20, template="promotions/_tile.html", facts=facts)
