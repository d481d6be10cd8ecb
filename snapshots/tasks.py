"""Celery's doors: one call each."""

from __future__ import annotations

from celery import shared_task

from . import care


@shared_task(name="snapshots.tasks.keep_schedules")
def keep_schedules() -> None:
    """Every hour: each tenant's Git store has somebody to look after it."""
    care.keep_schedules()
