"""Drift that a person has left standing: as it is now, until it changes again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import F, Q
from django.db.models.fields.json import KeyTextTransform

from core.declarations import AcceptanceSource, AcceptedDifference
from workflows.models import MapStatus

from .describing import signature
from .models import DriftAspect, DriftIncident, IncidentState

#: Resolutions after which the very same drift is not reported again, until it changes.
TOLERATING = ("accepted", "false_positive", "deactivated")
_SETTLED = (IncidentState.CLOSED, IncidentState.STABILIZED, IncidentState.RECONCILED)
_DIFFERS = (
    Q(workflow_env_map__status=MapStatus.MISSING)
    | Q(workflow_env_map__git_content_hash__isnull=True)
    | ~Q(workflow_env_map__git_content_hash=F("workflow_env_map__env_content_hash"))
    | ~Q(workflow_env_map__git_active=F("workflow_env_map__env_active"))
)


def tolerating() -> Any:
    """Settled incidents that keep their drift from being reported again, with its signature as ``tolerates``."""
    return DriftIncident.objects.filter(resolution_type__in=TOLERATING, incident_state__in=_SETTLED).annotate(
        tolerates=KeyTextTransform("tolerates", "drift_snapshot")
    )


def accepted() -> Mapping[uuid.UUID, AcceptedDifference]:
    """By mapping, what was accepted of what runs and still is as it was then. Needs the tenant's scope."""
    return dict(_standing())


def _standing() -> Iterator[tuple[uuid.UUID, AcceptedDifference]]:
    rows = (
        tolerating()
        .filter(_DIFFERS, aspect=DriftAspect.WORKFLOW, tolerates__isnull=False)
        .order_by("resolved_at")
        .values_list(
            "workflow_env_map_id",
            "kind",
            "tolerates",
            "resolved_at",
            "created_at",
            "resolved_by__email",
            "workflow_env_map__status",
            "workflow_env_map__git_content_hash",
            "workflow_env_map__env_content_hash",
            "workflow_env_map__env_active",
        )
    )
    for map_id, kind, tolerates, resolved, created, by, status, approved, seen, active in rows.iterator():
        is_gone = status == MapStatus.MISSING
        if signature(kind, approved, None if is_gone else seen, bool(active) and not is_gone) == tolerates:
            yield map_id, AcceptedDifference(since=resolved or created, by=by or "")


SOURCE = AcceptanceSource(name="drift", find=accepted)
