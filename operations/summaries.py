"""What a job that ended well has come to, in a sentence and with the way to what it made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .handlers import handler_for
from .models import Operation, OperationStatus


@dataclass(frozen=True, slots=True)
class JobLink:
    """A page of what a job made or changed: ``page`` is the name of its address, ``key`` what stands in it."""

    label: str
    page: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class JobSummary:
    """One sentence that ends with a full stop, and links in the order in which a person wants them.

    ``brief`` is the sentence in a few words, for a line that has said already what was done: “24 workflows”.
    """

    sentence: str
    links: tuple[JobLink, ...] = ()
    brief: str = ""


def summary_of(operation: Operation) -> JobSummary | None:
    """What its kind says of a completed job; None for a kind that says nothing, or a job that came to nothing.

    A kind says it by a method ``summary(result)`` of its handler. Results outlive releases: what an older one lacks
    is left out.
    """
    if operation.status != OperationStatus.COMPLETED or not isinstance(operation.result, dict):
        return None
    tell: Any = getattr(handler_for(operation.kind), "summary", None)
    return tell(operation.result) if tell is not None else None
