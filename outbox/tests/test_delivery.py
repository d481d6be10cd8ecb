"""Each event reaches each consumer once and in its tenant's order, whoever is killed, late or broken meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from typing import Any

import psycopg
import pytest
from django.db import connection, connections
from django.db.utils import ProgrammingError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import AuditLog
from conftest import owner_connection
from core import context
from core.checkpoints import boundary_observers
from core.registry import registry
from outbox import delivery, publishing, services
from outbox.delays import MAX_ATTEMPTS
from outbox.delivery import DIED
from outbox.documents import UnreadableEvent
from outbox.models import ConsumerCursor, Delay, OutboxEvent, ParkedEvent
from outbox.publishing import publish
from outbox.sequencing import sequence
from tenants.models import Tenant
from tenants.scope import ScopeError, platform_scope, tenant_scope

from .world import BottleBroken, BottleFilled, World, effects, fill, smash

pytestmark = pytest.mark.django_db(transaction=True)


class Crash(BaseException):
    """Stands for kill -9: nothing catches it."""


def parked() -> list[ParkedEvent]:
    with platform_scope():
        return list(ParkedEvent.objects.select_related("event").order_by("parked_at"))


def delays() -> list[Delay]:
    with platform_scope():
        return list(Delay.objects.all())


# -- publishing -------------------------------------------------------------------------------------------------------


def test_each_consumer_gets_what_it_asked_for_in_order(world: World, live_cast: Any) -> None:
    fill(live_cast.tenant, "a")
    smash(live_cast.tenant, "b")
    fill(None, "of the platform")
    assert services.run_round() == 4
    assert sorted(effects("test.count")) == ["a", "b", "of the platform"]
    assert effects("test.count", live_cast.tenant.pk) == ["a", "b"]
    assert effects("test.sweep") == ["b"]
    assert services.run_round() == 0, "nothing twice"


def test_what_is_rolled_back_was_never_published(world: World, live_cast: Any) -> None:
    with pytest.raises(ZeroDivisionError), tenant_scope(live_cast.tenant.pk):
        publish(BottleFilled("never"), tenant_id=live_cast.tenant.pk)
        raise ZeroDivisionError
    with tenant_scope(live_cast.tenant.pk):
        with pytest.raises(ZeroDivisionError), tenant_scope(live_cast.tenant.pk):
            publish(BottleFilled("neither"), tenant_id=live_cast.tenant.pk)
            raise ZeroDivisionError
        publish(BottleFilled("kept"), tenant_id=live_cast.tenant.pk)
    services.run_round()
    assert effects("test.count") == ["kept"]


def test_an_event_needs_the_scope_of_its_tenant(world: World, live_cast: Any) -> None:
    event = BottleFilled("x")
    with pytest.raises(ScopeError, match="transaction of its cause"):
        publish(event, tenant_id=live_cast.tenant.pk)
    with tenant_scope(live_cast.tenant.pk), pytest.raises(ScopeError, match="another tenant"):
        publish(event, tenant_id=live_cast.other_tenant.pk)
    with tenant_scope(live_cast.tenant.pk), pytest.raises(ScopeError, match="another tenant"):
        publish(event, tenant_id=None)
    with tenant_scope(live_cast.tenant.pk), pytest.raises(ProgrammingError, match="row-level security"):
        OutboxEvent.objects.create(tenant=live_cast.other_tenant, name="x", version=1, occurred_at="2026-01-01T00:00Z")


def test_a_tenant_sees_its_own_events_alone(world: World, live_cast: Any) -> None:
    fill(live_cast.tenant, "mine")
    fill(live_cast.other_tenant, "theirs")
    fill(None, "the platform's")
    with tenant_scope(live_cast.tenant.pk):
        assert [row.payload["label"] for row in OutboxEvent.objects.all()] == ["mine"]


def test_a_worker_is_woken_once_after_the_commit(world: World, live_cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []
    monkeypatch.setattr(publishing.current_app, "send_task", lambda name, **_: woken.append(name))
    with tenant_scope(live_cast.tenant.pk):
        with pytest.raises(ZeroDivisionError), tenant_scope(live_cast.tenant.pk):
            publish(BottleFilled("undone"), tenant_id=live_cast.tenant.pk)
            raise ZeroDivisionError
        publish(BottleFilled("a"), tenant_id=live_cast.tenant.pk)
        publish(BottleFilled("b"), tenant_id=live_cast.tenant.pk)
        assert woken == []
    assert woken == ["outbox.tasks.deliver"]


def test_a_wake_that_may_be_undone_is_not_relied_upon(
    world: World, live_cast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one belongs to a savepoint that is rolled back after the second was published outside of it."""
    woken: list[str] = []
    monkeypatch.setattr(publishing.current_app, "send_task", lambda name, **_: woken.append(name))
    from django.db import transaction

    with tenant_scope(live_cast.tenant.pk):
        outer = transaction.atomic()
        outer.__enter__()
        publish(BottleFilled("undone"), tenant_id=live_cast.tenant.pk)
        outer.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        publish(BottleFilled("kept"), tenant_id=live_cast.tenant.pk)
    assert woken == ["outbox.tasks.deliver"]


