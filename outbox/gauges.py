"""What monitoring is told of events: how far each consumer is behind, and what it has parked."""

from __future__ import annotations

from . import selectors


def lag_seconds() -> dict[str, float]:
    """Age of the oldest event that is not handled, by consumer; 0 where there is none."""
    return {state.name: state.lag_seconds for state in selectors.consumer_states()}


def parked_events() -> dict[str, float]:
    """How many events are parked, by consumer, those of consumers that are gone included."""
    declared = {state.name: 0.0 for state in selectors.consumer_states()}
    return declared | {name: float(count) for name, count in selectors.parked_by_consumer().items()}
