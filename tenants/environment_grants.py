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
class EnvironmentGrant:
    """What somebody holds in one environment alone. ``environment`` is what ``{% env %}`` draws."""

    environment: Any
    words: str


class EnvironmentGrantProvider(Protocol):
    """Who keeps such grants."""

    def holders(self) -> QuerySet[Any]:
        """The ids of the people who hold any, as a subquery."""

    def held_by(self, user_ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, list[EnvironmentGrant]]:
        """What each of these people holds; one query."""


_providers: list[EnvironmentGrantProvider] = []


def register_grant_provider(provider: EnvironmentGrantProvider) -> None:
    """There is one; registering it again has no effect."""
    _providers[:] = [provider]


def grant_provider() -> EnvironmentGrantProvider | None:
    return _providers[0] if _providers else None
