"""Stored plans and results: today's are written as they always were, and older ones are still read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from promotions.errors import PlanStale
from promotions.planning.documents import NO_PLAN, plan_hash, read_plan
from promotions.planning.offers import offers_of
from promotions.running.documents import read_result
from promotions.running.results import stored
from promotions.schemas import PromotionOut

STORED = json.loads((Path(__file__).parent / "data" / "plans_version_2.json").read_text())
#: What plans of version 1 did not tell.
LATER = ("normalization_version", "scopes", "reached")
LATER_OF_ITEMS = ("expected_draft_hash", "data_tables", "needs")


@pytest.mark.parametrize("one", STORED, ids=lambda one: one["hash"][:8])
def test_a_stored_plan_keeps_its_shape_and_its_approved_hash(one: dict[str, Any]) -> None:
    again = json.loads(json.dumps(read_plan(one["plan"]).to_json()))
    assert again == one["plan"]
    assert plan_hash(again) == plan_hash(one["plan"]) == one["hash"]


@pytest.mark.parametrize("one", STORED, ids=lambda one: one["hash"][:8])
def test_a_plan_of_version_1_is_read(one: dict[str, Any]) -> None:
    one = copy.deepcopy(one)
    old: dict[str, Any] = {name: part for name, part in one["plan"].items() if name not in LATER}
    old["items"] = [{k: v for k, v in item.items() if k not in LATER_OF_ITEMS} for item in old["items"]]
    old["version"] = 1
    for item in old["items"]:
        item["source"].pop("version")
        for used in item["credentials"]:
            used.pop("in_use")
    plan = read_plan(old)
    assert (plan.version, plan.normalization_version) == (1, 1)
    assert plan.is_outdated == bool(old["items"]), "its hashes are of another way of comparing"
    assert [item.key for item in plan.items] == [item["key"] for item in one["plan"]["items"]]
    assert all(item.expected_draft_hash is None and not item.data_tables for item in plan.items)
    assert {used.in_use for item in plan.items for used in item.credentials} <= {True}
    assert offers_of(plan).keys() == offers_of(read_plan(one["plan"])).keys()


def test_no_plan_is_an_empty_one_and_nonsense_is_refused() -> None:
    assert read_plan(None) is NO_PLAN and not NO_PLAN.keys and not NO_PLAN.is_outdated
    with pytest.raises(PlanStale):
        read_plan({"version": 3, "items": "many"})


def test_what_a_runbook_writes_into_a_result_is_read_and_kept() -> None:
    by_sql = {"manual_rollback": {"rolled_back_at": "2026-01-01", "reason": "Regression"}, "ticket": "OPS-7"}
    result = read_result(by_sql)
    assert result.manual_rollback and not result.manual_rollback.status
    assert stored(result, by_sql)["ticket"] == "OPS-7"
    assert read_result(None).pre_snapshot_id == "" and not read_result({}).left_target_as_it_was


def test_a_result_from_before_it_had_a_version_is_read() -> None:
    old = {
        "error": {"code": "PROMO_005", "message": "m", "recovery": "r", "details": {}},
        "needs_attention": True,
        "snapshot_ids": {"pre_promotion": "a", "post_promotion": None},
        "rollback_result": {"status": "failed", "workflows_rolled_back": 0, "snapshot_id": "a", "proof": None},
        "workflows": [{"key": "k", "name": "K", "action": "update", "expected_hash": "1", "wanted_hash": "2"}],
    }
    result = read_result(old)
    assert (result.version, result.pre_snapshot_id, result.is_rolled_back) == (1, "a", False)
    assert stored(result) == {**old, "version": 1}


def test_the_api_describes_plans_and_results_in_full() -> None:
    schema = PromotionOut.model_json_schema(mode="serialization")
    assert {"Plan", "PlanItem", "MissingReference", "Offer", "ExecutionResult", "RollbackProof"} <= schema[
        "$defs"
    ].keys()
    assert "offer" not in schema["$defs"]["MissingReference"]["required"]
