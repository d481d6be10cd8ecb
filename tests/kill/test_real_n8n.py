"""Kill -9 of the worker at every step boundary of a promotion into a real n8n, of its way back and of its rollback,
judged by what that n8n runs.

An hour of work, so only on request: ``OPSCONSOLE_FAULTS=1``. One case after the other, for there is one production.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from core import clock, context
from operations import engine
from operations.models import OPEN, Operation, OperationStatus
from promotions import services
from promotions.models import Promotion
from sandbox.live import NEWEST, LiveN8n
from tenants.scope import tenant_scope
from tests.live.wire import Wire
from tests.live.world import Site, pause
from workflows.models import Environment

from .estate import SWITCHED_ON, changed, old_workflows
from .stage import ENDED, Ending, Stage, Victim, capture, make_environment, until
from .test_promotion import AROUND, FORWARD, work_as_the_system

ASKED = os.environ.get("OPSCONSOLE_FAULTS", "")
pytestmark = [
    pytest.mark.kill,
    pytest.mark.live_n8n,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("kill"),
    pytest.mark.skipif(not ASKED, reason="OPSCONSOLE_FAULTS=1 asks for these"),
]


@dataclass
class RealProduction(Site):
    """A real n8n in the place of the sandbox's production."""

    name: str = "real"
    wire: Wire = None  # type: ignore[assignment]
    endings: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def base_url(self) -> str:
        return self.wire.base_url

    @property
    def api_key(self) -> str:
        return self.instance.api_key

    def state(self) -> dict[str, Any]:
        return {"workflows": self.api("GET", "/workflows", params={"limit": 250}).json()["data"]}

    def delete(self) -> None:
        found = self.state()["workflows"]
        for raw in found:
            if raw["active"]:
                self.api("POST", f"/workflows/{raw['id']}/deactivate")
        for raw in found:
            self.remove(raw["id"])

    def seed(self) -> dict[str, str]:
        made = {}
        for workflow in old_workflows():
            body = {key: workflow[key] for key in ("name", "nodes", "connections", "settings")}
            made[workflow["name"]] = self.make(body, published=bool(workflow["active"]))
        return made

    def ran(self, name: str) -> str:
        """What a workflow says when its address is called, by n8n's own record of the execution."""
        path = name.lower().replace(" ", "-")
        for _ in range(80):
            if httpx.get(f"{self.instance.base_url}/webhook/{path}", timeout=30).status_code == 200:
                break
            pause(0.25)
        query = {"workflowId": self.all()[name]["id"], "includeData": "true", "limit": 1}
        for _ in range(40):
            if found := self.api("GET", "/executions", params=query).json()["data"]:
                runs = found[0]["data"]["resultData"]["runData"].get("Set") or []
                if runs and found[0]["finished"]:
                    return str(runs[0]["data"]["main"][0][0]["json"]["says"])
            pause(0.25)
        return "nothing"


@dataclass
class RealStage(Stage):
    """The stage with a real production."""

    real: RealProduction = None  # type: ignore[assignment]
    ran: str = ""
    versions: dict[str, Any] = field(default_factory=dict)
    is_as_it_was: bool = False
    rolls_back: bool = False

    def production(self) -> tuple[Environment, Any, dict[str, str]]:
        self._stop_leftovers()
        self.real.wire.mend()
        self.real.delete()
        ids = self.real.seed()
        target = make_environment(self.tenant, self.real, f"Production {os.urandom(3).hex()}", "staging")  # type: ignore[arg-type]
        capture(target)
        self.versions = self.running()
        return target, self.real, ids

    def _stop_leftovers(self) -> None:
        """A case that failed leaves its job open; its rescuer would write into the production of the next case."""
        with context.acting(source="system"), tenant_scope(self.tenant.pk):
            Operation.objects.filter(status__in=[str(status) for status in OPEN]).update(
                status=OperationStatus.FAILED, ended_at=clock.now()
            )

    def running(self) -> dict[str, Any]:
        """What runs, by n8n's own version ids."""
        return {name: (raw["id"], raw["active"], raw.get("activeVersionId")) for name, raw in self.real.all().items()}

    def refuse(self, instance: Any, ids: dict[str, str]) -> None:
        """The last that is published is refused: all others run already, and are to be put back."""
        instance.wire.refuse(lambda method, path, name: path.endswith("/publish") and name == LAST_PUBLISHED)

    def begin(self, promotion: Promotion, victim: Victim) -> Operation:
        if not self.rolls_back:
            return super().begin(promotion, victim)
        operation = services.execute(tenant_id=self.tenant.pk, promotion_id=promotion.pk, by=self.owner)
        engine.drive(operation_id=operation.pk, tenant_id=self.tenant.pk)
        until("it is promoted", lambda: self.operation(operation).status in ENDED, every=0.2)
        done = self.operation(operation)
        assert done.status == "COMPLETED", done.error_details
        return self.start(promotion, victim, services.rollback)

    def ending(self, *args: Any, **options: Any) -> Ending:
        found = super().ending(*args, **options)
        running = [changed(n) for n in range(1, 13, 2) if changed(n) != SWITCHED_ON]
        self.ran = ",".join(sorted({self.real.ran(name) for name in running}))
        self.is_as_it_was = self.running() == self.versions
        return found

    def judged(self, kind: str, kill_at: str, ending: Ending) -> str:
        """How it ended; fails where n8n runs something else than the console says."""
        print(kind, kill_at, ending.outcome, self.ran, ending.says(), flush=True)
        assert ending.exit_code == -9
        assert ending.outcome in ("whole", "before"), (ending.outcome, ending.promotion.execution_result)
        assert self.ran == {"whole": "new", "before": "old"}[ending.outcome], "n8n runs what the console says"
        if ending.outcome == "before":
            assert self.is_as_it_was, "the very versions that ran before"
        self.real.endings[kind, {"whole": "whole", "before": "restored"}[ending.outcome]] += 1
        return ending.outcome


