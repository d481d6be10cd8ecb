"""Twenty workflows to promote: eight new ones (some call each other, two in a circle), twelve changed ones."""

from __future__ import annotations

from typing import Any

from promotions.tests.world import calls, flow, node
from sandbox.testing import SandboxInstance

SWITCHED_ON = "Changed 03"
SWITCHED_OFF = "Changed 04"
#: The last of those that are written: a fault here comes when most others are done.
REFUSED = "Changed 12"


def changed(number: int) -> str:
    return f"Changed {number:02d}"


def says(text: str) -> dict[str, Any]:
    """What a Set node puts out."""
    return {"values": {"string": [{"name": "says", "value": text}]}}


def seed_source(source: SandboxInstance) -> None:
    """Staging as it is to become."""
    helper = source.seed([flow("New helper")])[0]["id"]
    ping = source.seed([flow("New ping")])[0]["id"]
    pong = source.seed([flow("New pong", calls("Call ping", ping))])[0]["id"]
    closed = flow("New ping", calls("Call pong", pong))
    source.edit(ping, nodes=closed["nodes"], connections=closed["connections"])
    source.seed([flow("New caller", calls("Call helper", helper))])
    source.seed([flow(f"New plain {n}", node(f"Plain {n}"), active=n <= 2) for n in range(1, 5)])
    source.seed(
        [flow(changed(n), node("Set", parameters=says("new")), active=_active_in_source(n)) for n in range(1, 13)]
    )


def seed_target(target: SandboxInstance) -> dict[str, str]:
    """Production as it is. Ids by name."""
    return {made["name"]: made["id"] for made in target.seed(old_workflows())}


def old_workflows() -> list[dict[str, Any]]:
    """What production holds: the twelve as they were, and three that nobody promotes."""
    old = [flow(changed(n), node("Set", parameters=says("old")), active=_active_in_target(n)) for n in range(1, 13)]
    others: list[dict[str, Any]] = [flow("Other 1", active=True), flow("Other 2"), flow("Other 3", active=True)]
    return [*old, *others]


def _active_in_source(number: int) -> bool:
    return number % 2 == 1 or changed(number) == SWITCHED_ON


def _active_in_target(number: int) -> bool:
    name = changed(number)
    return name != SWITCHED_ON and (number % 2 == 1 or name == SWITCHED_OFF)
