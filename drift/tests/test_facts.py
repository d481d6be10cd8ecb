"""Draft × what runs × archived × what somebody did × how it is put back: each fact comes back, or is named."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from core import clock
from drift import services
from drift.tests.conftest import Site, workflow
from operations.models import Operation
from snapshots.models import Snapshot
from snapshots.restore import start_restore
from tenants.scope import tenant_scope
from tests.killing import killed_everywhere

JSON = dict[str, Any]
Fact = tuple[str, str, bool, bool]
"""What runs (or the only content), what the editor holds, published, archived."""


def nodes(text: str) -> JSON:
    return {"nodes": workflow("", text=text)["nodes"]}


def publish(site: Site, ident: str, on: bool = True) -> None:
    with site.n8n.client() as client:
        client.post(f"/workflows/{ident}/{'activate' if on else 'deactivate'}")


def remove(site: Site, ident: str) -> None:
    site.n8n.delete_workflow(ident)


STATES: dict[str, Callable[[Site, str], Any]] = {
    "unpublished": lambda site, ident: None,
    "published": lambda site, ident: publish(site, ident),
    "drafted": lambda site, ident: (publish(site, ident), site.n8n.edit(ident, draft=True, **nodes("draft"))),
    "archived": lambda site, ident: site.n8n.archive(ident),
}
MEDDLING: dict[str, Callable[[Site, str], Any]] = {
    "nothing": lambda site, ident: None,
    "edited": lambda site, ident: site.n8n.edit(ident, **nodes("edited")),
    "published": lambda site, ident: publish(site, ident),
    "unpublished": lambda site, ident: publish(site, ident, on=False),
    "drafted": lambda site, ident: site.n8n.edit(ident, draft=True, **nodes("another draft")),
    "archived": lambda site, ident: site.n8n.archive(ident),
    "unarchived": lambda site, ident: site.n8n.archive(ident, False),
    "deleted": remove,
}
MISSING: dict[str, set[str]] = {"1.123": {"drafted", "archived", "unarchived"}, "2.0": {"archived", "unarchived"}}
"""What an old n8n does not have, or does not let its API do."""


def facts(site: Site) -> dict[str, Fact]:
    found = {}
    for raw in site.n8n.state()["workflows"]:
        live = raw.get("activeVersion") or raw
        found[raw["name"]] = (_text(live["nodes"]), _text(raw["nodes"]), bool(raw["active"]), bool(raw["isArchived"]))
    return found


def _text(listed: list[JSON]) -> str:
    return str(next(node for node in listed if node["name"] == "Step")["parameters"]["value"])


@pytest.fixture(params=["1.123", "2.0", "2.35", "2.41"])
def estate(request: pytest.FixtureRequest, make_site: Any) -> tuple[Site, dict[str, Fact]]:
    """Every state with everything that may be done to it, captured, then done."""
    site: Site = make_site(profile=request.param)
    missing = MISSING.get(request.param, set())
    pairs = [pair for pair in itertools.product(STATES, MEDDLING) if not missing.intersection(pair)]
    site.seed(*(workflow(f"{state} then {done}", text="as it was") for state, done in pairs))
    for state, done in pairs:
        STATES[state](site, site.ids[f"{state} then {done}"])
    site.n8n.settle()
    site.capture()
    before = facts(site)
    for state, done in pairs:
        MEDDLING[done](site, site.ids[f"{state} then {done}"])
    site.n8n.settle()
    assert facts(site) != before
    return site, before


def drive(site: Site, operation: Operation, *, killed: bool) -> Operation:
    """To its end; with ``killed``, the worker dies once at each boundary."""

    def carry_on() -> str:
        with tenant_scope(site.tenant.pk):
            Operation.objects.filter(pk=operation.pk).update(attempt=0, run_after=None, lease_expires_at=clock.now())
        return str(site.drive(operation).status)

    if killed:
        killed_everywhere(carry_on)
    return site.drive(operation)


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "killed everywhere"])
def test_a_restore_gives_every_fact_back(estate: tuple[Site, dict[str, Fact]], killed: bool) -> None:
    site, before = estate
    with tenant_scope(site.tenant.pk):
        snapshot = Snapshot.objects.filter(environment=site.environment).latest("created_at")
    operation = start_restore(
        tenant_id=site.tenant.pk, environment_id=site.environment.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    done = drive(site, operation, killed=killed)
    assert done.status == "COMPLETED", done.error_details
    as_before_or_named(site, before, done.result)
    assert done.result["proof"]["differing"] == []


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "killed everywhere"])
def test_stabilizing_gives_every_fact_back(estate: tuple[Site, dict[str, Fact]], live_cast: Any, killed: bool) -> None:
    site, before = estate
    site.check()
    with tenant_scope(site.tenant.pk):
        ids = [incident.pk for incident in site.incidents()]
    (operation,) = services.stabilize(tenant_id=site.tenant.pk, incident_ids=ids, requested_by=live_cast.owner)
    done = drive(site, operation, killed=killed)
    assert done.status == "COMPLETED", done.error_details
    assert done.result["failed"] == []
    now = facts(site)
    assert {name: now.get(name) for name in before} == before
    site.check()
    assert site.incidents(incident_state__in=["OPEN", "ACKNOWLEDGED"]) == []


def as_before_or_named(site: Site, before: dict[str, Fact], result: JSON) -> None:
    now = facts(site)
    rows = [row for name in ("created", "updated", "skipped", "deleted") for row in result[name]]
    named = {row["name"] for row in rows if row.get("left")}
    wrong = {name: (fact, now.get(name)) for name, fact in before.items() if now.get(name) != fact}
    assert wrong.keys() <= named, wrong
