"""Two sides since their common version: nothing unsaid, contradictions first, and no order in what does not collide."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.masking import HIDDEN
from workflows.three_way import Version, compare_three, conflicting, edits, merged, places

from .test_diff_complete import EDITS, base

Edit = tuple[Any, int, Any]
an_edit = st.tuples(st.sampled_from(EDITS), st.integers(0, 5), st.text(max_size=3))


def edited(flow: Any, *made: Edit) -> Any:
    changed = copy.deepcopy(flow)
    for edit, number, value in made:
        edit(changed, number, value)
    return changed


@settings(max_examples=150, deadline=None)
@given(theirs=st.lists(an_edit, max_size=4), ours=st.lists(an_edit, max_size=4))
def test_what_does_not_collide_comes_together_in_either_order(theirs: list[Edit], ours: list[Edit]) -> None:
    common = Version(base())
    left, right = Version(edited(base(), *theirs)), Version(edited(base(), *ours))
    before, by_them, by_us = places(common, common), edits(common, left), edits(common, right)
    assert merged(before, by_them) == places(common, left), "nothing that they did is unsaid"
    assert merged(before, by_us) == places(common, right)
    contested = conflicting(by_them, by_us)
    assert contested == conflicting(by_us, by_them)
    free = [{place: value for place, value in made.items() if place not in contested} for made in (by_them, by_us)]
    assert merged(before, *free) == merged(before, *reversed(free))
    told = compare_three(common, left, right)
    assert (len(told.conflicts) + told.left_out) == len(contested)
    assert told.both_changed is (bool(by_them) and bool(by_us))
    if not contested and not {number for _, number, _ in theirs} & {number for _, number, _ in ours}:
        both = Version(edited(base(), *theirs, *ours))
        assert merged(before, by_them, by_us) == places(common, both), "as if one had worked after the other"


def of_step(flow: Any, **parameters: Any) -> Version:
    changed = copy.deepcopy(flow)
    changed["nodes"][0]["parameters"] |= parameters
    return Version(changed)


def test_a_field_that_both_changed_is_named_with_all_three_values() -> None:
    told = compare_three(Version(base()), of_step(base(), jsCode="their code"), of_step(base(), jsCode="our code"))
    (one,) = told.conflicts
    assert (one.title, one.theirs, one.ours) == ("“Step 0”: jsCode", "their code", "our code")
    assert one.base is not None and one.base.startswith("const a = 0;")
    assert "Step 0" in told.theirs.sentences[0] and "Step 0" in told.ours.sentences[0]


def test_the_same_change_on_both_sides_is_none() -> None:
    told = compare_three(Version(base()), of_step(base(), jsCode="new"), of_step(base(), jsCode="new"))
    assert told.both_changed and told.conflicts == () and told.alike == 1


def test_a_change_in_what_the_other_took_away_or_replaced_collides() -> None:
    without = base()
    without["nodes"] = without["nodes"][1:]
    without["connections"].pop("Step 0")
    assert compare_three(Version(base()), Version(without), of_step(base(), more="x")).conflicts
    replaced, inside = of_step(base(), options="none"), of_step(base(), options={"list": [1, {"x": "y"}], "more": 1})
    assert compare_three(Version(base()), replaced, inside).conflicts
    assert compare_three(Version(base()), inside, replaced).conflicts


def test_secrets_are_not_told_and_a_side_may_be_missing() -> None:
    told = compare_three(Version(base()), of_step(base(), password="hunter1"), of_step(base(), password="hunter2"))
    (one,) = told.conflicts
    assert "hunter" not in str(one) and one.theirs == HIDDEN
    gone = compare_three(Version(base()), Version(None), of_step(base(), jsCode="new"))
    assert gone.conflicts and gone.theirs.status == "removed"
    new = compare_three(Version(None), of_step(base(), jsCode="a"), of_step(base(), jsCode="b"))
    assert [one.title for one in new.conflicts] == ["“Step 0”: jsCode"]
