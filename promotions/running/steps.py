"""What the durable steps of promotions and rollbacks are called, and what can be told from them. Names are stored."""

from __future__ import annotations

import uuid
from typing import Literal

from operations.models import OperationStep

#: Rows of a list that a step or a result keeps; the API and the pages need no more.
LISTED = 200

GATES = "promotion:gates"
LIVE = "promotion:live"
PLACES = "promotion:places"
WRITE = "promote:write:"
VERIFY = "promotion:verify"
CANONICAL = "promotion:canonical"
FINISH = "promotion:finish"

UNDO_DECIDE = "undo:decide"
UNDO_LOOK = "undo:look"
UNDO_PLACES = "undo:places"
UNDO_PROVE = "undo:prove"
UNDO_CANONICAL = "undo:canonical"
UNDO_FINISH = "undo:finish"

ROLLBACK_LOOK = "rollback:look"
ROLLBACK_WRITE = "rollback:write:"
ROLLBACK_PROVE = "rollback:prove"
ROLLBACK_CANONICAL = "rollback:canonical"
ROLLBACK_FINISH = "rollback:finish"

_SNAPSHOT_SPACE = uuid.UUID("6f1f5b2e-3c7a-4f0e-9d7e-0d3a1b9c5e42")


def snapshot_id_for(operation_id: uuid.UUID, which: Literal["pre", "post", "safety", "after"]) -> uuid.UUID:
    """The id of the snapshot that an operation takes: the same however often it begins again."""
    return uuid.uuid5(_SNAPSHOT_SPACE, f"{operation_id}:{which}")


def wrote_back(operation_id: uuid.UUID) -> bool:
    """Whether a rollback has begun to write. Needs the tenant's scope."""
    return OperationStep.objects.filter(operation_id=operation_id, name__startswith=ROLLBACK_WRITE).exists()
