"""Whatever goes wrong at whichever write: wholly promoted, or wholly as before, by hash of every workflow."""

from __future__ import annotations

from typing import Any

import pytest

from operations.handlers import boundary_observers
from operations.models import OperationStep
from promotions.models import Promotion
from promotions.tests.world import World, flow, node
from tenants.scope import tenant_scope
from workflows.n8n.client import N8nClient

KEYS = ("billing", "intake")  # an update of an active workflow; a create that brings another with it
FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "401": {"kind": "status", "status": 401},
    "404": {"kind": "status", "status": 404},
    "html": {"kind": "html", "status": 502},
    "drop before": {"kind": "drop_before"},
    "drop after": {"kind": "drop_after"},
    "500 after": {"kind": "status_after", "status": 500},
    "garbage": {"kind": "garbage"},
    "inactive": {"kind": "partial", "mode": "lost_activation"},
    "silently inactive": {"kind": "partial", "mode": "silent_inactive"},
    "half the nodes": {"kind": "partial", "mode": "truncated_nodes"},
    "no settings": {"kind": "partial", "mode": "lost_settings"},
}
WRITES = {"first create": ("POST", 1), "second create": ("POST", 2), "update": ("PUT", 1)}


def outcome(world: World, before: dict[str, Any], promotion: Promotion) -> str:
    """whole, before, or a sentence about what it is instead."""
    after = world.hashes()
    if after == before:
        return "before"
    wanted = {item["name"]: item["wanted_hash"] for item in (promotion.plan or {})["items"]}
    names = {name for name, _hash, _active in after.values()}
    others = {k: v for k, v in before.items() if v[0] not in wanted}
    verified = {
        row["name"]: row for row in (promotion.execution_result or {}).get("verification", {}).get("workflows", [])
    }
    if (
        names == {*wanted, *(v[0] for v in others.values())}
        and len(after) == len(wanted) + len(others)
        and all(after.get(k) == v for k, v in others.items())
        and all(verified.get(name, {}).get("found_hash") == value for name, value in wanted.items())
    ):
        return "whole"
    return f"neither: {before} became {after}"


