"""How a promotion ends: errors as the row keeps them and as they are raised again, and what a rollback makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from core.errors import OpsError
from operations.errors import Cancelled, UnknownOutcome
from promotions.errors import PlanStale, PreSnapshotFailed, RollbackFailed, WriteFailed
from promotions.models import PromotionStatus
from workflows.writes import EditedMeanwhile, NotAsWritten

from .documents import ErrorRecord, ExecutionResult, ManualRollbackRecord, RollbackResult


def attention_since(result: ExecutionResult, now: datetime) -> datetime | None:
    """What ``Promotion.attention_since`` is to be with this result, as of ``now``: set, it holds the target."""
    return now if result.needs_attention else None


def stored(result: ExecutionResult, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The result as the row keeps it; parts of ``before`` that the console does not know, as SQL may add, stay."""
    unknown = {name: part for name, part in (before or {}).items() if name not in ExecutionResult.__struct_fields__}
    return unknown | result.to_json()


def error_record(error: Exception) -> ErrorRecord:
    """An error as the row keeps it. What is no failure with a code of its own counts as a failed write."""
    if isinstance(error, Cancelled):
        return ErrorRecord(
            code="CANCELLED", message="Cancelled by a person.", recovery="Plan and run it again when wanted."
        )
    cause = ErrorRecord.of(error)
    if _has_own_code(error):
        return cause
    step = (cause.details or {}).get("step")
    return ErrorRecord(
        code=WriteFailed.code,
        message=f"{step}: {cause.message}" if step else cause.message,
        recovery=WriteFailed.recovery,
        details={"cause": cause.to_json()},
    )


def _has_own_code(error: Exception) -> bool:
    if isinstance(error, UnknownOutcome | EditedMeanwhile | NotAsWritten):
        return False
    return isinstance(error, OpsError) and error.code.startswith("PROMO")


def error_of(record: ErrorRecord) -> OpsError:
    """The failure that the row keeps, to be raised as it was."""
    kinds: Mapping[str, type[OpsError]] = {
        "PROMO_005": RollbackFailed,
        "PROMO_001": PreSnapshotFailed,
        "PROMO_007": PlanStale,
    }
    kind = kinds.get(record.code or "", WriteFailed)
    return kind(record.message or None, details=dict(record.details or {}), recovery=record.recovery or None)


def with_rollback(before: ExecutionResult, rollback: ManualRollbackRecord) -> tuple[PromotionStatus, ExecutionResult]:
    """What a rollback by a person makes of a promotion: its status and its result.

    ``rollback_result`` is how the target is by now, so it is this rollback's; what the console had rolled back by
    itself stays under ``automatic_rollback``. An error that says the target is half-way holds for as long as it is.
    """
    whole = rollback.status == "success"
    cause = _cause(before.error or None)
    result = msgspec.structs.replace(
        before,
        manual_rollback=rollback,
        automatic_rollback=_automatic(before),
        rollback_result=_result_of(rollback),
        error=cause if whole else _half_way(rollback, cause),
        needs_attention=not whole,
    )
    return PromotionStatus.ROLLED_BACK if whole else PromotionStatus.FAILED, result


def _automatic(before: ExecutionResult) -> RollbackResult | msgspec.UnsetType:
    earlier = before.rollback_result
    return earlier if earlier and not earlier.by_hand else before.automatic_rollback


def _result_of(rollback: ManualRollbackRecord) -> RollbackResult:
    proof = rollback.proof
    return RollbackResult(
        status=rollback.status or "failed",
        by_hand=True,
        workflows_rolled_back=proof.equal + (proof.deleted or 0) if proof else 0,
        snapshot_id=rollback.snapshot_id or "",
        proof=proof,
        operation_id=rollback.operation_id,
        not_restored=tuple(found.name for found in proof.not_as_before) if proof else (),
    )


def broken_off(why: str) -> ErrorRecord:
    """Of a rollback that came to no end: nobody has looked since at what is in the target."""
    message = f"The rollback was broken off while it was writing: {why}"
    return ErrorRecord(code=RollbackFailed.code, message=message, recovery=RollbackFailed.recovery)


def _cause(error: ErrorRecord | None) -> ErrorRecord | None:
    """What had ended the promotion itself, without what was said of rolling it back."""
    if error is None or error.code != RollbackFailed.code:
        return error
    cause = (error.details or {}).get("cause")
    return ErrorRecord.from_json(cause) if cause else None


def _half_way(rollback: ManualRollbackRecord, cause: ErrorRecord | None) -> ErrorRecord:
    details = {"cause": cause.to_json()} if cause else {}
    error = rollback.error or ErrorRecord()
    return msgspec.structs.replace(error, code=RollbackFailed.code, details=details)


def summary(result: ExecutionResult) -> dict[str, Any]:
    """The job's own result; the promotion's row has the whole."""
    return {
        "snapshot_ids": msgspec.to_builtins(result.snapshot_ids) if result.snapshot_ids else None,
        "commit": result.commit if result.commit is not UNSET else None,
        "workflows": result.verification.promoted if result.verification else 0,
    }
