"""Whether the shelf still stands."""

from typing import Any


def shelf() -> dict[str, Any]:
    return {"status": "ok", "bottles": 0}
