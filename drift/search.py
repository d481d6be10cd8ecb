"""Active drift incidents, for the command bar."""

from __future__ import annotations

from django.db.models import Q

from core.declarations import SearchRow, SearchScope
from core.search import EACH, record_row, row_by_id

from .models import ACTIVE, DriftIncident


def incidents(q: str, scope: SearchScope) -> list[SearchRow]:
    """By the name or the key of their workflow."""
    rows = DriftIncident.objects.filter(tenant_id__in=scope.tenant_ids, incident_state__in=ACTIVE)
    rows = rows.filter(
        Q(workflow_env_map__env_name__icontains=q) | Q(workflow_env_map__canonical_workflow__key__icontains=q)
    )
    rows = rows.select_related("workflow_env_map").defer("drift_snapshot").order_by("-created_at", "-pk")
    return [
        record_row(
            scope, found.tenant_id, "drift-incident",
            title=found.workflow_env_map.env_name, hint=f"{found.severity} drift", state="drifted", pk=found.pk,
        )
        for found in rows[:EACH]
    ]  # fmt: skip


def incident_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    return row_by_id(scope, DriftIncident, q, url_name="drift-incident", noun="drift incident")
