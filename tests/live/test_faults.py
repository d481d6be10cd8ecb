"""Every call that a promotion makes to production broken once, in every way; n8n killed at every boundary, on the
way forward and back; n8n away, its key revoked or its connection cut for long while half is done.

Hours of work, so only on request: ``OPSCONSOLE_FAULTS=1`` breaks each call once, ``=all`` in each of the ways.
Each case ends in one of three ways, judged by what n8n runs when it is called: wholly promoted, wholly as before, or
left in between with a loud result. ``OPSCONSOLE_FAULTS_TABLE=<file>`` collects the endings.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.core import mail
from django.core.management import call_command

from conftest import make_cast
from core import crypto
from operations import engine
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions import services
from promotions.errors import TargetHeld
from promotions.models import Promotion
from promotions.planning import drift_incidents
from promotions.running import attention_mail
from sandbox.live import make_api_key
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.n8n import http as n8n_http

from .estate import Place, chain
from .world import LiveWorld, Site, flow, hook, make_world, pause, says

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
#: Looks, for some 160 s: a publication under way when n8n was killed is taken up again when its lease of 2 min is over.
PATIENCE, LEASE, LAG_SHOWN = 660, 160.0, 10.0
CHANGED, FRESH = ("Changed 1", "Changed 2", "Changed 3"), ("Fresh 1", "Fresh 2", "Fresh 3")


JSON_HEADERS = httpx.Headers({"content-type": "application/json", "retry-after": "0"})
#: How n8n's history names what is published on a way back.
BEFORE = b'"name":"Before '


class Breaking:
    """Breaks one call to one n8n."""

    def __init__(self, base_url: str) -> None:
        self.port = httpx.URL(base_url).port
        self.real = n8n_http.Http._exchange
        self.kind, self.number, self.broke = "", 0, ""
        self.calls: list[str] = []
        self.refused, self.away_until = "", 0.0

    def begin(self, number: int, kind: str) -> None:
        self.kind, self.number, self.calls, self.broke = kind, number, [], ""

    @property
    def exchange(self) -> Callable[..., Any]:
        breaking = self

        def exchange(http: Any, request: httpx.Request, until: float) -> Any:
            if request.url.port == breaking.port:
                if time.monotonic() < breaking.away_until:
                    raise httpx.ReadError("the connection is cut by the test", request=request)
                if breaking.is_refused(request):
                    return n8n_http.Answer(400, JSON_HEADERS, b'{"message": "refused by the test"}')
                breaking.calls.append(request.method)
                if len(breaking.calls) == breaking.number:
                    return breaking.breaks(http, request, until)
            return breaking.real(http, request, until)

        return exchange

    def is_refused(self, request: httpx.Request) -> bool:
        """Whether it is the publishing of the new version of the workflow that is not to be published."""
        is_it = bool(self.refused) and request.url.path.endswith(f"/{self.refused}/publish")
        return is_it and BEFORE not in request.content

    def breaks(self, http: Any, request: httpx.Request, until: float) -> Any:
        self.broke = f"{request.method} {request.url.path}"
        if self.kind.endswith("after") and request.method not in READS:
            self.real(http, request, until)
        how = self.kind.removesuffix(" after")
        if how == "cut":
            raise httpx.ReadError("broken by the test", request=request)
        if how == "timeout":
            raise httpx.ReadTimeout("broken by the test", request=request)
        return n8n_http.Answer(int(how), JSON_HEADERS, b'{"message": "broken by the test"}')


@dataclass
class Stage:
    """Staging and production, which runs the first version; promoting brings the second."""

    world: LiveWorld
    breaking: Breaking
    keys: tuple[str, ...]
    before: dict[str, Any] = field(default_factory=dict)
    other: Promotion | None = None
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
        if result.get("needs_attention"):
            self.shouts(done)
            ending = "in between, and loud"
        elif done.status == "COMPLETED":
            assert self.runs("two", fresh=True), "it says that all is promoted"
            ending = "whole"
        elif done.status == "FAILED" and (not undone or undone["status"] == "success"):
            assert self.standing() == self.before, "it says that all is as before"
            assert self.runs("one", fresh=False)
            ending = "restored" if undone else "refused before a write"
        else:
            assert done.status == "ROLLED_BACK", (done.status, result)
            assert self.standing() == self.before, "it says that all is as before"
            assert self.runs("one", fresh=False)
            ending = "restored"
        self.table[kind, ending] = self.table.get((kind, ending), 0) + 1
        return ending

    def shouts(self, done: Promotion) -> None:
        """It says that it needs a person, they are told by mail, and nothing else is promoted into its target."""
        result = done.execution_result or {}
        assert done.status == "FAILED" and done.attention_since, (done.status, result)
        sent = len(mail.outbox)
        attention_mail.notify_all()
        assert len(mail.outbox) == sent + 1
        assert mail.outbox[-1].subject.startswith("[OpsConsole] Production is half-way")
        assert self.other is not None
        with pytest.raises(TargetHeld):
            self.world.start(self.other)

    def roll_back(self, done: Promotion, **options: Any) -> Operation:
        return services.rollback(
            tenant_id=self.world.tenant_id, promotion_id=done.pk, by=self.world.cast.operator, reason="Back.", **options
        )

    def drive_as_workers_do(self, operation: Operation, *, seconds: float = 400) -> str:
        """Attempt after attempt, each when its pause is over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = engine.drive(operation_id=operation.pk, tenant_id=self.world.tenant_id)
            if found not in (None, "RETRY_PENDING"):
                return str(found)
            pause(0.5)
        raise AssertionError("it does not end")

    def comes_to_say(self, text: str) -> bool:
        """Whether what is called inside, looked up in n8n's executions, comes to be of this version."""
        until = time.monotonic() + LEASE
        while time.monotonic() < until:
            self.production.call("front")
            if (self.production.said("Inner"), self.production.said("Tool")) == (text, f"tool {text}"):
                return True
            pause(1.0)
        return False

    def runs(self, text: str, *, fresh: bool) -> bool:
        """Whether production, when it is called, answers from this version throughout: by n8n's own executions."""
        site, wanted = self.production, (200, {"from": text})
        began = time.monotonic()
        assert site.answers("front", wanted, tries=PATIENCE), site.call("front")
        assert self.comes_to_say(text), (site.said("Inner"), site.said("Tool"))
        for name in CHANGED:
            assert site.answers(path_of(name), wanted, tries=PATIENCE), (name, site.call(path_of(name)))
        if (lag := time.monotonic() - began) > LAG_SHOWN:
            print(f"n8n ran what it said after {lag:.0f} s", flush=True)
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
        patch.setattr(drift_incidents, "blocking_incidents", lambda **_: [])
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


