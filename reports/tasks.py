"""What beat wakes. Running it twice does no harm."""

from __future__ import annotations

from celery import shared_task

from . import services


@shared_task(name="reports.tasks.tidy")
def tidy() -> None:
    """Every hour: files past their time go."""
    services.remove_old_files()
