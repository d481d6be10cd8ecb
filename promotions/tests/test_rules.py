"""Who may decide, what is refused, and what a plan is worth once the world has moved."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client

from core import clock, context
from core.errors import Conflict, Forbidden, NotFound
from operations import services as operations
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import services
from promotions.errors import (
    ApprovalNeeded,
    Dangling,
    DriftBlocks,
    PlanStale,
    PromotionNotConfirmed,
    SelfApproval,
    WrongState,
)
from promotions.models import Promotion, PromotionStatus
from promotions.running import status_sync
from promotions.tests.world import World, calls, flow, node, uses
from snapshots.errors import CaptureFailed
from tenants import services as tenants
from tenants.models import TenantRole
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.credentials import CredentialPair, save_mapping


def test_production_needs_somebody_else(world: World) -> None:
    cast = world.cast
    tenants.set_membership(tenant=cast.tenant, user=cast.operator, role=TenantRole.OWNER, by=cast.owner)
    draft = world.draft("billing")
    with pytest.raises(ApprovalNeeded):
        world.start(draft)
    services.submit(tenant_id=world.tenant_id, promotion_id=draft.pk, by=cast.operator)
    with pytest.raises(ApprovalNeeded):
        world.start(draft)
    with pytest.raises(SelfApproval):
        services.approve(tenant_id=world.tenant_id, promotion_id=draft.pk, by=cast.operator)
    with pytest.raises(Forbidden):
        services.approve(tenant_id=world.tenant_id, promotion_id=draft.pk, by=cast.viewer)
    # Taking somebody's place changes nothing: the real person is still the one who asked.
    with context.acting(actor_id=cast.operator.pk, acting_as_id=cast.approver.pk), pytest.raises(SelfApproval):
        services.approve(tenant_id=world.tenant_id, promotion_id=draft.pk, by=cast.approver)
    with pytest.raises(Conflict):
        services.approve(
            tenant_id=world.tenant_id, promotion_id=draft.pk, by=cast.approver, seen_plan_hash="another plan"
        )
    approved = services.approve(tenant_id=world.tenant_id, promotion_id=draft.pk, by=cast.approver, comment="Fine")
    assert (approved.status, approved.decided_by_id) == (PromotionStatus.APPROVED, cast.approver.pk)
    with pytest.raises(PromotionNotConfirmed):
        services.execute(tenant_id=world.tenant_id, promotion_id=draft.pk, by=cast.operator, typed="production")


def test_planning_again_voids_the_approval(world: World) -> None:
    promotion = world.approved("billing")
    again = services.replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver)
    assert again.status == PromotionStatus.DRAFT and again.decided_by_id is None
    services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    # Whoever planned it again asked for it too.
    with pytest.raises(SelfApproval):
        services.approve(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver)


def test_rejecting_needs_a_reason(world: World) -> None:
    promotion = world.draft("billing")
    services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    with pytest.raises(Exception, match="why"):
        services.reject(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver, comment=" ")
    done = services.reject(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver, comment="Not before Monday"
    )
    assert done.status == PromotionStatus.REJECTED
    with pytest.raises(WrongState):
        world.start(promotion)


def test_a_dangling_credential_is_refused_until_it_is_mapped(empty_world: World) -> None:
    world = empty_world
    world.source.seed([flow("Notify", uses("Tell", "Slack staging", "s1"))])
    world.target.seed([flow("Seen", uses("Tell", "Slack production", "p1"))])
    world.capture()
    promotion = world.draft("notify")
    with pytest.raises(Dangling) as caught:
        services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    [missing] = caught.value.details["dangling"]
    assert (missing["kind"], missing["credential_type"], missing["label"]) == (
        "credential",
        "slackApi",
        "Slack staging",
    )
    save_mapping(
        tenant_id=world.tenant_id,
        source_environment_id=world.staging.pk,
        target_environment_id=world.production.pk,
        pair=CredentialPair(
            credential_type="slackApi",
            source_name="Slack staging",
            target_name="Slack production",
            target_credential_id="p1",
        ),
        by=world.cast.operator,
    )
    done = world.carry_out(world.approved("notify"))
    assert done.status == "COMPLETED", done.execution_result
    used = next(n for n in world.by_name()["Notify"]["nodes"] if n["name"] == "Tell")["credentials"]
    assert used == {"slackApi": {"id": "p1", "name": "Slack production"}}
    compared = services.compare(tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk)
    assert {r.key: r.state for r in compared.rows}["notify"] == "equal"


def asked_over_rest(world: World, *keys: str) -> dict[str, Any]:
    body = {
        "source_environment_id": str(world.staging.pk),
        "target_environment_id": str(world.production.pk),
        "workflow_keys": keys,
    }
    secret = create_token(user=world.cast.operator, name="x", tenant=world.cast.tenant)[1]
    headers = {"Authorization": f"Bearer {secret}"}
    answer = Client().post("/api/v1/promotions", body, content_type="application/json", headers=headers)
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_nothing_chosen_is_nothing_to_promote(world: World) -> None:
    refused = asked_over_rest(world)
    assert (refused["code"], refused["message"]) == ("PROMO_008", "No workflows were chosen.")
    assert refused["recovery"] == "Choose workflows that differ."


def test_an_environment_that_was_never_captured_is_named(empty_world: World) -> None:
    refused = asked_over_rest(empty_world, "billing")
    assert (refused["code"], refused["message"]) == ("PROMO_012", "Staging has never been captured.")
    assert refused["recovery"] == "Capture both environments first."


def test_a_missing_sub_workflow_is_proposed_or_refused(world: World) -> None:
    alone = world.draft("intake", include_required=False)
    assert [p["key"] for p in (alone.plan or {})["proposed"]] == ["helper"]
    with pytest.raises(Dangling):
        services.submit(tenant_id=world.tenant_id, promotion_id=alone.pk, by=world.cast.operator)
    together = world.draft("intake")
    added = {item["key"]: item["added_for"] for item in (together.plan or {})["items"]}
    assert added == {"helper": ["intake"], "intake": []}


def test_workflows_that_call_each_other(empty_world: World) -> None:
    world = empty_world
    ids = [row["id"] for row in world.source.seed([flow("Ping"), flow("Pong")])]
    world.source.edit(ids[0], nodes=flow("Ping", calls("Call", ids[1]))["nodes"])
    world.source.edit(ids[1], nodes=flow("Pong", calls("Call", ids[0]))["nodes"])
    world.capture()
    done = world.carry_out(world.approved("ping", "pong"))
    assert done.status == "COMPLETED", done.execution_result
    there = world.by_name()
    for name, other in (("Ping", "Pong"), ("Pong", "Ping")):
        called = next(n for n in there[name]["nodes"] if n["name"] == "Call")["parameters"]["workflowId"]["value"]
        assert called == there[other]["id"]


def test_drift_blocks_until_it_is_settled(world: World, no_drift: list[dict[str, Any]]) -> None:
    promotion = world.approved("billing")
    no_drift.append({"id": "1", "workflow_name": "Billing"})
    with pytest.raises(DriftBlocks) as caught:
        world.start(promotion)
    assert caught.value.code == "PROMO_003"
    no_drift.clear()
    operation = world.start(promotion)
    no_drift.append({"id": "1", "workflow_name": "Billing"})
    before = world.hashes()
    assert world.drive(operation) == "FAILED"
    result = world.fresh(promotion).execution_result or {}
    assert result["error"]["code"] == "PROMO_003" and result["target_untouched"] is True
    assert world.hashes() == before


def test_nobody_is_asked_to_approve_what_drift_holds_back(world: World, no_drift: list[dict[str, Any]]) -> None:
    promotion = world.draft("billing")
    no_drift.append({"id": "1", "workflow_name": "Billing"})
    with pytest.raises(DriftBlocks):
        services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.fresh(promotion).status == PromotionStatus.DRAFT
    no_drift.clear()
    with tenant_scope(world.tenant_id):
        operations.start(
            tenant_id=world.tenant_id,
            kind="x",
            title="Another writer",
            params={},
            requested_by=None,
            exclusive_key=world.production.write_lock,
        )
    waits = services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert waits.status == PromotionStatus.PENDING_APPROVAL, "a lock goes by itself"


def test_a_target_that_moved_since_the_plan_is_not_written_to(world: World) -> None:
    promotion = world.approved("billing")
    billing = world.by_name()["Billing"]["id"]
    world.target.edit(billing, nodes=[*flow("Billing")["nodes"], node("Theirs")])
    before = world.hashes()
    done = world.carry_out(promotion)
    assert done.status == "FAILED"
    result = done.execution_result or {}
    assert result["error"]["code"] == "PROMO_007" and result["target_untouched"] is True
    assert world.hashes() == before


def test_a_source_captured_anew_asks_for_a_new_plan(world: World) -> None:
    promotion = world.approved("billing")
    ident = next(w["id"] for w in world.source.state()["workflows"] if w["name"] == "Billing")
    world.source.edit(ident, nodes=[*flow("Billing")["nodes"], node("Newer")])
    world.capture(world.staging)
    with pytest.raises(PlanStale):
        world.start(promotion)


def test_no_snapshot_no_promotion(world: World) -> None:
    promotion = world.approved("billing")
    before = world.hashes()
    world.target.clear_calls()
    world.target.fault(kind="status", status=401, method="GET", path="/workflows")
    done = world.carry_out(promotion)
    result = done.execution_result or {}
    assert (done.status, result["error"]["code"]) == ("FAILED", "PROMO_001")
    assert not [c for c in world.target.calls() if c["method"] in ("POST", "PUT", "DELETE")]
    world.target.clear_faults()
    assert world.hashes() == before


def test_rolling_back_later(world: World) -> None:
    promotion = world.carry_out(world.approved("billing", "intake"))
    before_rollback = world.hashes()
    world.target.seed([flow("Later")])
    operation = services.rollback(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, reason="Regression"
    )
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    done = world.fresh(promotion)
    assert done.status == PromotionStatus.ROLLED_BACK
    record = (done.execution_result or {})["manual_rollback"]
    assert record["status"] == "success" and record["reason"] == "Regression"
    there = world.by_name()
    assert set(there) == {"Billing", "Same", "Other", "Later"}
    assert {n["name"] for n in there["Billing"]["nodes"]} == {"Hook", "Set"} and there["Billing"]["active"]
    assert before_rollback != world.hashes()
    compared = services.compare(tenant_id=world.tenant_id, source_id=world.staging.pk, target_id=world.production.pk)
    states = {row.key: row for row in compared.rows}
    assert states["billing"].state == "differs" and not states["billing"].target_drifted
    assert states["intake"].state == "only_in_source"


def test_a_rollback_does_not_undo_what_others_did_since(world: World) -> None:
    promotion = world.carry_out(world.approved("billing"))
    billing = world.by_name()["Billing"]["id"]
    world.target.edit(billing, nodes=[*flow("Billing")["nodes"], node("Theirs")])
    before = world.hashes()
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "FAILED"
    assert (world.failure(operation.pk) or {})["code"] == "PROMO_013"
    assert world.hashes() == before
    forced = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, force=True)
    assert world.drive(forced) == "COMPLETED", world.failure(forced.pk)
    assert world.fresh(promotion).status == PromotionStatus.ROLLED_BACK


def test_a_rollback_that_did_not_come_whole_is_said_of_the_promotion(world: World) -> None:
    """Status, attention and the runbook's ``rollback_result`` tell what stands in the target by now."""
    promotion = world.carry_out(world.approved("billing", "intake"))
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/")
    world.target.fault(kind="status", status=400, method="POST", path="/workflows/.*/activate")
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "FAILED"
    done = world.fresh(promotion)
    result = done.execution_result or {}
    assert (done.status, result["needs_attention"], result["error"]["code"]) == ("FAILED", True, "PROMO_005")
    assert result["error"]["recovery"]
    back = result["rollback_result"]
    assert (back["status"], back["not_restored"]) == ("partial", ["Billing"])
    assert back["workflows_rolled_back"] == 2, "what the promotion had created is gone"
    approved, seen = world.mapped("billing")
    assert approved == seen == world.hash_there("Billing"), "what is there is what the promotion wrote and approved"
    world.target.clear_faults()
    again = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, force=True)
    assert world.drive(again) == "COMPLETED", world.failure(again.pk)
    done = world.fresh(promotion)
    result = done.execution_result or {}
    assert (done.status, result["needs_attention"], result["error"]) == ("ROLLED_BACK", False, None)
    assert result["rollback_result"]["status"] == "success"


