"""Drift of an environment, as far as promotions into it are concerned."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from core.documents import Document, convert
from drift import services as drift
from drift.models import ACTIVE, DriftIncident
from tenants.scope import tenant_scope


class BlockingIncident(Document, frozen=True, kw_only=True):
    """An incident that the tenant's policy lets stop promotions; ``reason``: active_drift or ttl_expired."""

    id: str
    incident_id: str = ""
    workflow_key: str = ""
    workflow_name: str = ""
    environment_id: str = ""
    environment_name: str = ""
    kind: str = ""
    severity: str = ""
    incident_state: str = ""
    created_at: str = ""
    ttl_expires_at: str | None = None
    expired: bool = False
    reason: str = ""
    message: str = ""

    @property
    def label(self) -> str:
        return self.workflow_name or self.workflow_key or self.id


class OpenIncident(Document, frozen=True, kw_only=True):
    """An incident that is not settled, as a comparison shows it."""

    id: str
    kind: str
    word: str
    severity: str


def blocking_incidents(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: Sequence[str] | None
) -> list[BlockingIncident]:
    """Incidents that stop a promotion of these workflows (None: of any) into the environment."""
    found = drift.blocking_incidents(tenant_id=tenant_id, environment_id=environment_id, keys=keys)
    return [convert(msgspec.to_builtins(one), BlockingIncident) for one in found]


def open_incidents(*, tenant_id: uuid.UUID, environment_id: uuid.UUID) -> dict[str, list[OpenIncident]]:
    """Every incident of an environment that is not settled, by the workflow's key, whether it blocks or not."""
    with tenant_scope(tenant_id):
        rows = (
            DriftIncident.objects.filter(workflow_env_map__environment_id=environment_id, incident_state__in=ACTIVE)
            .select_related("workflow_env_map__canonical_workflow")
            .only("kind", "severity", "workflow_env_map__canonical_workflow__key", "tenant_id")
            .order_by("created_at", "pk")
        )
        found: dict[str, list[OpenIncident]] = {}
        for row in rows:
            one = OpenIncident(id=str(row.pk), kind=row.kind, word=row.get_kind_display(), severity=row.severity)
            found.setdefault(row.workflow_env_map.canonical_workflow.key, []).append(one)
    return found
