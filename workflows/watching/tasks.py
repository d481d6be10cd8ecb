"""Celery's entry to looking at watched starters."""

from __future__ import annotations

import contextlib
import uuid

from celery import shared_task

from core.errors import OpsError

from . import services


@shared_task(name="workflows.tasks.look_at_watched")
def look_at_watched(tenant_id: str, environment_id: str) -> None:
    """One round in one environment, with mail about what is bad. An n8n that cannot be asked now is asked later."""
    with contextlib.suppress(OpsError):
        services.look(uuid.UUID(tenant_id), uuid.UUID(environment_id))
