"""The durable engine: claims an operation, runs its handler, survives anything.

Every write carries the operation's fence: the same statement that renews the lease proves that nobody else has taken
over and that nobody ended the row by hand. What a handler works with stands in ``operations.run``. See docs/adr/0003.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F

from core import clock, context, support
from core.errors import OpsError
from core.support import InForce, SupportEnded
from tenants.scope import place_scope, refuse_fallen_session

from .domain_events import publish_ending
from .errors import Cancelled, LeaseLost, TryAgain, Unfinished, UnknownOutcome
from .handlers import checkpoint, handler_for
from .models import Operation, OperationStatus
from .run import CONSOLE, Run, WorkerStopping, stopping

__all__ = ["RETRY_DELAYS_SECONDS", "WORKER_NAME", "Run", "WorkerStopping", "claim", "drive", "stopping"]

logger = logging.getLogger(__name__)

WORKER_NAME = f"{socket.gethostname()}:{os.getpid()}"
RETRY_DELAYS_SECONDS = (1, 5, 15, 60)


class LeaseHeartbeat(threading.Thread):
    """Renews the lease beside the work, on a connection of its own."""

    def __init__(self, run: Run) -> None:
        super().__init__(name=f"heart-{run.operation.pk}", daemon=True)
        self._target_run = run
        self._stop_beating = threading.Event()

    def run(self) -> None:
        interval = min(self._target_run.lease_seconds / 3, 2.0)
        lease_ends = clock.now().timestamp() + self._target_run.lease_seconds
        try:
            while not self._stop_beating.wait(interval):
                try:
                    self._target_run.heartbeat()
                    lease_ends = clock.now().timestamp() + self._target_run.lease_seconds
                except LeaseLost:
                    return
                except Exception:
                    logger.warning("heartbeat failed", exc_info=True)
                    connection.close()
                    if clock.now().timestamp() > lease_ends:
                        # The database cannot be reached: by now somebody else may hold the operation.
                        self._target_run.lost.set()
                        return
        finally:
            connection.close()

    def stop(self) -> None:
        self._stop_beating.set()
        self.join(timeout=10)


def claim(*, operation_id: uuid.UUID, tenant_id: uuid.UUID | None, lease_seconds: float | None = None) -> Run | None:
    """Take an operation that waits or whose worker is gone; None if there is nothing to take.

    ``tenant_id`` is the operation's own, None for the platform's: another place's operation is not there to take.

    The attempt is counted here, before the try; past ``max_attempts`` the operation is parked for a person.
    """
    lease = lease_seconds if lease_seconds is not None else settings.LEASE_SECONDS
    with place_scope(tenant_id):
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE background_jobs SET"
                " status = CASE WHEN attempt >= max_attempts THEN 'PARKED' ELSE 'RUNNING' END,"
                " fence = fence + 1, attempt = least(attempt + 1, max_attempts), lease_owner = %s,"
                " lease_expires_at = clock_timestamp() + make_interval(secs => %s), heartbeat_at = clock_timestamp(),"
                " started_at = coalesce(started_at, clock_timestamp()), updated_at = clock_timestamp(),"
                " error_code = CASE WHEN attempt >= max_attempts THEN 'OPERATION_PARKED' ELSE error_code END,"
                " error_message = CASE WHEN attempt >= max_attempts THEN"
                "   'Tried ' || CASE attempt WHEN 1 THEN 'once' ELSE attempt || ' times' END ||"
                "   ' without an end; a person must look.' ELSE error_message END"
                " WHERE id = %s AND tenant_id IS NOT DISTINCT FROM %s AND ((status IN ('PENDING', 'RETRY_PENDING')"
                "   AND (run_after IS NULL OR run_after <= clock_timestamp()))"
                "  OR (status = 'RUNNING' AND lease_expires_at < clock_timestamp()))"
                " RETURNING status",
                [WORKER_NAME, lease, operation_id, tenant_id],
            )
            row = cursor.fetchone()
        if row is None:
            return None
        if row[0] != OperationStatus.RUNNING:
            publish_ending(operation_id)
            return None
        operation = Operation.objects.get(pk=operation_id)
    return Run(operation, lease_seconds=lease)


def drive(*, operation_id: uuid.UUID, tenant_id: uuid.UUID | None, lease_seconds: float | None = None) -> str | None:
    """Claim an operation and carry it as far as it goes; its status afterwards, or None if it was not ours to take."""
    run = claim(operation_id=operation_id, tenant_id=tenant_id, lease_seconds=lease_seconds)
    if run is None:
        return None
    said = context.ActionContext.from_dict(run.operation.context)
    acting, session = replace(said, operation_id=run.operation.pk, source="task"), None
    if said.session_id is not None and tenant_id is not None:
        session = InForce(said.session_id, tenant_id, support.WRITE, over=run.cancel_requested)
        if run.has_begun and _has_fallen(session):
            # Its end is a wish to cancel; what was begun in its name is put back by the console.
            run.cancel_requested.set()
            acting, session = replace(acting, **CONSOLE), None
    token = context.set_current(acting)
    held = support.set_current(session)
    heart = LeaseHeartbeat(run)
    heart.start()
    try:
        checkpoint("operation:claimed")
        ending = _carry_out(run)
    finally:
        heart.stop()
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


def _carry_out(run: Run) -> str | None:
    handler = handler_for(run.operation.kind)
    try:
        if handler is None:
            raise OpsError(f"This version knows no work of the kind “{run.operation.kind}”.")
        result = handler.run(run)
    except LeaseLost:
        logger.info("operation taken over or ended by hand", extra={"operation": str(run.operation.pk)})
        return None
    except WorkerStopping:
        # Not PENDING: that is for what was never begun, and may be cancelled without putting anything back.
        return _end(run, OperationStatus.RETRY_PENDING, give_back=True)
    except Cancelled:
        return _end(run, OperationStatus.CANCELLED)
    except SupportEnded as error:
        # Ended between two steps, where nobody heeded it: the next attempt puts back what was begun.
        return _later(run, error) if run.has_begun else _end(run, OperationStatus.CANCELLED, error=error)
    except UnknownOutcome as error:
        return _end(run, OperationStatus.PARKED, error=error)
    except OpsError as error:
        return _end(run, OperationStatus.FAILED, error=error)
    except TryAgain as error:
        logger.warning("operation is not finished", exc_info=True, extra={"operation": str(run.operation.pk)})
        return _later(run, Unfinished(str(error)[:1000]), after_seconds=error.after_seconds)
    except Exception as error:
        logger.exception("operation met an unexpected failure", extra={"operation": str(run.operation.pk)})
        # A database's own words hold the statement and rows of it: they are for the log alone.
        words = "" if isinstance(error, DatabaseError) else f": {error}"
        return _later(run, OpsError(f"Unexpected: {type(error).__name__}{words}"[:1000]))
    return _end(run, OperationStatus.COMPLETED, result=result)


def _later(run: Run, error: OpsError, *, after_seconds: float | None = None) -> str | None:
    status = OperationStatus.PARKED if run.is_last_attempt else OperationStatus.RETRY_PENDING
    return _end(run, status, error=error, after_seconds=after_seconds)


def _end(
    run: Run,
    status: OperationStatus,
    *,
    result: Any = None,
    error: OpsError | None = None,
    give_back: bool = False,
    after_seconds: float | None = None,
) -> str | None:
    now = clock.now()
    delay = after_seconds
    if delay is None:
        delay = RETRY_DELAYS_SECONDS[min(run.operation.attempt, len(RETRY_DELAYS_SECONDS)) - 1]
    changes: dict[str, Any] = {"status": status, "updated_at": now, "lease_owner": "", "lease_expires_at": None}
    if status in (OperationStatus.COMPLETED, OperationStatus.FAILED, OperationStatus.CANCELLED):
        changes |= {"ended_at": now}
    if give_back:
        changes["attempt"] = max(0, run.operation.attempt - 1)
    elif status == OperationStatus.RETRY_PENDING:
        changes["run_after"] = now + timedelta(seconds=delay)
    if result is not None:
        changes["result"] = result
    if error is not None:
        changes |= {"error_code": error.code, "error_message": error.message, "error_details": error.to_dict()}
    elif status == OperationStatus.COMPLETED:
        changes |= {"error_code": "", "error_message": "", "error_details": None, "progress_done": F("progress_total")}
    checkpoint("operation:before-end")
    try:
        with support.suspended(), run.fenced():
            Operation.objects.filter(pk=run.operation.pk).update(**changes)
            if status in (OperationStatus.FAILED, OperationStatus.PARKED):
                publish_ending(run.operation.pk)
    except LeaseLost:
        return None
    checkpoint("operation:after-end")
    return str(status)
