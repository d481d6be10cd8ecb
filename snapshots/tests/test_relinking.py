"""Linking an approved workflow to another key keeps it approved, and in sync."""

from __future__ import annotations

from typing import Any

from snapshots import canonical
from tenants.scope import tenant_scope
from workflows import identity
from workflows.models import CanonicalWorkflow, Environment, WorkflowEnvMap

from .conftest import caller, workflow


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
