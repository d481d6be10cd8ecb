"""Real workflows there and back: captured into Git, restored into an empty n8n, captured again, equal by hash.

Against the sandbox always (with generated workflows where the folder of real ones is missing), and against real n8n
instances with ``--n8n=live`` or OPSCONSOLE_LIVE_N8N=1. What n8n itself adds to a workflow must not count as drift.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drift.models import ACTIVE, DriftIncident
from drift.services import start_check
from operations import engine
from operations.models import Operation
from opsconsole.core import crypto
from sandbox.generate import estate
from sandbox.testing import SandboxServer
from snapshots.models import Snapshot
from snapshots.services import start_capture, verify_snapshot
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from workflows.gateway import address_policy
from workflows.models import Environment
from workflows.n8n import N8nClient

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "workflows" / "n8n"
REAL = Path(os.environ.get("OPSCONSOLE_REAL_WORKFLOWS") or BESIDE)
GENERATED = 120


@dataclass
class Place:
    """Where an n8n is."""

    base_url: str
    api_key: str

    def create_all(self, workflows: list[dict[str, Any]]) -> None:
        """Through n8n's own API, as a person's tool would."""
        with N8nClient(base_url=self.base_url, api_key=self.api_key, policy=address_policy()) as client:
            for workflow in workflows:
                client.create_workflow(workflow)


def given() -> list[dict[str, Any]]:
    """The real workflows, or generated ones where there are none."""
    if REAL.is_dir():
        return [json.loads(path.read_bytes()) for path in sorted(REAL.glob("*.json"))]
    return [workflow for _, workflow in estate(GENERATED, seed=4)]


@pytest.fixture
def sandboxes() -> Iterator[tuple[Place, Place]]:
    with SandboxServer() as server:
        yield tuple(Place(i.base_url, i.api_key) for i in (server.control.create(), server.control.create()))  # type: ignore[misc]


@pytest.fixture(scope="module")
def real_instances(request: pytest.FixtureRequest) -> Iterator[tuple[Place, Place]]:
    from sandbox.live import LiveN8n, install_folder, installed

    required = "1" in (os.environ.get("OPSCONSOLE_LIVE_N8N"), os.environ.get("OPSCONSOLE_REQUIRE_N8N"))
    if request.config.getoption("--n8n") != "live" and not required:
        pytest.skip("real n8n only with --n8n=live")
    if not installed(install_folder()):
        pytest.fail("a real n8n was asked for and none is installed: run script/n8n install")
    with LiveN8n(2) as instances:
        yield tuple(Place(i.base_url, i.api_key) for i in instances)  # type: ignore[misc]


def test_there_and_back(live_cast: Any, sandboxes: tuple[Place, Place]) -> None:
    _there_and_back(live_cast.tenant, *sandboxes)


@pytest.mark.live_n8n
@pytest.mark.timeout(900)
def test_there_and_back_on_a_real_n8n(live_cast: Any, real_instances: tuple[Place, Place]) -> None:
    _there_and_back(live_cast.tenant, *real_instances)


def _there_and_back(tenant: Any, origin: Place, empty: Place) -> None:
    workflows = given()
    origin.create_all(workflows)
    environment = _environment(tenant, origin)
    first = _snapshot(_drive(start_capture(**_in(environment), requested_by=None)))
    assert first.workflow_count == len(workflows)
    assert verify_snapshot(first)["status"] == "verified"
    assert _drifted(environment) == []

    _move(environment, empty)
    restored = _drive(start_restore(**_in(environment), snapshot_id=first.pk, requested_by=None))
    assert restored.result["counts"]["created"] == len(workflows)
    assert restored.result["proof"]["equal"] is True

    again = _snapshot(_drive(start_capture(**_in(environment), requested_by=None)))
    before, after = ({e["key"]: e["content_hash"] for e in s.workflows} for s in (first, again))
    assert before == after
    assert _drifted(environment) == []


def _in(environment: Environment) -> dict[str, Any]:
    return {"tenant_id": environment.tenant_id, "environment_id": environment.pk}


def _environment(tenant: Any, place: Place) -> Environment:
    with tenant_scope(tenant.pk):
        return Environment.objects.create(
            tenant=tenant,
            name="Home",
            slug="home",
            kind="staging",
            base_url=place.base_url,
            api_key_encrypted=crypto.encrypt(place.api_key),
        )


def _move(environment: Environment, place: Place) -> None:
    """The instance is gone; its address now leads to one without a single workflow."""
    with tenant_scope(environment.tenant_id):
        Environment.objects.filter(pk=environment.pk).update(
            base_url=place.base_url, api_key_encrypted=crypto.encrypt(place.api_key)
        )


def _drive(operation: Operation) -> Operation:
    engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
    with tenant_scope(operation.tenant_id):
        done = Operation.objects.get(pk=operation.pk)
    assert done.status == "COMPLETED", json.dumps(done.error_details)[:4000]
    return done


def _snapshot(operation: Operation) -> Snapshot:
    with tenant_scope(operation.tenant_id):
        return Snapshot.objects.get(pk=operation.result["snapshot_id"])


def _drifted(environment: Environment) -> list[str]:
    """Names of what a fresh check calls drifted."""
    _drive(start_check(**_in(environment), requested_by=None))
    with tenant_scope(environment.tenant_id):
        found = DriftIncident.objects.filter(incident_state__in=[str(s) for s in ACTIVE])
        return [row.workflow_env_map.env_name for row in found.select_related("workflow_env_map")]
