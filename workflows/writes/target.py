"""Where items are written, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .resolver import Resolver

if TYPE_CHECKING:
    from workflows.models import Environment
    from workflows.n8n.client import N8nClient

CONCURRENCY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTarget:
    """An environment that is written to.

    ``prefix`` begins the names of the steps. With ``tolerant`` an item that fails ends as failed and the others go on;
    without, the first failure is raised. ``concurrency`` items are written at a time.
    """

    client: N8nClient
    environment: Environment
    resolver: Resolver
    prefix: str
    tolerant: bool = False
    concurrency: int = CONCURRENCY