@pytest.mark.parametrize("place", WRITES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_a_write(world: World, fault: str, place: str) -> None:
    method, nth = WRITES[place]
    promotion = world.approved(*KEYS)
    before = world.hashes()
    world.target.fault(**FAULTS[fault], method=method, path=r"/workflows(/[^/]+)?$", nth=nth, times=1)
    done = world.carry_out(promotion)
    found = outcome(world, before, done)
    assert found == {"COMPLETED": "whole", "FAILED": "before"}[done.status], (done.status, done.execution_result)
    if done.status == "FAILED":
        result = done.execution_result or {}
        assert result["error"]["code"] == "PROMO_002"
        back = result["rollback_result"]
        assert back["status"] == "success"
        assert back["proof"]["equal"] == back["proof"]["workflows_in_snapshot"] == 3


def test_a_target_that_stays_away_is_put_back_once_it_answers(world: World) -> None:
    promotion = world.approved(*KEYS)
    before = world.hashes()
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    away = world.target.fault(kind="status", status=503, method="DELETE")
    operation = world.start(promotion)
    world.drive(operation, tries=2)
    assert world.fresh(promotion).status == "RUNNING"
    assert away
    world.target.clear_faults()
    assert world.drive(operation) == "FAILED"
    done = world.fresh(promotion)
    assert outcome(world, before, done) == "before"
    assert (done.execution_result or {})["rollback_result"]["status"] == "success"


def test_what_cannot_be_put_back_is_said(world: World) -> None:
    promotion = world.approved(*KEYS)
    world.target.fault(kind="status", status=400, method="PUT", path="/workflows/", nth=1)
    world.target.fault(kind="status", status=503, method="DELETE")
    operation = world.start(promotion)
    assert world.drive(operation) == "FAILED"
    result = world.fresh(promotion).execution_result or {}
    assert result["error"]["code"] == "PROMO_005"
    back = result["rollback_result"]
    assert back["status"] in ("partial", "failed")
    assert result["needs_attention"] is True
    assert back["not_restored"]
    assert (back["workflows_rolled_back"], len(back["not_restored"])) == (0, 2)  # both creations are still there


def test_an_edit_by_somebody_else_is_not_overwritten(world: World) -> None:
    promotion = world.approved(*KEYS)
    billing = world.by_name()["Billing"]["id"]
    edited = [*flow("Billing")["nodes"], node("Theirs")]
    world.target.fault(
        kind="edit_after", method="POST", path="/workflows$", nth=1, workflow_id=billing, changes={"nodes": edited}
    )
    done = world.carry_out(promotion)
    assert done.status == "FAILED"
    there = world.by_name()
    assert {n["name"] for n in there["Billing"]["nodes"]} >= {"Theirs"}
    assert set(there) == {"Billing", "Same", "Other"}
    result = done.execution_result or {}
    assert result["rollback_result"]["status"] == "partial"
    assert [row["name"] for row in result["rollback_result"]["edited_by_others"]] == ["Billing"]
    approved, seen = world.mapped("billing")
    assert seen == world.hash_there("Billing") != approved, "the map says what is there, before anybody captures again"
    assert result["error"]["code"] == "PROMO_005"
    edited_there = result["error"]["details"]["cause"]["details"]["cause"]
    assert edited_there["code"] == "WRITE_001"
    assert edited_there["message"] == "“Billing” was changed in n8n by somebody else."
    assert edited_there["recovery"] == "Look at the edit in n8n, capture the environment, and decide again."


def keeps_something_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = N8nClient.update_workflow

    def update(self: N8nClient, workflow_id: str, content: Any, **more: Any) -> Any:
        return real(self, workflow_id, {**content, "settings": {**content["settings"], "executionTimeout": 7}}, **more)

    monkeypatch.setattr(N8nClient, "update_workflow", update)


def never_publishes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(N8nClient, "publish", lambda self, workflow_id, **_more: self.get_workflow(workflow_id))


def stops_in_the_middle(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.target.fault(**FAULTS["half the nodes"], method="PUT", path=r"/workflows(/[^/]+)?$", nth=1, times=1)


@pytest.mark.parametrize(
    ("odd", "key", "code", "sentence", "way_out"),
    [
        (keeps_something_else, "billing", "WRITE_002", "n8n keeps “Billing” otherwise", "Compare the workflow in n8n"),
        (never_publishes, "switched", "WRITE_003", "“Switched” was published, but it is not", "a missing trigger"),
        (stops_in_the_middle, "billing", "WRITE_004", "in the middle of the write", "is restored automatically"),
    ],
)
def test_a_write_that_did_not_come_out_right_says_which_and_what_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch, odd: Any, key: str, code: str, sentence: str, way_out: str
) -> None:
    world.source.seed([flow("Switched", active=True)])
    world.capture()
    promotion = world.approved(key, active="copy")
    odd(world, monkeypatch)
    done = world.carry_out(promotion)
    cause = (done.execution_result or {})["error"]
    while "cause" in cause["details"]:
        cause = cause["details"]["cause"]
    assert cause["code"] == code, cause
    assert sentence in cause["message"] and way_out in cause["recovery"]


def test_an_edit_elsewhere_is_named_and_stops_nothing(world: World) -> None:
    promotion = world.approved("billing")
    other = world.by_name()["Other"]["id"]
    world.target.fault(kind="edit_after", method="PUT", nth=1, workflow_id=other, changes={"name": "Renamed"})
    done = world.carry_out(promotion)
    assert done.status == "COMPLETED"
    elsewhere = (done.execution_result or {})["verification"]["changed_elsewhere"]
    assert [row["env_workflow_id"] for row in elsewhere] == [other]


def test_a_crash_at_any_boundary_ends_whole_or_as_before(world: World) -> None:
    """Each attempt dies at the next boundary; all in one promotion, so every one is met with the others' traces."""
    promotion = world.approved(*KEYS)
    before = world.hashes()
    met: list[str] = []

    def observe(name: str) -> None:
        if name not in met:
            met.append(name)
            raise SystemExit(f"killed at {name}")

    operation = world.start(promotion)
    boundary_observers.append(observe)
    for _ in range(200):
        try:
            status = world.drive(operation, tries=1, patient=True)
        except SystemExit:
            continue
        if status not in ("RUNNING", "PENDING", "RETRY_PENDING"):
            break
    done = world.fresh(promotion)
    assert len(met) > 40
    assert done.status == "COMPLETED", (done.status, done.execution_result, met[-3:])
    assert outcome(world, before, done) == "whole"


def test_a_crash_at_any_boundary_of_the_way_back(world: World) -> None:
    source_id = next(raw["id"] for raw in world.source.state()["workflows"] if raw["name"] == "Same")
    world.source.edit(source_id, nodes=flow("Same", node("Changed"))["nodes"])
    world.capture(world.staging)
    promotion = world.approved(*KEYS, "same")
    before = world.hashes()
    same = world.by_name()["Same"]["id"]
    world.target.fault(kind="status", status=400, method="PUT", path=f"/workflows/{same}$")
    met: list[str] = []

    def observe(name: str) -> None:
        if name.startswith("undo") and name not in met:
            met.append(name)
            raise SystemExit(f"killed at {name}")

    operation = world.start(promotion)
    boundary_observers.append(observe)
    for _ in range(100):
        try:
            if world.drive(operation, tries=1, patient=True) in ("FAILED", "COMPLETED", "CANCELLED", "PARKED"):
                break
        except SystemExit:
            continue
    done = world.fresh(promotion)
    assert len(met) >= 16
    assert done.status == "FAILED"
    assert outcome(world, before, done) == "before"
    assert (done.execution_result or {})["rollback_result"]["status"] == "success"


def test_cancelling_half_way_puts_the_target_back(world: World) -> None:
    from promotions import services

    promotion = world.approved(*KEYS)
    before = world.hashes()
    operation = world.start(promotion)

    def observe(name: str) -> None:
        if name == "promote:write:billing:before-intent":
            boundary_observers.clear()
            services.cancel(tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator)

    boundary_observers.append(observe)
    assert world.drive(operation) == "CANCELLED"
    done = world.fresh(promotion)
    assert done.status == "CANCELLED"
    assert outcome(world, before, done) == "before"
    assert (done.execution_result or {})["error"]["code"] == "CANCELLED"
    again = world.carry_out(done)
    assert again.status == "COMPLETED", "what was cancelled and put back may be promoted after all"


def test_two_promotions_to_one_target(world: World) -> None:
    from promotions.errors import TargetLocked

    first, second = world.approved("billing"), world.approved("intake")
    operation = world.start(first)
    with pytest.raises(TargetLocked) as caught:
        world.start(second)
    assert caught.value.code == "PROMO_004"
    assert world.drive(operation) == "COMPLETED"
    assert world.carry_out(second).status == "COMPLETED"


def test_steps_have_stable_names(world: World) -> None:
    promotion = world.carry_out(world.approved(*KEYS))
    with tenant_scope(world.tenant_id):
        names = set(OperationStep.objects.filter(operation_id=promotion.operation_id).values_list("name", flat=True))
    assert names >= {
        "promotion:gates",
        "pre:git",
        "promotion:live",
        "promotion:places",
        "promote:write:helper",
        "promote:write:intake",
        "promote:write:billing",
        "promotion:verify",
        "promotion:canonical",
        "post:git",
        "promotion:finish",
    }
