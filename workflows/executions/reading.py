"""n8n's rows of executions as typed ones. Whatever an instance answers is bounded; what is odd is reported. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .statuses import ENDED, UNKNOWN

LARGEST_NUMBER = 2**63 - 1
LARGEST_DURATION_MS = 2**31 - 1
#: No execution is older than n8n, and none begins later than a wrong clock explains.
EARLIEST = datetime(2019, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)
_WORD = re.compile(r"[a-z][a-z_-]{0,23}")
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReportedExecution:
    """One execution without its data. Times are aware; ``ended_at`` only where it has ended for good."""

    number: int
    workflow_id: str
    status: str
    mode: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_ms: int | None = None
    retry_of: int | None = None
    version_id: str = ""

    @property
    def is_over(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class Rows:
    """The executions of one answer, each number once; ``odd`` describes the irregularities in words."""

    runs: list[ReportedExecution]
    odd: list[str] = field(default_factory=list)

    @property
    def lowest(self) -> int | None:
        return min((run.number for run in self.runs), default=None)


def rows_of(raw: Iterable[Mapping[str, Any]], *, at_most: int, now: datetime) -> Rows:
    """Read an answer of n8n's; more rows than were asked for are left out."""
    found: dict[int, ReportedExecution] = {}
    unreadable = seen = 0
    for row in raw:
        seen += 1
        if seen > at_most:
            break
        run = run_of(row, now=now)
        if run is None:
            unreadable += 1
        else:
            found[run.number] = run
    odd = []
    if seen > at_most:
        odd.append(f"n8n answered with more than the {at_most} executions asked for; the rest was left out.")
    if unreadable:
        odd.append(f"{unreadable} of n8n's rows had no number of an execution, and were left out.")
    return Rows(list(found.values()), odd)


def run_of(row: Mapping[str, Any], *, now: datetime) -> ReportedExecution | None:
    """One row of any shape; None without a usable number. Payloads are never read."""
    number = number_of(row.get("id"))
    if number is None:
        return None
    status = _status(row)
    started = _moment(row.get("startedAt"), now)
    ended = _moment(row.get("stoppedAt"), now) if status in ENDED else None
    return ReportedExecution(
        number=number,
        workflow_id=_id_text(row.get("workflowId")),
        status=status,
        mode=_word(row.get("mode")),
        started_at=started,
        ended_at=ended,
        duration_ms=_duration(started, ended),
        retry_of=number_of(row.get("retryOf")),
        version_id=_id_text(row.get("workflowVersionId")),
    )


def number_of(value: object) -> int | None:
    """n8n's id of an execution as a number, from text or a number; None where it is neither."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value)
    if not _NUMBER.fullmatch(text):
        return None
    number = int(text)
    return number if 0 < number <= LARGEST_NUMBER else None


def _status(row: Mapping[str, Any]) -> str:
    return _word(row.get("status")) or ("success" if row.get("finished") is True else UNKNOWN)


def _word(value: object) -> str:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _id_text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER:
        return str(value)
    return value if isinstance(value, str) and _ID.fullmatch(value) else ""


def _moment(value: object, now: datetime) -> datetime | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment if EARLIEST <= moment <= now + AHEAD else None


def _duration(started: datetime | None, ended: datetime | None) -> int | None:
    if started is None or ended is None or ended < started:
        return None
    return min(int((ended - started) / timedelta(milliseconds=1)), LARGEST_DURATION_MS)
