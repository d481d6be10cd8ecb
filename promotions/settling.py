"""Promotions whose operation ended without them: cancelled before it began, given up, or ended by hand in SQL."""

from __future__ import annotations

import uuid
from typing import Any

from operations.models import ENDED, Operation, OperationStatus, OperationStep
from opsconsole.core import clock
from tenants.scope import platform_scope, tenant_scope

from .models import Promotion, PromotionStatus

SETTLED_AT_ONCE = 100
SNAPSHOT_SPACE = uuid.UUID("6f1f5b2e-3c7a-4f0e-9d7e-0d3a1b9c5e42")


def snapshot_id_for(operation_id: uuid.UUID, which: str) -> uuid.UUID:
    """The id of the snapshot that an operation takes: the same however often it begins again."""
    return uuid.uuid5(SNAPSHOT_SPACE, f"{operation_id}:{which}")


def verdict(operation: Operation) -> dict[str, Any] | None:
    """What an ended operation means for its promotion that still says it runs; None while it is open."""
    if operation.status not in ENDED:
        return None
    ended = operation.ended_at or clock.now()
    began = OperationStep.objects.filter(operation_id=operation.pk, name__startswith="promote:").exists()
    if not began:
        cancelled = operation.status == OperationStatus.CANCELLED
        message = (
            "Cancelled before anything was written." if cancelled else "Ended by hand before anything was written."
        )
        return {
            "status": PromotionStatus.CANCELLED if cancelled else PromotionStatus.FAILED,
            "ended_at": ended,
            "execution_result": {
                "error": {"code": operation.error_code or "PROMO_002", "message": operation.error_message or message},
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
        "execution_result": {
            "error": {
                "code": "PROMO_005",
                "message": message,
                "recovery": "Roll the promotion back with force, or restore the snapshot taken before it.",
            },
            "needs_attention": True,
            "snapshot_ids": {"pre_promotion": pre, "post_promotion": None},
            "rollback_result": {"status": "failed", "workflows_rolled_back": 0, "snapshot_id": pre, "proof": None},
        },
    }


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
        Promotion.objects.filter(pk=promotion.pk, status=PromotionStatus.RUNNING).update(
            **changes, updated_at=clock.now()
        )
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
    return settled
