"""A row of a list of incidents."""

from __future__ import annotations

from dataclasses import dataclass

from workflows.models import Environment

from . import selectors
from .models import DriftIncident


@dataclass(frozen=True, slots=True)
class ListedIncident:
    """What a list shows of an incident. ``more`` counts the sentences that follow the headline."""

    incident: DriftIncident
    name: str
    environment: Environment
    headline: str
    more: int
    overdue: bool
    effect: str = ""
    """What settling it would do, where that is asked."""


def listed(incident: DriftIncident, *, effect: str = "") -> ListedIncident:
    """Needs the incident with its mapping and environment."""
    summary = incident.details.diff_summary
    return ListedIncident(
        incident=incident,
        name=selectors.workflow_name(incident),
        environment=incident.workflow_env_map.environment,
        headline=summary.sentences[0] if summary.sentences else "",
        more=max(len(summary.sentences) - 1, 0) + summary.sentences_left_out,
        overdue=selectors.is_overdue(incident),
        effect=effect,
    )
