"""News for the layers above: promotions make a record of what was reconciled."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operations.engine import Run


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was taken as approved in one environment, in one commit.

    ``items`` are ``{incident_id, key, name, content_hash}``.
    """

    tenant_id: uuid.UUID
    environment_id: uuid.UUID
    incident_ids: tuple[uuid.UUID, ...]
    items: tuple[dict[str, Any], ...]
    commit_sha: str
    comment: str
    by_id: uuid.UUID | None
    operation_id: uuid.UUID
    create_promotion_record: bool


Callback = Callable[["Run", Reconciled], Any]

_reconciled: dict[str, Callback] = {}


def on_reconciled(callback: Callback) -> Callback:
    """Register ``callback(run, news)``.

    Called outside any scope in a step of its own that may be repeated after a crash: make it idempotent by
    ``news.operation_id``. What it returns must be JSON-able; ``{"promotion_id": …}`` is kept on the incidents.
    """
    _reconciled[f"{callback.__module__}.{callback.__qualname__}"] = callback
    return callback


def reconciled_callbacks() -> list[tuple[str, Callback]]:
    """Names and callbacks, in the order of their names."""
    return sorted(_reconciled.items())
