"""How a promotion ends: errors as the row keeps them, and as they are raised again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from operations.errors import Cancelled, UnknownOutcome
from opsconsole.core.errors import OpsError
from workflows.writes import EditedMeanwhile, NotAsWritten

from .errors import PlanStale, PreSnapshotFailed, RollbackFailed, WriteFailed


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
    return kind(str(told.get("message") or "") or None, details=dict(told.get("details") or {}))


def short(result: Mapping[str, Any]) -> dict[str, Any]:
    """The operation's own result; the promotion's row has the whole."""
    return {
        "snapshot_ids": result.get("snapshot_ids"),
        "commit": result.get("commit"),
        "workflows": len(result.get("workflows") or ()),
    }
