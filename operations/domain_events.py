"""What jobs and schedules publish."""

from __future__ import annotations

import uuid
from datetime import datetime

import msgspec

from core.events import EventType
from outbox.publishing import publish

from .models import Operation, OperationStatus, Schedule


class JobFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A job ended without doing what it was asked for, or was given up by a person."""

    job_id: uuid.UUID
    kind: str
    title: str
    code: str
    message: str
    environment_id: uuid.UUID | None = None


class JobParked(msgspec.Struct, frozen=True, kw_only=True):
    """A job waits for a person."""

    job_id: uuid.UUID
    kind: str
    title: str
    code: str
    message: str
    environment_id: uuid.UUID | None = None


class ScheduleMissed(msgspec.Struct, frozen=True, kw_only=True):
    """Work that was due did not begin in its time. ``reason``: ``late`` (at least one run was left out) or ``busy``."""

    schedule_id: uuid.UUID
    name: str
    kind: str
    due_at: datetime
    reason: str
    environment_id: uuid.UUID | None = None


EVENTS = (
    EventType(name="job.failed", payload=JobFailed, words="Job failed"),
    EventType(name="job.parked", payload=JobParked, words="Job parked"),
    EventType(name="schedule.missed", payload=ScheduleMissed, words="Schedule missed"),
)
_OF_STATUS: dict[str, type[JobFailed] | type[JobParked]] = {
    OperationStatus.FAILED: JobFailed,
    OperationStatus.PARKED: JobParked,
}


def publish_ending(operation_id: uuid.UUID) -> None:
    """Publish that a job has failed or was parked; nothing for other states. In the scope that wrote the state."""
    operation = Operation.objects.defer("params", "result").get(pk=operation_id)
    event = _OF_STATUS.get(operation.status)
    if event is not None:
        facts = event(
            job_id=operation.pk,
            kind=operation.kind,
            title=operation.title,
            code=operation.error_code,
            message=operation.error_message,
            environment_id=operation.environment_id,
        )
        publish(facts, tenant_id=operation.tenant_id)


def publish_missed(schedule: Schedule, reason: str) -> None:
    """Publish that a schedule's work did not begin in its time."""
    missed = ScheduleMissed(
        schedule_id=schedule.pk,
        name=schedule.name,
        kind=schedule.kind,
        due_at=schedule.next_run_at,
        reason=reason,
        environment_id=schedule.environment_id,
    )
    publish(missed, tenant_id=schedule.tenant_id)
