"""For the demo: long work carried through in this process."""

from __future__ import annotations

import time

from . import engine
from .models import Operation
from .services import get_operation

PATIENCE_SECONDS = 60


class DemoFailedError(RuntimeError):
    """A step of the demo ended otherwise than it should."""


def carry(operation: Operation, *, ends: str = "COMPLETED") -> Operation:
    """Carry an operation through, or wait for the worker that took it. Raises ``DemoFailedError``."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        ended = engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
        found = get_operation(tenant_id=operation.tenant_id, operation_id=operation.pk)
        if ended or not found.is_open:
            break
        if time.monotonic() > deadline:
            raise DemoFailedError(f"“{operation.title}” is {found.status} still.")
        time.sleep(0.2)
    if found.status != ends:
        raise DemoFailedError(f"“{found.title}” ended as {found.status}, not {ends}: {found.error_message}")
    return found
