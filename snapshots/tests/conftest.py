"""An environment whose n8n is the sandbox program on a free port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core import crypto
from sandbox.testing import SandboxInstance, SandboxServer
from tenants.scope import tenant_scope
from workflows.models import Environment


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@pytest.fixture
def n8n(sandbox_server: SandboxServer) -> Iterator[SandboxInstance]:
    instance = sandbox_server.control.create()
    yield instance
    instance.delete()


def make_environment(tenant: Any, instance: SandboxInstance, **values: Any) -> Environment:
    facts = {"name": "Production", "slug": "production", "kind": "production", "position": 2, **values}
    with tenant_scope(tenant.pk):
        return Environment.objects.create(
            tenant_id=tenant.pk,
            base_url=instance.base_url,
            api_key_encrypted=crypto.encrypt(instance.api_key),
            **facts,
        )


@pytest.fixture
def environment(live_cast: Any, n8n: SandboxInstance) -> Environment:
    return make_environment(live_cast.tenant, n8n)


@pytest.fixture
def capture(live_cast: Any, environment: Environment, run_operations: Any) -> Callable[..., Any]:
    """Capture the environment now; the snapshot (or the failed operation)."""
    from operations.models import Operation
    from snapshots.models import Snapshot
    from snapshots.services import start_capture

    def take(**values: Any) -> Any:
        operation = start_capture(
            tenant_id=live_cast.tenant.pk,
            environment_id=environment.pk,
            requested_by=live_cast.operator,
            **{"snapshot_type": "manual_backup", "description": "", **values},
        )
        run_operations(live_cast.tenant)
        with tenant_scope(live_cast.tenant.pk):
            done = Operation.objects.get(pk=operation.pk)
            if done.status != "COMPLETED":
                return done
            return Snapshot.objects.get(pk=operation.subject_id)

    return take


def workflow(name: str = "Orders", *, url: str = "https://example.org/a", **more: Any) -> dict[str, Any]:
    """A small workflow with a schedule, so that it can be switched on."""
    nodes = [
        {
            "id": "1",
            "name": "Every hour",
            "type": "n8n-nodes-base.scheduleTrigger",
            "typeVersion": 1.2,
            "position": [0, 0],
            "parameters": {"rule": {"interval": [{"field": "hours"}]}},
        },
        {
            "id": "2",
            "name": "Fetch",
            "type": "n8n-nodes-base.httpRequest",
            "typeVersion": 4.2,
            "position": [200, 0],
            "parameters": {"url": url},
        },
    ]
    connections = {"Every hour": {"main": [[{"node": "Fetch", "type": "main", "index": 0}]]}}
    return {"name": name, "nodes": nodes, "connections": connections, "settings": {"executionOrder": "v1"}, **more}


def caller(name: str, called: str) -> dict[str, Any]:
    """A workflow that calls another."""
    made = workflow(name)
    made["nodes"].append(
        {
            "id": "3",
            "name": "Call",
            "type": "n8n-nodes-base.executeWorkflow",
            "typeVersion": 1.2,
            "position": [400, 0],
            "parameters": {"workflowId": {"__rl": True, "mode": "id", "value": called}},
        }
    )
    return made


@pytest.fixture
def fast_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again at once."""
    from workflows.n8n.http import Http

    monkeypatch.setattr(Http, "_wait", lambda self, state: 0.0)
