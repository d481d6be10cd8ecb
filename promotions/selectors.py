"""Reads about promotions."""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform

from core.paging import Page, by_time
from operations.models import Operation
from operations.selectors import open_operations_on
from workflows.calling import needs_published_callees
from workflows.identity import LIVE
from workflows.models import WorkflowEnvMap
from workflows.watching.selectors import of_operations, watch_row

from .models import Promotion, PromotionStatus
from .running.status_sync import settle_promotion

FILTERS: dict[str, tuple[str, Q]] = {
    "open": (
        "Open",
        Q(status__in=["DRAFT", "PENDING_APPROVAL", "APPROVED", "RUNNING"]),
    ),
    "waiting": ("Waiting for approval", Q(status=PromotionStatus.PENDING_APPROVAL)),
    "running": ("Running", Q(status=PromotionStatus.RUNNING)),
    "completed": ("Completed", Q(status=PromotionStatus.COMPLETED)),
    "attention": ("Needs attention", Q(attention_since__isnull=False)),
    "failed": ("Failed", Q(status=PromotionStatus.FAILED)),
    "stopped": ("Cancelled or rejected", Q(status__in=["CANCELLED", "REJECTED"])),
    "rolled_back": ("Rolled back", Q(status=PromotionStatus.ROLLED_BACK)),
}
#: Jobs that write into the target.
ATTEMPTS = ("promotions.execute", "promotions.rollback", "promotions.prepare")
ATTEMPTS_SHOWN = 20
_LARGE = ("plan", "execution_result", "workflow_keys")


def list_promotions(
    *,
    state: str = "",
    target_id: uuid.UUID | None = None,
    source_id: uuid.UUID | None = None,
    search: str = "",
    cursor: str = "",
    limit: int = 50,
) -> Page:
    """Promotions that the scope shows, newest first, without their plans.

    ``state`` is a name in ``FILTERS``; ``search`` a part of a name, or the key of a workflow that was chosen.
    """
    rows = Promotion.objects.select_related("source_environment", "target_environment", "created_by").defer(*_LARGE)
    rows = rows.annotate(needs_attention=KeyTextTransform("needs_attention", "execution_result"))
    if state in FILTERS:
        rows = rows.filter(FILTERS[state][1])
    elif state.upper() in PromotionStatus.values:
        rows = rows.filter(status=state.upper())
    if target_id is not None:
        rows = rows.filter(target_environment_id=target_id)
    if source_id is not None:
        rows = rows.filter(source_environment_id=source_id)
    if search.strip():
        wanted = search.strip()[:100]
        rows = rows.filter(Q(name__icontains=wanted) | Q(workflow_keys__contains=[wanted]))
    return by_time(rows, cursor=cursor, limit=limit)


def settled_view(promotion: Promotion, operation: Operation | None) -> Promotion:
    """The promotion as it will be once the beat has settled it; nothing is written. Needs the tenant's scope."""
    settle_promotion(promotion, operation, save=False)
    return promotion


def operation_of(promotion: Promotion) -> Operation | None:
    """The operation that carries the promotion out. Needs the tenant's scope."""
    if promotion.operation_id is None:
        return None
    return Operation.objects.filter(pk=promotion.operation_id).first()


def open_rollback(promotion: Promotion) -> Operation | None:
    """The latest rollback of the promotion, if any. Needs the tenant's scope."""
    return (
        Operation.objects.filter(subject_type="promotion", subject_id=promotion.pk, kind="promotions.rollback")
        .order_by("-created_at")
        .first()
    )


def jobs_on(promotion: Promotion) -> list[Operation]:
    """What is at work on the promotion, first what writes into the target. Needs the tenant's scope."""
    return sorted(open_operations_on("promotion", promotion.pk), key=lambda job: job.kind not in ATTEMPTS)


def attempts_of(promotion: Promotion) -> list[Operation]:
    """Every job that was to write into the target, newest first. Needs the tenant's scope."""
    rows = Operation.objects.filter(subject_type="promotion", subject_id=promotion.pk, kind__in=ATTEMPTS)
    return list(rows.select_related("requested_by").defer("params", "result").order_by("-created_at")[:ATTEMPTS_SHOWN])


def kept_published(promotion: Promotion) -> list[dict[str, Any]]:
    """What rolling back would leave published, as far as was seen last: ``{name, called_by}``. In the tenant's scope.

    The promotion had it published, and something that runs and was not promoted calls it.
    """
    items = [item for item in (promotion.plan or {}).get("items", ()) if item["target"]]
    ending = {i["target"]["env_workflow_id"]: i["name"] for i in items if i["active"] and not i["target"]["active"]}
    if not ending or not needs_published_callees(promotion.target_environment):
        return []
    running = WorkflowEnvMap.objects.filter(
        environment_id=promotion.target_environment_id, env_active=True, status__in=LIVE
    ).exclude(canonical_workflow__key__in=[item["key"] for item in items])
    return [
        {"name": name, "called_by": callers}
        for there, name in ending.items()
        if (callers := list(running.filter(fingerprint__refs__contains=[there]).values_list("env_name", flat=True)[:5]))
    ]


def promotion_row(promotion: Promotion, *, whole: bool = True) -> dict[str, Any]:
    """JSON-able facts for the API; without ``whole`` as in a list."""
    row: dict[str, Any] = {
        "id": str(promotion.pk),
        "tenant_id": str(promotion.tenant_id),
        "name": promotion.name,
        "description": promotion.description,
        "status": promotion.status,
        "source_environment_id": str(promotion.source_environment_id),
        "target_environment_id": str(promotion.target_environment_id),
        "operation_id": str(promotion.operation_id) if promotion.operation_id else None,
        "plan_hash": promotion.plan_hash or None,
        "created_by": str(promotion.created_by_id) if promotion.created_by_id else None,
        "decided_by": str(promotion.decided_by_id) if promotion.decided_by_id else None,
        "decided_at": promotion.decided_at,
        "decision_comment": promotion.decision_comment,
        "created_at": promotion.created_at,
        "started_at": promotion.started_at,
        "ended_at": promotion.ended_at,
        "attention_since": promotion.attention_since,
        "updated_at": promotion.updated_at,
    }
    if whole:
        row |= {
            "workflow_keys": promotion.workflow_keys,
            "options": {k: v for k, v in promotion.options.items() if k != "requesters"},
            "plan": promotion.plan,
            "execution_result": promotion.execution_result,
        }
    return row


def watched_rows(promotion: Promotion) -> list[dict[str, Any]]:
    """What it, or its rollback, has published and could not prove at once. Needs the tenant's scope."""
    rolled_back = open_rollback(promotion)
    jobs = [promotion.operation_id, rolled_back.pk if rolled_back else None]
    return [watch_row(line.watch) for line in of_operations([job for job in jobs if job]).lines]
