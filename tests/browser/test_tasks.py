"""What people come for, from sign-in, in clicks: what changed, a decision with every line known, a release undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .driving import PATIENCE_MS, Visitor


class Clicks:
    """A visitor whose clicks are counted; the first page is the one behind the sign-in."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor, self.page, self.count = visitor, visitor.page, 0
        visitor.go("/")

    def click(self, found: Any) -> None:
        found.first.click()
        self.page.wait_for_load_state()
        self.count += 1

    def follow(self, name: str, *, within: str = "main") -> None:
        self.click(self.page.locator(within).get_by_role("link", name=name))

    def tile(self, tenant: str) -> Any:
        return self.page.locator("main article, main li").filter(has_text=tenant)


def test_what_changed_in_production_since_yesterday_and_who_did_it(visit: Callable[..., Visitor]) -> None:
    person = Clicks(visit("viewer", tenant="larkfield"))
    person.follow("Larkfield Outdoors")
    person.follow("Production", within=".rail")
    changed = person.page.locator("section.panel").filter(has_text="What changed").first
    told = changed.inner_text()
    assert "Since yesterday" in told
    assert "Payment received: changed outside the console" in told
    assert "Olive Owner, as n8n tells" in told
    assert "Promoted Release 34" in told
    assert person.count <= 4


def test_approving_the_waiting_release_with_every_line_known(visit: Callable[..., Visitor]) -> None:
    person = Clicks(visit("approver", tenant="larkfield"))
    person.click(person.page.get_by_role("link", name="1 to approve"))
    person.follow("Release 35, second try")
    for workflow in ("Parcel tracking", "Supplier price import", "Loyalty points"):
        person.page.locator("main").get_by_text(workflow).first.wait_for()
    person.page.locator("main .text-diff").nth(2).wait_for(timeout=PATIENCE_MS)
    person.click(person.page.get_by_role("button", name="Approve…"))
    dialog = person.page.locator("dialog[open]")
    dialog.locator("[name=comment]").fill("Every line looked at.")
    person.click(dialog.get_by_role("button", name="Approve", exact=True))
    person.visitor.sees("Approved", within="body")
    assert person.count <= 6


def test_undoing_the_last_release(visit: Callable[..., Visitor]) -> None:
    person = Clicks(visit("operator", tenant="larkfield"))
    person.follow("Larkfield Outdoors")
    person.follow("Promotions", within=".rail")
    person.follow("Release 34")
    person.click(person.page.get_by_role("button", name="Roll back…"))
    dialog = person.page.locator("dialog[open]")
    dialog.locator("[name=reason]").fill("Orders are lost.")
    typed = dialog.locator("[name=typed]")
    if typed.count():
        typed.fill("Production")
    person.click(dialog.get_by_role("button", name="Roll back", exact=True))
    person.visitor.sees("Rolled back", within="body")
    assert person.count <= 5
