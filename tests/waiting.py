"""Waiting for something to become true, with patience instead of a guess."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(what: str, found: Callable[[], Any], *, seconds: float = 120.0) -> Any:
    """The first true answer of ``found``; fails with ``what`` if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
    return answer
