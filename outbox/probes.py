"""Whether consumers of events keep up: for the health page."""

from __future__ import annotations

from typing import Any

from tenants.scope import platform_scope

from . import selectors

#: Above the sum of the delays between tries: one event that fails to its end is parked, and no outage.
LATE_AFTER_SECONDS = 120


def consumers() -> dict[str, Any]:
    """``failed`` where events wait for longer than any retry takes, or are parked for a person."""
    with platform_scope():
        states = selectors.consumer_states()
    parked, waiting = sum(state.parked for state in states), sum(state.waiting for state in states)
    late = [state for state in states if state.lag_seconds > LATE_AFTER_SECONDS]
    return {
        "status": "failed" if late or parked else "ok",
        "message": _sentence(states, late, parked=parked, waiting=waiting),
        "waiting": waiting,
        "parked": parked,
        "consumers": {
            state.name: {
                "waiting": state.waiting,
                "lag_seconds": state.lag_seconds,
                "delayed_tenants": state.delayed_tenants,
                "parked": state.parked,
            }
            for state in states
        },
    }


def _sentence(
    states: list[selectors.ConsumerState], late: list[selectors.ConsumerState], *, parked: int, waiting: int
) -> str:
    if late:
        slowest = max(late, key=lambda state: state.lag_seconds)
        return f"“{slowest.title}” is {slowest.lag_seconds:.0f} s behind; {waiting} events wait."
    if parked:
        return f"{parked} parked {'event waits' if parked == 1 else 'events wait'} for a person."
    return f"{len(states)} consumers, {waiting} events waiting." if states else "No consumer is declared."
