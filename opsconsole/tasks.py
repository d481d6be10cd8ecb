"""Celery tasks: one call each."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings


@shared_task(name="opsconsole.tasks.keep_demo_fresh")
def keep_demo_fresh() -> None:
    """Every minute, and in the demo only."""
    if settings.MODE == "demo":
        from .demo.fresh import keep_fresh

        keep_fresh()
