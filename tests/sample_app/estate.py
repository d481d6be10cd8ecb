"""Bottles on the tiles of the estate, in the rail and on the tenant's home."""

from __future__ import annotations

import uuid

from django.db.models import Count

from core.declarations import HomePart
from core.tiles import TenantIds, TileArea, TileFacts, TilePart

from .models import Bottle


def facts(tenant_ids: TenantIds | None) -> dict[uuid.UUID, TileFacts]:
    rows = Bottle.objects.all() if tenant_ids is None else Bottle.objects.filter(tenant_id__in=tenant_ids)
    counts = rows.order_by().values_list("tenant_id").annotate(n=Count("pk"))
    return {tenant_id: TileFacts(values={"bottles": count}) for tenant_id, count in counts}


TILE_PART = TilePart(name="bottles", area=TileArea.LINE, position=30, template="sample_app/_tile.html", facts=facts)


def in_store(tenant_id: uuid.UUID) -> int:
    return Bottle.objects.filter(tenant_id=tenant_id).count()


HOME_PART = HomePart(
    name="bottles",
    position=10,
    template="sample_app/_home.html",
    facts=lambda tenant_id: {"bottles": in_store(tenant_id)},
)
