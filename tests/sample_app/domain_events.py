"""What bottles publish, and what follows from it."""

from __future__ import annotations

import uuid

import msgspec

from core.events import Delivery

from .models import Bottle


class BottleEmptied(msgspec.Struct, frozen=True):
    """A bottle is empty."""

    bottle_id: uuid.UUID
    name: str


def replace(delivery: Delivery[BottleEmptied]) -> None:
    """A new bottle in place of an empty one."""
    Bottle.objects.create(tenant_id=delivery.tenant_id, name=f"{delivery.event.name} (new)")
