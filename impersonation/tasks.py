"""Celery entry points, one call each."""

from __future__ import annotations

from celery import shared_task

from . import services


@shared_task(name="impersonation.tasks.settle")
def settle() -> None:
    """Every few seconds: end sessions whose time is over and record ends made by hand in SQL."""
    services.end_overdue()
