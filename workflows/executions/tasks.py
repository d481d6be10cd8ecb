"""Celery's entry to reading executions."""

from __future__ import annotations

import contextlib
import uuid

from celery import shared_task

from core.errors import OpsError
from workflows.gateway import environment_by_id

from . import collecting


@shared_task(name="workflows.tasks.read_executions")
def read_executions(tenant_id: str, environment_id: str) -> None:
    """One round in one environment. A failure is on its feed, with the time of the next try."""
    with contextlib.suppress(OpsError):
        collecting.collect(environment_by_id(uuid.UUID(tenant_id), environment_id))
