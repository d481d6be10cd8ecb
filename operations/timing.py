"""When recurring work is due next: after a period, or by a cron expression in a time zone; spread by a jitter."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from croniter import croniter

from core.errors import Invalid

if TYPE_CHECKING:
    from .models import Schedule


def next_moment(cron: str, time_zone: str, after: datetime) -> datetime:
    """The first moment later than ``after`` that an expression of five fields names, by the clocks of the zone."""
    found: datetime = croniter(cron, after.astimezone(ZoneInfo(time_zone))).get_next(datetime)
    return found.astimezone(after.tzinfo)


def next_run(schedule: Schedule, after: datetime) -> datetime:
    """When a schedule is due next, later by its jitter.

    What was missed meanwhile is not made up for. The jitter of one moment is always the same for one schedule: two
    beats that work it out find the same, and schedules of one hour do not all begin at once.
    """
    if schedule.cron:
        moment = next_moment(schedule.cron, schedule.time_zone, after)
    else:
        moment = after + timedelta(seconds=schedule.every_seconds)
    return moment + _jitter(schedule, moment)


def left_out_a_run(schedule: Schedule, now: datetime) -> bool:
    """Whether a whole run of a schedule that is due was missed: the one after it should have begun by now."""
    return next_run(schedule, schedule.next_run_at) <= now


def _jitter(schedule: Schedule, moment: datetime) -> timedelta:
    if not schedule.jitter_seconds:
        return timedelta()
    seed = f"{schedule.tenant_id}:{schedule.name}:{moment.timestamp():.0f}".encode()
    part = int.from_bytes(hashlib.sha256(seed).digest()[:4]) / 2**32
    return timedelta(seconds=schedule.jitter_seconds * part)


def check(*, every_seconds: int, cron: str, time_zone: str, jitter_seconds: int) -> None:
    """Raise ``Invalid``, naming the field, where a schedule could never be worked out."""
    wrong: dict[str, str] = {}
    if bool(cron) == (every_seconds > 0):
        wrong["every_seconds"] = "Either a period of seconds or a cron expression."
    if jitter_seconds < 0:
        wrong["jitter_seconds"] = "0 or more."
    try:
        ZoneInfo(time_zone)
    except (KeyError, OSError, ValueError):
        wrong["time_zone"] = "No such time zone."
    if cron and not _is_cron(cron):
        wrong["cron"] = "No cron expression of five fields."
    if wrong:
        raise Invalid(" ".join(wrong.values()), details=wrong)


def _is_cron(expression: str) -> bool:
    try:
        return len(expression.split()) == 5 and croniter.is_valid(expression)
    except ValueError:
        return False
