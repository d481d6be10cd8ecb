"""What captures publish."""

from __future__ import annotations

import uuid

import msgspec

from core.events import EventType


class CaptureCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """An environment was captured, and its snapshot is on record."""

    environment_id: uuid.UUID
    snapshot_id: uuid.UUID
    snapshot_type: str
    workflow_count: int


class CaptureFailed(msgspec.Struct, frozen=True, kw_only=True):
    """An environment could not be captured."""

    environment_id: uuid.UUID
    job_id: uuid.UUID
    code: str
    message: str


EVENTS = (
    EventType(name="capture.completed", payload=CaptureCompleted, words="Environment captured"),
    EventType(name="capture.failed", payload=CaptureFailed, words="Capture failed"),
)
