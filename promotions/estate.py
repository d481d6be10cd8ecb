"""Promotions on the tiles of the estate: how many wait for approval."""

from __future__ import annotations

import uuid

from django.db.models import Count

from core.tiles import TenantIds, TileArea, TileFacts, TilePart

from .models import Promotion, PromotionStatus


def facts(tenant_ids: TenantIds | None) -> dict[uuid.UUID, TileFacts]:
    """Promotions of each tenant that wait for approval."""
    rows = Promotion.objects.filter(status=PromotionStatus.PENDING_APPROVAL)
    if tenant_ids is not None:
        rows = rows.filter(tenant_id__in=tenant_ids)
    counts = rows.order_by().values_list("tenant_id").annotate(n=Count("pk"))
    return {tenant_id: TileFacts(values={"approvals": count}) for tenant_id, count in counts}


TILE_PART = TilePart(name="promotions", area=TileArea.LINE, position=20, template="promotions/_tile.html", facts=facts)
