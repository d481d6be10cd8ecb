"""Effects on other systems as events of the trail: EFFECT_INTENDED, then how it ended, and what it wrote there.

They are appended by the transaction that writes the step's row, so that the trail and the steps cannot disagree. An
intent without an outcome means here what it means there: nobody knows yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from audit.services import Event

from .effects import Effect, ExternalCall
from .models import StepState
from .steps import Conclusion

INTENDED = "EFFECT_INTENDED"
FAILED = "EFFECT_FAILED"
_ENDINGS: Mapping[str, str] = {
    StepState.DONE: "EFFECT_DONE",
    StepState.FAILED: FAILED,
    StepState.UNKNOWN: "EFFECT_UNKNOWN",
    StepState.SKIPPED: "EFFECT_SKIPPED",
}
#: Facts of a result, and the names under which the trail keeps them.
_FACTS = {
    "outcome": "outcome",
    "env_workflow_id": "workflow_id",
    "content_hash": "hash_after",
    "version_id": "version_id",
    "active": "active",
    "commit": "commit_after",
}


def intended(effect: Effect, *, attempt: int, tenant_id: uuid.UUID | None) -> Event | None:
    """The event before an effect; None for one that stays inside."""
    if effect.external_call is None:
        return None
    return _event(INTENDED, effect.external_call, tenant_id, {"step": effect.name, "attempt": attempt})


def ended(external_call: ExternalCall | None, conclusion: Conclusion, *, tenant_id: uuid.UUID | None) -> Event | None:
    """The event after an effect; None for one that stays inside or whose outcome is still open."""
    action = _ENDINGS.get(conclusion.state)
    if external_call is None or action is None:
        return None
    details: dict[str, Any] = {"step": conclusion.name}
    result = conclusion.result if isinstance(conclusion.result, Mapping) else {}
    details |= {name: result[key] for key, name in _FACTS.items() if result.get(key) not in (None, "")}
    error = conclusion.error or result.get("error")
    if error:
        details |= _error_facts(error)
        # A failure after which the work goes on is a step that ended well.
        action = FAILED if conclusion.error is None else action
    return _event(action, external_call, tenant_id, details)


#: What a result's outcome was for the object; one that is not here has written nothing.
_WRITES = {"created": "CREATE", "updated": "UPDATE", "deleted": "DELETE"}
#: What a system has answered where an effect is done: neither n8n's results nor a probe's keep anything else.
ANSWERED = 200


def written(external_call: ExternalCall | None, conclusion: Conclusion, *, tenant_id: uuid.UUID | None) -> Event | None:
    """The event of the object that an effect wrote elsewhere; None where it is not done, or wrote none."""
    write = external_call.write if external_call is not None else None
    if external_call is None or write is None or conclusion.state != StepState.DONE:
        return None
    result = conclusion.result if isinstance(conclusion.result, Mapping) else {}
    action = _WRITES.get(result["outcome"]) if result.get("outcome") else write.action
    if action is None:
        return None
    kept = {name: result[key] for key, name in _FACTS.items() if result.get(key) not in (None, "")}
    details = {
        "system": external_call.system,
        **external_call.facts,
        "step": conclusion.name,
        "request_body": write.sent,
        "response_status": ANSWERED,
        **kept,
    }
    return Event(action, write.resource_type, write.resource_id, tenant_id, external_call.name, details)


def _error_facts(error: Mapping[str, Any]) -> dict[str, Any]:
    found = (error.get("details") or {}).get("found")
    return {"code": error.get("code", ""), **({"hash_found": found} if isinstance(found, str) else {})}


def _event(action: str, external_call: ExternalCall, tenant_id: uuid.UUID | None, details: dict[str, Any]) -> Event:
    return Event(
        action,
        external_call.resource_type,
        external_call.resource_id,
        tenant_id,
        external_call.name,
        {"system": external_call.system, **external_call.facts, **details},
    )
