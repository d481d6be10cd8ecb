"""Jobs as the REST API answers them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from core.answers import Answer, ErrorOut, FreeForm, PageAnswer


class Progress(Answer):
    """``total`` 0: not known. ``percent`` is 0 to 100."""

    done: int
    total: int
    percent: int | None
    note: str


class OperationOut(Answer):
    """A job. ``tenant_id`` null: the platform's own. ``waits``: what a job that has not begun waits for, a sentence."""

    id: uuid.UUID
    tenant_id: uuid.UUID | None
    kind: str
    title: str
    status: str
    waits: str = ""
    progress: Progress
    attempt: int
    error: ErrorOut | None
    subject_type: str
    subject_id: uuid.UUID | None
    environment_id: uuid.UUID | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime


class StepOut(Answer):
    """One recorded step: what it set out to do (``intent``) and what came of it."""

    name: str
    title: str
    state: str
    intent: FreeForm | None
    result: Any
    error: ErrorOut | None
    attempt: int
    started_at: datetime | None
    ended_at: datetime | None


class OperationDetail(OperationOut):
    """A job with its result, whose shape its kind decides, and its first steps."""

    result: FreeForm | None
    steps: list[StepOut]


class OperationAnswer(Answer):
    operation: OperationOut


class OperationDetailAnswer(Answer):
    operation: OperationDetail


class OperationList(PageAnswer):
    operations: list[OperationOut]


class JobList(PageAnswer):
    jobs: list[OperationOut]
