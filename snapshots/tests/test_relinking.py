"""Linking an approved workflow to another key keeps it approved, and in sync."""

from __future__ import annotations

from typing import Any

from operations import engine
from operations.models import Operation
from sandbox.testing import SandboxServer
from snapshots import canonical
from snapshots.relinking import RELINK_KIND
from snapshots.services import start_capture
from tenants.scope import tenant_scope
from workflows import identity
from workflows.models import CanonicalWorkflow, Environment, WorkflowEnvMap

from .conftest import caller, make_environment, workflow


def test_the_approved_file_follows_the_key(
    capture: Any, n8n: Any, environment: Environment, live_cast: Any, run_operations: Any
) -> None:
    orders = n8n.seed([workflow("Orders")])[0]
    n8n.seed([caller("Caller", orders["id"])])
    capture()
    with tenant_scope(environment.tenant_id):
        CanonicalWorkflow.objects.create(tenant_id=environment.tenant_id, key="other", name="Other")
        place = WorkflowEnvMap.objects.get(env_workflow_id=orders["id"])
    identity.link(tenant_id=environment.tenant_id, map_id=place.pk, key="other")
    assert run_operations(live_cast.tenant) == ["COMPLETED"]
    assert set(canonical.canonical_blobs(environment)) == {"other", "caller"}
    capture()
    with tenant_scope(environment.tenant_id):
        rows = {p.env_name: p for p in WorkflowEnvMap.objects.all()}
    assert not rows["Orders"].is_drifted and rows["Orders"].git_content_hash
    assert not rows["Caller"].is_drifted, "what calls it has not changed either"


def test_two_moves_in_a_row_end_at_the_last_key_in_whichever_order_they_are_carried_out(
    capture: Any, n8n: Any, environment: Environment
) -> None:
    orders = n8n.seed([workflow("Orders")])[0]
    capture()
    with tenant_scope(environment.tenant_id):
        for key in ("second", "third"):
            CanonicalWorkflow.objects.create(tenant_id=environment.tenant_id, key=key, name=key)
        place = WorkflowEnvMap.objects.get(env_workflow_id=orders["id"])
    for key in ("second", "third"):
        identity.link(tenant_id=environment.tenant_id, map_id=place.pk, key=key)
    with tenant_scope(environment.tenant_id):
        moves = list(Operation.objects.filter(kind=RELINK_KIND).order_by("-created_at"))
    assert len(moves) == 2
    for move in moves:
        assert engine.drive(operation_id=move.pk, tenant_id=environment.tenant_id) == "COMPLETED"
    assert set(canonical.canonical_blobs(environment)) == {"third"}


def test_an_approved_draft_that_calls_it_follows_the_key(
    live_cast: Any, sandbox_server: SandboxServer, run_operations: Any
) -> None:
    n8n = sandbox_server.control.create(profile="2.41")
    environment = make_environment(live_cast.tenant, n8n)

    def see() -> None:
        start_capture(tenant_id=live_cast.tenant.pk, environment_id=environment.pk, requested_by=None)
        run_operations(live_cast.tenant)

    orders = n8n.seed([workflow("Orders")])[0]
    front = n8n.seed([workflow("Front", active=True)])[0]
    approved = caller("Front", orders["id"])["nodes"]
    n8n.edit(front["id"], draft=True, nodes=approved)
    see()
    n8n.edit(front["id"], draft=True, nodes=workflow("Front", url="https://example.org/other")["nodes"])
    see()
    with tenant_scope(environment.tenant_id):
        CanonicalWorkflow.objects.create(tenant_id=environment.tenant_id, key="other", name="Other")
        place = WorkflowEnvMap.objects.get(env_workflow_id=orders["id"])
    identity.link(tenant_id=environment.tenant_id, map_id=place.pk, key="other")
    run_operations(live_cast.tenant)
    n8n.edit(front["id"], draft=True, nodes=approved)
    see()
    with tenant_scope(environment.tenant_id):
        row = WorkflowEnvMap.objects.get(env_workflow_id=front["id"])
    assert row.env_draft_hash
    assert row.git_draft_hash == row.env_draft_hash, "the draft is as approved again"
    n8n.delete()
