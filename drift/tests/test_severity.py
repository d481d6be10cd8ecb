"""The table in ``drift.severity``, line by line, and what holds for every case."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.severity import GRAVE, HARMLESS, LEVELS, grade

TABLE = [
    # kind, environment, was active, is active, touches, counts → severity
    ("modified", "production", True, True, ["credentials"], {"nodes_changed": 1}, "critical"),
    ("modified", "production", True, True, ["webhook"], {"nodes_changed": 1}, "critical"),
    ("modified", "production", True, True, [], {"nodes_changed": 1}, "high"),
    ("modified", "production", False, False, ["code"], {"nodes_changed": 1}, "high"),
    ("modified", "production", False, False, [], {"nodes_changed": 1}, "medium"),
    ("modified", "production", True, True, [], {"nodes_renamed": 1}, "medium"),
    ("modified", "production", False, False, [], {"name_changed": 1}, "low"),
    ("modified", "staging", True, True, ["http"], {"nodes_changed": 1}, "high"),
    ("modified", "staging", True, True, [], {"nodes_changed": 1}, "medium"),
    ("modified", "dev", True, True, ["credentials"], {"nodes_changed": 1}, "medium"),
    ("modified", "dev", True, True, [], {"nodes_changed": 1}, "low"),
    ("removed", "production", True, False, [], {}, "critical"),
    ("removed", "production", False, False, [], {}, "medium"),
    ("removed", "dev", True, False, [], {}, "medium"),
    ("added", "production", False, True, ["webhook"], {}, "critical"),
    ("added", "production", False, False, ["webhook"], {}, "low"),
    ("added", "staging", False, True, [], {}, "high"),
    ("activation", "production", True, False, [], {}, "critical"),
    ("activation", "staging", False, True, [], {}, "high"),
    ("activation", "dev", False, True, [], {}, "medium"),
]


@pytest.mark.parametrize(("kind", "environment", "was", "now", "touches", "counts", "severity"), TABLE)
def test_table(
    kind: str, environment: str, was: bool, now: bool, touches: list[str], counts: dict[str, int], severity: str
) -> None:
    judged = grade(
        kind=kind, environment_kind=environment, was_active=was, is_active=now, touches=touches, counts=counts
    )
    assert judged.severity == severity, judged.reasons
    assert judged.reasons


CASES = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["modified", "added", "removed", "activation"]),
        "was_active": st.booleans(),
        "is_active": st.booleans(),
        "touches": st.sets(st.sampled_from([*GRAVE, "subworkflow"])),
        "counts": st.dictionaries(st.sampled_from([*HARMLESS, "nodes_changed", "nodes_added"]), st.just(1)),
    }
)


@given(CASES)
def test_production_is_never_judged_milder_than_staging_nor_staging_than_development(case: dict[str, Any]) -> None:
    ranks = [grade(environment_kind=kind, **case).rank for kind in ("dev", "staging", "production")]
    assert ranks == sorted(ranks)
    assert ranks[0] <= LEVELS.index("medium")
    assert ranks[1] <= LEVELS.index("high")


@given(CASES, st.sampled_from(["dev", "staging", "production"]))
def test_touching_more_is_never_milder_and_a_mere_draft_never_graver(case: dict[str, Any], environment: str) -> None:
    plain = grade(environment_kind=environment, **{**case, "touches": set()})
    whole = grade(environment_kind=environment, **case)
    draft = grade(environment_kind=environment, **{**case, "kind": "draft"})
    assert plain.rank <= whole.rank
    assert draft.rank <= whole.rank
