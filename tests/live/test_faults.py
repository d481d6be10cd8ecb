"""Every call that a promotion makes to production broken once, in every way; and n8n killed at every boundary.

Hours of work, so only on request: ``OPSCONSOLE_FAULTS=1`` breaks each call once, ``=all`` in each of the ways.
Each case ends in one of three ways, judged by what n8n runs when it is called: wholly promoted, wholly as before, or
left in between with a loud result. ``OPSCONSOLE_FAULTS_TABLE=<file>`` collects the endings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from conftest import make_cast
from operations.handlers import boundary_observers
from promotions import material, services
from promotions.models import Promotion
from workflows.n8n import http as n8n_http

from .estate import Place, chain
from .world import LiveWorld, Site, flow, hook, make_world, says

ASKED = os.environ.get("OPSCONSOLE_FAULTS", "")
pytestmark = [
    pytest.mark.live_n8n,
    pytest.mark.newest_n8n,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not ASKED, reason="OPSCONSOLE_FAULTS=1 asks for these"),
]

READS = ("GET", "OPTIONS")
#: How a call breaks: nothing was done, or all was done and the answer is lost. A read has nothing to do.
WAYS = ("500", "429", "cut", "timeout", "500 after", "cut after", "timeout after")
#: More calls than a promotion makes, and more boundaries than it passes.
CALLS, KILLS = 140, 100
CHANGED, FRESH = ("Changed 1", "Changed 2", "Changed 3"), ("Fresh 1", "Fresh 2", "Fresh 3")


class Breaking:
    """Breaks one call to one n8n."""

    def __init__(self, base_url: str) -> None:
        self.port = httpx.URL(base_url).port
        self.real = n8n_http.Http._exchange
        self.kind, self.number, self.broke = "", 0, ""
        self.calls: list[str] = []

    def begin(self, number: int, kind: str) -> None:
        self.kind, self.number, self.calls, self.broke = kind, number, [], ""

    @property
    def exchange(self) -> Callable[..., Any]:
        breaking = self

        def exchange(http: Any, request: httpx.Request, until: float) -> Any:
            if request.url.port == breaking.port:
                breaking.calls.append(request.method)
                if len(breaking.calls) == breaking.number:
                    return breaking.breaks(http, request, until)
            return breaking.real(http, request, until)

        return exchange

    def breaks(self, http: Any, request: httpx.Request, until: float) -> Any:
        self.broke = f"{request.method} {request.url.path}"
        if self.kind.endswith("after") and request.method not in READS:
            self.real(http, request, until)
        how = self.kind.removesuffix(" after")
        if how == "cut":
            raise httpx.ReadError("broken by the test", request=request)
        if how == "timeout":
            raise httpx.ReadTimeout("broken by the test", request=request)
        headers = httpx.Headers({"content-type": "application/json", "retry-after": "0"})
        return n8n_http.Answer(int(how), headers, b'{"message": "broken by the test"}')


@dataclass
class Stage:
    """Staging and production, which runs the first version; promoting brings the second."""

    world: LiveWorld
    breaking: Breaking
    keys: tuple[str, ...]
    before: dict[str, Any] = field(default_factory=dict)
    table: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def production(self) -> Place:
        return self.world.there  # type: ignore[return-value]

    def standing(self) -> dict[str, Any]:
        """Of every workflow of production: its id, what runs by n8n's own version id, whether it is published."""
        return {n: (r["id"], r["active"], r.get("activeVersionId")) for n, r in self.production.all().items()}

    def approved(self) -> Promotion:
        self.world.capture(self.world.production)
        return self.world.approved(*self.keys, active="copy", require_approval=True)

    def judged(self, kind: str, done: Promotion) -> str:
        """How it ended, by the row and by what n8n runs; fails where the two say different things."""
        result = done.execution_result or {}
        undone = result.get("rollback_result")
        if done.status == "COMPLETED":
            assert self.runs("two", fresh=True), "it says that all is promoted"
            ending = "whole"
        elif done.status == "FAILED" and (not undone or undone["status"] == "success"):
            assert self.standing() == self.before, "it says that all is as before"
            assert self.runs("one", fresh=False)
            ending = "restored" if undone else "refused before a write"
        else:
            assert result.get("needs_attention"), (done.status, result)
            ending = "in between, and loud"
        self.table[kind, ending] = self.table.get((kind, ending), 0) + 1
        return ending

    def runs(self, text: str, *, fresh: bool) -> bool:
        """Whether production, when it is called, answers from this version throughout: by n8n's own executions."""
        site, wanted = self.production, (200, {"from": text})
        assert site.answers("front", wanted), site.call("front")
        assert (site.said("Inner"), site.said("Tool")) == (text, f"tool {text}")
        for name in CHANGED:
            assert site.answers(path_of(name), wanted), name
        for name in FRESH:
            assert site.answers(path_of(name), wanted) if fresh else site.call(path_of(name))[0] == 404, name
        return True

    def put_back(self, ending: str, done: Promotion) -> None:
        """Production as it was, for the next case."""
        if ending == "whole":
            operation = services.rollback(
                tenant_id=self.world.tenant_id, promotion_id=done.pk, by=self.world.cast.operator, reason="The next."
            )
            assert self.world.drive(operation) == "COMPLETED", self.world.failure(operation.pk)
        assert self.standing() == self.before


def path_of(name: str) -> str:
    return name.lower().replace(" ", "-")


