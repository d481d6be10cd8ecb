"""Reads about promotions."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform

from core.days import parts_by_day
from core.ids import uuid_or_none
from core.paging import Page, by_time
from operations.models import Operation
from operations.selectors import open_operations_on
from workflows.calling import needs_published_callees
from workflows.identity import LIVE
from workflows.models import WorkflowEnvMap
from workflows.watching.selectors import of_operations, watch_row

from .lifecycle import EXECUTE, PREPARE, ROLLBACK
from .models import Promotion, PromotionStatus
from .planning.documents import read_plan
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
ATTEMPTS = (EXECUTE, ROLLBACK, PREPARE)
ATTEMPTS_SHOWN = 20
CALLERS_NAMED = 5
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
    """The promotion as it will be once its ended job is settled; nothing is written. Needs the tenant's scope."""
    settle_promotion(promotion, operation, save=False)
    return promotion


def operation_of(promotion: Promotion) -> Operation | None:
    """The operation that carries the promotion out. Needs the tenant's scope."""
    if promotion.operation_id is None:
        return None
    return Operation.objects.filter(pk=promotion.operation_id).first()


def latest_rollback(promotion: Promotion) -> Operation | None:
    """The latest rollback of the promotion, if any. Needs the tenant's scope."""
    return (
        Operation.objects.filter(subject_type="promotion", subject_id=promotion.pk, kind=ROLLBACK)
        .order_by("-created_at")
        .first()
    )


def rollback_on_record(promotion: Promotion, operation_id: str) -> Operation | None:
    """The job of the rollback that the promotion's result tells of, if it is there. Needs the tenant's scope."""
    jobs = Operation.objects.filter(subject_type="promotion", subject_id=promotion.pk, kind=ROLLBACK)
    known = uuid_or_none(operation_id)
    return jobs.select_related("requested_by").filter(pk=known).first() if known else None


def jobs_on(promotion: Promotion) -> list[Operation]:
    """Open jobs of the promotion, first what writes into the target. Needs the tenant's scope."""
    return sorted(open_operations_on("promotion", promotion.pk), key=lambda job: job.kind not in ATTEMPTS)


def attempts_of(promotion: Promotion) -> list[Operation]:
    """Every job that was to write into the target, newest first. Needs the tenant's scope."""
    rows = Operation.objects.filter(subject_type="promotion", subject_id=promotion.pk, kind__in=ATTEMPTS)
    return list(rows.select_related("requested_by").defer("params", "result").order_by("-created_at")[:ATTEMPTS_SHOWN])


class KeptWorkflow(NamedTuple):
    """A workflow that a rollback would leave published, and the first five that call it."""

    name: str
    called_by: list[str]


def kept_published(promotion: Promotion) -> list[KeptWorkflow]:
    """What rolling back would leave published, as far as was seen last. Needs the tenant's scope.

    The promotion had it published, and something that runs and was not promoted calls it.
    """
    items = [(item, item.target) for item in read_plan(promotion.plan).items if item.target]
    ending = {there.env_workflow_id: item.name for item, there in items if item.active and not there.active}
    if not ending or not needs_published_callees(promotion.target_environment):
        return []
    running = WorkflowEnvMap.objects.filter(
        environment_id=promotion.target_environment_id, env_active=True, status__in=LIVE
    ).exclude(canonical_workflow__key__in=[item.key for item, _there in items])
    called = [(name, running.filter(fingerprint__refs__contains=[there])) for there, name in ending.items()]
    found = [KeptWorkflow(name, list(rows.values_list("env_name", flat=True)[:CALLERS_NAMED])) for name, rows in called]
    return [one for one in found if one.called_by]


def watched_rows(promotion: Promotion) -> list[dict[str, Any]]:
    """What it, or its rollback, has published and could not prove at once. Needs the tenant's scope."""
    rolled_back = latest_rollback(promotion)
    jobs = [promotion.operation_id, rolled_back.pk if rolled_back else None]
    return [watch_row(line.watch) for line in of_operations([job for job in jobs if job]).lines]


#: How a promotion ended, from the bottom of a column: word, state whose colour it has, and which rows.
_OUTCOMES = (
    ("Completed", PromotionStatus.COMPLETED, Q(status=PromotionStatus.COMPLETED)),
    ("Rolled back", PromotionStatus.ROLLED_BACK, Q(status=PromotionStatus.ROLLED_BACK)),
    ("Failed", PromotionStatus.FAILED, Q(status=PromotionStatus.FAILED)),
)


def outcomes_by_day(target_id: uuid.UUID | None = None) -> dict[str, Any]:
    """``outcomes_by_day`` of the last 30 days and the ``outcomes`` they are cut into, for a chart. One query."""
    ended = Promotion.objects.filter(status__in=[state for _, state, _ in _OUTCOMES], ended_at__isnull=False)
    if target_id is not None:
        ended = ended.filter(target_environment_id=target_id)
    rows = parts_by_day(ended, [part for _, _, part in _OUTCOMES], field="ended_at")
    return {"outcomes": [(word, str(state)) for word, state, _ in _OUTCOMES], "outcomes_by_day": rows}
