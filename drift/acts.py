"""What the audit trail says of drift in a line, beside the jobs that settle it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.acts import ActName, ActTeller, ActWords, TrailRow

from .models import DriftIncident

WORDS = (
    ActWords(
        table="drift_incidents", action="UPDATE", column="incident_state", status="ACKNOWLEDGED",
        words="Acknowledged drift of {name}", state="acknowledged", position=40,
    ),
    ActWords(table="drift_incidents", action="CREATE", words="Found drift of {name}", state="drifted", position=110),
    ActWords(table="drift_incidents", action="UPDATE", words="Changed the incident of {name}", position=120),
    ActWords(table="drift_policies", action="UPDATE", words="Changed the drift policy", position=60),
)  # fmt: skip


def tell(rows: Sequence[TrailRow]) -> Mapping[int, ActName]:
    """The workflow and where it drifted."""
    incidents = DriftIncident.objects.filter(pk__in={row.resource_id for row in rows if row.resource_id})
    found = incidents.values_list("pk", "workflow_env_map__env_name", "workflow_env_map__environment__name")
    names = {pk: ActName(name=f"“{workflow}” in {place}") for pk, workflow, place in found}
    return {row.pk: names[row.resource_id] for row in rows if row.resource_id in names}


TELLER = ActTeller(table="drift_incidents", tell=tell)
