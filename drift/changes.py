"""Changes of an environment that nobody made through the console: when they were found, and by whom as n8n tells."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.urls import reverse

from core.declarations import ChangeSource, EnvironmentChange

from .incident_list import listed
from .models import DriftIncident
from .selectors import incident_rows


def find(environment_id: uuid.UUID, tenant_slug: str, since: datetime, at_most: int) -> list[EnvironmentChange]:
    """In the tenant's scope; the newest first. What n8n did itself at an upgrade is left to the page of upgrades."""
    rows = incident_rows().filter(workflow_env_map__environment_id=environment_id, created_at__gte=since, upgrade=None)
    return [_change(incident, tenant_slug) for incident in rows.order_by("-created_at", "-pk")[:at_most]]


def _change(incident: DriftIncident, tenant_slug: str) -> EnvironmentChange:
    row = listed(incident)
    more = f" And {row.more} more." if row.more else ""
    return EnvironmentChange(
        at=incident.created_at,
        actor=_who(incident),
        title=f"{row.name}: changed outside the console",
        text=f"{row.headline}{more}",
        state=incident.incident_state.lower(),
        url=reverse("drift-incident", args=[tenant_slug, incident.pk]),
    )


def _who(incident: DriftIncident) -> str:
    by = incident.details.by
    return f"{by.authors}, as n8n tells" if by and by.authors else "n8n does not tell who"


SOURCE = ChangeSource(name="drift", find=find)
