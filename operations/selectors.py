"""Reads about operations."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q

from core import clock
from core.paging import Page, by_time

from .models import OPEN, Operation, OperationStatus, OperationStep
from .summaries import with_small_results

STEPS_SHOWN = 400
OPEN_SHOWN = 20
FILTERS: dict[str, Q] = {
    "open": Q(status__in=OPEN),
    "running": Q(status=OperationStatus.RUNNING),
    "parked": Q(status=OperationStatus.PARKED),
    "failed": Q(status=OperationStatus.FAILED),
    "completed": Q(status=OperationStatus.COMPLETED),
    "cancelled": Q(status=OperationStatus.CANCELLED),
}


def list_operations(
    *,
    state: str = "",
    mine: uuid.UUID | None = None,
    tenant_ids: list[uuid.UUID] | None = None,
    kind: str = "",
    environment_id: uuid.UUID | None = None,
    cursor: str = "",
    limit: int = 50,
) -> Page:
    """Operations that the scope shows, newest first."""
    rows = with_small_results(Operation.objects.select_related("requested_by", "tenant"))
    if state in FILTERS:
        rows = rows.filter(FILTERS[state])
    if mine is not None:
        rows = rows.filter(requested_by_id=mine)
    if tenant_ids is not None:
        rows = rows.filter(tenant_id__in=tenant_ids)
    if kind:
        rows = rows.filter(kind=kind)
    if environment_id is not None:
        rows = rows.filter(environment_id=environment_id)
    return by_time(rows, cursor=cursor, limit=limit)


def started_before(*, kind: str, key: str | None) -> Operation | None:
    """The job of this kind that was started with this idempotency key, however long ago. Needs the tenant's scope."""
    return Operation.objects.filter(kind=kind, idempotency_key=key).first() if key else None


def open_operations_on(subject_type: str, subject_id: uuid.UUID) -> list[Operation]:
    """What is at work on a subject, newest first, without parameters and results. Needs the tenant's scope."""
    rows = Operation.objects.filter(subject_type=subject_type, subject_id=subject_id, status__in=OPEN)
    return list(rows.defer("params", "result").order_by("-created_at")[:OPEN_SHOWN])


#: A worker that is alive and whose job neither ends a step nor gets on for so long is caught in something.
STANDSTILL = timedelta(minutes=30)


def standing_still() -> Q:
    """Running operations whose worker beats, and that have not moved for long: no step began or ended, no progress."""
    long_ago = clock.now() - STANDSTILL
    moving = OperationStep.objects.filter(
        Q(started_at__gte=long_ago) | Q(ended_at__gte=long_ago), operation_id=OuterRef("pk")
    )
    return Q(
        ~Exists(moving),
        status=OperationStatus.RUNNING,
        lease_expires_at__gte=clock.now(),
        started_at__lt=long_ago,
        updated_at__lt=long_ago,
    )


def status_counts() -> dict[str, int]:
    """How many operations stand in each open state, how many are stuck (lease run out), and how many stand still."""
    counts = Operation.objects.filter(status__in=OPEN).aggregate(
        pending=Count("pk", filter=Q(status=OperationStatus.PENDING)),
        running=Count("pk", filter=Q(status=OperationStatus.RUNNING)),
        retry_pending=Count("pk", filter=Q(status=OperationStatus.RETRY_PENDING)),
        parked=Count("pk", filter=Q(status=OperationStatus.PARKED)),
        stuck=Count("pk", filter=Q(status=OperationStatus.RUNNING, lease_expires_at__lt=clock.now())),
        standing_still=Count("pk", filter=standing_still()),
    )
    return {name: int(count) for name, count in counts.items()}


def operation_row(operation: Operation, *, whole: bool = False) -> dict[str, Any]:
    """JSON-able facts for the API; ``whole`` adds the result, which lists leave in the database."""
    return {
        "id": str(operation.pk),
        "tenant_id": str(operation.tenant_id) if operation.tenant_id else None,
        "kind": operation.kind,
        "title": operation.title,
        "status": operation.status,
        "waits": operation.waits,
        "progress": {
            "done": operation.progress_done,
            "total": operation.progress_total,
            "percent": operation.percent,
            "note": operation.progress_note if operation.is_open else "",
        },
        "attempt": operation.attempt,
        "error": operation.error_details
        or ({"code": operation.error_code, "message": operation.error_message} if operation.error_message else None),
        **({"result": operation.result} if whole else {}),
        "subject_type": operation.subject_type,
        "subject_id": str(operation.subject_id) if operation.subject_id else None,
        "environment_id": str(operation.environment_id) if operation.environment_id else None,
        "cancel_requested_at": operation.cancel_requested_at,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "ended_at": operation.ended_at,
        "updated_at": operation.updated_at,
    }


def version_of(operation: Operation) -> str:
    """Changes whenever a watcher has something new to see."""
    return f"{operation.updated_at.timestamp():.6f}-{operation.status}-{operation.progress_done}"


def failed_of_late(hours: int = 24) -> int:
    """How many operations failed in the last hours."""
    since = clock.now() - timedelta(hours=hours)
    return Operation.objects.filter(status=OperationStatus.FAILED, ended_at__gte=since).count()
