"""What others do between a plan and its end: nothing of theirs is undone unsaid, and nothing is left half-way."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from operations import engine
from operations.handlers import boundary_observers
from promotions import services
from promotions.errors import PlanStale
from promotions.tests.world import World, flow, node, uses
from workflows.credentials import CredentialPair, delete_mapping, save_mapping
from workflows.errors import EnvironmentInUse
from workflows.n8n import Limits
from workflows.services import update_environment
from workflows.writes import performing


def test_cancelled_while_no_worker_has_it(world: World) -> None:
    """Handed back by a worker that was stopped in the middle of the writes."""
    promotion = world.approved("billing", "intake")
    before = world.hashes()
    operation = world.start(promotion)
    boundary_observers.append(lambda name: engine.stopping.set() if name == "promote:write:billing:after-intent" else 0)
    try:
        assert world.drive(operation, tries=1) == "RETRY_PENDING"
    finally:
        engine.stopping.clear()
        boundary_observers.clear()
    assert world.hashes() != before
    services.cancel(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "CANCELLED"
    assert world.hashes() == before
    done = world.fresh(promotion)
    result = done.execution_result or {}
    assert done.status == "CANCELLED"
    assert result["error"]["code"] == "CANCELLED" and result["rollback_result"]["status"] == "success"


def test_a_worker_stopped_right_after_a_failed_creation_leaves_no_second_one(world: World) -> None:
    """Between a failure on record and the decision to put back: going forward again would create it once more."""
    promotion = world.approved("billing", "intake")
    before = world.hashes()
    world.target.fault(kind="partial", mode="truncated_nodes", method="POST", path="/workflows$", nth=1, times=1)
    operation = world.start(promotion)
    boundary_observers.append(lambda name: engine.stopping.set() if name == "promote:write:helper:after-result" else 0)
    try:
        assert world.drive(operation, tries=1) == "RETRY_PENDING"
    finally:
        engine.stopping.clear()
        boundary_observers.clear()
    assert len(world.hashes()) == len(before) + 1
    assert world.drive(operation) == "FAILED"
    assert world.hashes() == before
    result = world.fresh(promotion).execution_result or {}
    assert result["rollback_result"]["status"] == "success"
    assert result["error"]["details"]["cause"]["code"].startswith("WRITE_")


def test_a_creation_without_an_answer_is_not_taken_for_its_twin(
    empty_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one name and content: the one is there and on record, of the other nobody knows."""
    empty_world.source.seed([flow("Twin"), flow("Twin")])
    empty_world.capture()
    promotion = empty_world.approved("twin", "twin-2")
    monkeypatch.setattr(performing, "CHUNK", 1)

    def die(name: str) -> None:
        if name == "promote:write:twin-2:after-intent":
            boundary_observers.clear()
            raise SystemExit

    operation = empty_world.start(promotion)
    boundary_observers.append(die)
    with pytest.raises(SystemExit):
        empty_world.drive(operation, tries=1)
    assert empty_world.drive(operation) == "COMPLETED"
    assert [name for name, _, _ in empty_world.hashes().values()] == ["Twin", "Twin"]


def test_what_was_switched_off_since_the_plan_is_not_switched_on_again(world: World) -> None:
    promotion = world.approved("billing")
    world.target.edit(world.by_name()["Billing"]["id"], active=False)
    before = world.hashes()
    done = world.carry_out(promotion)
    result = done.execution_result or {}
    assert (done.status, result["error"]["code"], result["target_untouched"]) == ("FAILED", "PROMO_007", True)
    assert world.hashes() == before
    world.capture(world.production)
    services.replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert (world.fresh(promotion).plan or {})["items"][0]["active"] is False


def test_what_is_switched_off_just_before_the_write_stays_off(world: World) -> None:
    promotion = world.approved("billing", "intake")
    billing = world.by_name()["Billing"]["id"]
    world.target.fault(
        kind="edit_before", method="GET", path=f"/workflows/{billing}$", times=1, workflow_id=billing,
        changes={"active": False},
    )  # fmt: skip
    done = world.carry_out(promotion)
    there = world.by_name()
    assert set(there) == {"Billing", "Same", "Other"} and there["Billing"]["active"] is False
    back = (done.execution_result or {})["rollback_result"]
    assert (done.status, back["status"]) == ("FAILED", "partial")
    assert [row["name"] for row in back["edited_by_others"]] == ["Billing"]


