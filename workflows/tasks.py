"""Celery's entry points of this app, found here by the worker. Arguments are ids; running one twice does no harm."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from .executions import services
from .executions.tasks import read_executions
from .watching import waking
from .watching.tasks import look_at_watched

__all__ = ["keep_executions_read", "keep_watch", "look_at_watched", "read_executions"]


@shared_task(name="workflows.tasks.keep_executions_read")
def keep_executions_read() -> None:
    """Every few seconds: a worker for each environment whose executions are due to be read."""
    if settings.EXECUTIONS_EVERY_SECONDS > 0:
        services.wake_due()


@shared_task(name="workflows.tasks.keep_watch")
def keep_watch() -> None:
    """Every few seconds: a worker for each environment with published workflows that are not proven to start."""
    waking.wake_due()
