"""Is it up, and if not, which part? Without sign-in only yes or no; the parts carry latency and age, never data."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog
from django.db import connection
from django.http import HttpRequest, JsonResponse

from core import clock, connections
from core.errors import Unavailable
from core.registry import registry
from core.support_rules import OUTSIDE, in_support_session

logger = structlog.get_logger(__name__)


#: Whatever is broken, whoever asks hears so within two seconds.
ANSWER_WITHIN_SECONDS = 1.4
#: Of those that take a connection to the database few at a time: pages want some as well.
_asking_database = ThreadPoolExecutor(max_workers=4, thread_name_prefix="health-database")
_asking_others = ThreadPoolExecutor(max_workers=8, thread_name_prefix="health")
_under_way: dict[str, Future[dict[str, Any]]] = {}
_taking_turns = threading.Lock()


def probe_all(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Components by name, asked side by side and waited for together, ``ANSWER_WITHIN_SECONDS`` at most.

    A question that hangs is left to itself and not asked a second time before it has ended. Inside a transaction the
    parts are asked one after the other: another connection would not see what this one has written.
    """
    wanted = list(names)
    if connection.in_atomic_block:
        return {name: probe(name) for name in wanted}
    connections.release()
    until = time.monotonic() + ANSWER_WITHIN_SECONDS
    asked = {name: _ask(name) for name in wanted}
    return {name: _heard(asked[name], max(until - time.monotonic(), 0.0)) for name in wanted}


def _ask(name: str) -> Future[dict[str, Any]]:
    with _taking_turns:
        found = _under_way.get(name)
        if found is None or found.done():
            pool = _asking_database if registry.health_components()[name].asks_database else _asking_others
            found = _under_way[name] = pool.submit(_probe_and_let_go, name)
        return found


def _probe_and_let_go(name: str) -> dict[str, Any]:
    try:
        return probe(name)
    finally:
        connection.close()


def _heard(answer: Future[dict[str, Any]], seconds: float) -> dict[str, Any]:
    try:
        return answer.result(timeout=seconds)
    except TimeoutError:
        waited = round(ANSWER_WITHIN_SECONDS * 1000, 1)
        message = f"Does not answer within {ANSWER_WITHIN_SECONDS} seconds."
        return {"status": "failed", "message": message, "latency_ms": waited}


def probe(name: str) -> dict[str, Any]:
    """One component, with how long it took to answer."""
    began = time.perf_counter()
    try:
        found = registry.health_components()[name].probe()
    except Exception as error:  # noqa: BLE001 - whatever it is, the part is not well
        logger.warning("health probe failed", component=name, error=type(error).__name__)
        found = {"status": "failed", "message": f"Does not answer ({type(error).__name__})."}
    return {**found, "latency_ms": round((time.perf_counter() - began) * 1000, 1)}


def _not_well(parts: dict[str, dict[str, Any]]) -> list[str]:
    """The parts that do not say they are well. Nobody knows of one that has never reported: that is no good news."""
    return [name for name, part in parts.items() if part["status"] != "ok"]


def _essential() -> list[str]:
    return [name for name, part in registry.health_components().items() if part.is_essential]


def _answer(parts: dict[str, dict[str, Any]], *, detail: bool) -> JsonResponse:
    broken = _not_well(parts)
    down = [name for name in broken if name in _essential()]
    status = "down" if down else "degraded" if broken else "ok"
    body: dict[str, Any] = {"status": status, "time": clock.now()}
    if detail:
        body["components"] = parts
    response = JsonResponse(body, status=503 if down else 200)
    response["Cache-Control"] = "no-store"
    return response


@in_support_session(OUTSIDE)
def health(request: HttpRequest) -> JsonResponse:
    """``/health``, ``/api/health``: up or not."""
    return _answer(probe_all(_essential()), detail=False)


@in_support_session(OUTSIDE)
def health_detailed(request: HttpRequest) -> JsonResponse:
    """``/health/detailed``: every component."""
    return _answer(probe_all(registry.health_components()), detail=True)


@in_support_session(OUTSIDE)
def component_health(request: HttpRequest, name: str) -> JsonResponse:
    """``/api/v1/<name>/healthz`` for each service that an app has declared."""
    parts = probe_all(registry.health_services()[name].components)
    broken = _not_well(parts)
    body = {"service": name, "status": "failed" if broken else "ok", "components": parts, "time": clock.now()}
    return JsonResponse(body, status=503 if broken else 200)


COUNTS = ("pending", "running", "retry_pending", "parked", "stuck", "failed_last_24_hours")


@in_support_session(OUTSIDE)
def background_jobs_status(request: HttpRequest) -> JsonResponse:
    """``/api/v1/background-jobs/status``: workers, queues, running, stuck, failed. 503 where nobody can count them."""
    parts = probe_all(("database", "broker", "workers", "jobs"))
    counts = parts.get("jobs", {})
    unknown = {"status": "unknown", "message": "The database does not answer."}
    down = "pending" not in counts
    body = {
        "status": "down" if down else "degraded" if _not_well(parts) else "ok",
        "database": parts["database"],
        "workers": unknown if down else parts["workers"],
        "queues": parts["broker"].get("queues", {}),
        **{name: counts.get(name) for name in COUNTS},
        "time": clock.now(),
    }
    if down:
        body["error"] = Unavailable().to_dict()
    return JsonResponse(body, status=503 if down else 200)


@in_support_session(OUTSIDE)
def workflows_health(request: HttpRequest) -> JsonResponse:
    """``/api/workflows/health``: the orchestration runbook's question."""
    parts = probe_all(registry.health_components())
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
