"""Ten megabytes of pinned data in a workflow of a real n8n: captured and given back, and nothing else is stopped."""

from __future__ import annotations

import json

import pytest

from snapshots.models import Snapshot
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from tests.live.world import JSON, LiveWorld, flow, hook, says

pytestmark = [pytest.mark.live_n8n, pytest.mark.newest_n8n, pytest.mark.timeout(600)]

ROWS = [{"json": {"number": n, "name": f"Row {n}", "parts": [n, n + 1]}} for n in range(160_000)]
PINNED: JSON = {"Out": ROWS}


def test_large_pinned_data_are_captured_and_given_back(world: LiveWorld) -> None:
    assert 10_600_000 < len(json.dumps(PINNED)) < 16_000_000
    site = world.there
    large = site.make({**flow("Pinned", hook("pinned"), says("one")), "pinData": PINNED})
    small = site.make(flow("Small", hook("small"), says("one")), published=True)
    assert site.get(large)["pinData"] == PINNED, "n8n takes them"
    world.capture(world.production)
    with tenant_scope(world.tenant_id):
        snapshot = Snapshot.objects.filter(environment=world.production).latest("created_at")
    site.put(large, {**flow("Pinned", hook("pinned"), says("two")), "pinData": {}})
    site.put(small, flow("Small", hook("small"), says("two")))
    restore = start_restore(
        tenant_id=world.tenant_id, environment_id=world.production.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    assert world.drive(restore, tries=1) == "COMPLETED", world.failure(restore.pk)
    assert (site.text(large)[0], site.text(small)) == ("one", ("one", "one"))
    assert json.dumps(site.get(large)["pinData"]) == json.dumps(PINNED)
