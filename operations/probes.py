"""Whether work is taken up: the broker answers, workers and beat are alive, no job is stuck."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.conf import settings

from core import clock
from tenants.scope import platform_scope

from . import selectors
from .models import Heartbeat


def broker() -> dict[str, Any]:
    with current_app.connection_for_write() as link:
        link.ensure_connection(max_retries=1, timeout=2)
        channel = link.default_channel
        client = getattr(channel, "client", None)
        queues = current_app.conf.task_queues or ()
        lengths = {q.name: int(client.llen(q.name)) for q in queues} if client is not None else {}
    return {"status": "ok", "queues": lengths}


def workers() -> dict[str, Any]:
    """Beat and at least one worker are alive when the reaper left a sign of life of late."""
    beat = Heartbeat.objects.filter(name="reaper").first()
    if beat is None:
        return {"status": "unknown", "message": "No worker has reported yet."}
    age = (clock.now() - beat.seen_at).total_seconds()
    late = age > settings.REAPER_INTERVAL_SECONDS * 4 + settings.LEASE_SECONDS
    return {"status": "failed" if late else "ok", "age_seconds": round(age, 1), "last_seen_at": beat.seen_at}


def jobs() -> dict[str, Any]:
    with platform_scope():
        counts = selectors.status_counts()
        failed = selectors.failed_of_late()
    found = {"status": "failed" if counts["stuck"] or counts["standing_still"] else "ok", **counts}
    if still := counts["standing_still"]:
        found["message"] = f"{still} running job{'' if still == 1 else 's'} of live workers stood still for 30 minutes."
    return {**found, "failed_last_24_hours": failed}
