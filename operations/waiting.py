"""Calls that wait for a job to end: bounded in time and number, and holding nothing while they wait."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

from core import connections, context, pacing
from core.slots import Slots
from tenants.scope import refuse_fallen_session

from . import services
from .models import Operation

LONGEST_WAIT_SECONDS = 55.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5

#: How many calls may wait at a time in one process, for one tenant and for one person. Each is a thread.
MOST_IN_ALL, MOST_OF_TENANT, MOST_OF_PERSON = 100, 20, 8

_waiting = Slots()


def _limits(tenant_id: uuid.UUID | None) -> dict[str, int]:
    acting = context.current()
    person = acting.acting_as_id or acting.actor_id
    return {"all": MOST_IN_ALL, f"tenant {tenant_id}": MOST_OF_TENANT, f"person {person}": MOST_OF_PERSON}


def wait_until(is_over: Callable[[], bool], *, tenant_id: uuid.UUID | None, seconds: float) -> None:
    """Ask ``is_over`` again and again for at most ``seconds``, and never longer than 55.

    Returns at once where too many calls wait already. Raises ``SupportEnded`` within a second where a support session
    waits and is ended meanwhile.
    """
    deadline = time.monotonic() + min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)
    pause = _FIRST_PAUSE_SECONDS
    with _waiting.held(_limits(tenant_id)) as may_wait:
        while may_wait and time.monotonic() < deadline and not is_over():
            refuse_fallen_session()
            connections.release()
            pacing.step_aside()
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_SECONDS)


def wait_for(operation: Operation, seconds: float) -> Operation:
    """The operation once it has ended or parked, or as it is when the time is over; see ``wait_until``."""
    current = operation

    def is_over() -> bool:
        nonlocal current
        current = services.get_operation(tenant_id=operation.tenant_id, operation_id=operation.pk)
        return current.status not in ("PENDING", "RUNNING", "RETRY_PENDING")

    if operation.status in ("PENDING", "RUNNING", "RETRY_PENDING"):
        wait_until(is_over, tenant_id=operation.tenant_id, seconds=seconds)
    return current
