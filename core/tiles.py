"""What an app shows on the tile that the estate has of each tenant."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class TileArea(StrEnum):
    """Where on the tile a part is drawn, from top to bottom."""

    MIDDLE = "middle"
    LINE = "line"
    FOOT = "foot"


@dataclass(frozen=True, slots=True, kw_only=True)
class TileTrouble:
    """A state of the whole tenant, drawn in the tile's head. Of several, the one with the lowest ``rank`` is.

    ``state`` is one of ``core.states``. ``is_blinding``: while it lasts nobody can know what drifts there.
    """

    rank: int
    state: str
    word: str
    is_blinding: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TileFacts:
    """What an app knows of one tenant. ``score`` is its share in the order of tiles: 0 is no trouble.

    ``values`` are for the part's template.
    """

    score: int = 0
    is_busy: bool = False
    troubles: tuple[TileTrouble, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


TenantIds = Collection[uuid.UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePart:
    """One app's part of each tile, drawn by ``template`` with ``tile``, ``slug`` (of the tenant) and ``facts``.

    ``facts`` is asked once for all tenants that a person sees; ``tenant_ids`` is None where that is everybody. It asks
    one query, and leaves out tenants of which there is nothing to say: they get ``TileFacts()``, or ``without``.
    ``details`` is asked for the tenants of one page, and adds to the values. Both run in the platform's scope.
    """

    name: str
    area: TileArea
    position: int
    template: str
    facts: Callable[[TenantIds | None], Mapping[uuid.UUID, TileFacts]]
    details: Callable[[TenantIds], Mapping[uuid.UUID, Mapping[str, Any]]] | None = None
    without: TileFacts = TileFacts()
