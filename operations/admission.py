"""Which job a worker takes next: fair between tenants, bounded for each tenant and each n8n. See docs/adr/0016.

A message only says that there may be something to do. Whoever is woken chooses among all that waits, under one short
lock, so that what runs is counted truly; the lease of a worker that died counts no more once it has run out.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Case, Q, When

from core import clock
from tenants.scope import platform_scope

from . import engine
from .handlers import kinds_one_at_a_time
from .models import Operation, OperationStatus
from .run import Run

_LOCK = 7_206_001
"""Of the choice alone; it ends with the transaction in which a job is claimed."""
PATIENCE_SECONDS = 300
"""Work that nobody waits for counts as if somebody did after this, so that it is never put off for ever."""
_PASSED_OVER_AT_ONCE = 20
"""Jobs that are parked in passing, because they were tried too often, before the worker goes back to its queue."""

#: What runs, each with the n8n that it works on; a lost worker's lease has run out.
_RUNNING = """
    SELECT job.tenant_id, job.kind, job.environment_id, place.host
    FROM background_jobs job LEFT JOIN ({places}) place ON place.environment_id = job.environment_id
    WHERE job.status = 'RUNNING' AND job.lease_expires_at >= clock_timestamp()
"""
_NEXT = """
WITH running AS MATERIALIZED ({running}),
waiting AS MATERIALIZED (
    SELECT job.*, place.host FROM background_jobs job
    LEFT JOIN ({places}) place ON place.environment_id = job.environment_id
    WHERE {due}
),
served AS MATERIALIZED (
    SELECT tenant.tenant_id, (
        SELECT max(recent.started_at) FROM (
            SELECT started_at FROM background_jobs job
            WHERE job.tenant_id IS NOT DISTINCT FROM tenant.tenant_id AND job.started_at IS NOT NULL
            ORDER BY job.created_at DESC LIMIT 20
        ) recent
    ) AS at
    FROM (SELECT DISTINCT tenant_id FROM waiting) tenant
)
SELECT job.id, job.tenant_id FROM waiting job
JOIN served ON served.tenant_id IS NOT DISTINCT FROM job.tenant_id
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE r.tenant_id IS NOT DISTINCT FROM job.tenant_id) AS of_tenant,
        count(*) FILTER (WHERE r.host = job.host) AS of_host,
        count(*) FILTER (WHERE r.kind = job.kind AND r.environment_id = job.environment_id) AS alike
    FROM running r
) busy
WHERE busy.of_tenant < %(per_tenant)s AND busy.of_host < %(per_host)s
    AND (busy.alike = 0 OR job.kind <> ALL (%(one_at_a_time)s))
ORDER BY job.status <> 'RUNNING',
    job.requested_by_id IS NULL AND job.created_at > clock_timestamp() - make_interval(secs => %(patience)s),
    busy.of_tenant, served.at NULLS FIRST, job.created_at, job.id
