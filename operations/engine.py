"""The durable engine: claims an operation, runs its handler, survives anything.

Every write carries the operation's fence: the same statement that renews the lease proves that nobody else has taken
over and that nobody ended the row by hand. What a handler works with stands in ``operations.run``. See docs/adr/0003.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F

from core import clock, context, support
from core.database_errors import named
from core.errors import OpsError
from core.support import InForce, SupportEnded
from tenants.scope import refuse_fallen_session, tenant_or_platform_scope

from .boundaries import checkpoint
from .domain_events import publish_ending
from .errors import Cancelled, LeaseLost, TryAgain, Unfinished, UnknownOutcome
from .handlers import handler_for, tell_ended
from .lease import LeaseHeartbeat
from .models import ENDED, Operation, OperationStatus
from .run import CONSOLE, Run, WorkerStopping, stopping

__all__ = ["RETRY_DELAYS_SECONDS", "WORKER_NAME", "Run", "WorkerStopping", "claim", "drive", "stopping"]

logger = logging.getLogger(__name__)

WORKER_NAME = f"{socket.gethostname()}:{os.getpid()}"
RETRY_DELAYS_SECONDS = (1, 5, 15, 60)


#: What a worker may take. A row that was sent back to the queue by hand waits until its worker has let go of it.
DUE = """((job.status = 'RUNNING' AND job.lease_expires_at < clock_timestamp())
        OR (job.status IN ('PENDING', 'RETRY_PENDING') AND (job.run_after IS NULL OR job.run_after <= clock_timestamp())
            AND (job.lease_expires_at IS NULL OR job.lease_expires_at < clock_timestamp())))"""

_CLAIM = f"""
UPDATE background_jobs job SET
    status = CASE WHEN attempt >= max_attempts THEN 'PARKED' ELSE 'RUNNING' END,
    fence = fence + 1,
    attempt = least(attempt + 1, max_attempts),
    lease_owner = CASE WHEN attempt >= max_attempts THEN '' ELSE %s END,
    lease_expires_at = CASE WHEN attempt < max_attempts THEN clock_timestamp() + make_interval(secs => %s) END,
    heartbeat_at = clock_timestamp(),
    started_at = coalesce(started_at, clock_timestamp()),
    updated_at = clock_timestamp(),
    error_code = CASE WHEN attempt >= max_attempts THEN 'OPERATION_PARKED' ELSE error_code END,
    error_message = CASE WHEN attempt >= max_attempts THEN
        'Tried ' || CASE attempt WHEN 1 THEN 'once' ELSE attempt || ' times' END
        || ' without an end; a person must look.' ELSE error_message END
WHERE id = %s AND tenant_id IS NOT DISTINCT FROM %s
    AND {DUE}
RETURNING status
"""  # noqa: S608


def claim(*, operation_id: uuid.UUID, tenant_id: uuid.UUID | None, lease_seconds: float | None = None) -> Run | None:
    """Take an operation that waits or whose worker is gone; None if there is nothing to take.

    ``tenant_id`` is the operation's own, None for the platform's: an operation of somebody else is not there to take.

    The attempt is counted here, before the try; past ``max_attempts`` the operation is parked for a person.
    """
    with tenant_or_platform_scope(tenant_id):
        return claim_chosen(operation_id=operation_id, tenant_id=tenant_id, lease_seconds=lease_seconds)


def claim_chosen(
    *, operation_id: uuid.UUID, tenant_id: uuid.UUID | None, lease_seconds: float | None = None
) -> Run | None:
    """As ``claim``, in the caller's scope."""
    lease = lease_seconds if lease_seconds is not None else settings.LEASE_SECONDS
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [WORKER_NAME, lease, operation_id, tenant_id])
        row = cursor.fetchone()
    if row is None:
        return None
    if row[0] != OperationStatus.RUNNING:
        publish_ending(operation_id)
        return None
    return Run(Operation.objects.get(pk=operation_id), lease_seconds=lease)


def drive(*, operation_id: uuid.UUID, tenant_id: uuid.UUID | None, lease_seconds: float | None = None) -> str | None:
    """Claim an operation and carry it as far as it goes; its status afterwards, or None if it was not ours to take."""
    run = claim(operation_id=operation_id, tenant_id=tenant_id, lease_seconds=lease_seconds)
    return carry(run) if run is not None else None


def carry(run: Run) -> str | None:
    """Carry a claimed operation as far as it goes; its status afterwards, or None if it was taken away from us."""
    tenant_id = run.tenant_id_or_none
    asked_in = context.ActionContext.from_dict(run.operation.context)
    acting, session = replace(asked_in, operation_id=run.operation.pk, source="task"), None
    if asked_in.session_id is not None and tenant_id is not None:
        session = InForce(asked_in.session_id, tenant_id, support.WRITE)
        if run.has_begun and _has_fallen(session):
            # Its end is a wish to cancel; what was begun in its name is put back by the console.
            run.cancel_requested.set()
            acting, session = replace(acting, **CONSOLE), None
    token = context.set_current(acting)
    held = support.set_current(session)
    heart = LeaseHeartbeat(run.lease, tenant_id=tenant_id, name=str(run.operation.pk))
    heart.start()
    try:
        checkpoint("operation:claimed")
        ending = _carry_out(run)
    finally:
        heart.stop()
        if run.lost.is_set():
            run.lease.release()
        support.reset(held)
        context.reset(token)
    return ending


