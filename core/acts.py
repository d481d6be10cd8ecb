"""How the trail says in a line what a request, its jobs or a transaction did: the words that apps declare."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class TrailRow(Protocol):
    """An entry of the trail, as far as those need it who name what it is about."""

    pk: int
    action: str
    actor_user_id: uuid.UUID | None
    request_id: str
    operation_id: uuid.UUID | None
    resource_id: uuid.UUID | None
    object_repr: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActWords:
    """What an act is called that left an entry of this kind: “Approved {name}”.

    ``status`` narrows it to entries in which ``column``, the same for all words of a table, became this. Of an act's
    entries the one with the lowest ``position`` speaks, of several the last. ``words`` may hold ``{name}``, what the
    thing is called.
    """

    table: str
    action: str
    words: str
    status: str = ""
    column: str = "status"
    position: int = 100
    state: str = ""

    @property
    def name(self) -> str:
        return ":".join((self.table, self.action, self.status))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActName:
    """What the thing of an act is called, what is added after a colon, and the state if it is not the action's."""

    name: str
    more: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActTeller:
    """Names what entries of a table are about where the entry does not say it, by ``pk``. For a page at a time."""

    table: str
    tell: Callable[[Sequence[TrailRow]], Mapping[int, ActName]]