def test_only_what_is_proven_gone_counts_as_deleted(world: World) -> None:
    promotion = world.carry_out(world.approved("billing", "intake"))
    world.target.fault(kind="status", status=400, method="DELETE", path="/workflows/")
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "FAILED"
    result = world.fresh(promotion).execution_result or {}
    proof = result["manual_rollback"]["proof"]
    assert (proof["deleted"], len(proof["not_as_before"])) == (0, 2)
    assert {"Helper", "Intake"} <= set(world.by_name())
    assert result["rollback_result"]["workflows_rolled_back"] == proof["equal"] == 1


def test_a_rollback_by_a_person_after_one_that_failed_leaves_no_contradiction(world: World) -> None:
    promotion = world.approved("billing", "intake")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    world.target.fault(kind="status", status=503, method="DELETE")
    assert world.drive(world.start(promotion)) == "FAILED"
    automatic = (world.fresh(promotion).execution_result or {})["rollback_result"]
    assert automatic["status"] in ("partial", "failed")
    world.target.clear_faults()
    forced = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, force=True)
    assert world.drive(forced) == "COMPLETED", world.failure(forced.pk)
    done = world.fresh(promotion)
    result = done.execution_result or {}
    assert (done.status, result["rollback_result"]["status"]) == ("ROLLED_BACK", "success")
    assert result["rollback_result"]["operation_id"] == str(forced.pk)
    assert result["automatic_rollback"] == automatic
    assert result["error"]["code"] == "PROMO_002", "why it failed; that it could not be put back holds no longer"
    assert result["needs_attention"] is False


