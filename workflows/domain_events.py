"""What environments publish."""

from __future__ import annotations

import uuid

import msgspec

from core.events import EventType
from outbox.publishing import publish

from .models import ConnectionStatus, Environment, StarterWatch


class EnvironmentUnreachable(msgspec.Struct, frozen=True, kw_only=True):
    """A test of the connection failed, for the first time since it was well or unknown."""

    environment_id: uuid.UUID
    name: str
    slug: str


class EnvironmentReachable(msgspec.Struct, frozen=True, kw_only=True):
    """A test of the connection went well, for the first time since it failed."""

    environment_id: uuid.UUID
    name: str
    slug: str


class StarterNotRunning(msgspec.Struct, frozen=True, kw_only=True):
    """A watched starter of a published workflow does not start it."""

    environment_id: uuid.UUID
    watch_id: uuid.UUID
    job_id: uuid.UUID
    workflow_key: str
    workflow_name: str
    node: str
    note: str


EVENTS = (
    EventType(name="environment.unreachable", payload=EnvironmentUnreachable, words="Environment not reachable"),
    EventType(name="environment.reachable", payload=EnvironmentReachable, words="Environment reachable again"),
    EventType(name="starter.not_running", payload=StarterNotRunning, words="Workflow does not start"),
)


def publish_reachability(before: Environment, status: str) -> None:
    """Publish that an environment is out of reach, or is back. ``before``: as it was until this test."""
    failed, ok = ConnectionStatus.FAILED, ConnectionStatus.OK
    event: type[EnvironmentUnreachable] | type[EnvironmentReachable]
    if status == failed and before.connection_status != failed:
        event = EnvironmentUnreachable
    elif status == ok and before.connection_status == failed:
        event = EnvironmentReachable
    else:
        return
    publish(event(environment_id=before.pk, name=before.name, slug=before.slug), tenant_id=before.tenant_id)


def publish_not_running(watch: StarterWatch, note: str) -> None:
    """Publish that a starter turned out bad."""
    found = StarterNotRunning(
        environment_id=watch.environment_id,
        watch_id=watch.pk,
        job_id=watch.operation_id,
        workflow_key=watch.workflow_key,
        workflow_name=watch.workflow_name,
        node=watch.node,
        note=note,
    )
    publish(found, tenant_id=watch.tenant_id)
