"""How a promotion ends: errors as the row keeps them, and as they are raised again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.errors import OpsError
from operations.errors import Cancelled, UnknownOutcome
from promotions.errors import PlanStale, PreSnapshotFailed, RollbackFailed, WriteFailed
from promotions.models import PromotionStatus
from workflows.writes import EditedMeanwhile, NotAsWritten


def told_error(error: Exception) -> dict[str, Any]:
    """An error as the row keeps it. What is no failure with a code of its own counts as a failed write."""
    if isinstance(error, Cancelled):
        return {
            "code": "CANCELLED",
            "message": "Cancelled by a person.",
            "recovery": "Plan and run it again when wanted.",
        }
    if isinstance(error, UnknownOutcome | EditedMeanwhile | NotAsWritten) or not getattr(error, "code", "").startswith(
        "PROMO"
    ):
        cause = (
            error.to_dict() if isinstance(error, OpsError) else {"message": f"{type(error).__name__}: {error}"[:500]}
        )
        message = cause["message"]
        return {
            "code": WriteFailed.code,
            "message": message,
            "recovery": WriteFailed.recovery,
            "details": {"cause": cause},
        }
    assert isinstance(error, OpsError)  # noqa: S101 -- it has a code of ours
    return error.to_dict()


def error_again(told: Mapping[str, Any]) -> OpsError:
    """The failure that the row tells of, to be raised as it was."""
    kinds = {"PROMO_005": RollbackFailed, "PROMO_001": PreSnapshotFailed, "PROMO_007": PlanStale}
    kind = kinds.get(str(told.get("code")), WriteFailed)
    recovery = str(told.get("recovery") or "") or None
    return kind(str(told.get("message") or "") or None, details=dict(told.get("details") or {}), recovery=recovery)


def rolled_back(before: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[PromotionStatus, dict[str, Any]]:
    """What a rollback by a person makes of a promotion: its status, and its result with the ``record``.

    ``rollback_result`` tells how the target stands by now, so it is this rollback's; what the console had put back by
    itself stays under ``automatic_rollback``. An error that says the target is in between holds for as long as it is.
    """
    result = dict(before) | {"manual_rollback": dict(record)}
    earlier = before.get("rollback_result") or {}
    if earlier and not earlier.get("by_hand"):
        result["automatic_rollback"] = earlier
    proof = record.get("proof") or {}
    result["rollback_result"] = {
        "status": record["status"],
        "by_hand": True,
        "workflows_rolled_back": proof.get("equal", 0) + proof.get("deleted", 0),
        "snapshot_id": record["snapshot_id"],
        "proof": record.get("proof"),
        "operation_id": record["operation_id"],
        "not_restored": [row["name"] for row in proof.get("not_as_before", ())],
    }
    whole = record["status"] == "success"
    cause = _cause(before.get("error"))
    result["error"] = cause if whole else _half_way(record, cause)
    result["needs_attention"] = not whole
    return PromotionStatus.ROLLED_BACK if whole else PromotionStatus.FAILED, result


def broken_off(why: str) -> dict[str, Any]:
    """What is said of a rollback that came to no end: nobody has looked since at what stands in the target."""
    message = f"The rollback was broken off while it was writing: {why}"
    return {"code": RollbackFailed.code, "message": message, "recovery": RollbackFailed.recovery}


def _cause(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What had ended the promotion itself, without what was said of putting the target back."""
    if error is None or error.get("code") != RollbackFailed.code:
        return dict(error) if error else None
    cause = (error.get("details") or {}).get("cause")
    return dict(cause) if cause else None


def _half_way(record: Mapping[str, Any], cause: dict[str, Any] | None) -> dict[str, Any]:
    told = dict(record["error"])
    return told | {"code": RollbackFailed.code, "details": {"cause": cause} if cause else {}}


def short(result: Mapping[str, Any]) -> dict[str, Any]:
    """The operation's own result; the promotion's row has the whole."""
    return {
        "snapshot_ids": result.get("snapshot_ids"),
        "commit": result.get("commit"),
        "workflows": len(result.get("workflows") or ()),
    }