def test_a_broker_that_is_away_does_not_matter(world: World, live_cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: Any, **_kwargs: Any) -> None:
        raise OSError("no broker")

    monkeypatch.setattr(publishing.current_app, "send_task", away)
    fill(live_cast.tenant, "a")
    services.run_round()
    assert effects("test.count") == ["a"]


def test_who_caused_it_is_known_and_the_effect_is_the_consoles(
    world: World, live_cast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = uuid.uuid4().hex
    with context.acting(actor_id=live_cast.operator.pk, source="web", request_id=request):
        fill(live_cast.tenant, "a")
    seen: list[tuple[dict[str, str], context.ActionContext]] = []
    consumer = registry.consumers()["test.count"]
    monkeypatch.setattr(delivery, "_delivery", _spying(delivery._delivery, seen))
    services.run_round()
    caused_by, acting = seen[0]
    assert caused_by["actor_id"] == str(live_cast.operator.pk)
    assert (acting.actor_id, acting.source, acting.request_id) == (None, "system", request)
    assert consumer.name == "test.count"


def _spying(made: Any, seen: list[Any]) -> Any:
    def spy(consumer: Any, event: OutboxEvent) -> Any:
        found = made(consumer, event)
        seen.append((found.caused_by, context.current()))
        return found

    return spy


# -- versions ---------------------------------------------------------------------------------------------------------


def _stored_as(version: int, payload: dict[str, Any], tenant: Tenant) -> None:
    (event_id,) = fill(tenant, "x")
    with platform_scope():
        OutboxEvent.objects.filter(pk=event_id).update(version=version, payload=payload)


def test_an_older_version_is_read_as_todays(world: World, live_cast: Any) -> None:
    _stored_as(1, {"name": "of before"}, live_cast.tenant)
    services.run_round()
    assert effects("test.count") == ["of before"]


@pytest.mark.parametrize(
    ("version", "payload", "words"),
    [(3, {"label": "x"}, "newer than this console"), (2, {"name": "x"}, "another shape"), (0, {}, "no upgrade")],
)
def test_what_cannot_be_read_waits_and_says_why(
    world: World, live_cast: Any, version: int, payload: dict[str, Any], words: str
) -> None:
    _stored_as(version, payload, live_cast.tenant)
    services.run_round()
    assert effects("test.count") == []
    (delay,) = delays()
    assert words in delay.error


def test_an_event_that_nobody_declares_cannot_be_published(world: World, live_cast: Any) -> None:
    class Unknown(BottleBroken):
        pass

    with tenant_scope(live_cast.tenant.pk), pytest.raises(UnreadableEvent, match="No app declares Unknown"):
        publish(Unknown("x"), tenant_id=live_cast.tenant.pk)


# -- order ------------------------------------------------------------------------------------------------------------


def _other_connection() -> psycopg.Connection[Any]:
    return psycopg.connect(os.environ["DATABASE_OPERATOR_URL"])


_INSERT = (
    "INSERT INTO outbox_events (id, tenant_id, name, version, payload, caused_by, occurred_at)"
    " VALUES (gen_random_uuid(), %s, 'bottle.filled', 2, jsonb_build_object('label', %s::text), '{}', now())"
)


def test_what_commits_late_is_not_passed_over(world: World, live_cast: Any) -> None:
    """Published before, committed after: it comes when it has committed, and nothing waits for it."""
    with _other_connection() as slow:
        slow.execute(_INSERT, [live_cast.tenant.pk, "late"])
        fill(live_cast.tenant, "early")
        services.run_round()
        assert effects("test.count") == ["early"], "a transaction that is open does not hold up the others"
        slow.commit()
    services.run_round()
    assert effects("test.count") == ["early", "late"]


def test_order_follows_what_was_seen_and_not_transaction_numbers(world: World, live_cast: Any) -> None:
    """A transaction that begins first, waits for another and publishes after it comes after it."""
    with _other_connection() as first:
        first.execute("SELECT pg_current_xact_id()")
        fill(live_cast.tenant, "approved")
        first.execute(_INSERT, [live_cast.tenant.pk, "ended"])
        first.commit()
    services.run_round()
    assert effects("test.count") == ["approved", "ended"]


def test_numbers_are_given_by_one_at_a_time(world: World, live_cast: Any) -> None:
    fill(live_cast.tenant, "a")
    services.run_round()
    fill(live_cast.tenant, "b")
    with owner_connection() as other, other.transaction():
        other.execute("SELECT * FROM outbox_order FOR UPDATE")
        assert sequence() == 0
    assert sequence() == 1


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.integers(0, 2)),
            st.tuples(st.just("publish"), st.integers(0, 2)),
            st.tuples(st.just("commit"), st.integers(0, 2)),
            st.tuples(st.just("rollback"), st.integers(0, 2)),
            st.tuples(st.just("round"), st.just(0)),
        ),
        max_size=25,
    )
)
def test_however_transactions_interleave(world: World, live_cast: Any, steps: list[tuple[str, int]]) -> None:
    """Three transactions that publish, commit and roll back in any order: nothing is lost, invented or done twice, and
    what was committed before something else was published comes before it."""
    known = set(effects("test.count"))
    numbers = iter(range(10_000))
    links = [_other_connection() for _ in range(3)]
    open_labels: list[list[str]] = [[], [], []]
    committed: list[str] = []
    before: dict[str, list[str]] = {}
    try:
        for what, who in steps:
            if what == "round":
                services.run_round()
            elif what == "publish":
                label = f"{uuid.uuid4().hex}-{next(numbers)}"
                links[who].execute(_INSERT, [live_cast.tenant.pk, label])
                before[label] = list(committed)
                open_labels[who].append(label)
            elif what == "begin":
                links[who].execute("SELECT pg_current_xact_id()")
            else:
                getattr(links[who], what)()
                committed += open_labels[who] if what == "commit" else []
                open_labels[who] = []
        services.run_round()
    finally:
        for link in links:
            link.rollback()
            link.close()
    done = [label for label in effects("test.count") if label not in known]
    assert sorted(done) == sorted(committed)
    place = {label: number for number, label in enumerate(done)}
    assert all(place[earlier] < place[label] for label in done for earlier in before[label])


