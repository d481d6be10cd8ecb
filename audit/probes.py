"""Whether the head of the trail's chain comes through to where it is anchored."""

from typing import Any

from .anchors import failing


def anchored() -> dict[str, Any]:
    event = failing()
    return {"status": "ok"} if event is None else {"status": "failed", "not_anchored_since": event.created_at}
