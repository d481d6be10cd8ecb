"""Gates judge facts of one moment, and read nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import connection

from promotions.models import PromotionStatus
from promotions.planning import gates
from promotions.planning.documents import MissingScope, Plan, Reached, ScopeCheck, UsedResource, read_plan
from promotions.planning.drift_incidents import BlockingIncident
from promotions.planning.gate_facts import (
    CredentialSeen,
    DriftedInSource,
    EnteredMappings,
    GateFacts,
    HoldingPromotion,
    LockHolder,
    WorkflowSeen,
    load_gate_facts,
)
from promotions.tests.world import World
from workflows.normalization import NORMALIZATION_VERSION

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STORED = json.loads((Path(__file__).parent / "data" / "plans_version_2.json").read_text())


def plan(**changes: Any) -> Plan:
    """A plan that updates and creates workflows, none of which lacks anything."""
    found = next(p for one in STORED if (p := read_plan(one["plan"])).counts.update and not p.dangling)
    changes = {"normalization_version": NORMALIZATION_VERSION, **changes}
    return msgspec.structs.replace(found, **changes)


def facts(given: Plan | None = None, **changes: Any) -> GateFacts:
    """Everything as the plan saw it."""
    used = given or plan()
    seen: dict[Any, WorkflowSeen] = {}
    for item in used.items:
        seen["source", item.key] = WorkflowSeen(content_hash=item.source.content_hash, draft_hash=None, active=True)
        if item.target:
            seen["target", item.key] = WorkflowSeen(
                content_hash=item.expected_hash, draft_hash=item.expected_draft_hash, active=item.target.active
            )
    common = {"now": NOW, "plan": used, "source_name": "Staging", "target_name": "Production", "seen": seen}
    return GateFacts(**{**common, **changes})


def state(name: str, given: GateFacts) -> str:
    return next(gate.state for gate in gates.all_gates(given) if gate.name == name)


def test_nothing_stands_in_the_way() -> None:
    found = {gate.name: gate.state for gate in gates.all_gates(facts())}
    assert set(found.values()) <= {"open", "unknown", "warn"} and found["freshness"] == "open"
    assert gates.first_refusal(gates.all_gates(facts())) is None


@pytest.mark.parametrize(
    ("name", "changes", "code"),
    [
        ("target", {"holding_promotion": HoldingPromotion(promotion_id="p", name="Before")}, "PROMO_019"),
        ("lock", {"lock_holder": LockHolder(operation_id="o", title="T", kind="k", status="RUNNING")}, "PROMO_004"),
        ("drift", {"blocking_incidents": (BlockingIncident(id="i", workflow_name="Billing"),)}, "PROMO_003"),
        ("freshness", {"plan_is_as_locked": False}, "PROMO_007"),
        ("freshness", {"seen": {}}, "PROMO_007"),
        ("approval", {"needs_approval": True, "status": PromotionStatus.APPROVED}, "PROMO_009"),
    ],
)
def test_one_fact_closes_one_gate(name: str, changes: dict[str, Any], code: str) -> None:
    found = [gate for gate in gates.all_gates(facts(**changes)) if gate.error is not None]
    assert [(gate.name, gate.state, gate.error and gate.error.code) for gate in found] == [(name, "blocked", code)]
    # A lock goes by itself, and approval is what is asked for.
    assert [gate.name for gate in gates.closed_gates(found)] == ([name] if name not in ("lock", "approval") else [])


def test_drift_in_the_source_is_said_and_stops_nobody() -> None:
    drifted = DriftedInSource(incident_id="i", key="a", name="Billing", word="Content changed", severity="high")
    found = gates.source_gate(facts(drifted_in_source=(drifted, drifted)))
    assert (found.state, found.error, found.why.count("“Billing”")) == ("warn", None, 1)
    assert state("source", facts()) == "open"


def test_approval_is_waited_for_and_given() -> None:
    asked = facts(needs_approval=True, status=PromotionStatus.PENDING_APPROVAL)
    assert state("approval", asked) == "waiting"
    assert state("approval", replace(asked, status=PromotionStatus.APPROVED, decided_at=NOW)) == "open"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unknown_keys": ("gone",)}, "blocked"),
        ({"dangling": next(read_plan(one["plan"]).dangling for one in STORED if one["plan"]["dangling"])}, "blocked"),
        ({"counts": msgspec.structs.replace(plan().counts, create=0, update=0)}, "blocked"),
        ({"reached": Reached(target=False)}, "warn"),
        ({}, "open"),
    ],
)
def test_references(changes: dict[str, Any], expected: str) -> None:
    assert gates.references_gate(plan(**changes)).state == expected


def test_the_key_may_lack_a_scope_or_tell_nothing() -> None:
    lacking = ScopeCheck(known=True, missing=(MissingScope(scope="workflow:update", effect="It cannot be written."),))
    found = gates.scopes_gate(plan(scopes=lacking))
    assert (found.state, found.error and found.error.code) == ("blocked", "PROMO_015")
    assert gates.scopes_gate(plan(scopes=ScopeCheck(known=True))).state == "open"
    assert gates.scopes_gate(plan(scopes=ScopeCheck(known=False))).state == "unknown"


def with_credential(how: str = "same_name") -> Plan:
    used = UsedResource(type="slackApi", source_name="Team", source_id="S", target_name="Team", target_id="T", how=how)
    first, *others = plan().items
    return plan(items=(msgspec.structs.replace(first, action="update", credentials=(used,)), *others))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"needs_secret": True}, "blocked"),
        ({"needs_secret": True, "test_state": "proven"}, "open"),
        ({"test_state": "failing"}, "warn"),
        ({"test_state": "proven"}, "open"),
        ({}, "unknown"),
    ],
)
def test_credentials(seen: dict[str, Any], expected: str) -> None:
    given = facts(with_credential(), credentials=(CredentialSeen(id="T", name="Team", type="slackApi", **seen),))
    assert state("credentials", given) == expected


def test_a_mapping_that_was_entered_changed_or_removed_since_is_stale() -> None:
    by_name, mapped = facts(with_credential()), facts(with_credential("mapping"))
    key = ("slackApi", "Team")
    assert state("freshness", by_name) == "open"
    assert state("freshness", mapped) == "blocked", "removed"
    entered = EnteredMappings(by_name={key: "T"})
    assert state("freshness", replace(mapped, mappings=entered)) == "open"
    assert state("freshness", replace(by_name, mappings=EnteredMappings(by_name={key: "U"}))) == "blocked"
    assert state("freshness", replace(by_name, mappings=EnteredMappings(by_id={("slackApi", "S"): "U"}))) == "blocked"
    assert state("freshness", replace(mapped, mappings=EnteredMappings(name_of_id={key: "T"}))) == "open"


@pytest.mark.parametrize("change", ["content", "draft", "switched", "deleted"])
def test_a_target_that_changed_since_is_named(change: str) -> None:
    given = facts()
    item = next(item for item in given.plan.items if item.target)
    place = ("target", item.key)
    was = given.seen[place]  # type: ignore[index]
    seen = {
        "content": replace(was, content_hash="other"),
        "draft": replace(was, draft_hash="other"),
        "switched": replace(was, active=not was.active),
        "deleted": None,
    }[change]
    others = {key: value for key, value in given.seen.items() if key != place}
    found = replace(given, seen=others | ({place: seen} if seen else {}))  # type: ignore[arg-type]
    changed = [(one.key, one.side) for one in gates.changed_workflows(found)]
    # What the plan itself would switch is no change.
    assert changed == ([] if change == "switched" and item.active != was.active else [(item.key, "target")])


def test_an_old_view_of_the_source_warns() -> None:
    assert state("freshness", facts(source_captured_at=NOW - timedelta(hours=23))) == "open"
    assert state("freshness", facts(source_captured_at=NOW - timedelta(hours=25))) == "warn"
    assert state("freshness", facts(source_capture_error="n8n is away")) == "warn"
    assert state("freshness", facts(plan(normalization_version=1))) == "blocked"


def test_all_facts_are_of_one_moment(world: World) -> None:
    """One transaction, in which each query sees what the first one saw."""
    promotion = world.draft("billing")
    levels: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        answer = execute(sql, params, many, context)
        if sql.startswith("SELECT") and "promotions" in sql and not levels:
            with connection.wrap_database_errors, connection.connection.cursor() as cursor:
                cursor.execute("SHOW transaction_isolation")
                levels.append(cursor.fetchone()[0])
        return answer

    with connection.execute_wrapper(note):
        found = load_gate_facts(tenant_id=world.tenant_id, promotion_id=promotion.pk)
    assert levels == ["repeatable read"]
    assert found.plan.keys == ["billing"] and ("target", "billing") in found.seen
