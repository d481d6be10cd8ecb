"""Named boundaries of durable work: tests hang a SIGKILL here; the product leaves them empty."""

from __future__ import annotations

from collections.abc import Callable

#: Called with a name at every boundary.
boundary_observers: list[Callable[[str], None]] = []


def checkpoint(boundary: str) -> None:
    """Say that work has come to a boundary at which it may be killed."""
    for observer in boundary_observers:
        observer(boundary)
