"""Promote, fail, roll back and restore on a real n8n, judged by what it runs."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from operations.models import OperationStep
from promotions import services
from promotions.models import Promotion
from sandbox.live import NEWEST
from snapshots.models import Snapshot
from snapshots.restore import start_restore
from tenants.scope import tenant_scope
from tests.live.world import LiveWorld, called, calls, flow, hook, says
from workflows.n8n import http as n8n_http

pytestmark = [pytest.mark.live_n8n, pytest.mark.timeout(900)]


def chain(world: LiveWorld, text: str, *, at: str) -> dict[str, str]:
    """Webhook → sub-workflow → sub-workflow with an error workflow, all published; ids by name."""
    site = getattr(world, at)
    older = site is not None and not _publishes_callees(world)
    trouble = site.make(flow("Trouble", {**called(), "type": "n8n-nodes-base.errorTrigger", "typeVersion": 1}))
    inner = site.make(flow("Inner", called(), says(text)))
    outer = site.make(flow("Outer", called(), calls(inner)))
    if not older:
        for ident in (trouble, inner, outer):
            site.publish(ident)
    front = site.make(flow("Front", hook("front"), calls(outer), errorWorkflow=trouble), published=True)
    return {"Trouble": trouble, "Inner": inner, "Outer": outer, "Front": front}


def _publishes_callees(world: LiveWorld) -> bool:
    return world.here.instance.version != "1.123.0"


def promote(world: LiveWorld, *names: str, **options: Any) -> Promotion:
    world.capture()
    return world.carry_out(world.approved(*(world.key(name) for name in names), **options))


def versions(world: LiveWorld) -> dict[str, tuple[Any, ...]]:
    """Of every workflow of production: what runs by n8n's own version id, and whether it is published or archived."""
    return {
        name: (raw["active"], raw.get("activeVersionId"), raw.get("isArchived"))
        for name, raw in world.there.all().items()
    }


def test_a_chain_goes_to_production_and_its_webhook_answers(world: LiveWorld) -> None:
    chain(world, "one", at="here")
    done = promote(world, "Front", active="copy")
    assert done.status == "COMPLETED", done.execution_result
    assert world.there.answers("front", (200, {"from": "one"}))
    verification = done.execution_result["verification"]
    front = next(row for row in verification["workflows"] if row["name"] == "Front")
    assert front["listening"] == {"POST front": "listening"}

    inner = world.here.all()["Inner"]["id"]
    world.here.put(inner, flow("Inner", called(), says("two")))
    done = promote(world, "Inner")
    assert done.status == "COMPLETED", done.execution_result
    assert world.there.answers("front", (200, {"from": "two"}))
    assert world.there.all()["Inner"]["active"] is _publishes_callees(world)


def test_a_rollback_deletes_what_was_created_and_the_former_version_answers(world: LiveWorld) -> None:
    chain(world, "one", at="here")
    first = promote(world, "Front", active="copy")
    assert world.there.answers("front", (200, {"from": "one"}))
    before = versions(world)
    inner = world.here.all()["Inner"]["id"]
    world.here.put(inner, flow("Inner", called(), says("two"), executionTimeout=30))
    second = promote(world, "Inner")
    assert world.there.answers("front", (200, {"from": "two"}))

    rolled_back(world, second)
    assert world.there.answers("front", (200, {"from": "one"}))
    if world.here.instance.version == NEWEST:
        assert versions(world) == before, "the very versions that ran before run again"
    rolled_back(world, first)
    assert world.there.all() == {}
    assert world.there.call("front")[0] == 404


def rolled_back(world: LiveWorld, promotion: Promotion) -> None:
    operation = services.rollback(
        tenant_id=world.tenant_id, promotion_id=promotion.pk, by=world.cast.operator, reason="It was wrong."
    )
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    assert world.fresh(promotion).status == "ROLLED_BACK"


@pytest.mark.newest_n8n
def test_what_others_have_come_to_call_outlives_a_rollback(world: LiveWorld) -> None:
    inner = world.there.make(flow("Inner", called(), says("old")))
    world.here.publish(world.here.make(flow("Inner", called(), says("new"))))
    done = promote(world, "Inner", active="copy")
    assert done.status == "COMPLETED", done.execution_result
    world.there.make(flow("Later", hook("later"), calls(inner)), published=True)
    assert world.there.answers("later", (200, {"from": "new"}))
    rolled_back(world, done)
    assert world.there.answers("later", (200, {"from": "old"}))
    proof = (world.fresh(done).execution_result or {})["manual_rollback"]["proof"]
    assert [(row["name"], row["called_by"]) for row in proof["kept_published"]] == [("Inner", ["Later"])]


