"""What is ticked stays ticked while one filters or pages within a list, and goes with the action."""

from __future__ import annotations

from collections.abc import Callable

from .driving import Visitor


def test_ticks_outlive_a_filter_and_a_reload_of_the_list(visit: Callable[..., Visitor]) -> None:
    visitor = visit("operator", tenant="larkfield")
    visitor.go("drift/")
    page = visitor.page
    first = page.locator("[data-row-check]").first
    chosen = first.get_attribute("value")
    first.check()
    said = page.locator("[data-selection] p")
    assert "1 incident selected" in " ".join(said.inner_text().split())
    for query in ("?q=nothing-has-this-name", ""):  # from the page itself, as its filter does
        with page.expect_navigation():
            page.evaluate("query => setTimeout(() => { location.search = query })", query)
    assert page.locator(f"[data-row-check][value='{chosen}']").is_checked()
    visitor.go("snapshots/")
    visitor.go("drift/")
    assert not page.locator(f"[data-row-check][value='{chosen}']").is_checked(), "another visit begins anew"


def test_what_is_not_shown_is_said_and_sent_along(visit: Callable[..., Visitor]) -> None:
    visitor = visit("operator", tenant="larkfield")
    visitor.go("drift/")
    page = visitor.page
    page.locator("[data-row-check]").nth(0).check()
    page.locator("[data-row-check]").nth(1).check()
    gone = page.locator("[data-row-check]").nth(0).get_attribute("value")
    page.evaluate("document.querySelector('[data-row-check]').closest('tr').remove()")
    page.evaluate("document.dispatchEvent(new Event('htmx:afterSettle'))")
    assert "2 incidents selected, 1 of them not shown" in " ".join(
        page.locator("[data-selection] p").inner_text().split()
    )
    assert page.locator(f"input[type=hidden][name=selected][value='{gone}']").count() == 1
    page.locator("[data-clear-selection]").click()
    assert page.locator("[data-carried]").count() == 0