@pytest.mark.parametrize("how", ["git", "by_hand"])
def test_a_rollback_that_was_broken_off_is_said_of_the_promotion(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    promotion = world.carry_out(world.approved("billing"))
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)

    def fails(*_: Any, **__: Any) -> Any:
        raise CaptureFailed("No room left.")

    def observe(name: str) -> None:
        if name == "rollback:write:billing:after-intent":
            boundary_observers.clear()
            with tenant_scope(world.tenant_id):
                Operation.objects.filter(pk=operation.pk).update(
                    status="FAILED", error_message="Emergency stop executed"
                )

    if how == "git":
        monkeypatch.setattr("snapshots.services.set_baseline", fails)
    else:
        boundary_observers.append(observe)
    assert world.drive(operation, tries=1) == "FAILED"
    status_sync.settle_all()
    done = world.fresh(promotion)
    result = done.execution_result or {}
    assert (done.status, result["needs_attention"], result["error"]["code"]) == ("FAILED", True, "PROMO_005")
    assert ("Emergency stop" if how == "by_hand" else "No room left") in result["error"]["message"]
    assert result["manual_rollback"]["operation_id"] == str(operation.pk)
    assert status_sync.settle_all() == 0, "once is enough"


def test_a_rollback_that_was_refused_changes_nothing(world: World) -> None:
    promotion = world.carry_out(world.approved("billing"))
    world.target.edit(world.by_name()["Billing"]["id"], nodes=[*flow("Billing")["nodes"], node("Theirs")])
    operation = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert world.drive(operation) == "FAILED"
    assert status_sync.settle_all() == 0
    done = world.fresh(promotion)
    assert done.status == "COMPLETED" and "manual_rollback" not in (done.execution_result or {})


