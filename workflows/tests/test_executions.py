"""Executions are read from n8n, all of them, once, whatever happens meanwhile; and counted truthfully."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from core import clock, crypto
from core.errors import OpsError
from operations import engine
from sandbox.testing import SandboxInstance, SandboxServer
from tenants.scope import tenant_scope
from tests.reading import flat
from workflows import tasks
from workflows.executions import collecting, counting, selectors, services, storing
from workflows.executions.reading import rows_of, run_of
from workflows.models import Environment, Execution, ExecutionFeed, LiveSpan, WorkflowEnvMap
from workflows.n8n import N8nClient

from .test_identity import capture, raw

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def ago(**span: float) -> str:
    """A moment before now, as n8n writes it."""
    return (clock.now() - timedelta(**span)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# -- one row ----------------------------------------------------------------------------------------------------------


def test_a_row_is_read_in_every_shape_that_n8n_gives_it() -> None:
    row = {
        "id": "7",
        "finished": False,
        "mode": "retry",
        "retryOf": "5",
        "status": "error",
        "startedAt": "2026-11-28T10:00:00.000Z",
        "stoppedAt": "2026-11-28T10:00:01.500Z",
        "workflowId": "w1",
        "data": {"never": "read"},
    }
    run = run_of(row, now=NOW)
    assert run is not None
    assert (run.number, run.status, run.duration_ms, run.retry_of, run.workflow_id) == (7, "error", 1500, 5, "w1")
    assert run_of({**row, "id": 7}, now=NOW) == run
    queued = run_of({**row, "status": "new", "startedAt": None, "stoppedAt": None}, now=NOW)
    assert queued is not None and (queued.started_at, queued.ended_at) == (None, None)
    waiting = run_of({**row, "status": "waiting"}, now=NOW)
    assert waiting is not None and waiting.ended_at is None, "its present run has stopped, the execution has not"


@pytest.mark.parametrize("ident", [None, "", "x1", -3, 0, 2**63, "9" * 30, 1.5, True, ["1"], {"id": 1}, "٣"])
def test_a_row_without_a_usable_number_is_left_out_and_counted(ident: Any) -> None:
    found = rows_of([{"id": ident, "status": "success"}, {"id": 3, "status": "success"}], at_most=250, now=NOW)
    assert [run.number for run in found.runs] == [3]
    assert "1 of n8n's rows" in found.odd[0]


@pytest.mark.parametrize(
    "moment", ["9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z", "yesterday", 12345, "2" * 500, "2027-01-01T00:00:00Z"]
)
def test_absurd_times_are_not_believed(moment: Any) -> None:
    run = run_of({"id": 1, "status": "success", "startedAt": moment, "stoppedAt": moment}, now=NOW)
    assert run is not None and (run.started_at, run.ended_at, run.duration_ms) == (None, None, None)


def test_absurd_words_become_unknown() -> None:
    run = run_of({"id": 1, "status": "<b>\x00", "mode": "x" * 99, "workflowId": "../../etc"}, now=NOW)
    assert run is not None and (run.status, run.mode, run.workflow_id) == ("unknown", "", "")


def test_a_million_rows_are_cut_at_what_was_asked_for() -> None:
    def endless() -> Iterator[dict[str, Any]]:
        for number in range(1_000_000):
            assert number <= 250, "read on after the limit"
            yield {"id": 2_000_000 - number, "status": "success"}

    found = rows_of(endless(), at_most=250, now=NOW)
    assert len(found.runs) == 250 and "more than the 250" in found.odd[0]


# -- against the sandbox ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer() as server:
        yield server


@dataclass
class Place:
    """An environment with its instance."""

    tenant: Any
    environment: Environment
    n8n: SandboxInstance
    ids: list[str] = field(default_factory=list)

    def runs(self, *, workflow: int = 0, **fields: Any) -> None:
        self.n8n.add_executions({"workflow_id": self.ids[workflow], **fields})

    def read(self) -> collecting.Round:
        found = collecting.collect(self.environment)
        assert found is not None
        return found

    def numbers(self, **narrowed: Any) -> list[int]:
        with tenant_scope(self.tenant.pk):
            rows = Execution.objects.filter(environment=self.environment, **narrowed)
            return list(rows.order_by("number").values_list("number", flat=True))

    @property
    def feed(self) -> ExecutionFeed:
        with tenant_scope(self.tenant.pk):
            return ExecutionFeed.objects.get(environment=self.environment)

    def asked(self) -> list[str]:
        """The calls about executions since the last ``clear_calls``."""
        return [call["path"] for call in self.n8n.calls() if "/executions" in call["path"]]


@pytest.fixture
def make_place(live_cast: Any, sandbox_server: SandboxServer) -> Iterator[Callable[..., Place]]:
    made: list[SandboxInstance] = []

    def make(slug: str = "production", *, workflows: int = 2, **options: Any) -> Place:
        instance = sandbox_server.control.create(**options)
        made.append(instance)
        with tenant_scope(live_cast.tenant.pk):
            environment = Environment.objects.create(
                tenant=live_cast.tenant,
                name=slug.title(),
                slug=slug,
                kind="production",
                base_url=instance.base_url,
                api_key_encrypted=crypto.encrypt(instance.api_key),
            )
        ids = [w["id"] for w in instance.seed([raw(f"w{n}", f"Flow {n}") for n in range(workflows)])]
        return Place(live_cast.tenant, environment, instance, ids)

    yield make
    for instance in made:
        instance.delete()


@pytest.fixture
def place(make_place: Callable[..., Place]) -> Place:
    return make_place()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Bounds that a test reaches with a handful of executions."""

    def set_bounds(*, rows: int = 10, pages: int = 3) -> None:
        monkeypatch.setattr(collecting, "PAGE_ROWS", rows)
        monkeypatch.setattr(collecting, "PAGES_AT_MOST", pages)

    return set_bounds


