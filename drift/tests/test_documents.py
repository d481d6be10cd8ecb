"""What older consoles stored about incidents and their jobs is still read."""

from __future__ import annotations

from typing import Any

import msgspec

from drift.documents import details_from
from drift.quick_check import Memory
from drift.stabilize_plan import StabilizePlan
from drift.status_sync import Item, failures_from

#: As it was stored before drafts, facts and authors were kept, with what a job has added.
OLD_DETAILS: dict[str, Any] = {
    "diff_summary": {"sentences": ["A node was changed."], "counts": {"nodes_changed": 1}},
    "full_diff": {"status": "changed", "changes": [], "left_out": 0},
    "git_content_hash": "aa",
    "env_content_hash": "bb",
    "was_active": True,
    "is_active": False,
    "commits": {"approved": "c1", "seen": None},
    "signature": "s1",
    "tolerates": "s1",
    "last_failure": {"code": "DRIFT_007", "message": "Edited.", "at": "2026-01-01T00:00:00+00:00"},
    "something_of_its_own": {"x": 1},
}


def test_old_details_are_read_and_kept() -> None:
    details = details_from(OLD_DETAILS)
    assert details.diff_summary.sentences == ["A node was changed."] and details.diff_summary.touches == []
    assert (details.git_content_hash, details.env_content_hash, details.git_draft_hash) == ("aa", "bb", None)
    assert details.tolerates == "s1" and details.last_failure is not None and details.proof is None
    stored = details.to_json()
    assert stored["tolerates"] == stored["signature"] == "s1" and stored["last_failure"]["code"] == "DRIFT_007"
    assert details_from(stored) == details and "proof" not in stored and stored["env_facts"] is None


def test_what_is_settled_loses_its_failure() -> None:
    settled = msgspec.structs.replace(details_from(OLD_DETAILS), last_failure=None)
    assert "last_failure" not in settled.to_json()


def test_details_that_cannot_be_read_say_so() -> None:
    assert details_from(None).diff_summary.sentences == []
    assert "cannot be read" in details_from({"diff_summary": 7}).diff_summary.sentences[0]


def test_a_job_that_an_older_console_has_started_goes_on() -> None:
    stored = {"id": "i", "map_id": "m", "key": "k", "name": "n", "kind": "modified", "expected_hash": "bb", "old": 1}
    (item,) = msgspec.convert([stored], list[Item], strict=False)
    assert (item.aspect, item.expected_active, item.by_upgrade) == ("workflow", None, False)
    plan = StabilizePlan.from_json(
        {
            "failed": [{"incident_id": "i", "key": "k", "name": "n", "message": "The write failed."}],
            "actions": {"k": {"map_id": "m", "env_workflow_id": "w", "expected": "bb", "do": "restore"}},
        }
    )
    assert plan.actions["k"].draft is msgspec.UNSET and plan.actions["k"].callers == []
    assert plan.failed == failures_from([{"incident_id": "i", "key": "k", "name": "n", "message": "The write failed."}])
    assert "draft" not in plan.to_json()["actions"]["k"]


def test_memory_is_kept_as_before() -> None:
    stored = {"pages": {"/workflows?limit=1": ["etag", ["1", "2"], None, "digest"]}}
    assert Memory.from_json(stored).to_json() == stored
    assert Memory.from_json({"pages": {"x": 3}}).to_json() == {"pages": {}}
