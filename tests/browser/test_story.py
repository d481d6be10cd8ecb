"""The first five minutes: environments, captures, drift, a promotion watched live, one that fails and is put back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from opsconsole.demo.catalogue import FLOWS
from opsconsole.demo.sites import Control, SandboxSite, parameter
from sandbox.testing import SandboxServer

from .driving import PATIENCE_MS, Visitor

KEYS = (
    "report-failures",
    "crm-update-customer",
    "order-intake",
    "weekly-sales-digest",
    "gift-cards",
    "stock-alerts",
    "review-requests",
)
NAMES = {"dev": "Development", "staging": "Staging", "production": "Production"}


@pytest.fixture
def sites(sandbox: SandboxServer) -> dict[str, SandboxSite]:
    control = Control(sandbox.url, sandbox.token)
    made = {kind: SandboxSite(control, f"story-{kind}") for kind in NAMES}
    for site in made.values():
        site.seed([flow for flow in FLOWS if flow.key in KEYS])
    return made


def contents(site: SandboxSite) -> dict[str, Any]:
    """What n8n itself would run, by id: nodes, connections, settings, active."""
    kept = ("name", "nodes", "connections", "settings", "active", "tags")
    state = site._call("GET", "/state")
    return {
        w["id"]: orjson.dumps({k: w[k] for k in kept if k != "tags"}, option=orjson.OPT_SORT_KEYS)
        for w in state["workflows"]
    }


def approved_promotion(owner: Visitor, approver: Visitor, workflows: list[str], name: str) -> str:
    path = owner.plan("staging", "production", workflows, name=name)
    owner.press("Ask for approval")
    owner.sees("Waits for approval.", within="body")
    approver.go(path)
    approver.confirm("Approve…", "Approve", comment="Looked at the diff.")
    approver.sees("Approved", within="body")
    return path


def test_five_minutes(
    visit: Callable[..., Visitor], make_tenant: Callable[[str], str], sites: dict[str, SandboxSite]
) -> None:
    slug = make_tenant("Five Minutes")
    owner, approver = visit("owner", tenant=slug), visit("approver", tenant=slug)
    production = sites["production"]

    # An empty tenant says what to do first; each environment is tested as it is added.
    owner.go()
    owner.sees("No environment yet")
    for kind, site in sites.items():
        owner.add_environment(NAMES[kind], kind, site.base_url, site.api_key)
        owner.page.locator("#connection").get_by_text("Looked at").wait_for(timeout=PATIENCE_MS)
    for name in NAMES.values():
        owner.capture(name)
    owner.go()
    assert f"{len(KEYS)} workflows in 3 environments" in owner.text()
    assert "Drifted" not in owner.page.locator("table.matrix").inner_text()

    # Somebody edits production in n8n itself: it is found, shown, and put back with proof.
    approved = contents(production)
    production.edit("gift-cards", parameter("Look", "query", "select 1"))
    owner.check(until="Gift card balance")
    owner.go()
    owner.page.locator("table.matrix").get_by_role("link", name="Drifted").first.wait_for()
    owner.go("drift/")
    owner.follow("Gift card balance")
    owner.sees("Node “Look”")
    owner.confirm("Stabilize…", "Stabilize", typed="Production")
    owner.sees("both hashes are equal")
    assert contents(production) == approved

    # Work of staging goes to production; every step is seen without reloading.
    staging = sites["staging"]
    staging.edit("weekly-sales-digest", parameter("To the board", "subject", "Sales of last week"))
    staging.edit("stock-alerts", parameter("Every 15 minutes", "rule.interval.0.minutesInterval", 30))
    owner.capture("Staging")
    path = approved_promotion(owner, approver, ["Weekly sales digest", "Stock alerts"], "Release 1")
    production.fault(kind="latency", seconds=0.4, method="PUT")
    owner.start_promotion(path, "Production")
    owner.page.locator("#promotion-live").get_by_text("Weekly sales digest").first.wait_for(timeout=PATIENCE_MS)
    owner.sees("2 promoted as wanted, 5 others unchanged")
    production.clear_faults()
    assert contents(production) != approved

    # The next one fails half-way: what was written is put back, and the hashes say so.
    before = contents(production)
    for key, node, way, value in (
        ("order-intake", "Check the order", "jsCode", "return items;"),
        ("review-requests", "How was it?", "subject", "Ten days on the trail"),
        ("gift-cards", "Balance", "respondWith", "text"),
    ):
        staging.edit(key, parameter(node, way, value))
    owner.capture("Staging")
    path = approved_promotion(owner, approver, ["Order intake", "Review requests", "Gift card balance"], "Release 2")
    production.fault(
        kind="status",
        status=400,
        message="not today",
        method="PUT",
        path=f"/workflows/{production.id_of('review-requests')}$",
    )
    owner.start_promotion(path, "Production")
    owner.sees("It failed")
    owner.sees("The target is as it was before")
    owner.sees(f"{len(KEYS)} of {len(KEYS)} workflows equal by hash")
    production.clear_faults()
    assert contents(production) == before

    # A snapshot brings back what was lost.
    production.remove("stock-alerts")
    production.edit("order-intake", parameter("Check the order", "jsCode", "return [];"))
    owner.go("snapshots/?environment=production&type=post_promotion")
    owner.page.locator("main tbody th a").first.click()
    owner.follow("Restore…")
    owner.page.fill("[name=typed]", "Production")
    owner.press("Restore everything into Production")
    owner.page.wait_for_url(re.compile("/jobs/"))
    owner.ends("Completed")
    names = sorted(orjson.loads(raw)["name"] for raw in contents(production).values())
    assert names == sorted(orjson.loads(raw)["name"] for raw in before.values())
    assert contents(production)[production.id_of("order-intake")] == before[production.id_of("order-intake")]
