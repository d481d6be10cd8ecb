"""Writes about operations: start, cancel, retry, give up; schedules; the reaper."""

from __future__ import annotations

import hashlib
import logging
import uuid
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

import orjson
from celery import current_app
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from core import clock, context, support
from core.errors import IdempotencyMismatch, NotFound
from core.texts import json_bytes
from tenants.base import belongs_to
from tenants.models import User
from tenants.scope import ScopeError, platform_scope, tenant_or_platform_scope

from . import timing
from .domain_events import publish_ending, publish_missed
from .errors import Busy, NotCancellable, TooManyJobs
from .handlers import tell_ended
from .models import OPEN, Heartbeat, Operation, OperationStatus, Schedule, holding

logger = logging.getLogger(__name__)

REAPED_AT_ONCE = 200
OPERATIONS_QUEUE = "operations"
#: The task that carries an operation on. Asked for by its name: what it imports uses this module.
DRIVE = "operations.tasks.drive"
#: A waiting operation younger than this is left to the message that was sent for it.
MESSAGE_GRACE_SECONDS = 2


class StartOptions(TypedDict, total=False):
    """Options of new work."""

    idempotency_key: str | None
    exclusive_key: str | None
    environment_id: uuid.UUID | None
    subject_type: str
    subject_id: uuid.UUID | None
    run_after_seconds: float
    max_attempts: int | None


def start(
    *,
    tenant_id: uuid.UUID | None,
    kind: str,
    title: str,
    params: dict[str, Any],
    requested_by: User | None,
    **options: Unpack[StartOptions],
) -> Operation:
    """Put long work on record and wake a worker once the caller's transaction has committed.

    Without a ``tenant_id`` the work is the platform's. A support session, which is one tenant's, starts none of that.
    The same idempotency key with the same parameters answers the operation that is there; with others it raises
    ``IdempotencyMismatch``. ``Busy`` names the operation that holds ``exclusive_key``; ``TooManyJobs`` where a person
    asks for one more than may wait.
    """
    support.refuse_reading_only(f"“{title}”")
    if tenant_id is None and support.current() is not None:
        raise ScopeError("A support session starts work of its own tenant only.")
    wanted = _new_operation(tenant_id, kind, title, params, options)
    wanted.requested_by = requested_by
    with tenant_or_platform_scope(tenant_id):
        mine = Operation.objects.filter(belongs_to(tenant_id))
        if options.get("idempotency_key"):
            known = _started_before(mine, wanted)
            if known is not None:
                return known
        if requested_by is not None:
            _refuse_one_too_many(mine)
        if wanted.exclusive_key:
            _free_abandoned(mine.filter(exclusive_key=wanted.exclusive_key))
        try:
            with transaction.atomic():
                wanted.save(force_insert=True)
        except IntegrityError as error:
            raise _why_refused(mine, wanted, error) from error
        transaction.on_commit(lambda: wake(operation_id=wanted.pk, tenant_id=tenant_id))
        return wanted


def _refuse_one_too_many(mine: QuerySet[Operation]) -> None:
    """What people ask for waits in a line of a certain length: every worker that chooses looks at all that waits.

    Schedules, and what is tried again later while an n8n is away, keep nobody from rolling back.
    """
    waiting = mine.filter(status__in=[OperationStatus.PENDING, OperationStatus.RETRY_PENDING])
    due = Q(run_after=None) | Q(run_after__lte=clock.now())
    waiting = waiting.filter(due, requested_by__isnull=False)
    if waiting[: settings.JOBS_WAITING_PER_TENANT].count() >= settings.JOBS_WAITING_PER_TENANT:
        raise TooManyJobs