def test_executions_are_read_once_and_then_only_what_is_new(place: Place) -> None:
    place.runs(count=5)
    place.runs(workflow=1, status="error", started=ago(hours=2), stopped=ago(hours=2))
    first = place.read()
    assert (first.new, place.numbers(), first.left, first.odd) == (6, [1, 2, 3, 4, 5, 6], [], [])
    place.n8n.clear_calls()
    again = place.read()
    assert (again.new, again.changed) == (0, 0)
    assert len(place.asked()) <= 2, "nothing new costs a question for the running ones and one page"
    place.runs(count=3)
    assert place.read().new == 3
    with tenant_scope(place.tenant.pk):
        row = Execution.objects.get(number=6)
    assert (row.status, row.env_workflow_id, row.env_execution_id) == ("error", place.ids[1], "6")


def test_one_that_runs_is_looked_at_until_it_ends(place: Place) -> None:
    place.runs(status="running", started=ago(minutes=5))
    place.runs(count=2)
    place.read()
    assert place.numbers(status="running") == [1]
    state = place.n8n.state()
    place.n8n.delete_workflow(place.ids[1])
    assert state["executions"][0]["status"] == "running"
    place.read()
    assert place.numbers(status="running") == [1]


def test_one_that_n8n_deletes_as_it_ends_is_unknown_and_not_running_for_ever(place: Place) -> None:
    place.runs(status="running", started=ago(minutes=5))
    place.read()
    place.n8n.delete_workflow(place.ids[0])
    place.read()
    assert place.numbers(status="running") == [] and place.numbers(status="unknown") == [1]


def test_more_than_a_round_takes_is_said_and_read_later(place: Place, small: Callable[..., None]) -> None:
    small(rows=10, pages=3)
    place.runs(count=95)
    first = place.read()
    assert first.left and place.numbers()[-1] == 95
    with tenant_scope(place.tenant.pk):
        assert selectors.reading(place.environment.pk).gaps == first.left
    place.runs(count=25)
    rounds = 0
    while place.read().left:
        rounds += 1
        assert rounds < 20
    assert place.numbers() == list(range(1, 121)), "nothing is lost, whatever came meanwhile"


def test_gaps_never_become_more_than_a_few(place: Place, small: Callable[..., None]) -> None:
    small(rows=5, pages=1)
    for _ in range(12):
        place.runs(count=12)
        assert len(place.read().left) <= collecting.GAPS_AT_MOST
    small(rows=5, pages=100)
    while place.read().left:
        pass
    assert place.numbers() == list(range(1, 145))