def _has_fallen(session: InForce) -> bool:
    with support.in_force(session):
        try:
            refuse_fallen_session()
        except SupportEnded:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """How a run leaves its operation: ended, parked, or to be taken up again."""

    status: OperationStatus
    result: Any = None
    error: OpsError | None = None
    #: A worker that was asked to stop gives its attempt back.
    counts_attempt: bool = True
    #: None: after the engine's own pause.
    retry_after_seconds: float | None = None


def _carry_out(run: Run) -> str | None:
    handler = handler_for(run.operation.kind)
    try:
        if handler is None:
            raise OpsError(f"This version knows no work of the kind “{run.operation.kind}”.")
        ending = _Ending(status=OperationStatus.COMPLETED, result=handler.run(run))
    except LeaseLost:
        logger.info("operation taken over or ended by hand", extra={"operation": str(run.operation.pk)})
        return None
    except Exception as error:  # noqa: BLE001 -- told apart below, where the unexpected is logged
        ending = _ending_of(run, error)
    return _end(run, ending)


def _ending_of(run: Run, error: Exception) -> _Ending:
    """What a failure means for the operation."""
    match error:
        case WorkerStopping():
            # Not PENDING: that is for what was never begun, and may be cancelled without putting anything back.
            return _Ending(status=OperationStatus.RETRY_PENDING, counts_attempt=False)
        case Cancelled():
            return _Ending(status=OperationStatus.CANCELLED)
        case SupportEnded():
            # Ended between two steps, where nobody heeded it: the next attempt puts back what was begun.
            return _later(run, error) if run.has_begun else _Ending(status=OperationStatus.CANCELLED, error=error)
        case UnknownOutcome():
            return _Ending(status=OperationStatus.PARKED, error=error)
        case OpsError():
            return _Ending(status=OperationStatus.FAILED, error=error)
        case TryAgain():
            logger.warning("operation is not finished", exc_info=error, extra={"operation": str(run.operation.pk)})
            return _later(run, Unfinished(str(error)[:1000]), after_seconds=error.after_seconds)
    logger.error("operation met an unexpected failure", exc_info=error, extra={"operation": str(run.operation.pk)})
    # A database's own words hold the statement and rows of it: they are for the log alone.
    words = "" if isinstance(error, DatabaseError) else f": {error}"
    return _later(run, named(error) or OpsError(f"Unexpected: {type(error).__name__}{words}"[:1000]))


def _later(run: Run, error: OpsError, *, after_seconds: float | None = None) -> _Ending:
    status = OperationStatus.PARKED if run.is_last_attempt else OperationStatus.RETRY_PENDING
    return _Ending(status=status, error=error, retry_after_seconds=after_seconds)


def _end(run: Run, ending: _Ending) -> str | None:
    changes = _changes(run.operation, ending)
    checkpoint("operation:before-end")
    try:
        with support.suspended(), run.fenced():
            Operation.objects.filter(pk=run.operation.pk).update(**changes)
            if ending.status in ENDED:
                tell_ended(Operation.objects.get(pk=run.operation.pk))
            if ending.status in (OperationStatus.FAILED, OperationStatus.PARKED):
                publish_ending(run.operation.pk)
    except LeaseLost:
        return None
    checkpoint("operation:after-end")
    return str(ending.status)


def _changes(operation: Operation, ending: _Ending) -> dict[str, Any]:
    now = clock.now()
    changes: dict[str, Any] = {
        "status": ending.status,
        "updated_at": now,
        "lease_owner": "",
        "lease_expires_at": None,
    }
    if ending.status in ENDED:
        changes["ended_at"] = now
    if not ending.counts_attempt:
        changes["attempt"] = max(0, operation.attempt - 1)
    elif ending.status == OperationStatus.RETRY_PENDING:
        changes["run_after"] = now + timedelta(seconds=_pause_seconds(operation, ending))
    if ending.result is not None:
        changes["result"] = ending.result
    return changes | _error_columns(ending)


def _pause_seconds(operation: Operation, ending: _Ending) -> float:
    if ending.retry_after_seconds is not None:
        return ending.retry_after_seconds
    return RETRY_DELAYS_SECONDS[min(operation.attempt, len(RETRY_DELAYS_SECONDS)) - 1]


def _error_columns(ending: _Ending) -> dict[str, Any]:
    error = ending.error
    if error is not None:
        return {"error_code": error.code, "error_message": error.message, "error_details": error.to_dict()}
    if ending.status == OperationStatus.COMPLETED:
        return {"error_code": "", "error_message": "", "error_details": None, "progress_done": F("progress_total")}
    return {}
