"""A world to promote in: two sandbox instances, captured, known to a tenant."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from operations import engine
from operations.models import Operation
from promotions import services
from promotions.models import Promotion
from sandbox.testing import SandboxInstance
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from workflows.content import content_hash, portable
from workflows.models import Environment, WorkflowEnvMap


def node(name: str, kind: str = "n8n-nodes-base.set", **extra: Any) -> dict[str, Any]:
    base = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "name": name,
        "type": kind,
        "typeVersion": 1,
        "position": [0, 0],
        "parameters": {},
    }
    return base | extra


def chain(*nodes: dict[str, Any]) -> dict[str, Any]:
    links = pairwise(nodes)
    return {a["name"]: {"main": [[{"node": b["name"], "type": "main", "index": 0}]]} for a, b in links}


def flow(name: str, *nodes: dict[str, Any], active: bool = False, **extra: Any) -> dict[str, Any]:
    hook = node("Hook", "n8n-nodes-base.webhook", parameters={"path": name.lower().replace(" ", "-")}, webhookId=name)
    everything = [hook, *(nodes or (node("Set", parameters={"value": name}),))]
    return {
        "name": name,
        "nodes": everything,
        "connections": chain(*everything),
        "settings": {"executionOrder": "v1"},
        "active": active,
        **extra,
    }


def calls(name: str, workflow_id: str) -> dict[str, Any]:
    locator = {"__rl": True, "mode": "list", "value": workflow_id}
    return node(name, "n8n-nodes-base.executeWorkflow", parameters={"workflowId": locator})


def uses(name: str, credential: str, identity: str, kind: str = "slackApi") -> dict[str, Any]:
    return node(name, "n8n-nodes-base.slack", credentials={kind: {"id": identity, "name": credential}})


@dataclass
class World:
    """Staging and production of ``cast.tenant``, and what tests do with them."""

    cast: Any
    staging: Environment
    production: Environment
    source: SandboxInstance
    target: SandboxInstance
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def tenant_id(self) -> uuid.UUID:
        return self.cast.tenant.pk

    def capture(self, *environments: Environment) -> None:
        for environment in environments or (self.staging, self.production):
            operation = start_capture(tenant_id=self.tenant_id, environment_id=environment.pk, requested_by=None)
            assert engine.drive(operation_id=operation.pk, tenant_id=self.tenant_id) == "COMPLETED", self.failure(
                operation.pk
            )
        with tenant_scope(self.tenant_id):
            self.staging.refresh_from_db()
            self.production.refresh_from_db()

    def failure(self, operation_id: uuid.UUID) -> Any:
        with tenant_scope(self.tenant_id):
            return Operation.objects.get(pk=operation_id).error_details

    def draft(self, *keys: str, **options: Any) -> Promotion:
        return services.create(
            tenant_id=self.tenant_id,
            request=services.PromotionRequest(
                source_id=self.staging.pk, target_id=self.production.pk, keys=keys, options=options
            ),
            by=self.cast.operator,
        )

    def approved(self, *keys: str, **options: Any) -> Promotion:
        promotion = self.draft(*keys, **options)
        services.submit(tenant_id=self.tenant_id, promotion_id=promotion.pk, by=self.cast.operator)
        return services.approve(tenant_id=self.tenant_id, promotion_id=promotion.pk, by=self.cast.approver)

    def start(self, promotion: Promotion) -> Operation:
        return services.execute(tenant_id=self.tenant_id, promotion_id=promotion.pk, by=self.cast.operator)

    def drive(self, operation: Operation, *, tries: int = 8, patient: bool = False) -> str:
        """Carry an operation to its end, as workers and the reaper would, without the waiting.

        ``patient``: attempts are not counted, as if a person had retried each time.
        """
        for _ in range(tries):
            with tenant_scope(self.tenant_id):
                row = Operation.objects.get(pk=operation.pk)
                if row.status not in ("PENDING", "RUNNING", "RETRY_PENDING"):
                    return row.status
                Operation.objects.filter(pk=row.pk).update(run_after=None, lease_expires_at=row.created_at)
                if patient:
                    Operation.objects.filter(pk=row.pk).update(attempt=0)
            engine.drive(operation_id=operation.pk, tenant_id=self.tenant_id)
        with tenant_scope(self.tenant_id):
            return Operation.objects.get(pk=operation.pk).status

    def carry_out(self, promotion: Promotion) -> Promotion:
        self.drive(self.start(promotion))
        return self.fresh(promotion)

    def fresh(self, promotion: Promotion) -> Promotion:
        return services.get_promotion(tenant_id=self.tenant_id, promotion_id=promotion.pk)

    def hashes(self, *, leave_out: str = "") -> dict[str, tuple[str, str, bool]]:
        """Every workflow of the target as it stands in n8n, behind the console's back: by id."""
        return {
            raw["id"]: (raw["name"], content_hash(portable(raw)), bool(raw["active"]))
            for raw in self.target.state()["workflows"]
            if raw["id"] != leave_out
        }

    def hash_there(self, name: str) -> str:
        """The content hash of a workflow of the target as it stands in n8n; one that calls no other."""
        return next(value for found, value, _ in self.hashes().values() if found == name)

    def mapped(self, key: str) -> tuple[str | None, str | None]:
        """What the target's mapping of a workflow says: the approved hash, and that of what is there."""
        with tenant_scope(self.tenant_id):
            mapping = WorkflowEnvMap.objects.get(environment=self.production, canonical_workflow__key=key)
        return mapping.git_content_hash, mapping.env_content_hash

    def by_name(self) -> dict[str, dict[str, Any]]:
        return {raw["name"]: raw for raw in self.target.state()["workflows"]}
