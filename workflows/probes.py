"""Whether the n8n instances can be read, as the console last found them: asking each one now would take too long."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.conf import settings
from django.db.models import Count, Q

from core import clock
from tenants.scope import platform_scope

from .models import ConnectionStatus, Environment, ExecutionFeed

#: The gravest first; the counts are whole.
SHOWN = 200


def instances() -> dict[str, Any]:
    """Reachability, version and latency of each n8n, by its environment's id: its name and address are not for all.

    ``failed`` where one in use does not answer, ``unknown`` where one was never asked or not for three rounds.
    """
    with platform_scope(read_only=True):
        rows = Environment.objects.filter(is_archived=False).exclude(api_key_encrypted="")
        feeds = {feed.environment_id: feed for feed in ExecutionFeed.objects.filter(environment__in=rows)}
        found = [
            _instance(row, feeds.get(row.pk)) for row in rows.only("id", "kind", "connection_status", "n8n_version")
        ]
    states = Counter(one["status"] for one in found)
    found.sort(key=lambda one: (one["status"] == "ok", one["kind"] != "production", str(one["environment_id"])))
    return {
        "status": "failed" if states["failed"] else "unknown" if states["unknown"] else "ok",
        "message": _sentence(states),
        "instances_reached": states["ok"],
        "instances_failed": states["failed"],
        "instances_unknown": states["unknown"],
        "instances": found[:SHOWN],
    }


def _instance(environment: Environment, feed: ExecutionFeed | None) -> dict[str, Any]:
    age = (clock.now() - feed.read_at).total_seconds() if feed is not None and feed.read_at else None
    return {
        "environment_id": environment.pk,
        "kind": environment.kind,
        "status": _status(environment, feed, age),
        "version": environment.n8n_version or None,
        "latency_ms": feed.answer_ms if feed is not None else None,
        "age_seconds": None if age is None else round(age, 1),
    }


def _status(environment: Environment, feed: ExecutionFeed | None, age: float | None) -> str:
    if environment.connection_status == ConnectionStatus.FAILED or (feed is not None and feed.failures > 0):
        return "failed"
    late = max(60, settings.EXECUTIONS_EVERY_SECONDS) * 3
    return "unknown" if age is None or age > late else "ok"


def _sentence(states: Counter[str]) -> str:
    if not states:
        return "No n8n is connected."
    told = f"{states['ok']} of {sum(states.values())} reached"
    missing = [
        f"{states[name]} {word}"
        for name, word in (("failed", "not reached"), ("unknown", "not asked of late"))
        if states[name]
    ]
    return ", ".join([told, *missing]) + "."


def production() -> dict[str, Any]:
    """Whether what production holds could be read the last time that the console tried."""
    with platform_scope(read_only=True):
        rows = Environment.objects.filter(kind="production", is_archived=False)
        unread = Q(connection_status=ConnectionStatus.FAILED) | Q(last_capture_error__isnull=False)
        counted = rows.aggregate(all=Count("pk"), unread=Count("pk", filter=unread))
    failed = counted["unread"]
    message = f"{failed} of {counted['all']} production environments could not be read." if failed else ""
    return {"status": "failed" if failed else "ok", "message": message or "Each could be read.", "unread": failed}
