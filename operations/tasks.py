"""Celery's doors: one call each. Arguments are ids; running one twice does no harm."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down

from . import admission, engine, services


@shared_task(name="operations.tasks.drive")
def drive(operation_id: str, tenant_id: str | None) -> None:
    """Carry on the job whose turn it is. Its ids are only why somebody was woken: others may come first.

    A job that has ended may have made room: the next one is announced.
    """
    run = admission.take()
    if run is None:
        return
    engine.carry(run)
    if not engine.stopping.is_set() and (following := admission.next_one()) is not None:
        services.wake(operation_id=following[0], tenant_id=following[1])


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
