"""Where items are written, and how."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    without, the first failure is raised. ``concurrency`` items are written at a time. ``workflow_ids`` are the tenant's
    own ids of workflows, by key, under which the trail tells what was written. ``restores``: what is written is what
    was there before, and progress says so.
    """

    client: N8nClient
    environment: Environment
    resolver: Resolver
    prefix: str
    tolerant: bool = False
    concurrency: int = CONCURRENCY
    workflow_ids: Mapping[str, uuid.UUID] = field(default_factory=dict)
    restores: bool = False
