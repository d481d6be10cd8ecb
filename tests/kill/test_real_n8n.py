"""Kill -9 of the worker at every step boundary of a promotion into a real n8n, judged by what that n8n runs.

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

from sandbox.live import NEWEST, LiveN8n
from tests.live.world import Site, pause
from workflows.models import Environment

from .estate import changed, old_workflows
from .stage import Ending, Stage, capture, make_environment
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
    endings: Counter[str] = field(default_factory=Counter)

    @property
    def base_url(self) -> str:
        return self.instance.base_url

    @property
    def api_key(self) -> str:
        return self.instance.api_key

    def state(self) -> dict[str, Any]:
        return {"workflows": self.api("GET", "/workflows", params={"limit": 250}).json()["data"]}

    def delete(self) -> None:
        for raw in self.state()["workflows"]:
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
            if httpx.get(f"{self.base_url}/webhook/{path}", timeout=30).status_code == 200:
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

    def production(self) -> tuple[Environment, Any, dict[str, str]]:
        self.real.delete()
        ids = self.real.seed()
        target = make_environment(self.tenant, self.real, f"Production {os.urandom(3).hex()}", "staging")  # type: ignore[arg-type]
        capture(target)
        return target, self.real, ids

    def ending(self, *args: Any, **options: Any) -> Ending:
        found = super().ending(*args, **options)
        running = [changed(n) for n in range(1, 13, 2)]
        self.ran = ",".join(sorted({self.real.ran(name) for name in running}))
        return found


@pytest.fixture(scope="module")
def real_stage(stage: Stage) -> Iterator[RealStage]:
    work_as_the_system()
    with LiveN8n(1, version=NEWEST) as (instance,):
        facts = {name: getattr(stage, name) for name in stage.__dataclass_fields__}
        made = RealStage(**facts, real=RealProduction(instance))
        yield made
        if target := os.environ.get("OPSCONSOLE_FAULTS_TABLE"):
            with Path(target).open("a") as lines:
                for ending, count in sorted(made.real.endings.items()):
                    lines.write(json.dumps({"kind": "worker killed", "ending": ending, "cases": count}) + "\n")


#: Where versions are staged, all that runs is published in the end, the first of them first.
STEPS = tuple(step.replace("activate:changed-03", "activate:changed-01") for step in FORWARD)
CASES = ["operation:claimed", *(f"{s}:{p}" for s, p in itertools.product(STEPS, AROUND)), "operation:before-end"]


@pytest.mark.parametrize("kill_at", CASES)
def test_a_promotion_into_a_real_n8n_whose_worker_is_killed(real_stage: RealStage, kill_at: str) -> None:
    ending = real_stage.play(kill_at=kill_at)
    assert ending.exit_code == -9
    assert ending.outcome in ("whole", "before"), (ending.outcome, ending.promotion.execution_result)
    assert real_stage.ran == {"whole": "new", "before": "old"}[ending.outcome], "n8n runs what the console says"
    print(kill_at, ending.outcome, real_stage.ran, ending.says(), flush=True)
    real_stage.real.endings[{"whole": "whole", "before": "restored"}[ending.outcome]] += 1
