"""Active drift incidents, for the command bar."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from django.db.models import Q

from core.declarations import SearchRow, SearchScope
from core.search import EACH, record_row, row_by_id
from tenants.models import Grants
from workflows.models import Environment

from .models import ACTIVE, DriftIncident

CHECK = re.compile(r"check(\s+drift)?(\s+in)?(\s+|$)", re.IGNORECASE)


def checks(q: str, scope: SearchScope) -> list[SearchRow]:
    """“check drift in production”; without an environment, which one is asked by a row for each."""
    asked = CHECK.match(q)
    if asked is None or Grants.OPERATE not in scope.grants:
        return []
    place = q[asked.end() :].strip()
    places = Environment.objects.filter(tenant_id__in=scope.tenant_ids, is_archived=False, name__icontains=place)
    found = []
    for one in places.only("id", "tenant_id", "name", "slug").order_by("position", "name")[:EACH]:
        title = f"Check {one.name} for drift"
        row = record_row(scope, one.tenant_id, "drift", title=title, hint="act", symbol="magnifying-glass")
        found.append(row | {"url": f"{row['url']}?{urlencode({'environment': one.slug, 'check': '1'})}"})
    return found


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
