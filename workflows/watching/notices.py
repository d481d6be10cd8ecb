"""What is told of starters that do not start, how telling fails, and whom apps above want to be told."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from workflows.models import Environment, StarterWatch


@dataclass(frozen=True, slots=True)
class News:
    """Starters of one job that turned out bad in one environment, all found and told together."""

    environment: Environment
    operation_id: uuid.UUID
    watches: tuple[StarterWatch, ...]
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class PeopleOfJob:
    """Who else has to know what came of a job? In-transaction handlers answer with ids of people."""

    operation_id: uuid.UUID


class NotTold(Exception):
    """Nobody was told. It is tried again where ``again``."""

    def __init__(self, why: str, *, again: bool = True) -> None:
        super().__init__(why)
        self.again = again


class PerhapsTold(Exception):
    """Nobody knows whether people were told: it is not tried again."""
