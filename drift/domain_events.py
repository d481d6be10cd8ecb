"""What drift publishes."""

from __future__ import annotations

import uuid

import msgspec

from core.events import EventType
from outbox.publishing import publish

from .models import DriftIncident, IncidentComment


class DriftFound(msgspec.Struct, frozen=True, kw_only=True):
    """Incidents were opened in one environment, by one look at it. ``severities`` counts them by severity."""

    environment_id: uuid.UUID
    incident_ids: list[uuid.UUID]
    severities: dict[str, int]


class DriftCommented(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody commented on an incident; ``node`` is empty where the whole workflow is meant."""

    incident_id: uuid.UUID
    environment_id: uuid.UUID
    workflow_key: str
    comment_id: uuid.UUID
    author_id: uuid.UUID | None
    node: str


EVENTS = (
    EventType(name="drift.found", payload=DriftFound, words="Drift found"),
    EventType(name="drift.commented", payload=DriftCommented, words="Drift commented on"),
)


def publish_comment(incident: DriftIncident, comment: IncidentComment) -> None:
    """Publish that somebody commented, in the scope that wrote it. ``incident`` comes with its workflow."""
    mapping = incident.workflow_env_map
    event = DriftCommented(
        incident_id=incident.pk,
        environment_id=mapping.environment_id,
        workflow_key=mapping.canonical_workflow.key,
        comment_id=comment.pk,
        author_id=comment.author_id,
        node=comment.node,
    )
    publish(event, tenant_id=incident.tenant_id)
