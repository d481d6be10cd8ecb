"""Promotions whose operation ended without them: cancelled before it began, given up, or ended by hand in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from core import clock
from operations.errors import Cancelled
from operations.models import ENDED, Operation, OperationStatus, OperationStep
from promotions.domain_events import publish_state
from promotions.errors import EndedByHand, RollbackFailed
from promotions.models import Promotion, PromotionStatus
from tenants.scope import platform_scope, tenant_or_platform_scope, tenant_scope

from .documents import (
    RESULT_VERSION,
    ErrorRecord,
    ExecutionResult,
    ManualRollbackRecord,
    RollbackResult,
    SnapshotIds,
    read_result,
)
from .results import attention_since, broken_off, error_record, stored, with_rollback
from .steps import snapshot_id_for, wrote_back

SETTLED_AT_ONCE = 100
LOOKED_BACK = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What an ended operation makes of its promotion that still says it runs."""

    status: PromotionStatus
    ended_at: datetime
    result: ExecutionResult

    @property
    def attention_since(self) -> datetime | None:
        return attention_since(self.result, self.ended_at)


def ending_of(operation: Operation) -> Ending | None:
    """What an operation means for its promotion that still says it runs; None while it is open."""
    if operation.status not in ENDED:
        return None
    if OperationStep.objects.filter(operation_id=operation.pk, name__startswith="promote:").exists():
        return _ended_while_writing(operation)
    cancelled = operation.status == OperationStatus.CANCELLED
    return Ending(
        status=PromotionStatus.CANCELLED if cancelled else PromotionStatus.FAILED,
        ended_at=operation.ended_at or clock.now(),
        result=ExecutionResult(
            version=RESULT_VERSION,
            error=_ended_before_writing(operation),
            rollback_result=None,
            target_untouched=True,
        ),
    )


def _ended_while_writing(operation: Operation) -> Ending:
    pre = str(snapshot_id_for(operation.pk, "pre"))
    cause = _by_hand(operation, "The job was ended by hand while it was writing.")
    error = ErrorRecord(
        code=RollbackFailed.code,
        message="The job was ended by hand while it was writing, and the target was not rolled back: it may hold some"
        " of the new workflows and some of the old.",
        recovery="Roll the promotion back with force, or restore the snapshot taken before it.",
        details={"cause": cause.to_json()},
    )
    return Ending(
        status=PromotionStatus.FAILED,
        ended_at=operation.ended_at or clock.now(),
        result=ExecutionResult(
            version=RESULT_VERSION,
            error=error,
            needs_attention=True,
            snapshot_ids=SnapshotIds(pre_promotion=pre),
            rollback_result=RollbackResult(status="failed", snapshot_id=pre),
        ),
    )


def _ended_before_writing(operation: Operation) -> ErrorRecord:
    """Why nothing was written: a person's wish, the job's own failure, or its row was ended by hand."""
    if operation.status == OperationStatus.CANCELLED:
        return msgspec.structs.replace(error_record(Cancelled()), message="Cancelled before anything was written.")
    known = operation.error_details or {}
    if known and known.get("message") == operation.error_message:
        return ErrorRecord.from_json({"recovery": EndedByHand.recovery, **known})
    return _by_hand(operation, EndedByHand.message)


def _by_hand(operation: Operation, message: str) -> ErrorRecord:
    """With the words of whoever ended it, as the runbook's emergency stop leaves some."""
    reason = operation.error_message.strip().rstrip(".")
    words = f"{message} What was said: {reason}." if reason else message
    return ErrorRecord(code=EndedByHand.code, message=words, recovery=EndedByHand.recovery)


