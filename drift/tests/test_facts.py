"""Draft × what runs × archived × what somebody did × how it is put back: each fact comes back, or is named."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from core import clock
from drift import services
from drift.tests.conftest import Place, workflow
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


def publish(place: Place, ident: str, on: bool = True) -> None:
    with place.n8n.client() as client:
        client.post(f"/workflows/{ident}/{'activate' if on else 'deactivate'}")


def remove(place: Place, ident: str) -> None:
    place.n8n.delete_workflow(ident)


STATES: dict[str, Callable[[Place, str], Any]] = {
    "unpublished": lambda place, ident: None,
    "published": lambda place, ident: publish(place, ident),
    "drafted": lambda place, ident: (publish(place, ident), place.n8n.edit(ident, draft=True, **nodes("draft"))),
    "archived": lambda place, ident: place.n8n.archive(ident),
}
MEDDLING: dict[str, Callable[[Place, str], Any]] = {
    "nothing": lambda place, ident: None,
    "edited": lambda place, ident: place.n8n.edit(ident, **nodes("edited")),
    "published": lambda place, ident: publish(place, ident),
    "unpublished": lambda place, ident: publish(place, ident, on=False),
    "drafted": lambda place, ident: place.n8n.edit(ident, draft=True, **nodes("another draft")),
    "archived": lambda place, ident: place.n8n.archive(ident),
    "unarchived": lambda place, ident: place.n8n.archive(ident, False),
    "deleted": remove,
}
MISSING: dict[str, set[str]] = {"1.123": {"drafted", "archived", "unarchived"}, "2.0": {"archived", "unarchived"}}
"""What an old n8n does not have, or does not let its API do."""


def facts(place: Place) -> dict[str, Fact]:
    found = {}
    for raw in place.n8n.state()["workflows"]:
        live = raw.get("activeVersion") or raw
        found[raw["name"]] = (_text(live["nodes"]), _text(raw["nodes"]), bool(raw["active"]), bool(raw["isArchived"]))
    return found


def _text(listed: list[JSON]) -> str:
    return str(next(node for node in listed if node["name"] == "Step")["parameters"]["value"])


@pytest.fixture(params=["1.123", "2.0", "2.35", "2.41"])
def estate(request: pytest.FixtureRequest, make_place: Any) -> tuple[Place, dict[str, Fact]]:
    """Every state with everything that may be done to it, captured, then done."""
    place: Place = make_place(profile=request.param)
    missing = MISSING.get(request.param, set())
    pairs = [pair for pair in itertools.product(STATES, MEDDLING) if not missing.intersection(pair)]
    place.seed(*(workflow(f"{state} then {done}", text="as it was") for state, done in pairs))
    for state, done in pairs:
        STATES[state](place, place.ids[f"{state} then {done}"])
    place.n8n.settle()
    place.capture()
    before = facts(place)
    for state, done in pairs:
        MEDDLING[done](place, place.ids[f"{state} then {done}"])
    place.n8n.settle()
    assert facts(place) != before
    return place, before


def drive(place: Place, operation: Operation, *, killed: bool) -> Operation:
    """To its end; with ``killed``, the worker dies once at each boundary."""

    def carry_on() -> str:
        with tenant_scope(place.tenant.pk):
            Operation.objects.filter(pk=operation.pk).update(attempt=0, run_after=None, lease_expires_at=clock.now())
        return str(place.drive(operation).status)

    if killed:
        killed_everywhere(carry_on)
    return place.drive(operation)


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "killed everywhere"])
def test_a_restore_gives_every_fact_back(estate: tuple[Place, dict[str, Fact]], killed: bool) -> None:
    place, before = estate
    with tenant_scope(place.tenant.pk):
        snapshot = Snapshot.objects.filter(environment=place.environment).latest("created_at")
    operation = start_restore(
        tenant_id=place.tenant.pk, environment_id=place.environment.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    done = drive(place, operation, killed=killed)
    assert done.status == "COMPLETED", done.error_details
    as_before_or_named(place, before, done.result)
    assert done.result["proof"]["differing"] == []


@pytest.mark.parametrize("killed", [False, True], ids=["undisturbed", "killed everywhere"])
def test_stabilizing_gives_every_fact_back(estate: tuple[Place, dict[str, Fact]], live_cast: Any, killed: bool) -> None:
    place, before = estate
    place.check()
    with tenant_scope(place.tenant.pk):
        ids = [incident.pk for incident in place.incidents()]
    (operation,) = services.stabilize(tenant_id=place.tenant.pk, incident_ids=ids, requested_by=live_cast.owner)
    done = drive(place, operation, killed=killed)
    assert done.status == "COMPLETED", done.error_details
    assert done.result["failed"] == []
    now = facts(place)
    assert {name: now.get(name) for name in before} == before
    place.check()
    assert place.incidents(incident_state__in=["OPEN", "ACKNOWLEDGED"]) == []


def as_before_or_named(place: Place, before: dict[str, Fact], result: JSON) -> None:
    now = facts(place)
    rows = [row for name in ("created", "updated", "skipped", "deleted") for row in result[name]]
    named = {row["name"] for row in rows if row.get("left")}
    wrong = {name: (fact, now.get(name)) for name, fact in before.items() if now.get(name) != fact}
    assert wrong.keys() <= named, wrong
