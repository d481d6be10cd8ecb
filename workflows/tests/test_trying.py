"""A workflow is tested without being run: what it needs is there, works and listens; and run only where asked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from core import clock, crypto
from operations.models import Operation
from sandbox.testing import SandboxServer
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from tests.reading import flat
from workflows.models import CanonicalWorkflow, Environment, Execution, WorkflowEnvMap

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


STARTED_BY_CALLER = {"type": "n8n-nodes-base.executeWorkflowTrigger", "parameters": {}}


class Place:
    """A published workflow that hears a webhook, uses a credential and calls another."""

    def __init__(self, cast: Any, server: SandboxServer, profile: str) -> None:
        self.cast, self.n8n = cast, server.control.create(profile=profile)
        (self.credential,) = self.n8n.add_credentials({"name": "Shop", "type": "httpHeaderAuth"})
        called = {**content("Called", [STARTED_BY_CALLER]), "active": profile != "1.123"}
        self.called = self.seeded(called)
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

    def move_to(self, workflow_id: str) -> None:
        """From now on its place is that of another workflow in n8n."""
        with tenant_scope(self.cast.tenant.pk):
            WorkflowEnvMap.objects.filter(pk=self.workflow.pk).update(env_workflow_id=workflow_id)

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


@pytest.mark.parametrize("profile", ["1.123", "2.41"])
def test_all_that_it_needs_is_tried_and_nothing_runs(live_cast: Any, server: SandboxServer, profile: str) -> None:
    place = Place(live_cast, server, profile)
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


def test_what_runs_is_tried_and_not_the_draft(live_cast: Any, server: SandboxServer) -> None:
    place = Place(live_cast, server, "2.41")
    raw = place.n8n.workflow(place.ident)
    assert raw is not None
    moved = [{**node, "parameters": {**node["parameters"], "path": "elsewhere"}} for node in raw["nodes"][:1]]
    place.n8n.edit(place.ident, draft=True, nodes=moved)
    found = place.checks()
    assert found[("webhook", "POST orders")] == "passed" and ("webhook", "POST elsewhere") not in found
    assert ("credential", "Shop") in found, "the draft no longer uses it, what runs does"
    assert "draft is newer" in place.test().json()["test"]["checks"][0]["message"]


@pytest.mark.parametrize(("profile", "verdict"), [("1.123", "passed"), ("2.41", "failed")])
def test_a_workflow_that_is_called_has_to_be_published_where_n8n_wants_it(
    live_cast: Any, server: SandboxServer, profile: str, verdict: str
) -> None:
    place = Place(live_cast, server, profile)
    place.n8n.edit(place.called, active=False)
    assert place.checks()[("workflow it calls", "Called")] == verdict
    place.n8n.edit(place.ident, active=False)
    assert place.checks()[("workflow it calls", "Called")] == "passed", "nothing calls it as long as this one is off"
    place.n8n.archive(place.called)
    assert place.checks()[("workflow it calls", "Called")] == "failed"


def test_an_archived_workflow_fails(live_cast: Any, server: SandboxServer) -> None:
    place = Place(live_cast, server, "2.41")
    place.n8n.archive(place.ident)
    assert place.checks() == {("workflow", "Orders"): "failed"}


@pytest.mark.parametrize("profile", ["1.123", "2.41"])
def test_a_webhook_is_asked_for_where_it_listens(live_cast: Any, server: SandboxServer, profile: str) -> None:
    """Without an id older n8n listens at an address made of the workflow's id; a path that varies cannot be asked."""
    place = Place(live_cast, server, profile)
    hooks: list[dict[str, Any]] = [
        {"type": "n8n-nodes-base.webhook", "parameters": {"path": "plain", "httpMethod": "POST"}},
        {"type": "n8n-nodes-base.webhook", "parameters": {"path": "user/:id"}, "webhookId": "u1"},
    ]
    place.move_to(place.seeded({**content("Hooks", hooks), "active": True}))
    found = place.checks()
    assert found.pop(("webhook", "GET u1/user/:id")) == "not_possible"
    assert [verdict for (what, _name), verdict in found.items() if what == "webhook"] == ["passed"]


def test_a_data_table_that_is_gone_fails(live_cast: Any, server: SandboxServer) -> None:
    place = Place(live_cast, server, "2.41")
    with place.n8n.client() as client:
        made = client.post("/data-tables", json={"name": "Stock", "columns": [{"name": "sku", "type": "string"}]})
        table = {"__rl": True, "mode": "list", "value": made.json()["id"], "cachedResultName": "Stock"}
        uses = {"type": "n8n-nodes-base.dataTable", "parameters": {"dataTableId": table}}
        place.move_to(place.seeded(content("Stock taker", [uses])))
        assert place.checks()[("data table", "Stock")] == "passed"
        client.delete(f"/data-tables/{made.json()['id']}")
    assert place.checks()[("data table", "Stock")] == "failed"


def test_it_runs_only_where_asked_and_only_what_failed(live_cast: Any, server: SandboxServer) -> None:
    place = Place(live_cast, server, "2.41")
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
    place = Place(live_cast, server, "2.41")
    assert place.test(user=live_cast.viewer).status_code == 403
    assert place.test(user=live_cast.stranger).status_code == place.test(ident=uuid.uuid4()).status_code == 404


def test_the_page_shows_what_was_found_the_worst_first(live_cast: Any, server: SandboxServer, client: Client) -> None:
    place = Place(live_cast, server, "2.41")
    at = {"tenant_slug": live_cast.tenant.slug, "key": "orders"}
    there = reverse("workflow-test", kwargs={**at, "pk": place.environment.pk})
    client.force_login(live_cast.operator, backend=BACKEND)
    assert there in flat(client.get(reverse("workflow", kwargs=at)).content)
    assert "Test now" in flat(client.get(there).content)
    place.n8n.delete_workflow(place.called)
    shown = flat(client.post(there).content)
    assert "Something that it needs is missing" in shown
    assert shown.index("n8n has no workflow with this id.") < shown.index("n8n listens there.")
    place.n8n.change(api_keys=["another"])
    assert "N8N_" in flat(client.post(there).content), "why n8n could not be asked"

    client.force_login(live_cast.viewer, backend=BACKEND)
    assert client.get(there).status_code == client.post(there).status_code == 403
    assert there not in flat(client.get(reverse("workflow", kwargs=at)).content)
