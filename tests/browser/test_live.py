"""The main line with three real n8n instances and 60 real workflows: capture, promote, fail half-way, put back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from opsconsole.demo.catalogue import CREDENTIALS, FLOWS, NAMES
from opsconsole.demo.drawing import short_id
from sandbox.live import NEWEST, LiveInstance, LiveN8n
from tests.running import ROOT

from .driving import PATIENCE_MS, Visitor
from .test_story import approved_promotion

pytestmark = pytest.mark.live_n8n
COUNT = 60
LARGEST = 120_000
SETTINGS = {
    "executionOrder", "timezone", "executionTimeout", "saveManualExecutions", "saveExecutionProgress",
    "saveDataErrorExecution", "saveDataSuccessExecution",
}  # fmt: skip
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def instances(n8n_version: str) -> Iterator[list[LiveInstance]]:
    with LiveN8n(3, version=n8n_version) as running:
        yield running


def real_workflows() -> list[JSON]:
    """60 workflows that people wrote, where a folder of them is at hand; else made of the demo's."""
    folder = Path(os.environ.get("OPSCONSOLE_REAL_WORKFLOWS") or ROOT.parent / "shared" / "workflows" / "n8n")
    found: dict[str, JSON] = {}
    for path in sorted(folder.glob("*.json")):
        if len(found) == COUNT:
            break
        raw = orjson.loads(path.read_bytes())
        name = str(raw.get("name") or "").strip()
        if path.stat().st_size < LARGEST and raw.get("nodes") and name and name.casefold() not in found:
            found[name.casefold()] = accepted(raw)
    number = 0
    while len(found) < COUNT:
        flow = FLOWS[number % len(FLOWS)]
        raw = flow.render(
            workflow_id=lambda key: short_id("live", key),
            credential=lambda kind: {"id": short_id("live", kind), "name": CREDENTIALS[kind]},
            names=NAMES,
        )
        # On its own it may call nobody: the others' ids are n8n's to choose.
        raw["nodes"] = [n for n in raw["nodes"] if "workflowId" not in n["parameters"]]
        raw["name"] = f"{flow.name} {number}"
        found[raw["name"].casefold()] = accepted(raw)
        number += 1
    return list(found.values())


def accepted(raw: JSON) -> JSON:
    """What n8n's `POST /workflows` takes of it."""
    names = {n["name"] for n in raw["nodes"]}
    settings = {k: v for k, v in (raw.get("settings") or {}).items() if k in SETTINGS and v is not None}
    connections = {
        source: {
            kind: [[to for to in lane or [] if to["node"] in names] for lane in lanes] for kind, lanes in kinds.items()
        }
        for source, kinds in (raw.get("connections") or {}).items()
        if source in names
    }
    return {"name": raw["name"], "nodes": raw["nodes"], "connections": connections, "settings": settings}


def hook(name: str, answer: str, *, kind: str = "n8n-nodes-base.set") -> JSON:
    return {
        "name": name,
        "nodes": [
            {
                "id": f"{name}-hook", "name": "Called", "type": "n8n-nodes-base.webhook", "typeVersion": 2,
                "position": [0, 0], "parameters": {"path": name.lower().replace(" ", "-"), "httpMethod": "POST"},
                "webhookId": f"{name}-hook",
            },
            {
                "id": f"{name}-then", "name": "Then", "type": kind, "typeVersion": 3.4 if kind.endswith("set") else 1,
                "position": [240, 0], "parameters": {"mode": "raw", "jsonOutput": answer},
            },
        ],
        "connections": {"Called": {"main": [[{"node": "Then", "type": "main", "index": 0}]]}},
        "settings": {"executionOrder": "v1"},
    }  # fmt: skip


class Instance:
    """One real n8n by its API, behind the console's back."""

    def __init__(self, running: LiveInstance) -> None:
        self.running = running
        self.http: httpx.Client = running.client()

    def create(self, workflow: JSON, *, active: bool = False) -> str:
        made = self.http.post("/workflows", json=workflow)
        assert made.status_code == 200, f"{workflow['name']}: {made.text[:300]}"
        if active:
            done = self.http.post(f"/workflows/{made.json()['id']}/activate")
            assert done.status_code == 200, done.text
        return str(made.json()["id"])

    def put(self, ident: str, workflow: JSON) -> None:
        done = self.http.put(f"/workflows/{ident}", json=workflow)
        assert done.status_code == 200, done.text

    def contents(self) -> dict[str, bytes]:
        """What n8n runs, by id."""
        found, cursor = {}, ""
        while True:
            page = self.http.get("/workflows", params={"limit": 100, **({"cursor": cursor} if cursor else {})}).json()
            for w in page["data"]:
                kept = {k: w[k] for k in ("name", "nodes", "connections", "settings", "active")}
                found[w["id"]] = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
            cursor = page.get("nextCursor") or ""
            if not cursor:
                return found


@pytest.mark.timeout(900)
def test_the_main_line_on_real_n8n(
    instances: list[LiveInstance], visit: Callable[..., Visitor], make_tenant: Callable[[str], str]
) -> None:
    dev, staging, production = (Instance(running) for running in instances)
    for instance in (dev, staging, production):
        for workflow in real_workflows():
            instance.create(workflow)
    first, second = ("Alpha hook", "Zulu hook")
    ids = {name: staging.create(hook(name, "{}"), active=True) for name in (first, second)}
    for name in (first, second):
        production.create(hook(name, "{}"), active=True)

    slug = make_tenant(f"Real instances {instances[0].version}")
    owner, approver = visit("owner", tenant=slug), visit("approver", tenant=slug)
    kinds = {"dev": ("Development", dev), "staging": ("Staging", staging), "production": ("Production", production)}
    for kind, (name, instance) in kinds.items():
        owner.add_environment(name, kind, instance.running.base_url, instance.running.api_key)
        owner.page.locator("#connection").get_by_text("Looked at").wait_for(timeout=PATIENCE_MS)
        owner.capture(name)
    owner.go()
    assert f"{COUNT + 2} workflows in 3 environments" in owner.text()

    # A change goes to production and is live there at once.
    before = production.contents()
    staging.put(ids[first], hook(first, '{"version": 2}'))
    owner.capture("Staging")
    path = approved_promotion(owner, approver, [first], "First")
    owner.start_promotion(path, "Production")
    owner.sees(f"1 promoted as wanted, {COUNT + 1} others unchanged")
    after = production.contents()
    assert len([ident for ident in after if after[ident] != before[ident]]) == 1

    # The next holds a node that this n8n does not know: harmless while inactive in staging, refused where it runs. One
    # that tells its packages is not even asked.
    staging.http.post(f"/workflows/{ids[second]}/deactivate")
    staging.put(ids[first], hook(first, '{"version": 3}'))
    staging.put(ids[second], hook(second, "{}", kind="n8n-nodes-unknown.thing"))
    owner.capture("Staging")
    if instances[0].version == NEWEST:
        owner.plan("staging", "production", [first, second], name="Second")
        owner.sees("needs the package n8n-nodes-unknown")
        assert owner.page.get_by_role("button", name="Ask for approval").is_disabled()
        assert production.contents() == after
        return
    path = approved_promotion(owner, approver, [first, second], "Second")
    owner.start_promotion(path, "Production")
    owner.sees("It failed")
    owner.sees("The target is as it was before")
    owner.sees(f"{COUNT + 2} of {COUNT + 2} workflows equal by hash")
    assert production.contents() == after
