"""A promotion whose n8n turns hostile while it is written to: it ends whole, restored, or says loudly that it is not.

The n8n is the sandbox's, good until the first write has been carried out. From then on it does what it is told and
answers as a hostile one, for some calls or for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from operations.models import Operation
from promotions.tests.conftest import empty_world, no_drift, sandbox_server, world  # noqa: F401 -- fixtures
from promotions.tests.test_faults import KEYS, outcome
from promotions.tests.world import World
from tenants.scope import tenant_scope
from workflows.n8n.http import Http, Limits

from .behaviours import BEHAVIOURS, Answer
from .test_memory import MOST_MIB

#: One of each kind: slow, endless, bombs, garbage, lies.
CHOSEN = (
    "never answers",
    "hangs up",
    "drips",
    "does not end",
    "is cut off",
    "always has another cursor",
    "a bomb",
    "noise",
    "a web page",
    "a number",
    "half an emoji for an id",
    "unchanged, though nobody asked",
    "a redirect",
    "no content",
    "the key is wrong",
    "come back in a year",
)
FOR_GOOD = 10**9
#: They say of what was carried out that it was not, and hide it from the list: nobody can put that back.
LIES = ("half an emoji for an id", "come back in a year")


class Turning(httpx.BaseTransport):
    """Carries everything out; from the first write on answers otherwise than it did, ``calls`` times."""

    calls = 0
    lying = False

    def __init__(self, inner: httpx.BaseTransport, answer: Answer) -> None:
        self._inner, self._answer = inner, answer

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        Turning.lying = Turning.lying or request.method not in ("GET", "HEAD")
        if not Turning.lying or Turning.calls <= 0:
            return response
        Turning.calls -= 1
        response.read()
        response.close()
        return self._answer(request)


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made = Http.__init__

    def hostile(address: str, behaviour: str, calls: int) -> None:
        Turning.calls, Turning.lying = calls, False
        answer = BEHAVIOURS[behaviour]()

        def wrapped(self: Http, base_url: str, api_key: str, **options: Any) -> None:
            limits = replace(options.pop("limits", None) or Limits(), total_time=0.4, max_wait=0.01, attempts=2)
            made(self, base_url, api_key, **{**options, "limits": limits, "sleep": lambda _seconds: None})
            if base_url.startswith(address):
                self._client._transport = Turning(self._transport, answer)

        monkeypatch.setattr(Http, "__init__", wrapped)

    yield hostile
    Turning.calls = 0


@pytest.mark.parametrize("calls", [3, FOR_GOOD], ids=["for a while", "for good"])
@pytest.mark.parametrize("behaviour", CHOSEN)
def test_it_ends_whole_or_as_before_or_loudly(world: World, turn: Any, behaviour: str, calls: int) -> None:  # noqa: F811
    promotion = world.approved(*KEYS)
    before = world.hashes()
    turn(world.target.base_url, behaviour, calls)
    operation = world.start(promotion)
    idle = reset_high_water()
    ended = world.drive(operation, tries=12)
    assert high_water_mib() - idle <= MOST_MIB
    assert Turning.lying, "it was never written to"
    done = world.fresh(promotion)
    found = outcome(world, before, done)
    loud = done.attention_since is not None or ended == "PARKED"
    assert ended in ("COMPLETED", "FAILED", "PARKED"), what_went_on(world, operation)
    assert loud or found == {"COMPLETED": "whole", "FAILED": "before"}[ended], what_went_on(world, operation)
    if calls < FOR_GOOD and behaviour not in LIES:
        assert not loud, f"it could have been put back: {what_went_on(world, operation)}"


def what_went_on(world: World, operation: Operation) -> Any:  # noqa: F811
    with tenant_scope(world.tenant_id):
        row = Operation.objects.get(pk=operation.pk)
    return row.status, row.error_code, row.error_message, row.error_details


def reset_high_water() -> float:
    """What the process holds now, from where its high-water mark starts anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return high_water_mib()


def high_water_mib() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
