"""One stage for all kills: they share a database, a sandbox, and the worker that stands by."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import connections

from sandbox.testing import SandboxServer

from .stage import LEASE_SECONDS, REAPER_SECONDS, Broker, Forge, Stage, prepare, standby


@pytest.fixture(autouse=True)
def _own_folders() -> None:
    """The stage has one Git root for all of its processes."""


@pytest.fixture(scope="package")
def stage(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, _flush_as_owner: None
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("kill")
    patch = pytest.MonkeyPatch()
    with django_db_blocker.unblock():
        call_command("flush", verbosity=0, interactive=False)
        try:
            yield from _staged(folder, patch)
        finally:
            patch.undo()
            call_command("flush", verbosity=0, interactive=False)
            connections.close_all()


def _staged(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    from operations import tasks
    from tenants import services

    patch.setattr(django_settings, "GIT_ROOT", folder / "git")
    # Who begins the work is the test's choice; what the reaper finds later is sent as ever.
    patch.setattr(tasks.drive, "apply_async", lambda *args, **kwargs: None)
    broker = Broker(_own_redis(os.environ["BROKER_URL"]))
    broker.empty()
    environment = {
        **os.environ,
        "BROKER_URL": broker.url,
        "OPSCONSOLE_MODE": "test",
        "OPSCONSOLE_HOME": str(folder),
        "OPSCONSOLE_GIT_ROOT": str(folder / "git"),
        "OPSCONSOLE_LEASE_SECONDS": str(LEASE_SECONDS),
        "OPSCONSOLE_REAPER_INTERVAL_SECONDS": str(REAPER_SECONDS),
        # The plays are of one tenant and its n8n are at one address.
        "OPSCONSOLE_JOBS_PER_TENANT": "100",
        "OPSCONSOLE_JOBS_PER_N8N": "100",
        "DJANGO_SETTINGS_MODULE": "opsconsole.settings",
    }
    forge = Forge(folder, environment)
    try:
        with SandboxServer() as sandbox, standby(folder, environment):
            owner = services.create_user(email="owner@example.org", name="Owner", password="correct horse battery")
            tenant = services.create_tenant(name="Acme Robotics", slug="acme", owner=owner)
            yield prepare(tenant, owner, sandbox, broker, forge)
    finally:
        forge.stop()
        broker.empty()


def _own_redis(url: str) -> str:
    """Another database of the same Redis: these tests empty it, and others run beside them."""
    base, _, _number = url.rpartition("/")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return f"{base}/{63 - int(worker) % 4}"