# -- kills ------------------------------------------------------------------------------------------------------------


def kill_at(boundary: str) -> None:
    def observe(name: str) -> None:
        if name.endswith(f":{boundary}"):
            os.kill(os.getpid(), signal.SIGKILL)

    boundary_observers.append(observe)


def in_a_process_that_dies(boundary: str) -> None:
    """A round of deliveries in a process that SIGKILLs itself at the boundary."""
    connections.close_all()
    connection.close_pool()
    child = os.fork()
    if child == 0:
        kill_at(boundary)
        try:
            services.run_round()
        finally:
            os._exit(7)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"{boundary} was not reached"


@pytest.mark.kill
@pytest.mark.parametrize("boundary", ["begun", "handled", "before-commit", "committed"])
def test_a_killed_worker_loses_nothing_and_does_nothing_twice(
    world: World, live_cast: Any, later: Any, boundary: str
) -> None:
    fill(live_cast.tenant, "a", "b")
    fill(live_cast.other_tenant, "c")
    in_a_process_that_dies(boundary)
    later()
    for _ in range(3):
        services.run_round()
        later()
    assert effects("test.count", live_cast.tenant.pk) == ["a", "b"]
    assert effects("test.count", live_cast.other_tenant.pk) == ["c"]
    assert delays() == [] and parked() == []


