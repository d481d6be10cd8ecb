"""What a promotion could not prove is settled afterwards, on a real n8n that publishes in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail

from core import clock
from drift.models import DriftIncident
from tenants.scope import tenant_scope
from tests.live.world import LiveWorld, flow, hook, pause, says
from workflows.executions import collecting
from workflows.models import StarterWatch, Telling, WatchState, WorkflowEnvMap
from workflows.watching import services as watching

pytestmark = [pytest.mark.live_n8n, pytest.mark.timeout(600), pytest.mark.newest_n8n]


def schedule(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"schedule-{name}",
        "name": name,
        "type": "n8n-nodes-base.scheduleTrigger",
        "typeVersion": 1.2,
        "position": [0, 0],
        "parameters": {"rule": {"interval": list(rules)}},
    }


def cron(expression: str) -> dict[str, Any]:
    return {"field": "cronExpression", "expression": expression}


SECONDLY = {"field": "seconds", "secondsInterval": 1}


def watched(world: LiveWorld) -> dict[tuple[str, str], StarterWatch]:
    with tenant_scope(world.tenant_id):
        return {(watch.workflow_name, watch.node): watch for watch in StarterWatch.objects.all()}


def look(world: LiveWorld) -> None:
    """A round, as if its time had come."""
    assert collecting.collect(world.production) is not None
    with tenant_scope(world.tenant_id):
        StarterWatch.objects.update(next_look_at=clock.now())
    watching.look(world.tenant_id, world.production.pk)


def rounds(world: LiveWorld, until: Callable[[], bool], *, tries: int = 60) -> bool:
    for _ in range(tries):
        look(world)
        if until():
            return True
        pause(1.0)
    return False


def test_a_schedule_that_is_no_cron_is_bad_within_a_round_and_one_that_runs_is_proven(world: LiveWorld) -> None:
    here, there = world.here, world.there
    here.make(flow("Broken", schedule("Never", cron("not a cron")), says("x")), published=True)
    here.make(flow("Ticks", schedule("Every", SECONDLY), says("x")), published=True)
    both = flow("Both", schedule("Every", SECONDLY), schedule("Yearly", cron("0 0 1 1 *")), says("x"))
    both["connections"]["Every"] = {"main": [[{"node": "Out", "type": "main", "index": 0}]]}
    here.make(both, published=True)
    here.make(flow("Front", hook("front"), says("x")), published=True)
    world.capture()
    keys = [world.key(name) for name in ("Broken", "Ticks", "Both", "Front")]
    done = world.carry_out(world.approved(*keys, active="copy"))
    assert done.status == "COMPLETED", done.execution_result
    assert set(watched(world)) == {("Broken", "Never"), ("Ticks", "Every"), ("Both", "Every"), ("Both", "Yearly")}

    look(world)
    broken = watched(world)["Broken", "Never"]
    assert there.all()["Broken"]["active"] is True, "n8n says that all is well"
    assert (broken.state, broken.telling) == (WatchState.BAD, Telling.TOLD)
    assert world.cast.approver.email in mail.outbox[0].to

    settled = [("Ticks", "Every"), ("Both", "Every")]
    assert rounds(world, lambda: all(watched(world)[name].state == WatchState.PROVEN for name in settled))
    proven = watched(world)["Both", "Every"]
    run = there.api("GET", f"/executions/{proven.run_number}", params={"includeData": "true"}).json()
    assert "Yearly" not in run["data"]["resultData"]["runData"]
    assert watched(world)["Both", "Yearly"].state == WatchState.WATCHED
    assert len(mail.outbox) == 1


def test_drift_of_a_draft_names_who_saved_it(world: LiveWorld) -> None:
    ident = world.there.make(flow("Front", hook("front"), says("live")), published=True)
    world.capture(world.production)
    world.there.draft(ident, "unfinished")
    world.capture(world.production)
    told = world.there.api("GET", f"/workflows/{ident}/history").json()["data"][0]
    with tenant_scope(world.tenant_id):
        place = WorkflowEnvMap.objects.get(environment=world.production, env_workflow_id=ident)
        incident = DriftIncident.objects.get(workflow_env_map=place, kind="draft")
    assert place.draft_authors == told["authors"] != ""
    assert incident.drift_snapshot["by"]["authors"] == told["authors"]
