"""How one effect ends, whatever it meets: done, failed, unknown, or not come to its end."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from core.errors import OpsError
from core.support import SupportEnded

from .boundaries import checkpoint
from .effects import Effect, ProbeResult
from .errors import Cancelled, Interrupted, UnknownOutcome
from .models import StepState
from .steps import Conclusion

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is written down of an effect (state INTENT: nothing, it did not end), and the failure to be raised."""

    conclusion: Conclusion
    failure: Exception | None = None


def carry_out(effect: Effect, intent: dict[str, Any], *, look_first: bool) -> Outcome:
    """Carry out an effect whose ``intent`` is committed. With ``look_first`` an earlier attempt may have done it."""
    try:
        seen = _seen(effect, intent) if look_first else None
        return seen or _acted(effect, intent)
    except Interrupted as error:
        return Outcome(Conclusion(effect.name, StepState.INTENT), error)
    except SupportEnded:
        return Outcome(Conclusion(effect.name, StepState.INTENT), Cancelled())
    except OpsError as error:
        error.details.setdefault("step", effect.title)
        state = StepState.UNKNOWN if isinstance(error, UnknownOutcome) else StepState.FAILED
        return Outcome(Conclusion(effect.name, state, error=error.to_dict()), error)
    except Exception as error:  # noqa: BLE001 -- logged there
        return _unforeseen(effect, error)


def _acted(effect: Effect, intent: dict[str, Any]) -> Outcome:
    try:
        result = effect.act()
    except Exception as error:
        seen = _seen(effect, intent) if getattr(error, "ambiguous", False) else None
        if seen is None:
            raise
        return seen
    checkpoint(f"{effect.name}:effect-answered")
    return Outcome(Conclusion(effect.name, StepState.DONE, result=result))


def _seen(effect: Effect, intent: dict[str, Any]) -> Outcome | None:
    """What a probe shows; None where the effect has not taken place."""
    probed = effect.look(intent)
    return None if probed.state == "not_done" else from_probe(effect, probed)


def from_probe(effect: Effect, probed: ProbeResult) -> Outcome:
    """An effect that was begun, as a probe shows it; ``probed`` is not ``not_done``."""
    if probed.state == "done":
        return Outcome(Conclusion(effect.name, StepState.DONE, result=probed.result))
    error = UnknownOutcome(
        f"“{effect.title}” was begun, and what is there now is neither the old nor the new state.",
        details={"step": effect.name, **probed.details},
    )
    return Outcome(Conclusion(effect.name, StepState.UNKNOWN, error=error.to_dict()), error)


def looked_back(effect: Effect, intent: dict[str, Any]) -> Conclusion:
    """What became of an effect that an earlier attempt began and that shall not be done now.

    Raises what is transient: then nobody knows yet.
    """
    try:
        seen = _seen(effect, intent)
    except OpsError as error:
        if getattr(error, "transient", False):
            raise
        return Conclusion(effect.name, StepState.FAILED, error=error.to_dict())
    return seen.conclusion if seen is not None else Conclusion(effect.name, StepState.SKIPPED)


def _unforeseen(effect: Effect, error: Exception) -> Outcome:
    logger.error("step failed", exc_info=error, extra={"step": effect.name})
    summary = {"code": "UNEXPECTED", "message": f"{type(error).__name__}: {error}"[:500]}
    # An unexpected exception may follow a successful write: whoever begins again looks first.
    state = StepState.UNKNOWN if effect.external_call is not None else StepState.FAILED
    return Outcome(Conclusion(effect.name, state, error=summary), error)
