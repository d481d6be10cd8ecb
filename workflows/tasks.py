"""Celery's doors: one call each. Arguments are ids; running one twice does no harm."""

from __future__ import annotations

import contextlib
import uuid

from celery import shared_task
from django.conf import settings

from core.errors import OpsError

from .executions import collecting, services
from .gateway import environment_by_id
from .watching import services as watching


@shared_task(name="workflows.tasks.keep_executions_read")
def keep_executions_read() -> None:
    """Every few seconds: environments whose executions are due to be read get a reader."""
    if settings.EXECUTIONS_EVERY_SECONDS > 0:
        services.wake_due()


@shared_task(name="workflows.tasks.read_executions")
def read_executions(tenant_id: str, environment_id: str) -> None:
    """One round in one environment. What goes wrong stands on its feed, with when it is tried again."""
    with contextlib.suppress(OpsError):
        collecting.collect(environment_by_id(uuid.UUID(tenant_id), environment_id))


@shared_task(name="workflows.tasks.keep_watch")
def keep_watch() -> None:
    """Every few seconds: environments where what was published waits to be proven get somebody who looks."""
    watching.wake_due()


@shared_task(name="workflows.tasks.look_at_watched")
def look_at_watched(tenant_id: str, environment_id: str) -> None:
    """One round in one environment, and people told of what is bad. What cannot be asked now is asked later."""
    with contextlib.suppress(OpsError):
        watching.look(uuid.UUID(tenant_id), uuid.UUID(environment_id))
