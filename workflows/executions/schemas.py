"""Executions as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime

from core.answers import Answer, ErrorOut, PageAnswer
from operations.schemas import OperationOut


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


class TrialCheckOut(Answer):
    """``status``: passed, failed or not_possible."""

    check: str
    name: str
    status: str
    message: str


class TrialRunOut(Answer):
    """An execution that was read."""

    id: uuid.UUID
    number: int
    status: str
    started_at: datetime | None


class TrialOut(Answer):
    """``status``: passed, failed, or incomplete where not everything could be tried."""

    workflow_id: uuid.UUID | None
    workflow_name: str
    environment_id: uuid.UUID
    env_workflow_id: str
    status: str
    checks: list[TrialCheckOut]
    last_executions: list[TrialRunOut]
    ran: bool
    why_not_run: str


class TrialAnswer(Answer):
    """What was tried, and the job that repeats an execution where that was asked for."""

    test: TrialOut
    operation: OperationOut | None = None