def test_an_emergency_stop_before_any_write_says_what_to_do(world: World) -> None:
    promotion = world.approved("billing")
    operation = world.start(promotion)
    with tenant_scope(world.tenant_id):
        stopped = {"status": "FAILED", "error_message": "Emergency stop executed", "ended_at": clock.now()}
        Operation.objects.filter(pk=operation.pk).update(**stopped)
    assert status_sync.settle_all() == 1
    done = world.fresh(promotion)
    error = (done.execution_result or {})["error"]
    assert (done.status, error["code"]) == ("FAILED", "PROMO_018")
    assert "before anything was written" in error["message"] and "Emergency stop executed" in error["message"]
    assert "run the promotion again" in error["recovery"]
    assert world.drive(world.start(done)) == "COMPLETED"


def test_cancelled_before_it_began(world: World) -> None:
    promotion = world.approved("billing")
    operation = world.start(promotion)
    operations.cancel(tenant_id=world.tenant_id, operation_id=operation.pk, by=world.cast.operator)
    assert status_sync.settle_all() == 0, "it is settled with the job, not afterwards"
    done = world.fresh(promotion)
    assert done.status == PromotionStatus.CANCELLED
    assert (done.execution_result or {})["target_untouched"] is True
    error = (done.execution_result or {})["error"]
    assert error["code"] == "CANCELLED" and error["recovery"]


