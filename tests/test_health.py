"""Health goes deep: whatever is broken is named, and the answer comes within two seconds."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest
from django.db import connections
from django.test import Client

from core import clock, crypto
from core.registry import Registry, registry
from drift import scheduling
from operations.models import Heartbeat, Operation, Schedule
from opsconsole import health
from tenants.models import Tenant
from tenants.probes import pool
from tenants.scope import platform_scope, tenant_scope
from tests.running import running_console
from workflows.models import Environment, ExecutionFeed

pytestmark = pytest.mark.django_db(transaction=True)

SECONDS = 2.0


@pytest.fixture
def production(live_cast: Any) -> Environment:
    """An n8n that was read a moment ago, and a console where everything is alive."""
    now = clock.now()
    with platform_scope():
        Heartbeat.objects.create(name="reaper", seen_at=now)
        made = Environment.objects.create(
            tenant=live_cast.tenant,
            name="Production",
            slug="production",
            kind="production",
            base_url="http://127.0.0.1:9",
            api_key_encrypted=crypto.encrypt("key"),
            connection_status="ok",
            n8n_version="2.41.1",
        )
        ExecutionFeed.objects.create(tenant=live_cast.tenant, environment=made, read_at=now, next_at=now, answer_ms=41)
    scheduling.keep_schedules()
    return made


def part(name: str) -> dict[str, Any]:
    """A component as anybody hears of it, and in time."""
    began = time.monotonic()
    found = Client().get("/health/detailed").json()["components"]
    assert time.monotonic() - began < SECONDS
    return found[name]


def drift_health() -> tuple[int, str]:
    answer = Client().get("/api/v1/drift_detection/healthz")
    return answer.status_code, answer.json()["status"]


def test_drift_detection_is_not_well_where_nobody_looks(production: Environment, live_cast: Any) -> None:
    assert drift_health() == (200, "ok")
    scheduling.stop_all(by=live_cast.admin)
    assert drift_health() == (503, "failed")
    assert "start-all" in part("drift_schedulers")["message"]
    scheduling.start_all()
    assert drift_health() == (200, "ok")


@pytest.mark.parametrize("change", [{"connection_status": "failed"}, {"last_capture_error": {"code": "ENV_002"}}])
def test_drift_detection_is_not_well_where_production_cannot_be_read(
    production: Environment, change: dict[str, Any]
) -> None:
    with platform_scope():
        Environment.objects.filter(pk=production.pk).update(**change)
    assert drift_health() == (503, "failed")
    assert part("production")["unread"] == 1


def test_each_n8n_is_there_with_version_and_latency(production: Environment) -> None:
    found = part("n8n")
    (one,) = found["instances"]
    assert found["status"] == "ok" and one["environment_id"] == str(production.pk)
    assert (one["status"], one["version"], one["latency_ms"]) == ("ok", "2.41.1", 41) and one["age_seconds"] < 60
    assert production.name not in str(found) and production.base_url not in str(found), "asked without signing in"
    with platform_scope():
        ExecutionFeed.objects.update(read_at=clock.now() - timedelta(hours=1))
    assert (part("n8n")["status"], part("n8n")["instances_unknown"]) == ("unknown", 1)
    with platform_scope():
        ExecutionFeed.objects.update(failures=1)
    assert (part("n8n")["status"], part("n8n")["instances_failed"]) == ("failed", 1)


def test_schedules_that_did_not_begin_are_missed(production: Environment) -> None:
    assert (part("schedules")["status"], part("schedules")["running"]) == ("ok", 1)
    with platform_scope():
        Schedule.objects.update(next_run_at=clock.now() - timedelta(hours=1))
    found = part("schedules")
    assert (found["status"], found["missed"]) == ("failed", 1) and found["longest_late_seconds"] > 3000


def test_a_scheduler_that_stands_still_is_told_from_workers_that_do(
    production: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert part("beat")["status"] == "ok"
    Heartbeat.objects.update(seen_at=clock.now() - timedelta(hours=1))
    monkeypatch.setattr("celery.app.control.Control.ping", lambda self, timeout: [])
    assert (part("workers")["status"], part("beat")["status"]) == ("failed", "unknown")
    monkeypatch.setattr("celery.app.control.Control.ping", lambda self, timeout: [{"worker@here": {"ok": "pong"}}])
    assert part("beat")["status"] == "failed" and "sent nothing" in part("beat")["message"]


def test_a_remote_that_could_not_be_copied_to(production: Environment, live_cast: Any) -> None:
    assert (part("git_remotes")["status"], part("git_remotes")["remotes"]) == ("ok", 0)
    with platform_scope():
        Tenant.objects.filter(pk=live_cast.tenant.pk).update(git_remote_url="https://git.example.org/a.git")
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.create(tenant=live_cast.tenant, kind="snapshots.push", status="FAILED", ended_at=clock.now())
    assert (part("git_remotes")["status"], part("git_remotes")["remotes_failed"]) == ("failed", 1)


def test_a_disk_without_room(production: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert part("disk")["status"] == "ok"
    full = type("Usage", (), {"total": 100, "used": 99, "free": 1})()
    monkeypatch.setattr("operations.probes.shutil.disk_usage", lambda folder: full)
    assert part("disk")["status"] == part("git_store")["status"] == "failed"


def test_a_mail_server_that_is_gone_or_says_nothing(production: Environment, settings: Any) -> None:
    assert part("mail")["status"] == "ok"
    settings.SENDS_MAIL, settings.EMAIL_HOST = True, "127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_PORT = silent.getsockname()[1]
        assert part("mail")["status"] == "failed"
    assert part("mail")["status"] == "failed", "nobody listens any more"


def test_requests_that_wait_for_a_connection(production: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        @staticmethod
        def get_stats() -> dict[str, int]:
            return {"pool_max": 12, "pool_size": 12, "pool_available": 0, "requests_waiting": 3}

    default = connections["default"]
    options = {**default.settings_dict["OPTIONS"], "pool": True}
    monkeypatch.setitem(default.settings_dict, "OPTIONS", options)
    monkeypatch.setattr(type(default), "pool", Pool())
    assert (pool()["status"], pool()["requests_waiting"]) == ("failed", 3)


def test_whatever_hangs_is_named_within_two_seconds(production: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.health_components()
    for broken in [*({name} for name in known), set(known)]:
        with hanging(broken, monkeypatch):
            for _ in range(2):  # the second finds the first question still open, and asks no other
                began = time.monotonic()
                found = Client().get("/health/detailed").json()["components"]
                assert time.monotonic() - began < SECONDS
                assert all("Does not answer" in found[name].get("message", "") for name in broken), broken


@contextmanager
def hanging(broken: set[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    until = threading.Event()

    def hangs() -> dict[str, Any]:
        until.wait(30)
        return {"status": "ok"}

    known = registry.health_components()
    parts = {name: replace(each, probe=hangs) if name in broken else each for name, each in known.items()}
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "health_components", lambda self: parts)
        patched.setattr(health, "ANSWER_WITHIN_SECONDS", 0.4)
        yield
        until.set()
        for answer in list(health._under_way.values()):
            answer.result(timeout=10)


@contextmanager
def between(port: int, host: str) -> Iterator[tuple[int, Callable[[], None]]]:
    """A way to a server that can be frozen: connections stay, and nothing comes through any more."""
    frozen, ended = threading.Event(), threading.Event()

    def carry(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                while frozen.is_set() and not ended.is_set():
                    ended.wait(0.1)
                target.sendall(data)
        except OSError:
            pass
        finally:
            target.close()

    def serve(server: socket.socket) -> None:
        while True:
            try:
                here, _ = server.accept()
            except OSError:
                return
            there = socket.create_connection((host, port))
            for pair in ((here, there), (there, here)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        try:
            yield server.getsockname()[1], frozen.set
        finally:
            ended.set()
            server.shutdown(socket.SHUT_RDWR)


@pytest.mark.console
def test_a_database_that_hangs_is_named_within_two_seconds(live_cast: Any, tmp_path: Path) -> None:
    parts = urlsplit(os.environ["DATABASE_URL"])
    assert parts.hostname and parts.port
    with between(parts.port, parts.hostname) as (port, freeze):
        user = parts.netloc.rpartition("@")[0]
        url = urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}"))
        with running_console(tmp_path / "console", DATABASE_URL=url, OPSCONSOLE_DB_POOL="4") as console:
            freeze()
            for path in ("/health", "/health/detailed", "/api/v1/drift_detection/healthz", "/health/detailed"):
                began = time.monotonic()
                answer = httpx.get(f"{console.url}{path}", timeout=20)
                assert time.monotonic() - began < SECONDS + 0.5, path
                assert (answer.status_code, answer.json()["status"] in ("down", "failed")) == (503, True)
            found = answer.json()["components"]
            assert found["database"]["status"] == "failed"
            assert found["broker"]["status"] == found["disk"]["status"] == "ok", "the rest is heard all the same"
