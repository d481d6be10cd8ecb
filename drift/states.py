"""The life of an incident, as a table. Every change of state goes through ``move``: compare and set."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from core import clock

from .errors import WrongState
from .models import ACTIVE, DriftIncident, IncidentState

S = IncidentState

#: From each state, where one may go. Only CLOSED is the end; a drift that comes back is a new incident.
ALLOWED: dict[str, frozenset[str]] = {
    S.OPEN: frozenset({S.ACKNOWLEDGED, S.STABILIZED, S.RECONCILED, S.CLOSED}),
    S.ACKNOWLEDGED: frozenset({S.ACKNOWLEDGED, S.STABILIZED, S.RECONCILED, S.CLOSED}),
    S.STABILIZED: frozenset({S.CLOSED}),
    S.RECONCILED: frozenset({S.CLOSED}),
    S.CLOSED: frozenset(),
}


def may_become(state: str, wanted: str) -> bool:
    """Whether an incident may go from one state to the other."""
    return wanted in ALLOWED.get(state, frozenset())


def sources_of(wanted: str) -> list[str]:
    """The states from which ``wanted`` can be reached."""
    return [str(state) for state, targets in ALLOWED.items() if wanted in targets]


def move(incident_id: uuid.UUID, wanted: str, *, only_from: Iterable[str] | None = None, **changes: Any) -> None:
    """Set the state and ``changes`` if the row is still in a state that allows it; ``WrongState`` otherwise.

    What is settled has no deadline any more: the runbook takes one that has passed for what blocks promotions. Needs
    the tenant's scope.
    """
    if not is_active(wanted):
        changes["ttl_expires_at"] = None
    sources = sources_of(wanted) if only_from is None else [s for s in only_from if may_become(s, wanted)]
    moved = DriftIncident.objects.filter(pk=incident_id, incident_state__in=sources).update(
        incident_state=wanted, updated_at=clock.now(), **changes
    )
    if moved != 1:
        state = DriftIncident.objects.filter(pk=incident_id).values_list("incident_state", flat=True).first()
        label = dict(IncidentState.choices).get(state or "", "gone").lower()
        raise WrongState(
            f"The incident is {label}; it cannot become {dict(IncidentState.choices)[wanted].lower()}.",
            details={"incident_id": str(incident_id), "incident_state": state, "wanted": str(wanted)},
        )


def is_active(state: str) -> bool:
    """Whether the drift counts as standing."""
    return state in ACTIVE
