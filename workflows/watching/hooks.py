"""The seam between what is found and who is notified.

Today by mail (``telling``). An app above may notify in another way, and names who else is concerned by a job.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from workflows.models import Environment, StarterWatch


@dataclass(frozen=True, slots=True)
class News:
    """Starters of one job that do not start in one environment, found together and notified about together."""

    environment: Environment
    operation_id: uuid.UUID
    watches: tuple[StarterWatch, ...]
    attempt: int = 1


Teller = Callable[[News], str]
"""Notifies people, outside any scope; a sentence about the outcome. Raises ``NotTold`` or ``PerhapsTold``."""
Concerned = Callable[[uuid.UUID], Iterable[uuid.UUID]]
"""The people concerned by an operation, by id; called in the tenant's scope."""


class NotTold(Exception):
    """Nobody was notified. It is tried again where ``again``."""

    def __init__(self, why: str, *, again: bool = True) -> None:
        super().__init__(why)
        self.again = again


class PerhapsTold(Exception):
    """Whether people were notified is not known: it is not tried again."""


_tellers: list[Teller] = []
_concerned: dict[str, Concerned] = {}


def tell_by(teller: Teller) -> Teller:
    """Let ``teller`` notify people from now on, instead of the one before."""
    _tellers.append(teller)
    return teller


def teller() -> Teller:
    """Who notifies people now."""
    return _tellers[-1]


def on_concerned(callback: Concerned) -> Concerned:
    """Register who else has to know what came of an operation."""
    _concerned[f"{callback.__module__}.{callback.__qualname__}"] = callback
    return callback


def concerned_by(operation_id: uuid.UUID) -> set[uuid.UUID]:
    """Everybody whom an app above names."""
    return {person for _name, callback in sorted(_concerned.items()) for person in callback(operation_id)}