def test_a_reader_that_was_killed_leaves_its_progress(
    place: Place, small: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small(rows=10, pages=50)
    place.runs(count=95)
    taken: list[int] = []
    store = storing.store

    class Killed(BaseException):
        pass

    def dying(**asked: Any) -> Any:
        if len(taken) == 2:
            raise Killed
        taken.append(1)
        return store(**asked)

    monkeypatch.setattr(storing, "store", dying)
    with pytest.raises(Killed):
        place.read()
    monkeypatch.setattr(storing, "store", store)
    kept = place.numbers()
    assert len(kept) == 10 + 40
    assert collecting.collect(place.environment) is None, "its lease still stands"
    with tenant_scope(place.tenant.pk):
        ExecutionFeed.objects.update(leased_until=clock.now())
    place.n8n.clear_calls()
    assert place.read().left == []
    assert place.numbers() == list(range(1, 96))
    assert len(place.asked()) <= 8, "the five pages that were stored are not read again"


def test_who_was_overtaken_writes_nothing_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.runs(count=3)
    ask = N8nClient.executions

    def overtaken(self: N8nClient, **asked: Any) -> Any:
        with tenant_scope(place.tenant.pk):
            ExecutionFeed.objects.update(fence=99)
        return ask(self, **asked)

    monkeypatch.setattr(N8nClient, "executions", overtaken)
    assert collecting.collect(place.environment) is None
    assert place.numbers() == []


def test_one_that_was_hidden_while_it_ran_is_found_afterwards(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """n8n leaves running ones out of its list; one may begin after it was asked for those, and end before the next."""
    place.runs(count=10)
    ask = N8nClient.executions

    def hiding(self: N8nClient, **asked: Any) -> Any:
        rows, cursor = ask(self, **asked)
        return [row for row in rows if row["id"] != "9"], cursor

    monkeypatch.setattr(N8nClient, "executions", hiding)
    place.read()
    assert 9 not in place.numbers()
    monkeypatch.setattr(N8nClient, "executions", ask)
    place.runs(count=400)
    place.read()
    assert place.numbers() == list(range(1, 411))


def test_an_n8n_that_begins_to_count_anew_is_read_anew(place: Place, make_place: Callable[..., Place]) -> None:
    place.runs(count=30)
    place.read()
    other = make_place("other")
    other.runs(count=4)
    with tenant_scope(place.tenant.pk):
        changes = {"base_url": other.n8n.base_url, "api_key_encrypted": crypto.encrypt(other.n8n.api_key)}
        Environment.objects.filter(pk=place.environment.pk).update(**changes)
        place.environment.refresh_from_db()
    place.read()
    other.runs(count=3)
    place.read()
    with tenant_scope(place.tenant.pk):
        rows = Execution.objects.filter(environment=place.environment, env_workflow_id=other.ids[0])
        assert sorted(rows.values_list("number", flat=True)) == [1, 2, 3, 4, 5, 6, 7]


def test_executions_are_kept_for_a_week(place: Place, settings: Any) -> None:
    place.runs(started=ago(days=9), stopped=ago(days=9), count=3)
    place.runs(started=ago(days=6.9), stopped=ago(days=6.9))
    assert place.read().new == 1
    with tenant_scope(place.tenant.pk):
        Execution.objects.update(sorted_at=clock.now() - timedelta(days=7, minutes=1))
    assert place.read().forgotten == 1
    assert place.numbers() == []


def test_the_runbooks_counts_are_true(place: Place) -> None:
    for day in range(3):
        place.runs(started=ago(days=day, minutes=1), stopped=ago(days=day), count=day + 2)
    place.read()
    with tenant_scope(place.tenant.pk), connection.cursor() as cursor:
        cursor.execute(
            "SELECT DATE(started_at) as date, COUNT(*) as execution_count FROM executions"
            " WHERE started_at > NOW() - INTERVAL '7 days' GROUP BY DATE(started_at) ORDER BY date DESC"
        )
        assert [count for _, count in cursor.fetchall()] == [2, 3, 4]


def test_readings_leave_nothing_in_the_trail(place: Place) -> None:
    from audit.models import AuditLog

    place.read()
    with tenant_scope(place.tenant.pk):
        before = AuditLog.objects.count()
    place.runs(count=300)
    place.read()
    with tenant_scope(place.tenant.pk):
        assert AuditLog.objects.count() == before


# -- instances that misbehave -----------------------------------------------------------------------------------------


def answering(pages: Callable[[httpx.Request], Any]) -> N8nClient:
    """A client of an n8n that answers what the test says."""

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("openapi.yml"):
            return httpx.Response(200, text="openapi: 3.0.0\npaths: {/executions: {get: {}}}\n")
        if request.url.params.get("status"):
            return httpx.Response(200, json={"data": [], "nextCursor": None})
        return httpx.Response(200, json=pages(request))

    return N8nClient(
        base_url="https://n8n.example.org", api_key="k", transport=httpx.MockTransport(handle), sleep=lambda _s: None
    )


@pytest.fixture
def hostile(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Place]:
    def set_answers(pages: Callable[[httpx.Request], Any]) -> Place:
        monkeypatch.setattr(collecting, "client_for", lambda _environment, **_limits: answering(pages))
        return place

    return set_answers


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": n, "status": "success", "startedAt": ago(minutes=1), "workflowId": "w"} for n in numbers]


def test_a_cursor_that_repeats_itself_ends(hostile: Callable[..., Place]) -> None:
    place = hostile(lambda _request: {"data": rows(5, 4, 3), "nextCursor": "again"})
    found = place.read()
    assert found.pages < 5 and any("repeats itself" in sentence for sentence in found.odd)
    assert place.feed.trouble and "repeats itself" in place.feed.trouble["message"]
    assert place.numbers() == [3, 4, 5]


def test_a_list_that_rises_ends(hostile: Callable[..., Place]) -> None:
    calls = iter(range(1, 100_000))

    def rising(_request: httpx.Request) -> Any:
        n = next(calls)
        return {"data": rows(n * 10), "nextCursor": f"c{n}"}

    assert hostile(rising).read().pages < 5


def test_empty_pages_for_ever_end(hostile: Callable[..., Place]) -> None:
    calls = iter(range(100_000))
    assert hostile(lambda _request: {"data": [], "nextCursor": f"c{next(calls)}"}).read().pages < 5


def test_garbage_is_named_and_tried_again_later(hostile: Callable[..., Place]) -> None:
    place = hostile(lambda _request: ["no list"])
    with pytest.raises(OpsError):
        place.read()
    feed = place.feed
    assert feed.trouble and feed.trouble["code"] == "N8N_007" and feed.failures == 1 and feed.next_at > clock.now()
    assert feed.leased_until is None


def test_an_answer_that_no_rule_covers_is_told_on_the_feed(
    hostile: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unforeseen(*_args: Any, **_more: Any) -> Any:
        raise ZeroDivisionError

    place = hostile(lambda _request: {"data": rows(1), "nextCursor": None})
    monkeypatch.setattr(collecting._Reader, "read", unforeseen)
    with pytest.raises(ZeroDivisionError):
        place.read()
    told = place.feed.trouble
    assert told and (told["code"], told["message"]) == (
        "EXEC_005",
        "n8n answered in a way that the console does not know.",
    )
    assert told["recovery"].startswith("It is tried again by itself, less and less often.")
    assert place.feed.next_at > clock.now()


def test_an_absurd_number_does_not_blind_the_next_readings(hostile: Callable[..., Place]) -> None:
    place = hostile(lambda _request: {"data": rows(2**62, 3, 2, 1), "nextCursor": None})
    place.read()
    place = hostile(lambda _request: {"data": rows(5, 4, 3, 2, 1), "nextCursor": None})
    place.read()
    assert {1, 2, 3, 4, 5} <= set(place.numbers())


def test_an_answer_with_payloads_is_bounded(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LARGEST_ANSWER_BYTES", 200)
    place.runs(count=50)
    with pytest.raises(OpsError) as caught:
        place.read()
    assert caught.value.code == "N8N_008" and place.feed.trouble["code"] == "N8N_008"


# -- in numbers -------------------------------------------------------------------------------------------------------


def test_rates_and_durations_count_what_ran_by_itself(place: Place) -> None:
    span = {"started": ago(hours=1), "stopped": ago(minutes=59)}
    place.runs(count=8, **span)
    place.runs(count=2, status="error", **span)
    place.runs(count=5, status="error", mode="manual", **span)
    place.runs(count=4, status="error", started=ago(days=2), stopped=ago(days=2))
    place.runs(status="success")
    place.read()
    here = (place.environment.pk, place.ids[0])
    with tenant_scope(place.tenant.pk):
        stats = counting.stats_of([here])[here]
        state = counting.states_of([here, (place.environment.pk, place.ids[1])])
        day = counting.totals(place.environment.pk)
    assert (stats.day.runs, stats.day.failed, stats.week.runs, stats.week.failed) == (11, 2, 15, 6)
    assert stats.p50_ms == pytest.approx(60_000, abs=50) and not stats.failing
    assert list(state) == [here] and state[here].failed_day == 2
    assert (day.count.runs, day.count.failed, day.failing_workflows) == (11, 2, 1)


def test_what_ran_is_known_between_two_captures_and_unknown_otherwise(place: Place) -> None:
    def captured(text: str, hours: float) -> None:
        at = clock.now() - timedelta(hours=hours)
        capture(place.environment, raw(place.ids[0], "Flow 0", note=text))
        with tenant_scope(place.tenant.pk):
            Environment.objects.filter(pk=place.environment.pk).update(last_captured_at=at)

    def ran(hours: float, **more: Any) -> None:
        place.runs(started=ago(hours=hours), stopped=ago(hours=hours), **more)

    captured("one", 10)
    place.read()
    captured("one", 8)
    place.read()
    captured("two", 6)
    place.read()
    captured("two", 2)
    for hours in (9, 8.5):
        ran(hours, status="error")
    ran(7)  # between two captures that saw different versions
    for hours in (5, 4, 3):
        ran(hours)
    ran(1)  # after the last capture
    place.read()
    with tenant_scope(place.tenant.pk):
        environment = Environment.objects.get(pk=place.environment.pk)
        here = (environment.pk, place.ids[0])
        total = counting.stats_of([here])[here].week
        found = counting.versions_of(environment, place.ids[0], total=total)
        hashes = set(LiveSpan.objects.values_list("content_hash", flat=True))
        now = WorkflowEnvMap.objects.get(env_workflow_id=place.ids[0]).env_content_hash
    assert [(one.count.runs, one.count.failed) for one in found] == [(3, 0), (2, 2), (2, 0)]
    assert found[0].content_hash == now and {found[0].content_hash, found[1].content_hash} == hashes
    assert found[2].content_hash == "" and total.runs == 7


def test_before_and_after_a_change(place: Place) -> None:
    capture(place.environment, raw(place.ids[0], "Flow 0"), raw(place.ids[1], "Flow 1"))
    for hours, status in ((5, "success"), (4.5, "success"), (2, "error"), (1, "success")):
        place.runs(started=ago(hours=hours), stopped=ago(hours=hours), status=status)
    place.read()
    moment = clock.now() - timedelta(hours=3)
    with tenant_scope(place.tenant.pk):
        keys = list(WorkflowEnvMap.objects.values_list("canonical_workflow__key", flat=True))
        found = counting.before_and_after(place.environment, keys, began=moment - timedelta(minutes=1), ended=moment)
    assert (found.before.runs, found.before.failed, found.after.runs, found.after.failed) == (2, 0, 2, 1)
    assert [(row.name, row.verdict) for row in found.rows] == [("Flow 0", "worse"), ("Flow 1", "")]
    assert found.before_kept


# -- pages ----------------------------------------------------------------------------------------------------------


def test_the_matrix_and_the_workflow_say_whether_it_runs(place: Place, live_cast: Any, client: Client) -> None:
    ids = place.ids
    raws = [raw(ident, f"Flow {n}") | {"active": n != 2} for n, ident in enumerate([*ids, "w-unrun"])]
    capture(place.environment, *raws)
    with tenant_scope(place.tenant.pk):
        Environment.objects.filter(pk=place.environment.pk).update(last_captured_at=clock.now())
    client.force_login(live_cast.viewer, backend="allauth.account.auth_backends.AuthenticationBackend")

    def page(name: str, **kwargs: Any) -> str:
        answer = client.get(reverse(name, kwargs={"tenant_slug": place.tenant.slug, **kwargs}))
        assert answer.status_code == 200
        return flat(answer.content)

    matrix = page("tenant-home")
    assert ">last run" not in matrix and "no run known" not in matrix, "nothing is said where nothing was read"
    span = {"started": ago(hours=1), "stopped": ago(minutes=59)}
    place.runs(count=3, **span)
    place.runs(workflow=1, **span)
    place.runs(workflow=1, status="error", started=ago(minutes=20), stopped=ago(minutes=19))
    place.read()
    matrix = page("tenant-home")
    assert matrix.count(">last run") == 1 and matrix.count(">failing<") == 1
    assert "1 failed in the last 24 hours" in matrix
    with tenant_scope(place.tenant.pk):
        keys = dict(WorkflowEnvMap.objects.values_list("env_name", "canonical_workflow__key"))
    shown = page("workflow", key=keys["Flow 1"])
    assert "Failing" in shown and f"{place.n8n.base_url}/workflow/{ids[1]}/executions/5" in shown
    assert "By version, 7 days" in shown and "Unknown" in shown, "it ran before the only capture"
    assert "Executions failed" in page("environment", pk=place.environment.pk)


def test_the_list_is_paged_by_key_and_costs_the_same_however_long(
    place: Place, live_cast: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.executions import views

    monkeypatch.setattr(views, "PAGE_ROWS", 20)
    client.force_login(live_cast.operator, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = reverse("executions", kwargs={"tenant_slug": place.tenant.slug, "pk": place.environment.pk})

    def asked() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        return len(queries)

    place.runs(count=3)
    place.read()
    client.get(address)
    before = asked()
    place.runs(count=70)
    place.read()
    assert asked() == before
    seen, cursor = [], ""
    while True:
        page = client.get(address, {"cursor": cursor}).context
        seen += [line.execution.number for line in page["lines"]]
        cursor = page["page"].next_cursor
        if not cursor:
            break
    assert sorted(seen) == list(range(1, 74)) and len(seen) == 73


def test_what_is_not_read_yet_is_said_on_the_page(
    place: Place, live_cast: Any, client: Client, small: Callable[..., None]
) -> None:
    small(rows=10, pages=3)
    place.runs(count=95)
    place.read()
    client.force_login(live_cast.viewer, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = reverse("executions", kwargs={"tenant_slug": place.tenant.slug, "pk": place.environment.pk})
    assert "Older executions are not read yet" in client.get(address).content.decode()
    while place.read().left:
        pass
    assert "not read yet" not in client.get(address).content.decode()


def test_due_environments_get_a_reader_and_archived_ones_none(
    place: Place, make_place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(tasks.read_executions, "apply_async", lambda args, **_more: woken.append(args[1]))
    archived = make_place("old")
    with tenant_scope(place.tenant.pk):
        Environment.objects.filter(pk=archived.environment.pk).update(is_archived=True)
    services.wake_due()
    assert woken == [str(place.environment.pk)]
    tasks.read_executions(str(place.tenant.pk), woken[0])
    woken.clear()
    services.wake_due()
    assert woken == [], "it was read just now"
    services.read_soon(tenant_id=place.tenant.pk, environment_id=place.environment.pk)
    assert woken == [], "nor again for somebody who presses the button at once"
    with tenant_scope(place.tenant.pk):
        ExecutionFeed.objects.update(read_at=clock.now() - services.READ_AGAIN_AFTER)
    services.read_soon(tenant_id=place.tenant.pk, environment_id=place.environment.pk)
    assert woken == [str(place.environment.pk)]


def test_a_slow_n8n_gives_the_worker_back_and_is_asked_less_often(
    place: Place, small: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small(rows=10)
    place.runs(count=35)
    monkeypatch.setattr(collecting, "ROUND_SECONDS", 0.0)
    pauses = []
    for _ in range(2):
        found = place.read()
        assert found.odd and "the rest waits" in found.odd[0]
        pauses.append(place.feed.next_at - clock.now())
    assert pauses[1] > pauses[0] > timedelta(seconds=90)
    monkeypatch.undo()
    while place.read().left:
        pass
    assert len(place.numbers()) == 35 and place.feed.failures == 0


def test_readers_leave_workers_to_people(place: Place, make_place: Callable[..., Place], settings: Any) -> None:
    settings.EXECUTION_READERS = 1
    place.read()
    with tenant_scope(place.tenant.pk):
        ExecutionFeed.objects.update(leased_until=clock.now() + timedelta(seconds=30))
    assert collecting.collect(make_place("other").environment) is None
    with tenant_scope(place.tenant.pk):
        ExecutionFeed.objects.update(leased_until=None)


def test_an_environment_keeps_so_many_executions_and_no_more(place: Place, settings: Any) -> None:
    settings.EXECUTIONS_KEPT_AT_MOST = 20
    place.runs(count=30)
    found = place.read()
    assert found.forgotten == 10 and place.numbers() == list(range(11, 31))
    assert "the oldest are not kept" in found.odd[0]


def test_a_retry_through_the_sandbox_is_read_back(make_place: Callable[..., Place], live_cast: Any) -> None:
    place = make_place(profile="2.41")
    place.runs(status="error", started=ago(minutes=9), stopped=ago(minutes=9))
    place.read()
    assert place.feed.can_retry
    operation = services.start_retry(
        tenant_id=place.tenant.pk,
        environment_id=place.environment.pk,
        requested_by=live_cast.operator,
        executions=["1"],
    )
    assert engine.drive(operation_id=operation.pk, tenant_id=place.tenant.pk) == "COMPLETED"
    assert place.numbers(retry_of=1) == [2]
    assert place.read().new == 0, "the job has taken it down already"
