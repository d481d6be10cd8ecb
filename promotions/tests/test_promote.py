"""The main job: all of it, or the target as it was."""

from __future__ import annotations

from typing import Any

from promotions import services
from promotions.tests.world import World, chain, flow, node


def test_a_promotion_brings_the_chosen_workflows_over(world: World) -> None:
    compared = services.compare(tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk)
    states = {row.key: row.state for row in compared.rows}
    assert states == {
        "billing": "differs",
        "helper": "only_in_source",
        "intake": "only_in_source",
        "same": "equal",
        "other": "only_in_target",
    }
    before = world.hashes()
    promotion = world.carry_out(world.approved("billing", "intake"))

    assert promotion.status == "COMPLETED", promotion.execution_result
    result: dict[str, Any] = promotion.execution_result or {}
    there = world.by_name()
    assert set(there) == {"Billing", "Same", "Other", "Helper", "Intake"}
    locator = next(n for n in there["Intake"]["nodes"] if n["name"] == "Call")["parameters"]["workflowId"]
    assert locator["value"] == there["Helper"]["id"]
    assert there["Billing"]["active"] is True and there["Intake"]["active"] is False
    assert all(row["ok"] for row in result["verification"]["workflows"])
    assert result["verification"]["others_unchanged"] == 2
    assert result["commit"] and result["snapshot_ids"]["pre_promotion"] and result["snapshot_ids"]["post_promotion"]
    after = world.hashes()
    assert {k: v for k, v in after.items() if v[0] in ("Same", "Other")} == {
        k: v for k, v in before.items() if v[0] in ("Same", "Other")
    }
    again = services.compare(tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk)
    assert {r.key: r.state for r in again.rows if r.key != "other"} == dict.fromkeys(
        ("billing", "helper", "intake", "same"), "equal"
    )
    assert not any(row.target_drifted for row in again.rows)


def test_what_n8n_publishes_without_a_trigger_is_published_in_the_target(empty_world: World) -> None:
    """A node that can wait for an answer listens for it, and n8n counts that."""
    world = empty_world
    nodes = [node("Hand", "n8n-nodes-base.manualTrigger"), node("Wait", "n8n-nodes-base.wait")]
    world.source.seed([{**flow("Asks", active=True), "nodes": nodes, "connections": chain(*nodes)}])
    world.capture()
    done = world.carry_out(world.approved("asks", active="copy"))
    assert done.status == "COMPLETED", done.execution_result
    assert world.by_name()["Asks"]["active"]
    assert not done.plan["items"][0]["warnings"]
