"""What a cell of the matrix says of a workflow's executions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RunNote:
    """Whether the workflow runs: a word, its explanation, when it last ran, and how often it failed in a day."""

    word: str
    title: str
    failing: bool = False
    at: datetime | None = None
    failed_day: int = 0
