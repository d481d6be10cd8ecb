"""Is it up, and if not, which part? Without sign-in only yes or no; the parts carry latency and age, never data."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, JsonResponse

from audit.anchors import failing
from core import clock
from core.errors import Unavailable
from operations import selectors
from operations.models import Heartbeat
from snapshots.repository import missing_stores
from tenants.scope import platform_scope

logger = structlog.get_logger(__name__)
LEAST_FREE_BYTES = 200 * 1024 * 1024
WORKERS_ANSWER_SECONDS = 0.6


def database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchone()
    return {"status": "ok"}


def broker() -> dict[str, Any]:
    from .celery import app

    with app.connection_for_write() as link:
        link.ensure_connection(max_retries=1, timeout=2)
        channel = link.default_channel
        client = getattr(channel, "client", None)
        lengths = {q.name: int(client.llen(q.name)) for q in app.conf.task_queues} if client is not None else {}
    return {"status": "ok", "queues": lengths}


def reaper() -> dict[str, Any]:
    """Beat and at least one worker are alive when the reaper left a sign of life of late."""
    beat = Heartbeat.objects.filter(name="reaper").first()
    if beat is None:
        return {"status": "unknown", "message": "No worker has reported yet."}
    age = (clock.now() - beat.seen_at).total_seconds()
    late = age > settings.REAPER_INTERVAL_SECONDS * 4 + settings.LEASE_SECONDS
    return {"status": "failed" if late else "ok", "age_seconds": round(age, 1), "last_seen_at": beat.seen_at}


def git_store() -> dict[str, Any]:
    root = settings.GIT_ROOT
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    found: dict[str, Any] = {"status": "ok" if free > LEAST_FREE_BYTES else "failed", "free_bytes": free}
    if missing := len(missing_stores()):
        stores = "the store of a tenant is" if missing == 1 else f"the stores of {missing} tenants are"
        message = f"In the folder {stores} missing: is it mounted? A capture would begin anew."
        found |= {"status": "failed", "missing_stores": missing, "message": message}
    return found


def jobs() -> dict[str, Any]:
    with platform_scope():
        counts = selectors.status_counts()
        failed = selectors.failed_of_late()
    return {"status": "failed" if counts["stuck"] else "ok", **counts, "failed_last_24_hours": failed}


def trail() -> dict[str, Any]:
    """The head of the trail's chain comes through to where it is anchored."""
    event = failing()
    return {"status": "ok"} if event is None else {"status": "failed", "not_anchored_since": event.created_at}


COMPONENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "database": database,
    "broker": broker,
    "workers": reaper,
    "git_store": git_store,
    "jobs": jobs,
    "trail": trail,
}
ESSENTIAL = ("database",)
#: The components that stand behind each name the runbooks ask for.
NAMED = {
    "promotions": ("database", "workers", "jobs", "git_store"),
    "drift_detection": ("database", "workers"),
    "snapshots": ("database", "git_store"),
    "restore": ("database", "git_store", "workers"),
}


def probe(name: str) -> dict[str, Any]:
    """One component, with how long it took to answer."""
    began = time.perf_counter()
    try:
        found = COMPONENTS[name]()
    except Exception as error:  # noqa: BLE001 - whatever it is, the part is not well
        logger.warning("health probe failed", component=name, error=type(error).__name__)
        found = {"status": "failed", "message": f"Does not answer ({type(error).__name__})."}
    return {**found, "latency_ms": round((time.perf_counter() - began) * 1000, 1)}


def _not_well(parts: dict[str, dict[str, Any]]) -> list[str]:
    """The parts that do not say they are well. Nobody knows of one that has never reported: that is no good news."""
    return [name for name, part in parts.items() if part["status"] != "ok"]


def _answer(parts: dict[str, dict[str, Any]], *, detail: bool) -> JsonResponse:
    broken = _not_well(parts)
    down = [name for name in broken if name in ESSENTIAL]
    status = "down" if down else "degraded" if broken else "ok"
    body: dict[str, Any] = {"status": status, "time": clock.now()}
    if detail:
        body["components"] = parts
    response = JsonResponse(body, status=503 if down else 200)
    response["Cache-Control"] = "no-store"
    return response


def health(request: HttpRequest) -> JsonResponse:
    """``/health``, ``/api/health``: up or not."""
    return _answer({name: probe(name) for name in ESSENTIAL}, detail=False)


def health_detailed(request: HttpRequest) -> JsonResponse:
    """``/health/detailed``: every component."""
    return _answer({name: probe(name) for name in COMPONENTS}, detail=True)


def component_health(request: HttpRequest, name: str) -> JsonResponse:
    """``/api/v1/<name>/healthz`` for promotions, drift_detection, snapshots, restore."""
    parts = {part: probe(part) for part in NAMED[name]}
    broken = _not_well(parts)
    body = {"service": name, "status": "failed" if broken else "ok", "components": parts, "time": clock.now()}
    return JsonResponse(body, status=503 if broken else 200)


COUNTS = ("pending", "running", "retry_pending", "parked", "stuck", "failed_last_24_hours")


def background_jobs_status(request: HttpRequest) -> JsonResponse:
    """``/api/v1/background-jobs/status``: workers, queues, running, stuck, failed. 503 where nobody can count them."""
    parts = {"database": probe("database")}
    if parts["database"]["status"] == "ok":
        parts |= {name: probe(name) for name in ("broker", "workers", "jobs")}
    counts = parts.get("jobs", {})
    unknown = {"status": "unknown", "message": "The database does not answer."}
    down = "pending" not in counts
    body = {
        "status": "down" if down else "degraded" if _not_well(parts) else "ok",
        "database": parts["database"],
        "workers": parts.get("workers", unknown),
        "queues": parts.get("broker", {}).get("queues", {}),
        **{name: counts.get(name) for name in COUNTS},
        "time": clock.now(),
    }
    if down:
        body["error"] = Unavailable().to_dict()
    return JsonResponse(body, status=503 if down else 200)


def workflows_health(request: HttpRequest) -> JsonResponse:
    """``/api/workflows/health``: the orchestration runbook's question."""
    parts = {name: probe(name) for name in COMPONENTS}
    counts = parts["jobs"]
    broken = _not_well(parts)
    body = {
        "status": "degraded" if broken else "ok",
        "saga_coordinator": {
            "status": parts["workers"]["status"],
            # What the runbook has had marked for a retry is under way as well: it watches this number go down.
            "active_sagas": sum(counts.get(name) or 0 for name in ("running", "pending", "retry_pending")),
            "running": counts.get("running"),
            "retry_pending": counts.get("retry_pending"),
            "parked": counts.get("parked"),
            "stuck": counts.get("stuck"),
        },
        "components": parts,
        "time": clock.now(),
    }
    return JsonResponse(body, status=503 if "database" in broken else 200)