LIMIT 1
"""


def take() -> Run | None:
    """Claim the job whose turn it is; None where nothing waits that may run now. Call outside any scope."""
    for _ in range(_PASSED_OVER_AT_ONCE):
        with platform_scope():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            chosen = _chosen()
            if chosen is None:
                return None
            run = engine.claim_chosen(operation_id=chosen[0], tenant_id=chosen[1])
        if run is not None:
            return run
    return None


def next_one() -> tuple[uuid.UUID, uuid.UUID | None] | None:
    """The job that ``take`` would claim now, and its tenant. Call outside any scope."""
    with platform_scope():
        return _chosen()


def _chosen() -> tuple[uuid.UUID, uuid.UUID | None] | None:
    places = settings.JOB_PLACES
    statement = _NEXT.format(running=_RUNNING.format(places=places), places=places, due=engine.DUE)
    with connection.cursor() as cursor:
        cursor.execute(
            statement,
            {
                "per_tenant": settings.JOBS_PER_TENANT,
                "per_host": settings.JOBS_PER_N8N,
                "one_at_a_time": kinds_one_at_a_time(),
                "patience": PATIENCE_SECONDS,
            },
        )
        row: tuple[uuid.UUID, uuid.UUID | None] | None = cursor.fetchone()
    return row


# -- why something waits ----------------------------------------------------------------------------------------------


MOST_TOLD = 500
"""Waiting jobs whose places are counted: whoever is behind them is told that, not at which place."""


@dataclass(slots=True)
class _Queue:
    """Open jobs of one tenant: what runs, and what waits in the order in which it will be taken.

    ``is_cut``: more wait than were read.
    """

    running: list[Operation] = field(default_factory=list)
    waiting: list[Operation] = field(default_factory=list)
    is_cut: bool = False


def tell_why_waiting(operations: Iterable[Operation]) -> None:
    """Say on each job that waits (``waits``) what for, and at which place. One query; none where nothing waits.

    Needs a scope that shows the jobs: what other tenants run is not told.
    """
    rows = [operation for operation in operations if _waits(operation)]
    if not rows:
        return
    queues = _queues({operation.tenant_id for operation in rows})
    for operation in rows:
        operation.waits = _why(operation, queues.get(operation.tenant_id, _Queue()))


def _waits(operation: Operation) -> bool:
    if operation.status not in (OperationStatus.PENDING, OperationStatus.RETRY_PENDING):
        return False
    return operation.run_after is None or operation.run_after <= clock.now()


def _queues(tenant_ids: Iterable[uuid.UUID | None]) -> Mapping[uuid.UUID | None, _Queue]:
    of_tenants = Q(tenant_id__in=[pk for pk in tenant_ids if pk]) | (Q(tenant=None) if None in tenant_ids else Q())
    states = (OperationStatus.PENDING, OperationStatus.RETRY_PENDING, OperationStatus.RUNNING)
    now = clock.now()
    runs_last = Case(When(status=OperationStatus.RUNNING, then=0), default=1)
    is_put_off = Q(requested_by=None, created_at__gt=now - timedelta(seconds=PATIENCE_SECONDS))
    rows = Operation.objects.filter(of_tenants, status__in=states).exclude(run_after__gt=now).only(*_NEEDED)
    read = list(
        rows.order_by(runs_last, Case(When(is_put_off, then=1), default=0), "created_at", "pk")[: MOST_TOLD + 1]
    )
    found: dict[uuid.UUID | None, _Queue] = defaultdict(lambda: _Queue(is_cut=len(read) > MOST_TOLD))
    for row in read[:MOST_TOLD]:
        if _waits(row):
            found[row.tenant_id].waiting.append(row)
        elif row.status == OperationStatus.RUNNING and row.lease_expires_at and row.lease_expires_at >= now:
            found[row.tenant_id].running.append(row)
    return found


_NEEDED = (
    "tenant",
    "kind",
    "title",
    "status",
    "environment_id",
    "requested_by",
    "run_after",
    "lease_expires_at",
    "created_at",
)


def _why(operation: Operation, queue: _Queue) -> str:
    alike = next((other for other in queue.running if _is_alike(operation, other)), None)
    if alike is not None:
        return f"Waits until “{alike.title}” has ended: one at a time for an environment."
    place = _place(operation, queue)
    running = len(queue.running)
    if running >= settings.JOBS_PER_TENANT:
        whose = "of this tenant" if operation.tenant_id else "of the platform"
        runs = "1 other job {} runs" if running == 1 else f"{running} other jobs {{}} run"
        return f"Waits: {runs.format(whose)}; {place}."
    return f"Waits for a free worker, or for its n8n; {place}."


def _place(operation: Operation, queue: _Queue) -> str:
    place = next((n for n, other in enumerate(queue.waiting, 1) if other.pk == operation.pk), 0)
    return "behind hundreds of others" if queue.is_cut and not place else f"place {place or 1}"


def _is_alike(waiting: Operation, running: Operation) -> bool:
    is_same = (waiting.kind, waiting.environment_id) == (running.kind, running.environment_id)
    return is_same and waiting.environment_id is not None and waiting.kind in kinds_one_at_a_time()
