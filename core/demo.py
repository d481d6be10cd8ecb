"""What an app adds to the demo estate: a chapter of its main tenant's history, told after the main story."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import context


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStage:
    """Where and with whom a chapter plays.

    ``people`` (``tenants.models.User``): admin, owner, operator, approver, viewer, support, second and duty (more
    support engineers), compliance. ``environments`` (``workflows.models.Environment``): dev, staging, production.
    """

    tenant: Any
    people: Mapping[str, Any]
    environments: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoChapter:
    """``tell`` writes through the app's services, as one of the people; chapters are told in order of ``position``."""

    name: str
    position: int
    tell: Callable[[DemoStage], None]


@contextlib.contextmanager
def as_person(user: Any) -> Iterator[None]:
    """What happens inside is on record as this person's."""
    with context.acting(actor_id=user.pk, source="web", ip_address="192.0.2.14", request_id=uuid.uuid4().hex[:16]):
        yield
