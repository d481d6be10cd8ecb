"""Grants on a part of a tenant, which an app above this one keeps: what the list of members asks of it.

It registers itself in its ``AppConfig.ready()``. Everything here runs in the tenant's scope.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from django.db.models import QuerySet


@dataclass(frozen=True, slots=True)
class Narrow:
    """What somebody holds in one place alone. ``place`` is what ``{% env %}`` draws."""

    place: Any
    words: str


class Keeper(Protocol):
    """Who keeps such grants."""

    def holders(self) -> QuerySet[Any]:
        """The ids of the people who hold any, as a subquery."""

    def held_by(self, user_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, list[Narrow]]:
        """What each of these people holds; one query."""


_keepers: list[Keeper] = []


def register_keeper(keeper: Keeper) -> None:
    """There is one; registering it again has no effect."""
    _keepers[:] = [keeper]


def keeper() -> Keeper | None:
    return _keepers[0] if _keepers else None
