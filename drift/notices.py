"""What apps above must act upon in a step of the job that reconciled: promotions make a record of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operations.engine import Run


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was taken as approved in one environment, in one commit. For step handlers.

    ``items`` are ``{incident_id, key, name, content_hash}``. A step may be repeated after a crash: be idempotent by
    ``operation_id``. ``{"promotion_id": …}`` in an answer is kept on the incidents.
    """

    run: Run
    tenant_id: uuid.UUID
    environment_id: uuid.UUID
    incident_ids: tuple[uuid.UUID, ...]
    items: tuple[dict[str, Any], ...]
    commit_sha: str
    comment: str
    by_id: uuid.UUID | None
    operation_id: uuid.UUID
    create_promotion_record: bool
