"""Jobs as the API answers them."""

from __future__ import annotations

from datetime import datetime

from ninja import Schema
from pydantic import JsonValue

JsonObject = dict[str, JsonValue]


class Progress(Schema):
    done: int
    total: int
    percent: int | None
    note: str


class JobError(Schema):
    """Why a job failed; what was ended by hand has a message alone."""

    code: str
    message: str
    details: JsonObject = {}
    recovery: str = ""


class Step(Schema):
    """What a job was about to do (``intent``) and what was there afterwards (``result``)."""

    name: str
    title: str
    state: str
    intent: JsonValue
    result: JsonValue
    error: JsonObject | None
    attempt: int
    started_at: datetime
    ended_at: datetime | None


class Job(Schema):
    """A job in a list; without a tenant it is the platform's."""

    id: str
    tenant_id: str | None
    kind: str
    title: str
    status: str
    progress: Progress
    attempt: int
    error: JobError | None
    subject_type: str
    subject_id: str | None
    environment_id: str | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime


class JobWithSteps(Job):
    result: JsonValue
    steps: list[Step]


class OneJob(Schema):
    operation: Job


class OneJobWithSteps(Schema):
    operation: JobWithSteps


class JobsOfTenant(Schema):
    operations: list[Job]
    next_cursor: str | None


class JobsOfTenants(Schema):
    jobs: list[Job]
    next_cursor: str | None