def test_given_up_by_a_person_while_it_wrote(world: World) -> None:
    """In the transaction of the job's end, so that nobody sees a promotion that runs without a job."""
    promotion = world.approved("billing")
    operation = world.start(promotion)

    def die(name: str) -> None:
        if name == "promote:write:billing:after-effect":
            boundary_observers.clear()
            raise SystemExit

    boundary_observers.append(die)
    with pytest.raises(SystemExit):
        world.drive(operation, tries=1)
    with tenant_scope(world.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(status="PARKED")
    operations.give_up(tenant_id=world.tenant_id, operation_id=operation.pk, by=world.cast.operator, reason="Looked")
    with tenant_scope(world.tenant_id):
        done = Promotion.objects.get(pk=promotion.pk)
    assert (done.status, (done.execution_result or {})["error"]["code"]) == ("FAILED", "PROMO_005")
    assert done.attention_since is not None and status_sync.settle_all() == 0


def test_ended_by_hand_in_the_middle(world: World) -> None:
    promotion = world.approved("billing", "intake")
    before = world.hashes()
    operation = world.start(promotion)

    def observe(name: str) -> None:
        if name == "promote:write:billing:before-intent":
            boundary_observers.clear()
            with tenant_scope(world.tenant_id):
                Operation.objects.filter(pk=operation.pk).update(status="FAILED")

    boundary_observers.append(observe)
    world.drive(operation, tries=1)
    assert status_sync.settle_all() == 1
    done = world.fresh(promotion)
    result = done.execution_result or {}
    assert done.status == "FAILED" and result["needs_attention"] is True
    assert result["error"]["code"] == "PROMO_005"
    assert world.hashes() != before
    forced = services.rollback(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, force=True)
    assert world.drive(forced) == "COMPLETED", world.failure(forced.pk)
    assert world.hashes() == before


def test_the_same_key_starts_it_once(world: World) -> None:
    promotion = world.approved("billing")
    first, second = (
        services.execute(
            tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, idempotency_key="deploy-1"
        )
        for _ in range(2)
    )
    assert first.pk == second.pk


def test_another_tenants_promotion_is_not_there(world: World) -> None:
    promotion = world.draft("billing")
    for promotion_id in (promotion.pk, uuid.uuid4(), "nonsense"):
        with pytest.raises(NotFound):
            services.get_promotion(tenant_id=world.cast.other_tenant.pk, promotion_id=promotion_id)
    with pytest.raises(NotFound):
        services.compare(
            tenant_id=world.cast.other_tenant.pk, source_id=world.staging.pk, target_id=world.production.pk
        )


def test_what_a_person_should_know_is_warned_of(empty_world: World) -> None:
    world = empty_world
    listening = flow("Orders", node("Off", disabled=True), active=True, pinData={"Hook": [{"json": {}}]})
    world.source.seed([listening])
    other = flow("Old orders", active=True)
    other["nodes"][0]["parameters"]["path"] = "orders"
    world.target.seed([other])
    world.capture()
    [item] = (world.draft("orders", active="copy").plan or {})["items"]
    codes = {warning["code"] for warning in item["warnings"]}
    assert {"webhook_clash", "pinned_data", "disabled_nodes"} <= codes
    assert item["active"] is True


def test_settings_that_the_target_does_not_take_are_told_before(empty_world: World) -> None:
    """n8n's editor saves settings that its public interface refuses, so no promotion can bring them along."""
    world = empty_world
    orders = flow("Orders", active=True)
    world.source.seed([{**orders, "settings": {"executionOrder": "v1", "engineType": "v2"}}])
    world.capture()
    promotion = world.draft("orders", active="copy")
    [item] = (promotion.plan or {})["items"]
    [told] = [warning["message"] for warning in item["warnings"] if warning["code"] == "settings_left_behind"]
    assert told == "n8n in Production does not take these settings: engineType. They stay behind."


def test_what_failed_and_was_put_back_may_be_tried_again(world: World) -> None:
    promotion = world.approved("billing", "intake")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    assert world.carry_out(promotion).status == "FAILED"
    done = world.carry_out(promotion)
    assert done.status == "COMPLETED", done.execution_result


def test_what_was_planned_again_and_withdrawn_may_not(world: World) -> None:
    """How the try before it ended says nothing of a plan that nobody has submitted."""
    promotion = world.approved("billing", "intake")
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    assert world.carry_out(promotion).status == "FAILED"
    services.replan(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    services.submit(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    services.approve(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.approver)
    services.cancel(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)
    assert not services.can_try_again(world.fresh(promotion))
    with pytest.raises(WrongState):
        world.start(promotion)


def test_git_that_cannot_be_written_puts_the_target_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from snapshots import services as snapshots
    from snapshots.errors import CaptureFailed

    def full(*_args: Any, **_options: Any) -> str:
        raise CaptureFailed("No space is left.")

    promotion = world.approved("billing", "intake")
    before = world.hashes()
    monkeypatch.setattr(snapshots, "commit_canonical", full)
    done = world.carry_out(promotion)
    assert done.status == "FAILED" and world.hashes() == before
    assert (done.execution_result or {})["rollback_result"]["status"] == "success"
