"""Whether work is taken up: the broker answers, workers and beat are alive, no job is stuck."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

from celery import current_app
from django.conf import settings
from django.db.models import Min

from core import clock
from tenants.scope import platform_scope

from . import selectors
from .models import Heartbeat, Schedule

LEAST_FREE_BYTES = 500 * 1024 * 1024
#: Beat looks every few seconds; a busy one is late by less than this.
SCHEDULE_MISSED_AFTER = timedelta(minutes=2)


def broker() -> dict[str, Any]:
    with current_app.connection_for_write() as link:
        link.ensure_connection(max_retries=1, timeout=2)
        channel = link.default_channel
        client = getattr(channel, "client", None)
        queues = current_app.conf.task_queues or ()
        lengths = {q.name: int(client.llen(q.name)) for q in queues} if client is not None else {}
    return {"status": "ok", "queues": lengths}


WORKERS_ANSWER_WITHIN_SECONDS = 0.7


def workers() -> dict[str, Any]:
    """Beat and at least one worker are alive when the reaper left a sign of life of late."""
    found = _last_sign_of_life()
    if found["status"] == "failed":
        found["message"] = "No scheduled work has been taken up of late: workers or the scheduler (beat) do not run."
    return found


def beat() -> dict[str, Any]:
    """Tells a scheduler that stands still from workers that do: are there workers that wait for its word?"""
    found = _last_sign_of_life()
    if found["status"] == "ok":
        return found
    answers = current_app.control.ping(timeout=WORKERS_ANSWER_WITHIN_SECONDS)
    if not answers:
        return {**found, "status": "unknown", "message": "No worker answers, so nobody could hear it."}
    return {**found, "status": "failed", "message": f"{len(answers)} workers answer, and are sent nothing to do."}


def _last_sign_of_life() -> dict[str, Any]:
    reaper = Heartbeat.objects.filter(name="reaper").first()
    if reaper is None:
        return {"status": "unknown", "message": "No worker has reported yet."}
    age = (clock.now() - reaper.seen_at).total_seconds()
    late = age > settings.REAPER_INTERVAL_SECONDS * 4 + settings.LEASE_SECONDS
    return {"status": "failed" if late else "ok", "age_seconds": round(age, 1), "last_seen_at": reaper.seen_at}


def schedules() -> dict[str, Any]:
    """How many schedules run, and how many should have begun and have not."""
    now = clock.now()
    with platform_scope(read_only=True):
        running = Schedule.objects.filter(is_enabled=True)
        missed = running.filter(next_run_at__lte=now - SCHEDULE_MISSED_AFTER)
        counts = running.count(), missed.count(), Schedule.objects.filter(is_enabled=False).count()
        longest = missed.aggregate(first=Min("next_run_at"))["first"]
    enabled, late, stopped = counts
    message = f"{late} of {enabled} should have begun." if late else f"{enabled} run, {stopped} are switched off."
    return {
        "status": "failed" if late else "ok",
        "message": message,
        "running": enabled,
        "missed": late,
        "switched_off": stopped,
        "longest_late_seconds": round((now - longest).total_seconds(), 1) if longest else 0,
    }


def disk() -> dict[str, Any]:
    """Whether the console's own folder has room: reports, mail, uploads, and on one machine the database."""
    usage = shutil.disk_usage(settings.HOME if settings.HOME.exists() else settings.HOME.parent)
    is_full = usage.free < LEAST_FREE_BYTES
    message = f"{usage.used * 100 // usage.total} % of the console's disk is used."
    return {"status": "failed" if is_full else "ok", "message": message, "free_bytes": usage.free}


def jobs() -> dict[str, Any]:
    with platform_scope():
        counts = selectors.status_counts()
        failed = selectors.failed_of_late()
    return {"status": "failed" if counts["stuck"] else "ok", **counts, "failed_last_24_hours": failed}
