"""What people report of n8n in public, tried on a real one."""

from __future__ import annotations

import pytest

from tests.live.test_main_job import promote
from tests.live.world import JSON, LiveWorld, flow, hook, says

pytestmark = [pytest.mark.live_n8n, pytest.mark.timeout(900)]

FORM: JSON = {
    "id": "form",
    "name": "Form",
    "type": "n8n-nodes-base.formTrigger",
    "typeVersion": 2.2,
    "position": [0, 0],
    "parameters": {"formTitle": "Sign up", "formFields": {"values": [{"fieldLabel": "Mail"}]}, "options": {}},
}


def without_id(path: str) -> JSON:
    return {name: value for name, value in hook(path).items() if name != "webhookId"}


def test_starters_without_a_webhook_id(world: LiveWorld) -> None:
    """Workflows that programs write often leave it out: an older n8n then listens where nobody looks for it."""
    for name, start in (("Plain", without_id("bare")), ("Form", FORM), ("Varying", without_id("user/:id"))):
        world.here.make(flow(name, start, says("one")), published=True)
    done = promote(world, "Plain", "Form", "Varying", active="copy")
    assert done.status == "COMPLETED", done.execution_result
    plain = next(row for row in done.execution_result["verification"]["workflows"] if row["name"] == "Plain")
    ((address, answer),) = plain["listening"].items()
    assert answer == "listening"
    assert world.there.answers(address.removeprefix("POST "), (200, {"from": "one"}))
