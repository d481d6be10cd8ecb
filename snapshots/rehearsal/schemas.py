"""Rehearsals as the REST API asks and answers."""

from __future__ import annotations

import uuid
from datetime import datetime

from pydantic import StrictBool

from core.answers import Answer, PageAnswer
from core.asked import Asked
from operations.schemas import OperationOut


class RehearsalIn(Asked):
    """``version`` as 2.41.1; ``fresh``: capture the environment first."""

    version: str = ""
    fresh: StrictBool = False


class FindingOut(Answer):
    """One reason why a workflow would run differently."""

    rule: str
    sentence: str
    way_out: str
    node: str


class RehearsedOut(Answer):
    """One workflow of a rehearsal. ``said`` are n8n's own words where it refused."""

    key: str
    name: str
    active: bool
    outcome: str
    said: str
    findings: list[FindingOut]
    changes: list[str]


class ReportOut(Answer):
    """A whole rehearsal. ``notes`` hold for the instance; ``seconds`` by phase."""

    format: int
    from_version: str
    to_version: str
    workflows: list[RehearsedOut]
    notes: list[str]
    unknown_types: list[str]
    seconds: dict[str, float]


class RehearsalOut(Answer):
    """A rehearsal; in lists without ``counts`` and ``report``, which are null until the job has ended."""

    id: uuid.UUID
    environment_id: uuid.UUID
    version: str
    snapshot_id: uuid.UUID | None
    operation_id: uuid.UUID | None
    created_at: datetime
    finished_at: datetime | None
    counts: dict[str, int] | None = None
    report: ReportOut | None = None


class RehearsalList(PageAnswer):
    rehearsals: list[RehearsalOut]


class RehearsalAnswer(Answer):
    rehearsal: RehearsalOut


class RehearseAnswer(Answer):
    """The rehearsal as far as it has come, and its job."""

    rehearsal: RehearsalOut
    operation: OperationOut