def test_a_workflow_that_cannot_be_read_does_not_keep_others_from_being_put_back(world: World) -> None:
    promotion = world.approved("billing", "intake")
    odd = world.target.seed([flow("Odd")])[0]["id"]
    before = world.hashes(leave_out=odd)
    world.target.edit(odd, nodes=[{"id": "1", "name": {}, "type": "n8n-nodes-base.set"}])
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    done = world.carry_out(promotion)
    assert (done.execution_result or {})["rollback_result"]["status"] == "success"
    assert world.hashes(leave_out=odd) == before


def test_a_target_too_large_for_one_answer_is_put_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.target.seed([flow(f"Large {n}", node("Much", notes="x" * 9_000)) for n in range(4)])
    world.capture(world.production)
    promotion = world.approved("billing", "intake")
    before = world.hashes()
    monkeypatch.setattr("workflows.gateway.Limits", partial(Limits, max_bytes=30_000))
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    done = world.carry_out(promotion)
    assert (done.execution_result or {})["rollback_result"]["status"] == "success"
    assert world.hashes() == before


def test_a_rollback_does_not_take_away_what_others_call(world: World) -> None:
    first = world.carry_out(world.approved("helper"))
    second = world.carry_out(world.approved("intake"))
    assert (first.status, second.status) == ("COMPLETED", "COMPLETED")

    def roll_back(promotion: Any, **options: Any) -> Any:
        operation = services.rollback(
            tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, **options
        )
        return world.drive(operation), world.failure(operation.pk) or {}

    status, error = roll_back(first)
    assert (status, error["code"]) == ("FAILED", "PROMO_013")
    assert error["details"]["callers"][0]["name"] == "Intake"
    assert "Helper" in world.by_name()
    assert roll_back(second)[0] == "COMPLETED"
    assert roll_back(first)[0] == "COMPLETED"
    assert set(world.by_name()) == {"Billing", "Same", "Other"}


def test_a_key_that_started_an_earlier_try_answers_that_try(world: World) -> None:
    promotion = world.approved("billing")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)

    def execute(key: str) -> Any:
        operation = services.execute(
            tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, idempotency_key=key
        )
        world.drive(operation)
        return operation

    first, second = execute("first"), execute("second")
    assert world.fresh(promotion).status == "COMPLETED"
    assert execute("first").pk == first.pk != second.pk
    assert world.fresh(promotion).status == "COMPLETED"


@pytest.mark.parametrize("change", ["another", "none"])
def test_a_credential_that_is_mapped_otherwise_asks_for_a_new_plan(empty_world: World, change: str) -> None:
    world = empty_world
    world.source.seed([flow("Notify", uses("Tell", "Slack staging", "s1"))])
    world.target.seed([flow("Seen", uses("Tell", "Slack production", "p1"))])
    world.capture()

    def map_to(name: str, ident: str) -> Any:
        return save_mapping(
            tenant_id=world.tenant_id,
            source_environment_id=world.staging.pk,
            target_environment_id=world.production.pk,
            pair=CredentialPair(
                credential_type="slackApi",
                source_name="Slack staging",
                target_name=name,
                target_credential_id=ident,
            ),
            by=world.cast.operator,
        )

    mapping = map_to("Slack wrong", "p2")
    promotion = world.approved("notify")
    if change == "another":
        map_to("Slack production", "p1")
    else:
        delete_mapping(tenant_id=world.tenant_id, mapping_id=mapping.pk)
    with pytest.raises(PlanStale) as caught:
        world.start(promotion)
    assert [c["name"] for c in caught.value.details["credentials"]] == ["Slack staging"]


def test_an_address_stays_while_work_is_half_done_there(world: World) -> None:
    promotion = world.approved("billing")
    operation = world.start(promotion)
    with pytest.raises(EnvironmentInUse) as caught:
        update_environment(
            tenant_id=world.tenant_id,
            environment_id=world.production.pk,
            base_url=world.source.base_url,
            api_key=world.source.api_key,
        )
    assert caught.value.details == {"operation_id": str(operation.pk)}
    assert world.drive(operation) == "COMPLETED"


def test_a_key_that_is_changed_half_way_is_used_for_the_way_back(world: World) -> None:
    promotion = world.approved("billing", "intake")
    before = world.hashes()
    operation = world.start(promotion)

    def rotate(name: str) -> None:
        if name == "promote:write:billing:after-intent":
            boundary_observers.clear()
            world.target.change(api_keys=["fresh-key"])

    boundary_observers.append(rotate)
    assert world.drive(operation, tries=1) == "RETRY_PENDING"
    assert world.hashes() != before
    update_environment(tenant_id=world.tenant_id, environment_id=world.production.pk, api_key="fresh-key")
    assert world.drive(operation) == "FAILED"
    assert world.hashes() == before
    assert (world.fresh(promotion).execution_result or {})["rollback_result"]["status"] == "success"
