"""Fixtures: a world to promote in, drift that tests decide on, deaths at boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core import crypto
from operations.handlers import boundary_observers
from promotions.planning import drift_incidents
from promotions.planning.drift_incidents import BlockingIncident
from promotions.tests.world import World, calls, flow, node
from sandbox.testing import SandboxInstance, SandboxServer
from tenants.scope import tenant_scope
from workflows.models import Environment


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def no_drift(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Drift that blocks: what a test puts into the list."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(
        drift_incidents,
        "blocking_incidents",
        lambda **_: [BlockingIncident.from_json({"id": "", **one}) for one in found],
    )
    return found


def _environment(cast: Any, instance: SandboxInstance, name: str, kind: str, position: int) -> Environment:
    with tenant_scope(cast.tenant.pk):
        return Environment.objects.create(
            tenant=cast.tenant,
            name=name,
            slug=name.lower(),
            kind=kind,
            position=position,
            base_url=instance.base_url,
            api_key_encrypted=crypto.encrypt(instance.api_key),
        )


@pytest.fixture
def empty_world(live_cast: Any, sandbox_server: SandboxServer, no_drift: list[Any]) -> Iterator[World]:
    source, target = sandbox_server.control.create(), sandbox_server.control.create()
    staging = _environment(live_cast, source, "Staging", "staging", 1)
    production = _environment(live_cast, target, "Production", "production", 2)
    yield World(live_cast, staging, production, source, target)
    boundary_observers.clear()
    source.delete()
    target.delete()


@pytest.fixture
def world(empty_world: World) -> World:
    """Staging: Billing (changed), Intake (calls Helper, new with it), Same. Production: Billing, Same, Other."""
    made = empty_world
    helper = made.source.seed([flow("Helper")])[0]["id"]
    made.source.seed(
        [flow("Billing", node("New step"), active=True), flow("Intake", calls("Call", helper)), flow("Same")]
    )
    made.target.seed([flow("Billing", active=True), flow("Same"), flow("Other", active=True)])
    made.capture()
    return made


@pytest.fixture
def base(world: World) -> str:
    """Where the promotions of the tenant are."""
    return f"/t/{world.cast.tenant.slug}/promotions/"
