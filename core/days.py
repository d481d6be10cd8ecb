"""Counts by day, without a gap, for charts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db.models import Aggregate, Count, Q, QuerySet
from django.db.models.functions import TruncDate

from core import clock

SHOWN = 30


def by_day(rows: QuerySet[Any], *, field: str = "created_at", of: Aggregate | None = None) -> list[tuple[str, float]]:
    """How many rows there are of each of the last 30 days (UTC), oldest first, or another aggregate ``of`` them.

    [] where there are none.
    """
    found = _by_day(rows, field, SHOWN, [of or Count("pk")])
    return [(label, values[0]) for label, values in found]


def parts_by_day(
    rows: QuerySet[Any], parts: Sequence[Q], *, field: str = "created_at", days: int = SHOWN
) -> list[tuple[str, list[float]]]:
    """How many rows of each of the last days (UTC) fulfil each condition, oldest first; [] where there are no rows."""
    return _by_day(rows, field, days, [Count("pk", filter=part) for part in parts])


def _by_day(
    rows: QuerySet[Any], field: str, shown: int, aggregates: Sequence[Aggregate]
) -> list[tuple[str, list[float]]]:
    today = clock.now().date()
    first = today - timedelta(days=shown - 1)
    recent = rows.filter(**{f"{field}__gte": datetime.combine(first, time.min, UTC)})
    names = [f"part_{n}" for n in range(len(aggregates))]
    counted = recent.order_by().annotate(day=TruncDate(field, tzinfo=UTC)).values("day")
    found = {
        row[0]: row[1:]
        for row in counted.annotate(**dict(zip(names, aggregates, strict=True))).values_list("day", *names)
    }
    if not found:
        return []
    days = (first + timedelta(days=n) for n in range(shown))
    return [(f"{day:%d %b}", [float(n or 0) for n in found.get(day) or [0] * len(names)]) for day in days]
