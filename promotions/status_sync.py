"""Promotions whose operation ended without them: cancelled before it began, given up, or ended by hand in SQL."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from core import clock
from operations.errors import Cancelled
from operations.models import ENDED, Operation, OperationStatus, OperationStep
from tenants.scope import place_scope, platform_scope, tenant_scope

from . import attention
from .domain_events import publish_state
from .errors import EndedByHand
from .models import Promotion, PromotionStatus
from .results import broken_off, rolled_back, told_error

SETTLED_AT_ONCE = 100
LOOKED_BACK = timedelta(days=2)
SNAPSHOT_SPACE = uuid.UUID("6f1f5b2e-3c7a-4f0e-9d7e-0d3a1b9c5e42")


def snapshot_id_for(operation_id: uuid.UUID, which: str) -> uuid.UUID:
    """The id of the snapshot that an operation takes: the same however often it begins again."""
    return uuid.uuid5(SNAPSHOT_SPACE, f"{operation_id}:{which}")


def wrote_back(operation_id: uuid.UUID) -> bool:
    """Whether a rollback has begun to write. Needs the tenant's scope."""
    return OperationStep.objects.filter(operation_id=operation_id, name__startswith="rollback:write:").exists()


def verdict(operation: Operation) -> dict[str, Any] | None:
    """What an ended operation means for its promotion that still says it runs; None while it is open."""
    if operation.status not in ENDED:
        return None
    ended = operation.ended_at or clock.now()
    cancelled = operation.status == OperationStatus.CANCELLED
    began = OperationStep.objects.filter(operation_id=operation.pk, name__startswith="promote:").exists()
    if not began:
        return {
            "status": PromotionStatus.CANCELLED if cancelled else PromotionStatus.FAILED,
            "ended_at": ended,
            "execution_result": {
                "error": _ended_before_writing(operation),
                "rollback_result": None,
                "target_untouched": True,
            },
        }
    pre = str(snapshot_id_for(operation.pk, "pre"))
    message = (
        "The job was ended by hand while it was writing. Nobody has put the target back: it may hold some of the new"
        " workflows and some of the old."
    )
    return {
        "status": PromotionStatus.FAILED,
        "ended_at": ended,
        "attention_since": ended,
        "execution_result": {
            "error": {
                "code": "PROMO_005",
                "message": message,
                "recovery": "Roll the promotion back with force, or restore the snapshot taken before it.",
                "details": {"cause": _by_hand(operation, "The job was ended by hand while it was writing.")},
            },
            "needs_attention": True,
            "snapshot_ids": {"pre_promotion": pre, "post_promotion": None},
            "rollback_result": {"status": "failed", "workflows_rolled_back": 0, "snapshot_id": pre, "proof": None},
        },
    }


def _ended_before_writing(operation: Operation) -> dict[str, Any]:
    """Why nothing was written: a person's wish, the job's own failure, or its row was ended by hand."""
    if operation.status == OperationStatus.CANCELLED:
        return told_error(Cancelled()) | {"message": "Cancelled before anything was written."}
    known = operation.error_details or {}
    if known and known.get("message") == operation.error_message:
        return {"recovery": EndedByHand.recovery, **known}
    return _by_hand(operation, EndedByHand.message)


def _by_hand(operation: Operation, message: str) -> dict[str, Any]:
    """With the words of whoever ended it, as the runbook's emergency stop leaves some."""
    said = operation.error_message.strip().rstrip(".")
    words = f"{message} What was said: {said}." if said else message
    return {"code": EndedByHand.code, "message": words, "recovery": EndedByHand.recovery}


def settle_promotion(promotion: Promotion, operation: Operation | None, *, save: bool = True) -> bool:
    """Bring one promotion into line with its ended operation; whether it changed. Needs the tenant's scope."""
    if promotion.status != PromotionStatus.RUNNING or operation is None:
        return False
    changes = verdict(operation)
    if changes is None:
        return False
    for name, value in changes.items():
        setattr(promotion, name, value)
    if save:
        running = Promotion.objects.filter(pk=promotion.pk, status=PromotionStatus.RUNNING)
        if running.update(**changes, updated_at=clock.now()):
            publish_state(promotion)
    return True


def settle_all() -> int:
    """Find promotions that say they run and whose operation has ended; how many were settled. For the beat."""
    with platform_scope():
        running = list(
            Promotion.objects.filter(status=PromotionStatus.RUNNING)
            .exclude(operation_id=None)
            .values_list("pk", "tenant_id", "operation_id")[:SETTLED_AT_ONCE]
        )
        ended = set(
            Operation.objects.filter(
                pk__in=[row[2] for row in running], status__in=[str(s) for s in ENDED]
            ).values_list("pk", flat=True)
        )
    settled = 0
    for promotion_id, tenant_id, operation_id in running:
        if operation_id not in ended:
            continue
        with tenant_scope(tenant_id):
            promotion = Promotion.objects.select_for_update().filter(pk=promotion_id).first()
            operation = Operation.objects.filter(pk=operation_id).first()
            settled += bool(promotion and settle_promotion(promotion, operation))
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
    return sum(_settle_rollback(operation) for operation in ended)


def _settle_rollback(operation: Operation) -> bool:
    with place_scope(operation.tenant_id):
        row = Promotion.objects.select_for_update().filter(pk=operation.params["promotion_id"]).first()
        if row is None or row.status not in (PromotionStatus.COMPLETED, PromotionStatus.FAILED):
            return False
        result = row.execution_result or {}
        newer = Operation.objects.filter(
            kind=operation.kind, subject_id=row.pk, created_at__gt=operation.created_at
        ).exists()
        told = (result.get("manual_rollback") or {}).get("operation_id") == str(operation.pk)
        if newer or told or not wrote_back(operation.pk):
            return False
        why = operation.error_message.strip() or "Its job was ended by hand."
        record: dict[str, Any] = {
            "status": "failed",
            "rolled_back_at": (operation.ended_at or operation.updated_at).isoformat(),
            "rolled_back_by": str(operation.requested_by_id or ""),
            "reason": operation.params.get("reason") or "",
            "force": bool(operation.params.get("force")),
            "operation_id": str(operation.pk),
            "snapshot_id": str(operation.params["snapshot_id"]),
            "safety_snapshot_id": str(snapshot_id_for(operation.pk, "safety")),
            "workflows": [],
            "proof": None,
            "error": broken_off(why),
        }
        row.status, row.execution_result = rolled_back(result, record)
        row.attention_since = attention.since(row.execution_result, clock.now())
        row.save()
        publish_state(row)
        return True