@pytest.mark.newest_n8n
@pytest.mark.parametrize("answered", [True, False], ids=["answer lost", "never sent"])
def test_a_failure_at_every_write_leaves_production_as_it_ran(
    world: LiveWorld, monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """The k-th write to production breaks, for every k: production runs what ran, by version and by what it answers."""
    chain(world, "one", at="here")
    promote(world, "Front", active="copy")
    assert world.there.answers("front", (200, {"from": "one"}))
    ids = {name: raw["id"] for name, raw in world.here.all().items()}
    world.here.put(ids["Inner"], flow("Inner", called(), says("two"), executionTimeout=30))
    world.here.put(ids["Outer"], flow("Outer", called(), says("by the way", "Aside"), calls(ids["Inner"])))
    world.here.make(flow("Fresh", hook("fresh"), calls(ids["Outer"])), published=True)
    before = versions(world)
    breaking = Breaking(world.there.instance.base_url, answered=answered)
    monkeypatch.setattr(n8n_http.Http, "_exchange", breaking.exchange)
    for number in range(1, 40):
        breaking.begin(number)
        done = promote(world, "Inner", "Outer", "Fresh", active="copy")
        breaking.stop()
        if not breaking.broke:
            break
        if done.status == "COMPLETED":  # what broke was looked at, and had been done or could be done again
            assert world.there.answers("fresh", (200, {"from": "two"}))
            rolled_back(world, done)
        else:
            assert done.status == "FAILED", (number, done.status)
            assert done.execution_result["rollback_result"]["status"] == "success", (number, done.execution_result)
        assert versions(world) == before, number
        assert world.there.answers("front", (200, {"from": "one"})), number
        assert world.there.call("fresh")[0] == 404, number
    assert number > 5, ("every write was broken once", done.status, done.execution_result)
    assert done.status == "COMPLETED"


class Breaking:
    """Breaks one write to one n8n: before it is sent, or after it was carried out."""

    def __init__(self, base_url: str, *, answered: bool) -> None:
        self.port, self.after = httpx.URL(base_url).port, answered
        self.number = self.count = 0
        self.broke = False
        self.real = n8n_http.Http._exchange

    def begin(self, number: int) -> None:
        self.number, self.count, self.broke = number, 0, False

    def stop(self) -> None:
        self.number = 0

    @property
    def exchange(self) -> Any:
        breaking = self

        def exchange(http: Any, request: httpx.Request, until: float) -> Any:
            if request.url.port != breaking.port or request.method in ("GET", "OPTIONS"):
                return breaking.real(http, request, until)
            breaking.count += 1
            if breaking.count != breaking.number:
                return breaking.real(http, request, until)
            breaking.broke = True
            if breaking.after:
                breaking.real(http, request, until)
            raise httpx.ReadError("broken by the test", request=request)

        return exchange


@pytest.mark.newest_n8n
def test_a_restore_gives_back_what_ran_the_draft_and_the_archived(world: LiveWorld) -> None:
    site = world.there
    drafted = site.make(flow("Drafted", hook("drafted"), says("live")), published=True)
    resting = site.make(flow("Resting", hook("resting"), says("resting")))
    kept = site.make(flow("Kept", hook("kept"), says("kept")), published=True)
    site.api("POST", f"/workflows/{resting}/archive")
    site.draft(drafted, "unfinished")
    world.capture(world.production)
    snapshot = last_snapshot(world)
    assert site.text(drafted) == ("unfinished", "live")

    site.put(drafted, flow("Drafted", hook("drafted"), says("broken")))
    site.api("POST", f"/workflows/{resting}/unarchive")
    site.api("POST", f"/workflows/{kept}/archive")
    operation = start_restore(
        tenant_id=world.tenant_id, environment_id=world.production.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    with tenant_scope(world.tenant_id):
        operation.refresh_from_db()
    assert operation.result["proof"] == {"equal": True, "compared": 3, "differing": [], "left": []}
    assert site.text(drafted) == ("unfinished", "live")
    assert site.answers("drafted", (200, {"from": "live"}))
    now = site.all()
    assert (now["Resting"]["isArchived"], now["Resting"]["active"]) == (True, False)
    assert (now["Kept"]["isArchived"], now["Kept"]["active"]) == (False, True)
    assert site.answers("kept", (200, {"from": "kept"}))


@pytest.mark.newest_n8n
def test_the_published_version_is_promoted_and_a_draft_only_where_it_is_chosen(world: LiveWorld) -> None:
    ident = world.here.make(flow("Front", hook("front"), says("live")), published=True)
    world.here.draft(ident, "draft")
    done = promote(world, "Front", active="copy")
    assert world.there.answers("front", (200, {"from": "live"}))
    assert [w["code"] for w in done.plan["items"][0]["warnings"]].count("source_draft") == 1
    done = promote(world, "Front", version="draft")
    assert done.status == "COMPLETED", done.execution_result
    assert world.there.answers("front", (200, {"from": "draft"}))
    history = world.there.api("GET", f"/workflows/{world.there.all()['Front']['id']}/history").json()["data"]
    assert any(version["name"] == done.name for version in history), "n8n's own history carries the promotion's name"


@pytest.mark.newest_n8n
def test_a_draft_in_production_outlives_a_promotion_that_failed(world: LiveWorld, monkeypatch: Any) -> None:
    ident = world.here.make(flow("Front", hook("front"), says("old")), published=True)
    promote(world, "Front", active="copy")
    there = world.there.all()["Front"]["id"]
    world.there.draft(there, "somebody's work")
    world.here.put(ident, flow("Front", hook("front"), says("new")))
    before = versions(world)
    breaking = Breaking(world.there.instance.base_url, answered=False)
    monkeypatch.setattr(n8n_http.Http, "_exchange", breaking.exchange)
    breaking.begin(2)
    done = promote(world, "Front")
    breaking.stop()
    if done.status == "COMPLETED":
        rolled_back(world, done)
    else:
        assert done.execution_result["rollback_result"]["status"] == "success", done.execution_result
    assert versions(world) == before
    assert world.there.text(there) == ("somebody's work", "old")


def test_cursors_of_pollers_never_go_back(world: LiveWorld) -> None:
    site = world.there

    def feed(url: str, seen: str) -> dict[str, Any]:
        node = {
            "id": "feed",
            "name": "Feed",
            "type": "n8n-nodes-base.rssFeedReadTrigger",
            "typeVersion": 1,
            "position": [0, 0],
            "parameters": {"pollTimes": {"item": [{"mode": "everyHour"}]}, "feedUrl": url},
        }
        return {**flow("Feed", node, says("x")), "staticData": {"node:Feed": {"lastItemDate": seen}}}

    ident = site.make(feed("https://feed.invalid/a", "2026-01-01T00:00:00Z"))
    world.capture(world.production)
    snapshot = last_snapshot(world)
    site.put(ident, feed("https://feed.invalid/b", "2026-06-01T00:00:00Z"))
    operation = start_restore(
        tenant_id=world.tenant_id, environment_id=world.production.pk, snapshot_id=snapshot.pk, requested_by=None
    )
    assert world.drive(operation) == "COMPLETED", world.failure(operation.pk)
    now = site.get(ident)
    assert now["nodes"][0]["parameters"]["feedUrl"] == "https://feed.invalid/a"
    assert now["staticData"]["node:Feed"]["lastItemDate"] == "2026-06-01T00:00:00Z"


def last_snapshot(world: LiveWorld) -> Snapshot:
    with tenant_scope(world.tenant_id):
        return Snapshot.objects.filter(environment=world.production).latest("created_at")


@pytest.mark.newest_n8n
def test_an_n8n_killed_while_it_publishes_keeps_nothing_of_a_failed_promotion(
    world: LiveWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 amid 40 publishings, then a start on the same data: all of it, or nothing of it."""
    for number in range(40):
        world.here.make(flow(f"Many {number:02}", hook(f"many-{number}"), says("x")), published=True)
    world.capture()
    chosen = world.approved(*(world.key(f"Many {number:02}") for number in range(40)), active="copy")
    killing = Killing(world.there.instance, after=15)
    monkeypatch.setattr(n8n_http.Http, "_exchange", killing.exchange)
    operation = world.start(chosen)
    world.drive(operation, tries=1)
    assert killing.done, "it was killed in the middle"
    world.there.instance.restart()
    world.drive(operation, tries=20, patient=True)
    done = world.fresh(chosen)
    assert done.status in ("COMPLETED", "FAILED"), done.status
    if done.status == "COMPLETED":
        assert sorted(raw["active"] for raw in world.there.all().values()) == [True] * 40
        assert all(world.there.answers(f"many-{number}", (200, {"from": "x"})) for number in range(40))
    else:
        outcome = done.execution_result["rollback_result"]
        assert outcome["status"] == "success", (outcome["proof"], failures_of(world, operation))
        assert world.there.all() == {}


def failures_of(world: LiveWorld, operation: Any) -> list[tuple[str, Any]]:
    """The steps of a job that failed, and n8n's words."""
    with tenant_scope(world.tenant_id):
        rows = OperationStep.objects.filter(operation_id=operation.pk).exclude(error=None)
        failed = OperationStep.objects.filter(operation_id=operation.pk, result__outcome="failed")
        return [(row.name, row.error) for row in rows] + [(row.name, row.result) for row in failed]


class Killing:
    """Kills one n8n at the k-th publishing."""

    def __init__(self, instance: Any, *, after: int) -> None:
        self.instance, self.after, self.count, self.done = instance, after, 0, False
        self.port = httpx.URL(instance.base_url).port
        self.real = n8n_http.Http._exchange

    @property
    def exchange(self) -> Any:
        killing = self

        def exchange(http: Any, request: httpx.Request, until: float) -> Any:
            if request.url.port == killing.port and request.url.path.endswith("/publish"):
                killing.count += 1
                if killing.count == killing.after:
                    killing.instance.kill()
                    killing.done = True
            return killing.real(http, request, until)

        return exchange
