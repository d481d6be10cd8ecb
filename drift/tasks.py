"""Celery tasks: one call each."""

from __future__ import annotations

from celery import shared_task

from . import scheduling


@shared_task(name="drift.tasks.keep_schedules")
def keep_schedules() -> None:
    """Every minute: each environment has its check, and switches thrown by hand take effect."""
    scheduling.keep_schedules()
