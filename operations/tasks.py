"""Celery's doors: one call each. Arguments are ids; running one twice does no harm."""

from __future__ import annotations

import uuid
from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down

from . import engine, services


@shared_task(name="operations.tasks.drive")
def drive(operation_id: str, tenant_id: str | None) -> None:
    """Carry an operation as far as it goes; one without a tenant is the platform's."""
    engine.drive(operation_id=uuid.UUID(operation_id), tenant_id=uuid.UUID(tenant_id) if tenant_id else None)


@shared_task(name="operations.tasks.reap")
def reap() -> None:
    """Every few seconds: wake what was dropped and start what is due."""
    found = services.reap()
    started = services.run_due_schedules()
    services.beat(name="reaper", details={"woken": found, "started": started, "worker": engine.WORKER_NAME})


@worker_shutting_down.connect
def hand_back(**_signal: Any) -> None:
    """SIGTERM: running work stops at its next boundary and goes back to the queue."""
    engine.stopping.set()