@pytest.mark.kill
@pytest.mark.parametrize("boundary", ["retry-begun", "handled", "retry-before-commit"])
def test_a_worker_killed_at_a_retry(world: World, live_cast: Any, later: Any, boundary: str) -> None:
    failing = {"b"}
    world.trouble = lambda _consumer, label: _fail() if label in failing else None
    fill(live_cast.tenant, "a", "b", "c")
    services.run_round()
    assert effects("test.count") == ["a"]
    failing.clear()
    later()
    in_a_process_that_dies(boundary)
    later()
    services.run_round()
    assert effects("test.count") == ["a", "b", "c"]
    assert delays() == [] and parked() == []


def _fail() -> None:
    raise ValueError("poison")


def test_another_worker_leaves_a_batch_alone_that_was_just_begun(world: World, live_cast: Any) -> None:
    fill(live_cast.tenant, "a")

    def die(name: str) -> None:
        if name == "outbox:test.count:begun":
            raise Crash

    boundary_observers.append(die)
    with pytest.raises(Crash):
        services.run_round()
    boundary_observers.clear()
    assert services.run_round() == 0, "it may still be alive"


def test_a_worker_that_was_taken_for_dead_does_nothing_more(world: World, live_cast: Any, later: Any) -> None:
    """It stood still between its claim and its batch; meanwhile another did the work."""
    fill(live_cast.tenant, "a")
    rounds: list[int] = []

    def stand_still(name: str) -> None:
        if name == "outbox:test.count:begun" and not rounds:
            rounds.append(0)
            later()
            rounds.append(_elsewhere(services.run_round))

    boundary_observers.append(stand_still)
    services.run_round()
    assert effects("test.count") == ["a"]


def _elsewhere(do: Any) -> Any:
    """In another thread, on a connection of its own."""
    found: list[Any] = []

    def run() -> None:
        context.set_current(context.ActionContext(source="system"))
        try:
            found.append(do())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=60)
    return found[0]


def test_two_workers_race_and_each_effect_is_there_once(world: World, live_cast: Any) -> None:
    with platform_scope():
        delivery.enrol()
    labels = [f"{n:03}" for n in range(60)]
    fill(live_cast.tenant, *labels)
    together = threading.Barrier(4)
    ended: list[int] = []

    def work() -> None:
        context.set_current(context.ActionContext(source="system"))
        try:
            together.wait(timeout=30)
            ended.append(services.run_round())
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    services.run_round()
    assert len(ended) == 4, "none of them failed"
    assert effects("test.count") == labels


# -- poison -----------------------------------------------------------------------------------------------------------