# -- on the way back, and where there is none -------------------------------------------------------------------------


@contextlib.contextmanager
def at(wanted: Callable[[str], bool], act: Callable[[], None]) -> Iterator[list[str]]:
    """Do something at the first boundary that is wanted; the names of all that were passed."""
    passed: list[str] = []
    waiting = [act]

    def observe(name: str) -> None:
        passed.append(name)
        if waiting and wanted(name):
            waiting.pop()()

    boundary_observers.append(observe)
    try:
        yield passed
    finally:
        boundary_observers.remove(observe)


def nothing() -> None:
    """Only look."""


def nth(prefix: str, number: int) -> Callable[[str], bool]:
    """Whether a boundary is right after the n-th answer to writes whose names begin so, counted as they come."""
    seen: list[str] = []

    def wanted(name: str) -> bool:
        if name.startswith(prefix) and name.endswith("effect-answered"):
            seen.append(name)
        return len(seen) >= number

    return wanted


@dataclass
class Back:
    """A way back on the stage: by itself, after the last publishing was refused; or a rollback by a person."""

    stage: Stage
    prefix: str

    def begun(self) -> tuple[Promotion, Operation]:
        if self.prefix == "undo":
            promotion = self.stage.approved()
            self.stage.breaking.refused = self.stage.before["Front"][0]
            return promotion, self.stage.world.start(promotion)
        promotion = self.stage.world.carry_out(self.stage.approved())
        assert promotion.status == "COMPLETED", promotion.execution_result
        return promotion, self.stage.roll_back(promotion)

    def ended(self, kind: str, promotion: Promotion) -> str:
        self.stage.breaking.refused = ""
        return self.stage.judged(f"{kind} ({self.prefix})", self.stage.world.fresh(promotion))


@pytest.fixture(scope="module", params=["undo", "rollback"])
def back(stage: Stage, request: pytest.FixtureRequest) -> Back:
    return Back(stage, request.param)


