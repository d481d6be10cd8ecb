"""Celery's doors to the trail; running one twice does no harm."""

from __future__ import annotations

from celery import shared_task

from .services import make_partitions


@shared_task(name="audit.tasks.partitions")
def partitions() -> None:
    """Every hour: months ahead have their partition before their first entry."""
    make_partitions()