def small(name: str, text: str) -> dict[str, Any]:
    return flow(name, hook(path_of(name)), says(text))


@pytest.fixture(autouse=True)
def _own_folders() -> None:
    """The stage has one Git root for all of its cases."""


@pytest.fixture(scope="module")
def stage(
    pair: tuple[Site, Site],
    django_db_setup: None,
    django_db_blocker: Any,
    tmp_path_factory: pytest.TempPathFactory,
    _flush_as_owner: None,
) -> Iterator[Stage]:
    from operations import tasks

    patch = pytest.MonkeyPatch()
    with django_db_blocker.unblock():
        call_command("flush", verbosity=0, interactive=False)
        patch.setattr(django_settings, "GIT_ROOT", tmp_path_factory.mktemp("faults"))
        patch.setattr(tasks.drive, "apply_async", lambda *args, **kwargs: None)
        patch.setattr(material, "blocking_incidents", lambda **_: [])
        try:
            made = _staged(pair)
            patch.setattr(n8n_http.Http, "_exchange", made.breaking.exchange)
            yield made
            _write_table(made)
        finally:
            patch.undo()
            call_command("flush", verbosity=0, interactive=False)


def _staged(pair: tuple[Site, Site]) -> Stage:
    here, there = (Place(site.instance) for site in pair)
    world = make_world(make_cast(), here, there)
    for site in (here, there):
        site.make_credentials([("openAiApi", "Model account")], {"openAiApi": site.empty_credential("openAiApi")})
    ids = here.make_chain("one")
    changed = {name: here.make(small(name, "one"), published=True) for name in CHANGED}
    world.capture()
    names = [*chain("", {}), *CHANGED]
    first = world.carry_out(world.approved(*(world.key(name) for name in names), active="copy"))
    assert first.status == "COMPLETED", first.execution_result
    here.change_chain(ids, "two")
    for name, ident in changed.items():
        here.put(ident, small(name, "two"))
    for name in FRESH:
        here.make(small(name, "two"), published=True)
    world.capture()
    made = Stage(world, Breaking(there.instance.base_url), tuple(world.key(n) for n in (*names, *FRESH)))
    made.before = made.standing()
    assert made.runs("one", fresh=False)
    return made


def _write_table(stage: Stage) -> None:
    if target := os.environ.get("OPSCONSOLE_FAULTS_TABLE"):
        rows = [{"kind": kind, "ending": ending, "cases": n} for (kind, ending), n in sorted(stage.table.items())]
        with Path(target).open("a") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def calls(stage: Stage) -> list[str]:
    """The method of each call that a promotion makes where nothing breaks; beside each other, so nearly in order."""
    stage.breaking.begin(0, "")
    done = stage.world.carry_out(stage.approved())
    made = list(stage.breaking.calls)
    stage.put_back(stage.judged("nothing broken", done), done)
    return made


def test_these_are_all_the_calls(calls: list[str]) -> None:
    assert 50 < len(calls) <= CALLS, len(calls)


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_call_that_breaks(stage: Stage, calls: list[str], number: int, kind: str) -> None:
    """Each write in each of the ways. Of the reads by ``=1`` each in one of them, taken in turn."""
    if number > len(calls):
        pytest.skip("the promotion makes no more calls")
    if ASKED != "all" and calls[number - 1] in READS and WAYS[number % len(WAYS)] != kind:
        pytest.skip("a read, broken in another way")
    promotion = stage.approved()
    stage.breaking.begin(number, kind)
    stage.world.drive(stage.world.start(promotion))
    broke = stage.breaking.broke
    stage.breaking.begin(0, "")
    done = stage.world.fresh(promotion)
    ending = stage.judged(kind if broke else "nothing broken", done)
    print(number, kind, broke, ending, flush=True)
    stage.put_back(ending, done)


@pytest.fixture(scope="module")
def boundaries(stage: Stage) -> list[str]:
    """All that a promotion passes, in order."""
    found: list[str] = []
    boundary_observers.append(found.append)
    try:
        done = stage.world.carry_out(stage.approved())
    finally:
        boundary_observers.remove(found.append)
    stage.put_back("whole", done)
    ours = [name for name in dict.fromkeys(found) if name.startswith(("promotion:", "promote:", "pre:", "post:"))]
    # Between a result and the next intent n8n is asked nothing: killed there or later is the same to it.
    return [name for name in ours if name.endswith(("after-intent", "after-effect", "effect-answered"))]


@pytest.mark.parametrize("number", range(KILLS))
def test_n8n_killed_at_a_boundary(stage: Stage, boundaries: list[str], number: int) -> None:
    """Kill -9 of production's n8n; it is started again on its data, and the work goes on."""
    assert len(boundaries) <= KILLS, len(boundaries)
    if number >= len(boundaries):
        pytest.skip("there are no more boundaries")
    instance, waiting = stage.production.instance, [boundaries[number]]

    def kill(name: str) -> None:
        if name in waiting:
            waiting.remove(name)
            instance.kill()

    promotion = stage.approved()
    operation = stage.world.start(promotion)
    boundary_observers.append(kill)
    try:
        stage.world.drive(operation, tries=1)
    finally:
        boundary_observers.remove(kill)
    assert not waiting, boundaries[number]
    instance.restart()
    stage.world.drive(operation, tries=20, patient=True)
    done = stage.world.fresh(promotion)
    ending = stage.judged("n8n killed", done)
    print(boundaries[number], ending, flush=True)
    stage.put_back(ending, done)