@pytest.fixture(scope="module")
def boundaries_back(back: Back) -> list[str]:
    """All at which n8n may have been asked something of which nothing is on record."""
    promotion, operation = back.begun()
    with at(lambda _name: False, nothing) as passed:
        back.stage.world.drive(operation)
    assert back.ended("nothing broken", promotion) == "restored"
    ours = [name for name in dict.fromkeys(passed) if name.startswith(f"{back.prefix}:")]
    return [name for name in ours if name.endswith(("after-intent", "after-effect", "effect-answered"))]


@pytest.mark.parametrize("number", range(KILLS))
def test_n8n_killed_on_the_way_back(back: Back, boundaries_back: list[str], number: int) -> None:
    if number >= len(boundaries_back):
        pytest.skip("there are no more boundaries")
    world, instance, wanted = back.stage.world, back.stage.production.instance, boundaries_back[number]
    promotion, operation = back.begun()
    with at(lambda name: name == wanted, instance.kill) as passed:
        world.drive(operation, tries=1)
    assert wanted in passed
    instance.restart()
    world.drive(operation, tries=20, patient=True)
    ending = back.ended("n8n killed on the way back", promotion)
    print(wanted, ending, flush=True)
    # A rollback that cannot even look has written nothing: all that was promoted still runs, and it says so.
    assert ending == ("whole" if wanted.startswith("rollback:look") and ending == "whole" else "restored")
    back.stage.put_back(ending, back.stage.world.fresh(promotion))


def revoke(site: Site) -> None:
    """Its owner deletes every API key."""
    with site.instance.owner_login() as editor:
        for key in editor.get("/api-keys").json()["data"]["items"]:
            assert editor.delete(f"/api-keys/{key['id']}").is_success


def renew(stage: Stage) -> None:
    """The owner makes a new key, and somebody enters it."""
    with stage.production.instance.owner_login() as editor:
        stage.production.instance.api_key = make_api_key(editor)
    with tenant_scope(stage.world.tenant_id):
        key = crypto.encrypt(stage.production.instance.api_key)
        Environment.objects.filter(pk=stage.world.production.pk).update(api_key_encrypted=key)


#: What goes for good, and what brings it back.
GONE: dict[str, tuple[Callable[[Stage], None], Callable[[Stage], None]]] = {
    "n8n is killed": (lambda stage: stage.production.instance.kill(), lambda s: s.production.instance.restart()),
    "the key is revoked": (lambda stage: revoke(stage.production), renew),
}


@pytest.mark.parametrize("what", GONE)
@pytest.mark.parametrize("where", ["promote:activate:", "undo:activate:", "rollback:activate:"])
def test_n8n_that_stays_away_half_way(stage: Stage, where: str, what: str) -> None:
    """Frozen and shouting until n8n is back and a person asks for the way back."""
    goes, comes = GONE[what]
    stage.other = stage.approved()
    back = Back(stage, "rollback" if where.startswith("rollback") else "undo")
    promotion, operation = back.begun()
    with at(nth(where, 4), lambda: goes(stage)):
        assert stage.world.drive(operation) == "FAILED"
    ending = back.ended(f"{what}, and stays so at {where}", promotion)
    assert ending == "in between, and loud"
    comes(stage)
    texts = {name: stage.production.call(path_of(name)) for name in (*CHANGED, *FRESH)}
    print(where, what, ending, texts, flush=True)
    assert stage.standing() != stage.before, "it is half-way indeed"
    forced = stage.roll_back(promotion, force=True)
    assert stage.world.drive(forced) == "COMPLETED", stage.world.failure(forced.pk)
    assert stage.judged(f"{what}: rolled back afterwards", stage.world.fresh(promotion)) == "restored"


@pytest.mark.parametrize("seconds", [30, 60])
@pytest.mark.parametrize("where", ["promote:write:", "promote:activate:", "undo:activate:", "rollback:activate:"])
def test_a_connection_that_is_cut_for_long(stage: Stage, where: str, seconds: int) -> None:
    """Whatever is under way is lost, and so is each call for so long."""
    back = Back(stage, "rollback" if where.startswith("rollback") else "undo")
    promotion, operation = back.begun()
    if where.startswith("promote"):
        stage.breaking.refused = ""

    def cut() -> None:
        stage.breaking.away_until = time.monotonic() + seconds

    with at(nth(where, 4), cut):
        stage.drive_as_workers_do(operation)
    ending = back.ended(f"cut for {seconds} s", promotion)
    print(where, seconds, ending, flush=True)
    assert ending in ("whole", "restored")
    stage.put_back(ending, stage.world.fresh(promotion))
