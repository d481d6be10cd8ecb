"""A review from plan to approval to long after: one by mouse on a wide window, the other by keyboard on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opsconsole.demo.catalogue import FLOWS
from opsconsole.demo.sites import Control, SandboxSite, parameter
from sandbox.testing import SandboxServer

from .driving import PATIENCE_MS, Visitor

KEYS = ("report-failures", "weekly-sales-digest", "stock-alerts")
WIDE, PHONE = 1440, 390


@pytest.fixture
def sites(sandbox: SandboxServer) -> dict[str, SandboxSite]:
    control = Control(sandbox.url, sandbox.token)
    made = {kind: SandboxSite(control, f"review-{kind}") for kind in ("staging", "production")}
    for site in made.values():
        site.seed([flow for flow in FLOWS if flow.key in KEYS])
    return made


def text_of_diffs(visitor: Visitor) -> list[str]:
    """What the differences on the page say, line by line."""
    visitor.page.locator("main .text-diff").nth(1).wait_for(state="attached", timeout=PATIENCE_MS)
    return [" ".join(rows.split()) for rows in visitor.page.locator("main table.diff").all_text_contents()]


class Keys:
    """A person who has no mouse: goes on by Tab until something has the focus, and presses Enter or Space."""

    def __init__(self, visitor: Visitor) -> None:
        self.page, self.keyboard = visitor.page, visitor.page.keyboard

    def to(self, name: str, *, tag: str, most: int = 150) -> None:
        script = "() => [document.activeElement.tagName, document.activeElement.textContent.trim()]"
        for _ in range(most):
            self.keyboard.press("Tab")
            found, text = self.page.evaluate(script)
            if found == tag.upper() and text.startswith(name):
                return
        raise AssertionError(f"Tab does not reach the {tag} “{name}”.")

    def press(self, name: str, *, tag: str = "button") -> None:
        self.to(name, tag=tag)
        self.keyboard.press("Enter")


def is_too_wide(visitor: Visitor) -> Any:
    return visitor.page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_a_review_from_plan_to_long_after(
    visit: Callable[..., Visitor], make_tenant: Callable[[str], str], sites: dict[str, SandboxSite]
) -> None:
    slug = make_tenant("Review")
    owner = visit("owner", tenant=slug, width=WIDE, theme="light")
    for kind, name in (("staging", "Staging"), ("production", "Production")):
        owner.add_environment(name, kind, sites[kind].base_url, sites[kind].api_key)
        owner.capture(name)
    sites["staging"].edit("weekly-sales-digest", parameter("To the board", "subject", "Sales of last week"))
    sites["staging"].edit("stock-alerts", parameter("Every 15 minutes", "rule.interval.0.minutesInterval", 30))
    owner.capture("Staging")
    path = owner.plan("staging", "production", ["Weekly sales digest", "Stock alerts"], name="Release 1")
    planned = text_of_diffs(owner)
    assert any("Sales of last week" in part for part in planned) and any("30" in part for part in planned)

    # What others say arrives, and nothing that is open or written is lost by it.
    owner.page.locator("details.review").nth(1).locator("summary").first.click()
    thread = owner.page.locator("details.review").first.locator(".thread").first
    thread.locator("summary", has_text="Comment").click()
    thread.locator("textarea").fill("Half a thought")
    owner.page.locator("h1").click()
    approver = visit("approver", tenant=slug, width=PHONE, theme="dark")
    approver.go(path)
    keys = Keys(approver)
    text_of_diffs(approver)
    keys.press("Comment", tag="summary")
    keys.keyboard.press("Tab")
    keys.keyboard.type("Who asked for this?")
    keys.press("Comment")
    approver.sees("Who asked for this?")
    owner.sees("Who asked for this?")
    owner.sees("1 unresolved comment")
    assert thread.locator("textarea").input_value() == "Half a thought", "what is written stays"
    assert owner.page.locator("details.review").nth(1).get_attribute("open") is None, "what is shut stays shut"
    assert text_of_diffs(owner) == planned

    # Asked for by mouse, approved with the keyboard alone.
    owner.page.get_by_role("button", name="Ask for approval").click()
    owner.sees("Waits for approval.", within="body")
    keys.press("Approve…")
    dialog = approver.page.locator("dialog[open]")
    dialog.wait_for()
    keys.to("", tag="textarea")
    keys.keyboard.type("Every line looked at.")
    keys.press("Approve")
    approver.sees("Approved", within="body")
    owner.start_promotion(path, "Production")
    owner.sees("2 promoted as wanted")

    # Both environments move on; the finished promotion shows what it changed.
    for site in sites.values():
        site.edit("weekly-sales-digest", parameter("To the board", "subject", "Something else"))
        site.remove("stock-alerts")
    owner.capture("Staging")
    owner.capture("Production")
    for width, theme in ((WIDE, "dark"), (PHONE, "light")):
        reader = visit("viewer", tenant=slug, width=width, theme=theme)
        reader.go(path)
        assert text_of_diffs(reader) == planned
        assert not is_too_wide(reader)
    assert not is_too_wide(approver) and not is_too_wide(owner)
