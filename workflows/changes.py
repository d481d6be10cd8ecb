"""What happened to an environment lately, through the console and behind its back, and who did it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta

from core import clock
from core.declarations import EnvironmentChange
from core.registry import registry

SHOWN_AT_MOST = 30
PERIODS = {"1d": ("Since yesterday", 1), "7d": ("7 days", 7), "30d": ("30 days", 30)}


@dataclass(frozen=True, slots=True)
class Changes:
    """``period`` is a key of ``PERIODS``; ``is_cut``: there are more than are shown."""

    period: str
    entries: list[EnvironmentChange]
    is_cut: bool

    @property
    def periods(self) -> list[tuple[str, str, bool]]:
        """(key, words, whether it is the one shown)."""
        return [(key, words, key == self.period) for key, (words, _) in PERIODS.items()]


def changes_of(environment_id: uuid.UUID, *, tenant_slug: str, period: str) -> Changes:
    """Of one environment in a period, the newest first. In the tenant's scope."""
    chosen = period if period in PERIODS else "1d"
    since = clock.now() - timedelta(days=PERIODS[chosen][1])
    found = [
        change
        for source in registry.change_sources()
        for change in source.find(environment_id, tenant_slug, since, SHOWN_AT_MOST + 1)
    ]
    found.sort(key=lambda change: change.at, reverse=True)
    return Changes(chosen, found[:SHOWN_AT_MOST], len(found) > SHOWN_AT_MOST)
