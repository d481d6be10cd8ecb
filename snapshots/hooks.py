"""News for the layers above: what is registered here is told of every capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from operations.engine import Run
    from workflows.models import Environment

    from .models import Snapshot

Captured = Callable[["Run | None", "Environment", "Snapshot"], Any]

_captured: dict[str, Captured] = {}


def on_captured(callback: Captured) -> Captured:
    """Register (or decorate) a callback ``(run_or_none, environment, snapshot)``.

    It is called after each capture, outside any scope, in a step of its own that may be repeated after a crash. What
    it returns must be JSON-able. Its failure is recorded on the step and does not spoil the capture.
    """
    _captured[f"{callback.__module__}.{callback.__qualname__}"] = callback
    return callback


def captured_callbacks() -> list[tuple[str, Captured]]:
    """Names and callbacks, in the order of their names."""
    return sorted(_captured.items())
