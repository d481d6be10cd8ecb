"""Celery's doors: one call each. Running one twice does no harm."""

from __future__ import annotations

import uuid

from celery import shared_task

from . import services


@shared_task(name="reports.tasks.make")
def make(run_id: str) -> None:
    """Carry a report as far as it goes."""
    services.carry(uuid.UUID(run_id))


@shared_task(name="reports.tasks.tick")
def tick() -> None:
    """Every minute: ask for what is due, wake what was dropped."""
    services.tick()


@shared_task(name="reports.tasks.tidy")
def tidy() -> None:
    """Every hour: files past their time go."""
    services.remove_old_files()
