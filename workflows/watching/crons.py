"""Cron expressions as n8n reads them (its package `cron`, 3.1 with n8n 1.123 and 4.4 with 2.41). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

_PRESETS = {
    "@yearly": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
    "@minutely": "0 * * * * *",
    "@secondly": "* * * * * *",
    "@weekdays": "0 0 0 * * 1-5",
    "@weekends": "0 0 0 * * 0,6",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NUMBERS = {name: number for number, name in enumerate(_MONTHS, 1)} | {
    name: number for number, name in enumerate(_DAYS)
}
_WORD = re.compile(r"[a-z]{1,3}")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?(?:/(\d+))?")
#: Lowest and highest of second, minute, hour, day of month, month, day of week.
_LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
#: Every time zone that there is: where nobody knows n8n's own, the latest answer of all of them holds.
_ANYWHERE = tuple(timezone(timedelta(minutes=minutes)) for minutes in range(-12 * 60, 14 * 60 + 1, 30))


def fields_of(expression: str) -> list[str] | None:
    """The six fields of an expression, seconds first and names as numbers; None where n8n would refuse it."""
    text = expression.lower()
    text = _PRESETS.get(text, text)
    unknown = [word for word in _WORD.findall(text) if word not in _NUMBERS]
    if unknown:
        return None
    fields = _WORD.sub(lambda found: str(_NUMBERS[found[0]]), text).split()
    if len(fields) == len(_LIMITS) - 1:
        fields = ["0", *fields]
    if len(fields) != len(_LIMITS):
        return None
    good = all(_is_field(value, *limits) for value, limits in zip(fields, _LIMITS, strict=True))
    return fields if good else None


def _is_field(value: str, low: int, high: int) -> bool:
    return all(_is_part(part, low, high) for part in value.split(","))


def _is_part(part: str, low: int, high: int) -> bool:
    if "*" in part[1:]:
        return False
    found = _RANGE.fullmatch(part.replace("*", f"{low}-{high}"))
    if found is None:
        return False
    first, last = int(found[1]), int(found[2] or found[1])
    return int(found[3] or 1) > 0 and low <= first <= last <= high


def latest_next(expressions: Iterable[str], after: datetime, zone: str = "") -> datetime | None:
    """By when at the latest the first of these expressions fires; None where that cannot be computed.

    Without a ``zone`` the latest answer of all time zones counts.
    """
    zones = _zones(zone)
    found = [moment for expression in expressions if (moment := _latest(expression, after, zones)) is not None]
    return min(found, default=None)


def _zones(zone: str) -> tuple[tzinfo, ...]:
    try:
        return (ZoneInfo(zone),) if zone else _ANYWHERE
    except (OSError, ValueError, ZoneInfoNotFoundError):  # no such zone
        return _ANYWHERE


def _latest(expression: str, after: datetime, zones: Iterable[tzinfo]) -> datetime | None:
    fields = fields_of(expression)
    if fields is None:
        return None
    try:
        moments: list[datetime] = [
            croniter(" ".join(fields), after.astimezone(zone), second_at_beginning=True).get_next(datetime)
            for zone in zones
        ]
    except CroniterError:  # it never fires, or is written in a way that only n8n reads
        return None
    return max(moments).astimezone(after.tzinfo)
