"""A worker's lease of one operation: the fence that every write carries, and the lock that outlives a stop.

The lease stands in the operation's row. A row that was ended by hand while requests were under way keeps its lease
until the worker knows what became of them; until then nobody else gets its ``exclusive_key`` (see docs/adr/0003).
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import Any

from django.db import DatabaseError, connection

from core import clock, support
from tenants.scope import tenant_or_platform_scope

from .errors import LeaseLost
from .models import Operation

logger = logging.getLogger(__name__)

#: For how long a job may send on before it asks again whether it was stopped.
CONFIRMED_SECONDS = 0.2

#: Runbooks take a running job for stuck whose ``updated_at`` is old. What watches a job is not woken at each beat.
_SIGN_OF_LIFE = (
    "CASE WHEN updated_at < clock_timestamp() - interval '10 seconds' THEN clock_timestamp() ELSE updated_at END"
)
_UNTIL = "clock_timestamp() + make_interval(secs => %s)"
#: A row that somebody ended, or sent back to the queue, while its worker was at work.
_STOPPED = "id = %s AND fence = %s AND status <> 'RUNNING' AND lease_owner <> ''"


class Lease:
    """Safe to share between threads. Statements run in the caller's scope unless they say that they open their own."""

    def __init__(self, operation: Operation, *, seconds: float) -> None:
        self.seconds = seconds
        self.lost = threading.Event()
        self.cancel_requested = threading.Event()
        if operation.cancel_requested_at is not None:
            self.cancel_requested.set()
        self.fence = operation.fence
        self._operation_id, self._tenant_id = operation.pk, operation.tenant_id
        self._progress: tuple[int, int, str] | None = None
        self._phase = (clock.now(), 0)
        self._lock, self._asking = threading.Lock(), threading.Lock()
        self._confirmed_at = time.monotonic()
        self._thread = threading.get_ident()

    def report(self, done: int, total: int, note: str) -> None:
        """How far the work is; written with the next renewal.

        A phase is over where less is done than before, or where both the total and the words change: the rate is that
        of one phase, as reading says nothing of how long writing takes.
        """
        with self._lock:
            before, self._progress = self._progress, (done, total, note[:200])
            if before is None or done < before[0] or (total != before[1] and note[:200] != before[2]):
                self._phase = (clock.now(), done)

    def renew(self) -> None:
        """Renew in the caller's transaction, which commits only while the operation is held. Raises ``LeaseLost``."""
        asked_at = time.monotonic()
        with self._lock:
            progress, phase = self._progress, self._phase
        values: list[Any] = [self.seconds]
        sets = f"heartbeat_at = clock_timestamp(), lease_expires_at = {_UNTIL}"
        if progress is not None:
            sets += (
                ", progress_done = %s, progress_total = %s, progress_note = %s, progress_since = %s,"
                " progress_from = %s, updated_at = clock_timestamp()"
            )
            values = [*values, *progress, *phase]
        else:
            sets += f", updated_at = {_SIGN_OF_LIFE}"
        self._learn(
            f"UPDATE background_jobs SET {sets} WHERE id = %s AND fence = %s AND status = 'RUNNING'"  # noqa: S608
            " RETURNING cancel_requested_at IS NOT NULL",
            values,
            asked_at,
        )

    def confirm(self) -> None:
        """Raise ``LeaseLost`` unless the operation was held a moment ago; opens a scope of its own if it must ask.

        One answer serves every thread that waits for it. A database that cannot be asked stops nobody before the lease
        runs out: until then nobody else can have taken the lock.
        """
        with self._asking:
            if self.lost.is_set():
                raise LeaseLost
            asked_at = time.monotonic()
            if asked_at - self._confirmed_at < CONFIRMED_SECONDS:
                return
            try:
                with support.suspended(), tenant_or_platform_scope(self._tenant_id):
                    self._learn(
                        "SELECT cancel_requested_at IS NOT NULL FROM background_jobs"
                        " WHERE id = %s AND fence = %s AND status = 'RUNNING'",
                        [],
                        asked_at,
                    )
            except DatabaseError:
                connection.close()
                if asked_at - self._confirmed_at > self.seconds:
                    raise
                logger.warning("could not ask whether a job was stopped", exc_info=True)
            finally:
                if threading.get_ident() != self._thread:
                    connection.close()

    def _learn(self, statement: str, values: list[Any], asked_at: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement, [*values, self._operation_id, self.fence])
            row = cursor.fetchone()
        if row is None:
            self.lost.set()
            raise LeaseLost
        self._confirmed_at = asked_at
        if row[0]:
            self.cancel_requested.set()

    # -- after a stop by hand -------------------------------------------------------------------------------------

    def keep(self) -> bool:
        """Keep the lock of an operation that was stopped, in the caller's scope; False where it is no longer ours."""
        return self._change_stopped(f"lease_expires_at = {_UNTIL}", [self.seconds])

    def release(self) -> None:
        """Let go of an operation that was stopped, once nothing of it is under way; opens a scope of its own."""
        with support.suspended(), tenant_or_platform_scope(self._tenant_id):
            self._change_stopped("lease_owner = '', lease_expires_at = NULL, updated_at = clock_timestamp()", [])

    def _change_stopped(self, sets: str, values: list[Any]) -> bool:
        with connection.cursor() as cursor:
            statement = f"UPDATE background_jobs SET {sets} WHERE {_STOPPED}"  # noqa: S608
            cursor.execute(statement, [*values, self._operation_id, self.fence])
            return bool(cursor.rowcount)


class LeaseHeartbeat(threading.Thread):
    """Renews the lease beside the work, on a connection of its own; after a stop it keeps the lock."""

    def __init__(self, lease: Lease, *, tenant_id: uuid.UUID | None, name: str) -> None:
        super().__init__(name=f"heartbeat-{name}", daemon=True)
        self._lease, self._tenant_id = lease, tenant_id
        self._stop_beating = threading.Event()

    def run(self) -> None:
        interval = min(self._lease.seconds / 3, 2.0)
        renewed_at = time.monotonic()
        try:
            while not self._stop_beating.wait(interval):
                try:
                    if not self._beat():
                        return
                    renewed_at = time.monotonic()
                except Exception:
                    logger.warning("heartbeat failed", exc_info=True)
                    connection.close()
                    if time.monotonic() - renewed_at > self._lease.seconds:
                        # The database cannot be reached: by now somebody else may hold the operation.
                        self._lease.lost.set()
                        return
        finally:
            connection.close()

    def _beat(self) -> bool:
        with tenant_or_platform_scope(self._tenant_id):
            try:
                self._lease.renew()
            except LeaseLost:
                return self._lease.keep()
        return True

    def stop(self) -> None:
        self._stop_beating.set()
        self.join(timeout=10)
