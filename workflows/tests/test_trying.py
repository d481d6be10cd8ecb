"""A workflow is tested without being run: what it needs is there, works and listens; and run only where asked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from core import clock, crypto
from operations.models import Operation
from sandbox.testing import SandboxServer
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import CanonicalWorkflow, Environment, Execution, WorkflowEnvMap

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


class Place:
    """A published workflow that hears a webhook, uses a credential and calls another."""

    def __init__(self, cast: Any, server: SandboxServer, version: str) -> None:
        self.cast, self.n8n = cast, server.control.create(version=version)
        (self.credential,) = self.n8n.add_credentials({"name": "Shop", "type": "httpHeaderAuth"})
        self.called = self.seeded(content("Called", []))
        nodes = [
            {
                "type": "n8n-nodes-base.webhook",
                "parameters": {"path": "orders", "httpMethod": "POST"},
                "webhookId": "o1",
            },
            {
                "type": "n8n-nodes-base.httpRequest",
                "parameters": {},
                "credentials": {"httpHeaderAuth": {"id": self.credential["id"], "name": "Shop"}},
            },
            {
                "type": "n8n-nodes-base.executeWorkflow",
                "parameters": {"workflowId": {"value": self.called, "mode": "id"}},
            },
        ]
        self.ident = self.seeded({**content("Orders", nodes), "active": True})
        with tenant_scope(cast.tenant.pk):
            self.environment = Environment.objects.create(
                tenant=cast.tenant,
                name="Production",
                slug="production",
                kind="production",
                base_url=self.n8n.base_url,
                api_key_encrypted=crypto.encrypt(self.n8n.api_key),
            )
            workflow = CanonicalWorkflow.objects.create(tenant=cast.tenant, key="orders", name="Orders")
            self.workflow = WorkflowEnvMap.objects.create(
                tenant=cast.tenant,
                canonical_workflow=workflow,
                environment=self.environment,
                env_workflow_id=self.ident,
                env_name="Orders",
                status="linked",
            )

    def seeded(self, workflow: dict[str, Any]) -> str:
        self.n8n.seed([workflow])
        return next(row["id"] for row in self.n8n.state()["workflows"] if row["name"] == workflow["name"])

    def test(self, *, user: Any = None, ident: Any = None, **body: Any) -> Any:
        _, secret = create_token(user=user or self.cast.owner, name="cli")
        path = f"/api/v1/workflows/{ident or self.workflow.canonical_workflow_id}/test?wait=0"
        headers = {"authorization": f"Bearer {secret}"}
        return Client().post(path, body, content_type="application/json", headers=headers)

    def checks(self) -> dict[tuple[str, str], str]:
        answer = self.test()
        assert answer.status_code == 200, answer.content
        return {(row["check"], row["name"]): row["status"] for row in answer.json()["test"]["checks"]}


def content(name: str, nodes: list[dict[str, Any]]) -> dict[str, Any]:
    named = [
        {"id": str(n), "name": f"N{n}", "typeVersion": 1, "position": [0, 0], **node} for n, node in enumerate(nodes)
    ]
    return {"name": name, "nodes": named, "connections": {}, "settings": {}}


@pytest.mark.parametrize("version", ["1.123.0", "2.41.1"])
def test_all_that_it_needs_is_tried_and_nothing_runs(live_cast: Any, server: SandboxServer, version: str) -> None:
    place = Place(live_cast, server, version)
    found = place.checks()
    assert found[("workflow", "Orders")] == found[("workflow it calls", "Called")] == "passed"
    assert found[("webhook", "POST orders")] == "passed"
    assert found[("credential", "Shop")] in ("passed", "not_possible")
    assert not place.n8n.state()["executions"]
    place.n8n.delete_workflow(place.called)
    assert place.checks()[("workflow it calls", place.called)] == "failed"
    assert place.test(ident=place.workflow.pk).json()["test"]["status"] == "failed"
    place.n8n.delete_workflow(place.ident)
    assert place.checks() == {("workflow", "Orders"): "failed"}


def test_it_runs_only_where_asked_and_only_what_failed(live_cast: Any, server: SandboxServer) -> None:
    place = Place(live_cast, server, "2.41.1")
    nothing = place.test(run=True).json()["test"]
    assert not nothing["ran"] and "starts no workflow" in nothing["why_not_run"]
    with tenant_scope(live_cast.tenant.pk):
        Execution.objects.create(
            tenant=live_cast.tenant,
            environment=place.environment,
            env_execution_id="7",
            number=7,
            env_workflow_id=place.ident,
            status="error",
            sorted_at=clock.now(),
            seen_at=clock.now(),
        )
    quiet = place.test().json()["test"]
    assert not quiet["ran"] and [run["number"] for run in quiet["last_executions"]] == [7]
    ran = place.test(run=True)
    assert ran.status_code == 202 and ran.json()["test"]["ran"]
    with tenant_scope(live_cast.tenant.pk):
        assert Operation.objects.get().kind == "executions.retry"


def test_who_may_not_operate_there_does_not_test_there(live_cast: Any, server: SandboxServer) -> None:
    place = Place(live_cast, server, "2.41.1")
    assert place.test(user=live_cast.viewer).status_code == 403
    assert place.test(user=live_cast.stranger).status_code == place.test(ident=uuid.uuid4()).status_code == 404
