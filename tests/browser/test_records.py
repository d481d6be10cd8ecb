"""The trail taken out, an emergency act, and a grant for one environment: with the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .driving import Visitor


@pytest.fixture
def owner(visit: Callable[..., Visitor]) -> Visitor:
    return visit("owner", tenant="larkfield")


def tab_to(visitor: Visitor, what: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(80):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("what => document.activeElement?.matches(what)", what):
            return
    raise AssertionError(f"Tab does not reach {what} on {visitor.page.url}")


def test_a_search_of_the_trail_goes_out_as_a_file(owner: Visitor) -> None:
    owner.go("trail/")
    tab_to(owner, "[name=acted_as]")
    owner.page.keyboard.type("Oskar")
    owner.page.keyboard.press("Enter")
    owner.page.wait_for_url("**acted_as=Oskar**")
    assert "as Oskar Lindqvist" in owner.text() and "Priya Raman" not in owner.text()
    owner.follow("Export…")
    owner.sees("In the place of")
    tab_to(owner, "[name=format]")
    owner.page.keyboard.press("ArrowDown")
    tab_to(owner, "form .button.primary")
    with owner.page.expect_download() as got:
        owner.page.keyboard.press("Enter")
    assert re.fullmatch(r"trail-larkfield-\d{8}-\d{6}\.jsonl", got.value.suggested_filename)
    assert Path(got.value.path()).read_text().count('"impersonated_user_id"') > 3
    owner.go("trail/export/")
    owner.sees("jsonl")


def test_times_of_day_stay_in_the_form(owner: Visitor) -> None:
    owner.go("trail/")
    owner.page.get_by_text("More filters").click()
    owner.page.fill("[name=since]", "2026-01-02")
    owner.page.fill("[name=since_at]", "03:04:05")
    owner.press("Search")
    owner.page.wait_for_url("**since_at=03**")
    assert owner.page.input_value("[name=since]") == "2026-01-02"
    assert owner.page.input_value("[name=since_at]") == "03:04:05" and owner.page.is_visible("[name=since_at]")


def test_all_tokens_are_revoked_in_an_emergency(owner: Visitor) -> None:
    owner.go("settings/")
    owner.follow("Emergency…")
    owner.sees("None so far")
    tab_to(owner, "[name=what]")
    owner.page.keyboard.press("Space")
    for text in ("A laptop was stolen", "wrong"):
        owner.page.keyboard.press("Tab")
        owner.page.keyboard.type(text)
    owner.page.keyboard.press("Enter")
    owner.sees("Nothing was done")
    assert owner.page.input_value("[name=reason]") == "A laptop was stolen"
    tab_to(owner, "[name=typed]")
    owner.page.keyboard.press("Control+a")
    owner.page.keyboard.type("larkfield")
    owner.page.keyboard.press("Enter")
    owner.sees("A laptop was stolen", within="main table")


def test_a_member_gets_one_environment(owner: Visitor) -> None:
    owner.go("members/")
    owner.follow("Viktor Hale")
    owner.sees("Everywhere")
    box = owner.page.get_by_label("Operator in Staging")
    assert not box.is_checked()
    box.focus()
    owner.page.keyboard.press("Space")
    tab_to(owner, "form .button.primary")
    owner.page.keyboard.press("Enter")
    owner.sees("by Olive Marsh")
    assert owner.page.get_by_label("Operator in Staging").is_checked()
    assert not owner.page.get_by_label("Operator in Production").is_checked()


@pytest.mark.parametrize(
    ("words", "found", "ends"),
    [
        ("4821", "Sunniva Berg as Oskar Lindqvist", r"/support/sessions/[0-9a-f-]{36}/"),
        ("access review", "Access review", r"/reports/access-review/"),
        ("what priya", "", ""),
        ("priya", "What Priya Raman did", r"/trail/\?person="),
    ],
)
def test_the_command_bar_finds_records(owner: Visitor, words: str, found: str, ends: str) -> None:
    owner.go()
    owner.page.keyboard.press("Control+k")
    owner.page.keyboard.type(words)
    bar: Any = owner.page.locator("#command")
    if not found:
        bar.get_by_text("No results for").wait_for()
        return
    bar.get_by_text(found).first.wait_for()
    bar.get_by_text(found).first.click()
    owner.page.wait_for_url(re.compile(ends))
