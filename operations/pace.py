"""How fast a job's phase goes, and how long it will take: never longer than was said before without a word on why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.cache import cache

from core import clock

from .models import Operation, OperationStatus

KEPT_SECONDS = 3600
#: What was said may be off by so much before it is said anew, in seconds and as a part of what is left.
GRACE_SECONDS, GRACE_PART = 3.0, 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """``rate`` in words, '' where nothing is known; ``why`` tells why more time is left than was said before."""

    rate: str = ""
    seconds_left: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """What people were told: when it ends (a timestamp), said when and after how much was done, and ``Pace.why``."""

    end: float
    said_at: float
    done: int
    why: str = ""


def pace(operation: Operation) -> Pace:
    """Of the phase that is under way, from what it has done since it began. Remembers what it says, in the cache."""
    began, done = operation.progress_since, operation.progress_done - operation.progress_from
    if operation.status != OperationStatus.RUNNING or began is None or done <= 0:
        return Pace()
    now = clock.now()
    rate = done / max((now - began).total_seconds(), 0.001)
    if not operation.progress_total:
        return Pace(_a_second(rate))
    left = max(0.0, (operation.progress_total - operation.progress_done) / rate)
    promise = _promise(operation, began, now.timestamp(), left)
    return Pace(_a_second(rate), max(0.0, promise.end - now.timestamp()), promise.why)


def _promise(operation: Operation, began: datetime, now: float, left: float) -> Promise:
    key = f"pace:{operation.pk}:{began.timestamp()}"
    stored: Any = cache.get(key)
    before = Promise(*stored) if isinstance(stored, list | tuple) else None
    done = operation.progress_done
    if before is None or now + left < before.end:
        made = Promise(now + left, now, done)
    elif now + left <= before.end + max(GRACE_SECONDS, GRACE_PART * left):
        return before
    else:
        made = Promise(now + left, now, done, _slower(done - before.done, now - before.said_at))
    cache.set(key, [made.end, made.said_at, made.done, made.why], KEPT_SECONDS)
    return made


def _slower(done: int, seconds: float) -> str:
    since = f"in the last {max(seconds, 1):.0f} s"
    return f"slower now: {done:,} {since}" if done else f"nothing finished {since}"


def _a_second(rate: float) -> str:
    return f"{rate:.1f} a second" if rate < 100 else f"{rate:.0f} a second"
