"""What drift publishes."""

from __future__ import annotations

import uuid

import msgspec

from core.events import EventType


class DriftFound(msgspec.Struct, frozen=True, kw_only=True):
    """Incidents were opened in one environment, by one look at it. ``severities`` counts them by severity."""

    environment_id: uuid.UUID
    incident_ids: list[uuid.UUID]
    severities: dict[str, int]


EVENTS = (EventType(name="drift.found", payload=DriftFound, words="Drift found"),)