def test_a_poisoned_event_is_tried_again_and_then_parked(world: World, live_cast: Any, later: Any) -> None:
    tries: list[str] = []

    def trouble(consumer: str, label: str) -> None:
        if (consumer, label) == ("test.count", "bad"):
            tries.append(label)
            raise ValueError("poison")

    world.trouble = trouble
    fill(live_cast.tenant, "a", "bad", "c")
    fill(live_cast.other_tenant, "theirs")
    services.run_round()
    assert effects("test.count", live_cast.other_tenant.pk) == ["theirs"], "others go on"
    fill(live_cast.tenant, "d")
    services.run_round()
    assert effects("test.count", live_cast.tenant.pk) == ["a"], "its own tenant waits, so that its order is kept"
    attempts = 1
    while not parked():
        later()
        services.run_round()
        attempts += 1
        assert attempts <= MAX_ATTEMPTS
    assert attempts == MAX_ATTEMPTS
    assert effects("test.count", live_cast.tenant.pk) == ["a", "c", "d"]
    (row,) = parked()
    assert (row.event.payload["label"], row.attempts, row.error) == ("bad", MAX_ATTEMPTS, "ValueError: poison")
    assert delays() == []
    # Once in the batch, once more to find out which one it was, and once for each try after that.
    assert len(tries) == MAX_ATTEMPTS + 1


def test_it_is_not_tried_again_before_its_time(world: World, live_cast: Any) -> None:
    world.trouble = lambda _consumer, label: _fail() if label == "bad" else None
    fill(live_cast.tenant, "bad")
    services.run_round()
    services.run_round()
    (delay,) = delays()
    assert delay.attempts == 1


def test_one_consumer_that_fails_does_not_hold_up_another(world: World, live_cast: Any) -> None:
    world.trouble = lambda consumer, _label: _fail() if consumer == "test.count" else None
    smash(live_cast.tenant, "a", "b")
    services.run_round()
    assert effects("test.sweep") == ["a", "b"]
    assert effects("test.count") == []


def test_events_of_the_platform_fail_apart_from_those_of_tenants(world: World, live_cast: Any, later: Any) -> None:
    failing = {"bad"}
    world.trouble = lambda _consumer, label: _fail() if label in failing else None
    fill(None, "bad", "of the platform")
    fill(live_cast.tenant, "a")
    services.run_round()
    fill(live_cast.tenant, "b")
    services.run_round()
    assert effects("test.count") == ["a", "b"]
    failing.clear()
    later()
    services.run_round()
    assert effects("test.count")[2:] == ["bad", "of the platform"]


def test_an_event_that_kills_its_worker_is_parked_and_stops_nobody(world: World, live_cast: Any, later: Any) -> None:
    def trouble(_consumer: str, label: str) -> None:
        if label == "deadly":
            raise Crash

    world.trouble = trouble
    fill(live_cast.tenant, "a", "deadly", "c")
    fill(live_cast.other_tenant, "theirs")
    deaths = 0
    while not parked():
        try:
            services.run_round()
        except Crash:
            deaths += 1
            assert deaths < 20
        later()
    services.run_round()
    assert effects("test.count", live_cast.tenant.pk) == ["a", "c"]
    assert effects("test.count", live_cast.other_tenant.pk) == ["theirs"]
    (row,) = parked()
    assert (row.event.payload["label"], row.error) == ("deadly", DIED)
    assert deaths == MAX_ATTEMPTS + 1


def test_a_parked_event_is_retried_by_a_person(world: World, live_cast: Any, later: Any) -> None:
    failing = {"bad"}
    world.trouble = lambda _consumer, label: _fail() if label in failing else None
    (event_id,) = fill(live_cast.tenant, "bad")
    while not parked():
        services.run_round()
        later()
    (row,) = parked()
    services.retry(parked_id=row.pk)
    services.run_round()
    (again,) = parked()
    assert (again.attempts, again.retry_requested_at, again.error) == (MAX_ATTEMPTS + 1, None, "ValueError: poison")
    failing.clear()
    services.run_round()
    assert effects("test.count") == [], "nobody has asked again"
    services.retry(parked_id=row.pk)
    services.run_round()
    assert effects("test.count") == ["bad"]
    assert parked() == []
    with tenant_scope(live_cast.tenant.pk):
        actions = list(
            AuditLog.objects.filter(resource_type="outbox_parked_events")
            .order_by("pk")
            .values_list("action", flat=True)
        )
    assert actions[0] == "CREATE" and actions[-1] == "DELETE" and "UPDATE" in actions
    assert event_id == row.event_id