def _new_operation(
    tenant_id: uuid.UUID | None, kind: str, title: str, params: dict[str, Any], options: StartOptions
) -> Operation:
    delay_seconds = options.get("run_after_seconds") or 0
    digest = hashlib.sha256(json_bytes([kind, params], option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()
    return Operation(
        tenant_id=tenant_id,
        kind=kind,
        title=title[:200],
        params=orjson.loads(json_bytes(params, default=str)),
        context=context.current().to_dict(),
        # Without a key of the caller's, the operation is its own key: runbooks join on it.
        idempotency_key=options.get("idempotency_key") or f"op-{uuid.uuid4()}",
        request_hash=digest,
        exclusive_key=options.get("exclusive_key"),
        environment_id=options.get("environment_id"),
        subject_type=options.get("subject_type", ""),
        subject_id=options.get("subject_id"),
        run_after=clock.now() + timedelta(seconds=delay_seconds) if delay_seconds else None,
        max_attempts=options.get("max_attempts") or settings.OPERATION_MAX_ATTEMPTS,
    )


def _started_before(mine: QuerySet[Operation], wanted: Operation) -> Operation | None:
    """The operation that the same request has started; raises ``IdempotencyMismatch`` for another request's key."""
    known = mine.filter(kind=wanted.kind, idempotency_key=wanted.idempotency_key).first()
    if known is not None and known.request_hash != wanted.request_hash:
        raise IdempotencyMismatch(details={"operation_id": str(known.pk)})
    return known


def _why_refused(mine: QuerySet[Operation], wanted: Operation, error: Exception) -> Exception:
    holder = mine.filter(holding(), exclusive_key=wanted.exclusive_key).first() if wanted.exclusive_key else None
    if holder is not None and holder.is_settling:
        return Busy(
            f"“{holder.title}” was stopped, and what it had sent is still under way.",
            recovery="Try again in a moment: the environment is free once its last request is answered.",
            details={"operation_id": str(holder.pk), "kind": holder.kind, "status": holder.status},
        )
    if holder is not None:
        return Busy(
            f"“{holder.title}” is {holder.get_status_display().lower()} and holds the same environment.",
            details={"operation_id": str(holder.pk), "kind": holder.kind, "status": holder.status},
        )
    if mine.filter(kind=wanted.kind, idempotency_key=wanted.idempotency_key).exists():
        return Busy("The same request is being taken in right now.", recovery="Send it again in a moment.")
    return error


def _free_abandoned(operations: QuerySet[Operation]) -> None:
    """Let go of operations that were ended by hand and whose worker has died since."""
    abandoned = operations.exclude(status__in=OPEN).exclude(lease_owner="").filter(lease_expires_at__lt=clock.now())
    abandoned.update(lease_owner="", lease_expires_at=None)


def wake(*, operation_id: uuid.UUID, tenant_id: uuid.UUID | None) -> None:
    """Tell a worker. A broker that is away is no failure: the reaper finds the row."""
    try:
        current_app.tasks[DRIVE].apply_async(
            args=[str(operation_id), str(tenant_id) if tenant_id else None], retry=False
        )
    except Exception:
        logger.warning("could not wake a worker; the reaper will", exc_info=True)


def get_operation(*, tenant_id: uuid.UUID | None, operation_id: uuid.UUID) -> Operation:
    """One operation of the tenant, or of the platform; ``NotFound`` where it is not there."""
    with tenant_or_platform_scope(tenant_id):
        operation = Operation.objects.filter(belongs_to(tenant_id), pk=operation_id).first()
    if operation is None:
        raise NotFound
    return operation


def cancel(*, tenant_id: uuid.UUID | None, operation_id: uuid.UUID, by: User | None) -> Operation:
    """Ask an operation to stop. One that waits ends here; a running one stops at its next boundary and puts back."""
    now = clock.now()
    with tenant_or_platform_scope(tenant_id):
        operation = Operation.objects.select_for_update().filter(belongs_to(tenant_id), pk=operation_id).first()
        if operation is None:
            raise NotFound
        if not operation.is_open:
            raise NotCancellable
        changes: dict[str, Any] = {"cancel_requested_at": now, "cancel_requested_by": by, "updated_at": now}
        if operation.status == OperationStatus.PENDING:
            changes |= {"status": OperationStatus.CANCELLED, "ended_at": now}
        elif operation.status in (OperationStatus.PARKED, OperationStatus.RETRY_PENDING):
            # It has begun once: the handler must get the chance to put things back.
            changes |= {"status": OperationStatus.RETRY_PENDING, "run_after": None, "attempt": 0}
            transaction.on_commit(lambda: wake(operation_id=operation_id, tenant_id=tenant_id))
        Operation.objects.filter(pk=operation_id).update(**changes)
        operation.refresh_from_db()
        if not operation.is_open:
            tell_ended(operation)
        return operation


def retry(*, tenant_id: uuid.UUID | None, operation_id: uuid.UUID) -> Operation:
    """Let a parked operation try again, with its attempts counted anew."""
    with tenant_or_platform_scope(tenant_id):
        updated = Operation.objects.filter(
            belongs_to(tenant_id),
            pk=operation_id,
            status__in=[OperationStatus.PARKED, OperationStatus.RETRY_PENDING],
        ).update(status=OperationStatus.RETRY_PENDING, attempt=0, run_after=None, updated_at=clock.now())
        operation = Operation.objects.filter(belongs_to(tenant_id), pk=operation_id).first()
        if operation is None:
            raise NotFound
        if updated != 1:
            raise NotCancellable(recovery="Only a parked job can be tried again.")
        transaction.on_commit(lambda: wake(operation_id=operation_id, tenant_id=tenant_id))
        return operation


def give_up(*, tenant_id: uuid.UUID | None, operation_id: uuid.UUID, by: User | None, reason: str) -> Operation:
    """End a parked operation as failed: a person has looked and settled it by hand."""
    now = clock.now()
    with tenant_or_platform_scope(tenant_id):
        updated = Operation.objects.filter(
            belongs_to(tenant_id), pk=operation_id, status=OperationStatus.PARKED
        ).update(
            status=OperationStatus.FAILED,
            ended_at=now,
            updated_at=now,
            cancel_requested_by=by,
            error_message=f"Given up: {reason.strip()[:500]}",
        )
        operation = Operation.objects.filter(belongs_to(tenant_id), pk=operation_id).first()
        if operation is None:
            raise NotFound
        if updated != 1:
            raise NotCancellable(recovery="Only a parked job can be given up.")
        tell_ended(operation)
        publish_ending(operation_id)
        return operation


def beat(*, name: str, details: dict[str, Any] | None = None) -> None:
    """Leave a sign of life."""
    Heartbeat.objects.update_or_create(name=name, defaults={"seen_at": clock.now(), "details": details or {}})


def messages_waiting() -> int:
    """How many messages no worker has taken yet; 0 where the broker cannot say."""
    try:
        with current_app.connection_for_read() as link:
            return int(link.default_channel.queue_declare(OPERATIONS_QUEUE, passive=True).message_count)
    except Exception:  # noqa: BLE001 -- no answer, no such queue: nothing waits; no broker: waking says so
        return 0


def reap() -> int:
    """Find what was dropped: waiting too long, due to retry, or held by a worker that is gone. How many.

    It is woken as far as the queue has room: where all workers are busy, the same work is not announced anew each
    round, or a worker that comes free would have to go through thousands of messages.
    """
    now = clock.now()
    waiting = Q(status=OperationStatus.PENDING, created_at__lt=now - timedelta(seconds=MESSAGE_GRACE_SECONDS))
    due = Q(status=OperationStatus.RETRY_PENDING) & (Q(lease_expires_at=None) | Q(lease_expires_at__lt=now))
    orphaned = Q(status=OperationStatus.RUNNING, lease_expires_at__lt=now)
    with platform_scope():
        _free_abandoned(Operation.objects.all())
        found = list(
            Operation.objects.filter(waiting | due | orphaned)
            .filter(Q(run_after=None) | Q(run_after__lte=now))
            # What a worker has lost comes before what has not begun.
            .order_by(F("lease_expires_at").asc(nulls_last=True), "created_at")
            .values_list("pk", "tenant_id")[:REAPED_AT_ONCE]
        )
    room = max(0, REAPED_AT_ONCE - messages_waiting()) if found else 0
    for operation_id, tenant_id in found[:room]:
        wake(operation_id=operation_id, tenant_id=tenant_id)
    return len(found)


def run_due_schedules() -> int:
    """Start what is due; each row is claimed by compare-and-set, so two beats start it once. How many."""
    now = clock.now()
    started = 0
    with platform_scope():
        due = list(Schedule.objects.filter(is_enabled=True, next_run_at__lte=now)[:REAPED_AT_ONCE])
    for schedule in due:
        following = _following(schedule, now)
        if following is None:
            continue
        with tenant_or_platform_scope(schedule.tenant_id):
            claimed = Schedule.objects.filter(pk=schedule.pk, is_enabled=True, next_run_at=schedule.next_run_at).update(
                next_run_at=following,
                last_run_at=now,
                updated_at=now,
            )
            if claimed != 1:
                continue
            if timing.left_out_a_run(schedule, now):
                publish_missed(schedule, "late")
            try:
                with transaction.atomic():
                    operation = start(
                        tenant_id=schedule.tenant_id,
                        kind=schedule.kind,
                        title=schedule.name,
                        params=_params_when_due(schedule),
                        requested_by=None,
                        environment_id=schedule.environment_id,
                        idempotency_key=f"schedule-{schedule.pk}-{schedule.next_run_at.isoformat()}",
                    )
            except Busy:
                publish_missed(schedule, "busy")
                continue
            Schedule.objects.filter(pk=schedule.pk).update(last_operation_id=operation.pk)
            started += 1
    return started


def _following(schedule: Schedule, now: datetime) -> datetime | None:
    """When it is due after this; None for one that was made unreadable by hand, which must not stop the others."""
    try:
        return timing.next_run(schedule, now)
    except (KeyError, OSError, ValueError):
        logger.exception("a schedule cannot be worked out", extra={"schedule": str(schedule.pk)})
        return None


def _params_when_due(schedule: Schedule) -> dict[str, Any]:
    """The schedule's parameters; with the moment at which the work was due, where they ask for it."""
    params: dict[str, Any] = schedule.params
    return params | {"due_at": schedule.next_run_at.isoformat()} if "due_at" in params else params


class Timing(TypedDict, total=False):
    """When a schedule's work is due: every so many seconds, or by a cron expression in a time zone."""

    every_seconds: int
    cron: str
    time_zone: str
    jitter_seconds: int


_NO_TIMING: Timing = {"every_seconds": 0, "cron": "", "time_zone": "UTC", "jitter_seconds": 0}


def set_schedule(
    *,
    tenant_id: uuid.UUID | None,
    name: str,
    kind: str,
    params: dict[str, Any],
    environment_id: uuid.UUID | None = None,
    is_enabled: bool = True,
    **when: Unpack[Timing],
) -> Schedule:
    """Make or change recurring work by its name: every ``every_seconds``, or by ``cron`` in ``time_zone``.

    Raises ``Invalid`` for times that cannot be worked out. Another cron expression or zone counts from now on.
    """
    times: Timing = {**_NO_TIMING, **when}
    timing.check(**times)
    values = {"kind": kind, "params": params, "environment_id": environment_id, "is_enabled": is_enabled, **times}
    with tenant_or_platform_scope(tenant_id):
        first = timing.next_run(Schedule(tenant_id=tenant_id, name=name, **times), clock.now())
        mine = Schedule.objects.filter(belongs_to(tenant_id))
        known = mine.filter(name=name).first()
        moved = known is not None and (known.cron, known.time_zone) != (times["cron"], times["time_zone"])
        schedule, _ = mine.update_or_create(
            name=name,
            defaults=values | ({"next_run_at": first} if moved else {}),
            create_defaults=values | {"tenant_id": tenant_id, "next_run_at": first},
        )
        return schedule
