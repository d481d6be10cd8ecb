"""No page needs a reload to be true: one session changes things, another watches open pages and touches nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opsconsole.demo.catalogue import FLOWS
from opsconsole.demo.sites import Control, SandboxSite, parameter
from sandbox.testing import SandboxServer

from .driving import PATIENCE_MS, Visitor

KEYS = ("report-failures", "gift-cards", "stock-alerts")


@pytest.fixture
def sites(sandbox: SandboxServer) -> dict[str, SandboxSite]:
    control = Control(sandbox.url, sandbox.token)
    made = {kind: SandboxSite(control, f"news-{kind}") for kind in ("staging", "production")}
    for site in made.values():
        site.seed([flow for flow in FLOWS if flow.key in KEYS])
    return made


class Watched:
    """A page that stays open: it is gone to once, and then only looked at."""

    def __init__(self, visitor: Visitor, path: str) -> None:
        self._page: Any = visitor.page.context.new_page()
        self._page.goto(visitor.base + path)
        self._page.evaluate("window.untouched = true")

    def comes_to_say(self, text: str) -> None:
        self._page.locator("main").get_by_text(text).locator("visible=true").first.wait_for(timeout=PATIENCE_MS)
        assert self._page.evaluate("window.untouched"), "the page was loaded again"

    def says(self, text: str) -> bool:
        return text in self._page.inner_text("main")


def test_open_pages_tell_what_others_do(
    visit: Callable[..., Visitor], make_tenant: Callable[[str], str], sites: dict[str, SandboxSite]
) -> None:
    slug = make_tenant("News Room")
    owner, approver, viewer = (visit(who, tenant=slug) for who in ("owner", "approver", "viewer"))
    for name, kind in (("Staging", "staging"), ("Production", "production")):
        owner.add_environment(name, kind, sites[kind].base_url, sites[kind].api_key)
        owner.page.locator("#connection").get_by_text("Looked at").wait_for(timeout=PATIENCE_MS)
    for name in ("Staging", "Production"):
        owner.capture(name)

    here = f"/t/{slug}/"
    home, drift, jobs = (Watched(viewer, here + path) for path in ("", "drift/", "jobs/"))
    estate = Watched(visit("admin"), "/?q=News")
    promotions, waiting = Watched(viewer, f"{here}promotions/"), Watched(viewer, f"{here}promotions/?state=waiting")
    assert not any(page.says("Drifted") or page.says("Gift card") for page in (drift, estate))

    sites["production"].edit("gift-cards", parameter("Look", "query", "select 1"))
    owner.check(until="Gift card balance")
    home.comes_to_say("Drifted")
    drift.comes_to_say("Gift card balance")
    jobs.comes_to_say("Check Production for drift")
    estate.comes_to_say("Drifted")

    owner.go("drift/")
    owner.follow("Gift card balance")
    owner.page.wait_for_url("**/drift/*-*/")
    incident = Watched(viewer, owner.page.url[len(owner.base) :])
    owner.confirm("Stabilize…", "Stabilize", typed="Production")
    incident.comes_to_say("both hashes are equal")

    sites["staging"].edit("stock-alerts", parameter("Every 15 minutes", "rule.interval.0.minutesInterval", 30))
    owner.capture("Staging")
    path = owner.plan("staging", "production", ["Stock alerts"], name="Release 7")
    promotions.comes_to_say("Release 7")
    owner.press("Ask for approval")
    waiting.comes_to_say("Release 7")
    release = Watched(viewer, path)
    owner.go("promotions/")
    approver.go(path)
    approver.confirm("Approve…", "Approve", comment="Looked at the diff.")
    release.comes_to_say("Approved")
    promotions.comes_to_say("Approved")
