"""Executions as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime

from core.answers import Answer, ErrorOut, PageAnswer


class ExecutionOut(Answer):
    """One run of a workflow. ``id`` is ours, ``execution_id`` and ``retry_of`` are n8n's numbers."""

    id: uuid.UUID
    execution_id: str
    environment_id: uuid.UUID
    workflow_id: str
    workflow_key: str | None
    workflow_name: str | None
    status: str
    mode: str
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None
    retry_of: str | None
    version_id: str | None


class ReadingOut(Answer):
    """How far n8n's executions are read. ``missing`` is about how many are not read yet, null where nobody knows."""

    read_at: datetime | None
    complete: bool
    missing: int | None
    trouble: ErrorOut | None
    can_retry: bool | None


class DayOut(Answer):
    """Executions that ended; ``error_rate`` is from 0 to 1, null where there were none."""

    runs: int
    failed: int
    error_rate: float | None


class ExecutionList(PageAnswer):
    executions: list[ExecutionOut]
    last_24_hours: DayOut
    reading: ReadingOut
