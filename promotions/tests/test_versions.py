"""On an n8n that publishes versions: what is called keeps running, and what calls it follows it to a new id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from operations.handlers import boundary_observers
from promotions.tests.conftest import _environment
from promotions.tests.world import World, calls, flow, node
from sandbox.testing import SandboxInstance, SandboxServer
from snapshots.models import Snapshot
from snapshots.restore import start_restore
from tenants.scope import tenant_scope


@pytest.fixture
def versions(live_cast: Any, sandbox_server: SandboxServer, no_drift: list[Any]) -> Iterator[World]:
    source, target = (sandbox_server.control.create(profile="2.41") for _ in range(2))
    staging = _environment(live_cast, source, "Staging", "staging", 1)
    production = _environment(live_cast, target, "Production", "production", 2)
    yield World(live_cast, staging, production, source, target)
    boundary_observers.clear()
    source.delete()
    target.delete()


def called_flow(name: str, text: str) -> dict[str, Any]:
    start = node("In", "n8n-nodes-base.executeWorkflowTrigger", parameters={"inputSource": "passthrough"})
    made = flow(name, node("Set", parameters={"value": text}))
    return {**made, "nodes": [start, made["nodes"][1]], "connections": {}}


def publish(instance: SandboxInstance, *ids: str) -> None:
    with instance.client() as client:
        for ident in ids:
            assert client.post(f"/workflows/{ident}/publish", json={}).status_code == 200
    instance.settle()


def estate(instance: SandboxInstance, text: str) -> dict[str, str]:
    """Main calls Sub; both are published."""
    sub = instance.seed([called_flow("Sub", text)])[0]["id"]
    main = instance.seed([flow("Main", calls("Call", sub))])[0]["id"]
    publish(instance, sub, main)
    return {"Sub": sub, "Main": main}


def text_that_runs(raw: dict[str, Any]) -> str:
    live = raw["activeVersion"] or {"nodes": []}
    return next((n["parameters"]["value"] for n in live["nodes"] if n["name"] == "Set"), "")


@pytest.mark.parametrize("policy", ["keep", "inactive"])
def test_a_called_workflow_that_runs_is_never_switched_off(versions: World, policy: str) -> None:
    estate(versions.source, "new")
    estate(versions.target, "old")
    versions.capture()
    done = versions.carry_out(versions.approved("sub", active=policy))
    assert done.status == "COMPLETED", done.execution_result
    sub = versions.by_name()["Sub"]
    assert (sub["active"], text_that_runs(sub)) == (True, "new")
    codes = [warning["code"] for warning in done.plan["items"][0]["warnings"]]
    assert ("must_run" in codes) is (policy == "inactive")


def test_what_runs_of_a_caller_follows_what_was_recreated(versions: World) -> None:
    ids = estate(versions.target, "old")
    versions.target.edit(ids["Main"], draft=True, nodes=flow("Main", calls("Call", ids["Sub"]), node("Mine"))["nodes"])
    versions.capture(versions.production)
    with tenant_scope(versions.tenant_id):
        snapshot = Snapshot.objects.get(environment=versions.production)
    versions.target.delete_workflow(ids["Sub"])
    operation = start_restore(
        tenant_id=versions.tenant_id,
        environment_id=versions.production.pk,
        snapshot_id=snapshot.pk,
        keys=["sub"],
        requested_by=None,
    )
    assert versions.drive(operation) == "COMPLETED", versions.failure(operation.pk)
    now = versions.by_name()
    assert now["Sub"]["active"] is True
    for held in (now["Main"]["activeVersion"], now["Main"]):
        call = next(n for n in held["nodes"] if n["name"] == "Call")
        assert call["parameters"]["workflowId"]["value"] == now["Sub"]["id"]
    assert any(n["name"] == "Mine" for n in now["Main"]["nodes"]), "the draft is still somebody's work"
    assert not any(n["name"] == "Mine" for n in now["Main"]["activeVersion"]["nodes"])


def test_a_draft_that_is_begun_while_a_promotion_publishes_is_left_alone(versions: World) -> None:
    versions.source.seed([flow("Front", node("Set", parameters={"value": "new"}))])
    there = versions.target.seed([flow("Front", node("Set", parameters={"value": "old"}))])[0]["id"]
    publish(versions.target, there)
    versions.capture()
    chosen = versions.approved("front")

    def autosave(step: str, *_more: Any) -> None:
        if "activate" in str(step):
            mine = flow("Front", node("Set", parameters={"value": "mine"}))["nodes"]
            versions.target.edit(there, draft=True, nodes=mine)

    boundary_observers.append(autosave)
    done = versions.carry_out(chosen)
    assert done.status == "COMPLETED", done.execution_result
    front = versions.by_name()["Front"]
    assert text_that_runs(front) == "new"
    assert next(n["parameters"]["value"] for n in front["nodes"] if n["name"] == "Set") == "mine"