# -- retention and newcomers ------------------------------------------------------------------------------------------


def _age_all() -> None:
    with platform_scope():
        OutboxEvent.objects.update(occurred_at="2020-01-01T00:00:00Z")


def test_old_events_go_once_everybody_has_handled_them(world: World, live_cast: Any, later: Any) -> None:
    world.trouble = lambda _consumer, label: _fail() if label == "bad" else None
    smash(live_cast.tenant, "a")
    smash(live_cast.other_tenant, "bad", "behind it")
    fill(live_cast.tenant, "not yet read")
    _age_all()
    assert services.delete_old_events() == 0, "nobody has read anything"
    services.run_round()
    while not parked():
        assert services.delete_old_events() <= 1
        later()
        services.run_round()
    fill(live_cast.tenant, "young")
    services.run_round()
    services.delete_old_events()
    with platform_scope():
        assert {row.payload["label"] for row in OutboxEvent.objects.all()} == {"bad", "young"}
    later()
    fill(live_cast.tenant, "after")
    services.run_round()
    assert effects("test.count", live_cast.tenant.pk)[-2:] == ["young", "after"]


def test_numbers_go_on_when_no_event_is_left(world: World, live_cast: Any) -> None:
    fill(live_cast.tenant, "a")
    services.run_round()
    _age_all()
    assert services.delete_old_events() == 1
    fill(live_cast.tenant, "b")
    services.run_round()
    assert effects("test.count") == ["a", "b"]


def test_a_new_consumer_begins_with_what_comes(world: World, live_cast: Any) -> None:
    smash(live_cast.tenant, "before")
    services.run_round()
    with platform_scope():
        ConsumerCursor.objects.filter(pk="test.sweep").delete()
    smash(live_cast.tenant, "after")
    services.run_round()
    assert effects("test.sweep") == ["before", "after"]


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8)), min_size=1, max_size=8),
    deaths=st.lists(st.integers(1, 12), max_size=6),
)
def test_whatever_fails_and_dies(
    world: World, live_cast: Any, later: Any, events: list[tuple[int, int]], deaths: list[int]
) -> None:
    """Events fail up to eight times each and workers die at any boundary: in the end each event was handled once or is
    parked, and those handled are in the order of their tenant, or of the platform."""
    places = [live_cast.tenant, live_cast.other_tenant, None]
    left: dict[str, int] = {}
    world.trouble = lambda _consumer, label: _fail_while(left, label)
    done_before, parked_before = len(effects("test.count")), len(parked())
    for number, (place, failures) in enumerate(events):
        label = f"{number:02}-{uuid.uuid4().hex}"
        left[label] = failures
        fill(places[place], label)
    for _ in range(80):
        later()
        _round_that_dies(deaths.pop() if deaths else 0)
        if not deaths and not delays() and not _is_waiting():
            break
    done = effects("test.count")[done_before:]
    given_up = [row.event.payload["label"] for row in parked()[parked_before:]]
    assert sorted([*done, *given_up]) == sorted(left)
    for place in range(3):
        mine = [label for label in done if events[int(label[:2])][0] == place]
        assert mine == sorted(mine)


def _fail_while(left: dict[str, int], label: str) -> None:
    if left[label]:
        left[label] -= 1
        raise ValueError("not yet")


def _round_that_dies(boundary: int) -> None:
    """A round whose worker dies at the N-th boundary that it reaches (0: it lives)."""
    reached: list[str] = []

    def die(name: str) -> None:
        reached.append(name)
        if len(reached) == boundary:
            raise Crash

    boundary_observers.append(die)
    try:
        services.run_round()
    except Crash:
        pass
    finally:
        boundary_observers.remove(die)


def _is_waiting() -> bool:
    with platform_scope():
        cursor = ConsumerCursor.objects.filter(pk="test.count").first()
        return cursor is None or cursor.sequence < delivery.last_sequence() or cursor.batch_end is not None
