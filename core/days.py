"""Counts by day, without a gap, for charts."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.db.models import Aggregate, Count, QuerySet
from django.db.models.functions import TruncDate

from core import clock

SHOWN = 30


def by_day(rows: QuerySet[Any], *, field: str = "created_at", of: Aggregate | None = None) -> list[tuple[str, float]]:
    """How many rows there are of each of the last 30 days (UTC), oldest first, or another aggregate ``of`` them.

    [] where there are none.
    """
    today = clock.now().date()
    first = today - timedelta(days=SHOWN - 1)
    recent = rows.filter(**{f"{field}__gte": datetime.combine(first, time.min, UTC)})
    counted = recent.order_by().annotate(day=TruncDate(field, tzinfo=UTC)).values("day")
    found = dict(counted.annotate(n=of or Count("pk")).values_list("day", "n"))
    if not found:
        return []
    days = (first + timedelta(days=n) for n in range(SHOWN))
    return [(f"{day:%d %b}", float(found.get(day) or 0)) for day in days]
