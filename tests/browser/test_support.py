"""A whole support session as its people live it: the engineer, a second one, and the customer's owner looking on."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from .driving import PATIENCE_MS, Visitor
from .factors import enrol_app, enter_code
from .test_second_factor import looks_fine

REASON = "Checks come too seldom since the move"
TICKET = "HELP-4821"
SESSION = re.compile(r"/support/sessions/([0-9a-f-]{36})/")
HOURS_HIGH, HOURS_LOW = "ttl_hours_high", "ttl_hours_low"


def banner(visitor: Visitor) -> str:
    """What the banner says; there is exactly one."""
    found = visitor.page.locator("#support-banner")
    found.wait_for()
    assert found.count() == 1, visitor.page.url
    return str(found.inner_text())


def set_hours(visitor: Visitor, *, shut: bool = False, **hours: int) -> None:
    """Change the policy for drift through its form; where the page has shut it, as if it were still open."""
    visitor.go("drift/policy/")
    if shut:
        visitor.page.eval_on_selector("fieldset.shut", "e => { e.disabled = false; }")
    for name, value in hours.items():
        visitor.page.fill(f"[name={name}]", str(value))
    visitor.press("Save", exact=True)
    visitor.page.wait_for_load_state()


def hours(visitor: Visitor) -> dict[str, int]:
    visitor.go("drift/policy/")
    names = ("ttl_hours_critical", HOURS_HIGH, "ttl_hours_medium", HOURS_LOW)
    return {name: int(visitor.page.input_value(f"[name={name}]")) for name in names}


def start_by_keyboard(support: Visitor, slug: str, secret: str, whom: str) -> None:
    """Who, why, the ticket, Enter; the second factor on the way; and in."""
    support.go(f"/platform/support/start/?tenant={slug}")
    looks_fine(support)
    keys = support.page.keyboard
    support.page.get_by_label("As whom").focus()
    keys.type(whom)
    keys.press("Tab")
    keys.type(REASON)
    keys.press("Tab")
    keys.type(TICKET)
    keys.press("Enter")
    support.page.wait_for_url(re.compile("/2fa/reauthenticate/"))
    looks_fine(support)
    enter_code(support, secret, "Confirm")
    # Nothing that was typed is lost.
    support.page.wait_for_url(re.compile("/platform/support/start/"))
    assert support.page.get_by_label("Reason").input_value() == REASON
    support.page.get_by_label("Ticket").focus()
    keys.press("Enter")
    support.page.wait_for_url(f"**/t/{slug}/")


def fills_the_window(visitor: Visitor) -> None:
    """A short page is as tall as the window, banner included; on a desk the banner and the rail stay in sight."""
    page = visitor.page
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 2400})
        visitor.go("members/")
        assert page.evaluate("document.documentElement.scrollHeight") == 2400, width
    page.set_viewport_size({"width": 1280, "height": 420})
    page.evaluate("scrollTo(0, 5000)")
    edges = "e => { const box = e.getBoundingClientRect(); return [box.top, box.bottom].map(Math.round); }"
    assert page.eval_on_selector("#support-banner", edges) == [0, 40]
    assert page.eval_on_selector("#rail", edges) == [40, 420]
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.fixture
def slug(make_tenant: Callable[[str], str]) -> str:
    return make_tenant("Watched Goods")


def test_a_whole_session(visit: Callable[..., Visitor], make_person: Callable[..., str], slug: str) -> None:
    owner, second = visit("owner", tenant=slug), visit("second")
    before = hours(owner)
    support = visit(make_person("Sigrid", "support"), tenant=slug)
    support.sign_in()
    assert support.go().status == 404, "without a session the customer's pages are not there"
    secret = enrol_app(support)

    start_by_keyboard(support, slug, secret, "Olive")
    for path in ("", "drift/", "drift/policy/", "jobs/", "trail/", "snapshots/"):
        support.go(path)
        said = banner(support)
        for words in ("Sigrid", "as Olive Marsh", "read only", REASON, "End now"):
            assert words in said, path
        assert re.search(r"in \d\d:\d\d", said), said
    fills_the_window(support)
    looks_fine(support)

    # The customer sees who is there, and goes on watching.
    owner.go("support/")
    owner.sees("from support is here now, as Olive Marsh")
    looks_fine(owner)
    owner.follow("Watch")
    owner.sees(TICKET)
    owner.sees("Workflows")
    session_id = SESSION.search(owner.page.url)[1]  # type: ignore[index]

    # Read only means: refused, with words and a way out.
    set_hours(support, shut=True, **{HOURS_HIGH: 30})
    support.sees("This support session only reads", within="body")
    assert "IMP_005" in support.page.content()
    assert "read only" in banner(support)
    looks_fine(support)
    owner.sees("Refused")
    assert hours(visit("owner", tenant=slug)) == before

    # To write, a second person agrees, in a browser of their own.
    support.page.locator("#support-banner").get_by_role("link", name="Write…").click()
    support.page.get_by_label("Reason").fill("The deadline for grave drift must move")
    support.press("Request write mode")
    support.sees("Pending")
    looks_fine(support)
    second.go("/platform/support/")
    second.sees("The deadline for grave drift must move")
    looks_fine(second)
    second.page.locator("main li", has_text="The deadline for grave drift").get_by_role(
        "button", name="Approve"
    ).click()
    second.page.wait_for_load_state()
    support.go("/platform/support/mine/")
    support.press("Start writing")
    support.page.wait_for_url(f"**/t/{slug}/")
    assert "may write" in banner(support)
    looks_fine(support)

    # A write; the owner's page brings it by itself.
    set_hours(support, **{HOURS_HIGH: 30, HOURS_LOW: 200})
    assert hours(support) == before | {HOURS_HIGH: 30, HOURS_LOW: 200}
    owner.page.locator("#touched").get_by_text("Drift polic").first.wait_for(timeout=PATIENCE_MS)
    support.go("drift/schedule/")
    support.page.fill("[name=every_minutes]", "45")
    support.press("Save", exact=True)
    support.page.wait_for_load_state()

    # End it with the keyboard; the pages shut, and the owner's page says so by itself.
    support.go()
    support.page.locator("#support-banner").get_by_role("button", name="End now").focus()
    support.page.keyboard.press("Enter")
    support.page.wait_for_url(re.compile("/platform/support/sessions/"))
    looks_fine(support)
    assert not support.page.locator("#support-banner").count()
    assert support.go().status == 404
    owner.sees("ended by its own person")

    read_and_undo(owner, session_id, before)


def read_and_undo(owner: Visitor, session_id: str, before: dict[str, int]) -> None:
    """What the customer's owner finds afterwards, and takes back; a change of their own survives."""
    owner.go("support/")
    owner.sees(REASON)
    owner.go(f"support/sessions/{session_id}/")
    for words in (REASON, TICKET, "Sigrid", "ended by its own person"):
        owner.sees(words)
    looks_fine(owner)
    for kind in ("reads", "writes", "refusals"):
        owner.go(f"support/sessions/{session_id}/?kind={kind}")
        assert owner.page.locator("main .station, main .timeline > *").count(), kind

    set_hours(owner, **{HOURS_HIGH: 36})
    owner.go(f"support/sessions/{session_id}/")
    owner.follow("Revert…")
    owner.sees("Changed since by owner@demo.example")
    text = owner.text()
    assert re.search(rf"{before[HOURS_HIGH]} → 30 → 36", text) and re.search(rf"{before[HOURS_LOW]} → 200 → 200", text)
    looks_fine(owner)
    owner.page.get_by_label(re.compile("All 1 that can be reverted")).check()
    owner.page.fill("#typed", owner.page.locator("label[for=typed] code").inner_text())
    owner.press("Revert in ")
    owner.page.wait_for_url(re.compile("/jobs/"))
    owner.ends("Completed")
    owner.go(f"support/sessions/{session_id}/revert/")
    owner.sees("Reverts so far")
    owner.sees("As before")
    owner.sees("Changed since by owner@demo.example")
    looks_fine(owner)
    assert hours(owner) == before | {HOURS_HIGH: 36, HOURS_LOW: 200}
