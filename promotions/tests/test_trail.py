"""Each write that n8n gets is in the trail: intended before it was sent, and how it ended."""

from __future__ import annotations

from typing import Any

import pytest

from audit.models import AuditLog
from core import context
from operations.handlers import boundary_observers
from promotions.models import Promotion
from promotions.tests.world import World
from tenants.scope import tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


def effects(world: World, promotion: Promotion) -> dict[str, list[AuditLog]]:
    """The effects of a promotion's operation, oldest first, by step."""
    found: dict[str, list[AuditLog]] = {}
    with tenant_scope(world.tenant_id):
        rows = AuditLog.objects.filter(
            operation_id=world.fresh(promotion).operation_id, action__startswith="EFFECT_"
        ).order_by("pk")
        for row in rows:
            found.setdefault(row.details["step"], []).append(row)
    return found


def test_a_promotions_writes_are_pairs_of_intent_and_outcome(world: World) -> None:
    world.source.edit(
        next(raw["id"] for raw in world.source.state()["workflows"] if raw["name"] == "Intake"), active=True
    )
    world.capture(world.staging)
    sent: list[tuple[str, int]] = []

    def observe(boundary: str) -> None:
        if boundary.endswith(":after-intent") and boundary.startswith("promote:"):
            with tenant_scope(world.tenant_id):
                intended = AuditLog.objects.filter(action="EFFECT_INTENDED", details__system="n8n").count()
            sent.append((boundary, intended))

    world.target.clear_calls()
    boundary_observers.append(observe)
    chosen = world.approved("billing", "intake", active="copy")
    with context.acting(source="web", actor_id=world.cast.operator.pk):
        operation = world.start(chosen)
    world.drive(operation)
    promotion = world.fresh(chosen)
    assert promotion.status == "COMPLETED", promotion.execution_result
    found = effects(world, promotion)
    assert set(found) == {
        "promote:write:billing",
        "promote:write:helper",
        "promote:write:intake",
        "promote:activate:intake",
        "promotion:canonical",
    }
    assert all([row.action for row in rows] == ["EFFECT_INTENDED", "EFFECT_DONE"] for rows in found.values())
    assert [count for _, count in sent] == sorted(count for _, count in sent) and sent[-1][1] == 4

    there = world.by_name()
    written = {
        (call["method"], call["path"].rpartition("/api/v1")[2])
        for call in world.target.calls()
        if call["method"] not in ("GET", "OPTIONS")  # these change nothing
    }
    said = {
        (rows[0].details["method"], rows[0].details["path"]) for rows in found.values() if "path" in rows[0].details
    }
    assert said == {call for call in written if not call[1].endswith("/tags")}, "n8n got what was intended, and no more"

    hashes = {name: mark for name, mark, _ in world.hashes().values()}
    for name in ("Billing", "Helper", "Intake"):
        intent, outcome = found[f"promote:write:{name.lower()}"]
        assert outcome.details["workflow_id"] == there[name]["id"]
        assert (intent.object_repr, intent.resource_id) == (f"Production: {name}", world.production.pk)
        assert outcome.details["hash_after"] == outcome.details["hash_wanted"] == intent.details["hash_wanted"]
        assert "nodes" not in str(outcome.details) + str(intent.details)
    before = found["promote:write:billing"][0].details["hash_before"]
    assert before and before != hashes["Billing"]
    (_, commit) = found["promotion:canonical"]
    result: dict[str, Any] = promotion.execution_result or {}
    assert (commit.details["branch"], commit.details["commit_after"]) == ("env/production", result["commit"])
    assert {row.actor_user_id for rows in found.values() for row in rows} == {world.cast.operator.pk}


def test_a_write_that_n8n_refuses_is_on_record_as_failed_and_so_is_its_undoing(world: World) -> None:
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    promotion = world.carry_out(world.approved("billing", "intake"))
    assert promotion.status == "FAILED"
    found = effects(world, promotion)
    assert [row.action for row in found["promote:write:billing"]][-1] == "EFFECT_FAILED"
    assert found["promote:write:billing"][-1].details["code"]
    deleted = [rows for step, rows in found.items() if rows[0].details.get("method") == "DELETE"]
    assert len(deleted) == 2, "helper and intake are taken away again, on record"
    for rows in deleted:
        assert [row.action for row in rows] == ["EFFECT_INTENDED", "EFFECT_DONE"]
        assert rows[1].details["outcome"] == "deleted"