@pytest.fixture(scope="module")
def real_stage(stage: Stage) -> Iterator[RealStage]:
    work_as_the_system()
    with LiveN8n(1, version=NEWEST) as (instance,), Wire(instance.base_url) as wire:
        facts = {name: getattr(stage, name) for name in stage.__dataclass_fields__}
        made = RealStage(**facts, real=RealProduction(instance, wire=wire))
        yield made
        if target := os.environ.get("OPSCONSOLE_FAULTS_TABLE"):
            with Path(target).open("a") as lines:
                for (kind, ending), count in sorted(made.real.endings.items()):
                    lines.write(json.dumps({"kind": kind, "ending": ending, "cases": count}) + "\n")


#: The called before the callers, else by key.
LAST_PUBLISHED = "New plain 2"
#: Where versions are staged, all that runs is published in the end, the first of them first.
STEPS = tuple(step.replace("activate:changed-03", "activate:changed-01") for step in FORWARD)
CASES = ["operation:claimed", *(f"{s}:{p}" for s, p in itertools.product(STEPS, AROUND)), "operation:before-end"]


@pytest.mark.parametrize("kill_at", CASES)
def test_a_promotion_into_a_real_n8n_whose_worker_is_killed(real_stage: RealStage, kill_at: str) -> None:
    real_stage.rolls_back = False
    ending = real_stage.play(kill_at=kill_at)
    real_stage.judged("worker killed", kill_at, ending)


#: And of the two ways back: by itself after the last publishing was refused, and asked for by a person.
TURNING = (
    "write:changed-01",
    "activate:changed-01",
    "listening",
    "draft:changed-01",
    *(f"write:{key}" for key in ("new-pong", "new-ping", "new-caller", "new-helper")),
)
BACK = tuple(f"undo:{step}" for step in ("decide", "look", *TURNING, "places", "prove", "finish"))
ROLLBACK = tuple(f"rollback:{step}" for step in ("look", *TURNING, "prove", "canonical", "finish"))
#: Writes beyond the fifth are begun in further chunks; their results come with those of the first.
AHEAD = ("write:changed-06", "write:changed-11", "activate:changed-11")
#: Within a chunk: versions that ran before are published again, what was created is unpublished and deleted.
ANSWERED = (
    *(f"activate:changed-{n:02d}" for n in (4, 5, 7, 9)),
    *(f"write:changed-{n:02d}" for n in (2, 3, 4, 12)),
    *(f"write:new-plain-{n}" for n in (1, 2, 3, 4)),
)


def around(steps: tuple[str, ...], prefix: str) -> list[str]:
    """First where n8n may have been asked something of which nothing is on record."""
    ahead = tuple(f"{prefix}:{step}" for step in AHEAD)
    places = [f"{step}:after-effect" for step in steps] + [f"{step}:after-intent" for step in (*steps, *ahead)]
    places += [f"{prefix}:{step}:effect-answered" for step in ANSWERED]
    return [*places, *(f"{step}:{place}" for place in ("after-result", "before-intent") for step in steps)]


@pytest.mark.parametrize("kill_at", around(BACK, "undo"))
def test_a_way_back_on_a_real_n8n_whose_worker_is_killed(real_stage: RealStage, kill_at: str) -> None:
    real_stage.rolls_back = False
    ending = real_stage.play(kill_at=kill_at, refused=True)
    assert real_stage.judged("worker killed on the way back", kill_at, ending) == "before"


@pytest.mark.parametrize("kill_at", around(ROLLBACK, "rollback"))
def test_a_rollback_on_a_real_n8n_whose_worker_is_killed(real_stage: RealStage, kill_at: str) -> None:
    real_stage.rolls_back = True
    ending = real_stage.play(kill_at=kill_at)
    assert real_stage.judged("worker killed in a rollback", kill_at, ending) == "before"
    assert ending.promotion.status == "ROLLED_BACK"


@pytest.mark.parametrize("way", ["forward", "back", "rollback"])
def test_these_are_the_boundaries(real_stage: RealStage, way: str) -> None:
    real_stage.rolls_back = way == "rollback"
    ending = real_stage.play(kill_at=None, refused=way == "back")
    print(way, ending.outcome, real_stage.ran, json.dumps(ending.boundaries), flush=True)
    assert ending.outcome == ("whole" if way == "forward" else "before"), ending.promotion.execution_result
