"""A tenant with an n8n look-alike behind its environment."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from core import crypto
from drift.models import DriftIncident
from operations import engine
from operations.models import Operation
from sandbox.testing import SandboxInstance, SandboxServer
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from tests.comparing import compare_otherwise
from workflows.models import Environment, WorkflowEnvMap

JSON = dict[str, Any]


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


def workflow(name: str, *, text: str = "hello", active: bool = False, node: JSON | None = None, **more: Any) -> JSON:
    """A small workflow with a trigger and one node that ``text`` changes."""
    step = node or {"type": "n8n-nodes-base.set", "parameters": {"value": text}}
    return {
        "name": name,
        "active": active,
        "nodes": [
            {
                "id": "t",
                "name": "Start",
                "type": "n8n-nodes-base.scheduleTrigger",
                "typeVersion": 1,
                "position": [0, 0],
                "parameters": {},
            },
            {"id": "s", "name": "Step", "typeVersion": 1, "position": [200, 0], **step},
        ],
        "connections": {"Start": {"main": [[{"node": "Step", "type": "main", "index": 0}]]}},
        "settings": {},
        **more,
    }


@dataclass
class Site:
    """One environment with its instance, and what a test does with them."""

    tenant: Any
    environment: Environment
    n8n: SandboxInstance
    ids: dict[str, str] = field(default_factory=dict)

    def seed(self, *workflows: JSON) -> None:
        for made in self.n8n.seed(list(workflows)):
            self.ids[made["name"]] = made["id"]

    def drive(self, operation: Operation) -> Operation:
        engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)
        with tenant_scope(self.tenant.pk):
            return Operation.objects.get(pk=operation.pk)

    def run_all(self) -> None:
        while True:
            with tenant_scope(self.tenant.pk):
                waiting = Operation.objects.filter(status="PENDING").order_by("created_at").first()
            if waiting is None:
                return
            self.drive(waiting)

    def capture(self) -> Operation:
        return self.drive(
            start_capture(tenant_id=self.tenant.pk, environment_id=self.environment.pk, requested_by=None)
        )

    def check(self) -> Operation:
        from drift.services import start_check

        return self.drive(start_check(tenant_id=self.tenant.pk, environment_id=self.environment.pk, requested_by=None))

    def edit(self, name: str, **changes: Any) -> None:
        """Somebody else edits; ``text`` changes the node."""
        if "text" in changes:
            changes["nodes"] = workflow(name, text=changes.pop("text"))["nodes"]
        self.n8n.edit(self.ids[name], **changes)

    def there(self, name: str) -> JSON | None:
        return self.n8n.workflow(self.ids[name])

    def incidents(self, **filters: Any) -> list[DriftIncident]:
        with tenant_scope(self.tenant.pk):
            rows = DriftIncident.objects.select_related("workflow_env_map__canonical_workflow").filter(**filters)
            return list(rows.order_by("created_at"))

    def incident(self, **filters: Any) -> DriftIncident:
        found = self.incidents(**filters)
        assert len(found) == 1, [(i.kind, i.incident_state, str(i)) for i in found]
        return found[0]

    def row(self, name: str) -> WorkflowEnvMap:
        with tenant_scope(self.tenant.pk):
            return WorkflowEnvMap.objects.get(environment=self.environment, env_name=name)


@pytest.fixture
def make_site(live_cast: Any, sandbox_server: SandboxServer) -> Iterator[Callable[..., Site]]:
    made: list[SandboxInstance] = []

    def make(kind: str = "production", *, tenant: Any = None, position: int = 3, **options: Any) -> Site:
        tenant = tenant or live_cast.tenant
        instance = sandbox_server.control.create(**options)
        made.append(instance)
        with tenant_scope(tenant.pk):
            environment = Environment.objects.create(
                tenant=tenant,
                name=kind.title(),
                slug=f"{kind}-{uuid.uuid4().hex[:6]}",
                kind=kind,
                position=position,
                base_url=instance.base_url,
                api_key_encrypted=crypto.encrypt(instance.api_key),
            )
        return Site(tenant, environment, instance)

    yield make
    for instance in made:
        instance.delete()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """Production with three workflows, captured: its baseline."""
    production = make_site()
    production.seed(
        workflow("Orders", active=True),
        workflow("Invoices"),
        workflow("Leads", active=True, node={"type": "n8n-nodes-base.code", "parameters": {"jsCode": "return 1"}}),
    )
    assert production.capture().status == "COMPLETED"
    return production


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Call it, and the console compares workflows in another way."""
    return lambda: compare_otherwise(monkeypatch)
