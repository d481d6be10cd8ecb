"""What an app may declare in its ``console.py`` beside pages and words: its jobs, and how they are reverted.

The types of the things that only an upper layer knows are protocols with a name; their own layer knows the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Named(Protocol):
    """Something that is found by its name."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """A kind of background job. ``name`` is stored in ``background_jobs.kind`` and outlives a renamed module.

    ``handler`` is the path of the class that carries it out (``operations.handlers.Handler``), registered there.
    ``reverter`` (``impersonation.reverting.jobbase.JobReverter``) says how a job that a support session started is
    reverted; without one such a job is shown with what to do instead. A schedule that follows a setting of its app
    (``schedule_follows_setting``) is reverted with the setting.
    """

    name: str
    handler: str
    reverter: Any = None
    schedule_follows_setting: bool = False


class Shape(StrEnum):
    """The mark of a state, drawn so that it can be told without colour."""

    IN_SYNC = "in-sync"
    DIFFERS = "differs"
    DRIFTED = "drifted"
    FAILED = "failed"
    UNKNOWN = "unknown"
    MISSING = "missing"
    INACTIVE = "inactive"
    PENDING = "pending"
    RUNNING = "running"
    PARKED = "parked"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    OPEN = "open"
    MOVED = "moved"
    ADDED = "added"
    REMOVED = "removed"


class Tone(StrEnum):
    """The colour of a state."""

    GOOD = "good"
    BLUE = "blue"
    WARN = "warn"
    BAD = "bad"
    GREY = "grey"
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How a state of the app is drawn. ``name`` is in lower case with dashes: ``retry-pending`` for RETRY_PENDING."""

    name: str
    shape: Shape
    tone: Tone
    word: str