def settle_promotion(promotion: Promotion, operation: Operation | None, *, save: bool = True) -> bool:
    """Bring one promotion into line with its ended operation; whether it changed. Needs the tenant's scope."""
    if promotion.status != PromotionStatus.RUNNING or operation is None:
        return False
    ending = ending_of(operation)
    if ending is None:
        return False
    changes = {
        "status": ending.status,
        "ended_at": ending.ended_at,
        "execution_result": stored(ending.result),
        "attention_since": ending.attention_since,
    }
    for name, value in changes.items():
        setattr(promotion, name, value)
    if save:
        running = Promotion.objects.filter(pk=promotion.pk, status=PromotionStatus.RUNNING)
        if running.update(**changes, updated_at=clock.now()):
            publish_state(promotion)
    return True


def settle_execution(operation: Operation) -> bool:
    """Bring the promotion of an ended operation into line; whether it changed. Needs the tenant's scope."""
    running = Promotion.objects.filter(operation_id=operation.pk, status=PromotionStatus.RUNNING)
    if not running.exists():  # as after every end that the work has written itself
        return False
    promotion = running.select_for_update().first()
    return promotion is not None and settle_promotion(promotion, operation)


def settle_all() -> int:
    """Find promotions that say they run and whose operation has ended; how many were settled. For the beat."""
    with platform_scope():
        running = list(
            Promotion.objects.filter(status=PromotionStatus.RUNNING)
            .exclude(operation_id=None)
            .values_list("tenant_id", "operation_id")[:SETTLED_AT_ONCE]
        )
        ended = set(
            Operation.objects.filter(
                pk__in=[operation_id for _, operation_id in running], status__in=[str(s) for s in ENDED]
            ).values_list("pk", flat=True)
        )
    settled = 0
    for tenant_id, operation_id in running:
        if operation_id in ended:
            with tenant_scope(tenant_id):
                settled += settle_execution(Operation.objects.get(pk=operation_id))
    return settled + _settle_rollbacks()


def _settle_rollbacks() -> int:
    """Find rollbacks that were ended by hand while they wrote, and that their promotions say nothing of."""
    since = clock.now() - LOOKED_BACK
    with platform_scope():
        ended = list(
            Operation.objects.filter(
                kind="promotions.rollback",
                status__in=[OperationStatus.FAILED, OperationStatus.CANCELLED],
                updated_at__gte=since,
            ).order_by("-created_at")[:SETTLED_AT_ONCE]
        )
    return sum(settle_rollback(operation) for operation in ended)


def settle_rollback(operation: Operation) -> bool:
    """Put on record that a rollback was ended by hand while it wrote; whether it was not on record yet."""
    with tenant_or_platform_scope(operation.tenant_id):
        row = Promotion.objects.select_for_update().filter(pk=operation.params["promotion_id"]).first()
        if row is None or row.status not in (PromotionStatus.COMPLETED, PromotionStatus.FAILED):
            return False
        before = read_result(row.execution_result)
        if _is_recorded(before, operation) or _has_a_later_one(operation, row) or not wrote_back(operation.pk):
            return False
        row.status, result = with_rollback(before, _broken_off(operation))
        row.execution_result = stored(result, row.execution_result)
        row.attention_since = attention_since(result, clock.now())
        row.save()
        publish_state(row)
        return True


def _is_recorded(result: ExecutionResult, operation: Operation) -> bool:
    return bool(result.manual_rollback and result.manual_rollback.operation_id == str(operation.pk))


def _has_a_later_one(operation: Operation, row: Promotion) -> bool:
    return Operation.objects.filter(
        kind=operation.kind, subject_id=row.pk, created_at__gt=operation.created_at
    ).exists()


def _broken_off(operation: Operation) -> ManualRollbackRecord:
    why = operation.error_message.strip() or "Its job was ended by hand."
    return ManualRollbackRecord(
        status="failed",
        rolled_back_at=(operation.ended_at or operation.updated_at).isoformat(),
        rolled_back_by=str(operation.requested_by_id or ""),
        reason=operation.params.get("reason") or "",
        force=bool(operation.params.get("force")),
        operation_id=str(operation.pk),
        snapshot_id=str(operation.params["snapshot_id"]),
        safety_snapshot_id=str(snapshot_id_for(operation.pk, "safety")),
        error=broken_off(why),
    )
