"""The main ways with the keyboard alone: skip link, search, command bar, places, rows, dialogs that give focus back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .driving import Visitor


@pytest.fixture
def owner(visit: Callable[..., Visitor]) -> Visitor:
    visitor = visit("owner", tenant="larkfield")
    visitor.go()
    return visitor


def focused(visitor: Visitor, property_name: str = "outerHTML") -> Any:
    return visitor.page.evaluate(f"document.activeElement.{property_name}")


def test_the_first_tab_skips_to_the_content(owner: Visitor) -> None:
    owner.page.keyboard.press("Tab")
    assert "skip" in focused(owner).lower()
    owner.page.keyboard.press("Enter")
    owner.page.keyboard.press("Tab")
    assert owner.page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_everything_in_reach_of_tab_shows_its_focus(owner: Visitor) -> None:
    for _ in range(25):
        owner.page.keyboard.press("Tab")
        style = owner.page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement);"
            " const p = getComputedStyle(document.activeElement.closest('label, .search') ?? document.activeElement);"
            " return [s.outlineStyle, s.boxShadow, p.outlineStyle, p.boxShadow] })()"
        )
        assert any(word not in ("none", "") for word in style), focused(owner)[:200]


def test_slash_searches_and_escape_leaves(owner: Visitor) -> None:
    owner.page.keyboard.press("/")
    owner.page.keyboard.type("newsletter")
    owner.page.locator("#matrix").get_by_text("Order intake").wait_for(state="hidden")
    assert "Newsletter sign-up" in owner.text()
    owner.page.keyboard.press("Escape")
    assert focused(owner, "tagName") == "BODY"


def test_a_search_on_the_second_page_looks_at_all_of_them(owner: Visitor) -> None:
    owner.go("?limit=3")
    first = owner.page.locator("#matrix tbody th a").first.inner_text()
    owner.page.get_by_role("link", name="Next").click()
    owner.page.wait_for_url("**cursor=**")
    owner.page.locator("#matrix").get_by_text(first, exact=True).wait_for(state="hidden")
    owner.page.keyboard.press("/")
    owner.page.keyboard.type(first)
    owner.page.locator("#matrix").get_by_text(first, exact=True).wait_for()
    assert "cursor" not in owner.page.url and owner.page.url.count("q=") == 1


def test_a_second_press_sends_nothing_twice(owner: Visitor) -> None:
    owner.go("tokens/")
    owner.press("New token")
    owner.page.fill("dialog[open] [name=name]", "Pressed twice")
    owner.page.locator("dialog[open] .button.primary").dblclick()
    owner.sees("Your new token")
    owner.go("tokens/")
    assert owner.page.locator("tbody th").get_by_text("Pressed twice").count() == 1


def test_the_command_bar_goes_anywhere(owner: Visitor) -> None:
    owner.page.keyboard.press("Control+k")
    owner.page.keyboard.type("order intake")
    owner.page.locator("#command .command-item").first.wait_for()
    owner.page.locator("#command").get_by_text("Order intake").first.wait_for()
    owner.page.keyboard.press("Enter")
    owner.page.wait_for_url("**/workflows/order-intake/**")


def test_enter_goes_to_what_was_typed_and_not_to_what_was_found_before(owner: Visitor) -> None:
    owner.page.keyboard.press("Control+k")
    owner.page.keyboard.type("order")
    owner.page.locator("#command .command-item").first.wait_for()
    owner.page.keyboard.type(" intake")
    owner.page.keyboard.press("Enter")
    owner.page.wait_for_url("**/workflows/order-intake/**")


@pytest.mark.parametrize(("key", "place"), [("p", "promotions"), ("s", "snapshots"), ("d", "drift"), ("j", "jobs")])
def test_g_and_a_letter_lead_to_places(owner: Visitor, key: str, place: str) -> None:
    owner.page.keyboard.press("g")
    owner.page.keyboard.press(key)
    owner.page.wait_for_url(f"**/t/larkfield/{place}/")


def test_rows_with_j_k_and_enter(owner: Visitor) -> None:
    owner.go("promotions/")
    owner.page.keyboard.press("j")
    owner.page.keyboard.press("j")
    owner.page.keyboard.press("k")
    assert owner.page.locator("tr.at").count() == 1
    owner.page.keyboard.press("Enter")
    owner.page.wait_for_url("**/promotions/*/")


def test_dialogs_close_with_escape_and_give_the_focus_back(owner: Visitor) -> None:
    owner.go("promotions/?state=COMPLETED")
    owner.follow("Release 34")
    opener = owner.page.locator("main").get_by_role("button", name="Roll back…")
    opener.focus()
    owner.page.keyboard.press("Enter")
    dialog = owner.page.locator("dialog[open]")
    dialog.wait_for()
    assert owner.page.evaluate("document.querySelector('dialog[open]').contains(document.activeElement)")
    owner.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert "Roll back…" in focused(owner, "textContent")


def test_help_lists_the_keys(owner: Visitor) -> None:
    owner.page.keyboard.press("?")
    owner.page.locator("#help[open]").get_by_text("Promotions").first.wait_for()
    owner.page.keyboard.press("Escape")
    owner.page.locator("#help").wait_for(state="hidden")
