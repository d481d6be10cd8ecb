"""When an instance was last unreachable for this process: no connection could be made."""

from __future__ import annotations

from datetime import datetime

from core import clock

KEPT = 1000
_last: dict[str, datetime] = {}


def note(base_url: str) -> None:
    """Record that it is unreachable now."""
    if len(_last) >= KEPT:
        _last.pop(next(iter(_last), ""), None)  # several threads may tidy at once
    _last[base_url] = clock.now()


def last(base_url: str) -> datetime | None:
    """When it was last unreachable; None where this process has always reached it."""
    return _last.get(base_url)
