"""The durable engine: nothing done twice, nothing lost, nobody writes after being taken over."""

from __future__ import annotations

import os
import threading
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import psycopg
import pytest
from django.db import connection

from audit.models import AuditLog
from core import clock, context, outgoing
from core.errors import IdempotencyMismatch, OpsError
from operations import effects, engine, handlers, lease, services, tasks
from operations.effects import Effect, ProbeResult
from operations.engine import Run
from operations.errors import Busy, Cancelled, NotCancellable
from operations.models import Operation, OperationStatus, OperationStep, Schedule
from tenants.scope import tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


class Outside:
    """The world that effects change."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.refuse: dict[str, Exception] = {}

    def effect(self, name: str, look: str | None = None) -> Effect:
        def act() -> dict[str, str]:
            if name in self.refuse:
                raise self.refuse[name]
            self.done.append(name)
            return {"wrote": name}

        def seen(_intent: dict[str, Any]) -> ProbeResult:
            if look:
                return ProbeResult(look)
            return ProbeResult.done({"wrote": name}) if name in self.done else ProbeResult.not_done()

        told = effects.ExternalCall("n8n", "environments", name=name, facts={"method": "PUT", "key": name})
        return Effect(name, f"Write {name}", {"expects": name}, act, seen, told)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def writer(outside: Outside) -> Any:
    """A kind of work with five effects and a result."""

    class Writer:
        kind: ClassVar[str] = "test.write"
        names = ("a", "b", "c", "d", "e")

        def run(self, run: Run) -> dict[str, Any]:
            for name in self.names:
                run.check()
                run.effect(outside.effect(name))
                run.progress(len(outside.done), 5, name)
            return {"written": len(outside.done)}

    handlers.register(Writer)
    yield Writer
    handlers._handlers.pop(Writer.kind)


def begin(cast: Any, **fields: Any) -> Operation:
    given = {"kind": "test.write", "title": "Write", "params": {"x": 1}, "requested_by": cast.owner, **fields}
    return services.start(tenant_id=cast.tenant.pk, **given)


def drive(operation: Operation) -> str | None:
    return engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30)


def fresh(operation: Operation) -> Operation:
    with tenant_scope(operation.tenant_id):
        return Operation.objects.prefetch_related("steps").get(pk=operation.pk)


ENDINGS = {
    "INTENT": "EFFECT_INTENDED",
    "DONE": "EFFECT_DONE",
    "FAILED": "EFFECT_FAILED",
    "UNKNOWN": "EFFECT_UNKNOWN",
    "SKIPPED": "EFFECT_SKIPPED",
}


def told(operation: Operation) -> list[tuple[str, AuditLog]]:
    """What the trail says of the operation's effects, oldest first, each with its step. Fails where it says another
    thing than the steps do."""
    with tenant_scope(operation.tenant_id):
        rows = AuditLog.objects.filter(operation_id=operation.pk, action__startswith="EFFECT_").order_by("pk")
        entries = [(row.details["step"], row) for row in rows]
    last = {step: row.action for step, row in entries}
    assert last == {step.name: ENDINGS[step.state] for step in fresh(operation).steps.all()}
    return entries


class Crash(BaseException):
    """Stands for kill -9: nothing catches it."""


@pytest.fixture
def crash_at() -> Any:
    """Let the worker die at the N-th boundary it reaches."""
    state = {"left": -1}

    def observer(_boundary: str) -> None:
        state["left"] -= 1
        if state["left"] == 0:
            raise Crash

    handlers.boundary_observers.append(observer)
    yield lambda n: state.update(left=n)
    handlers.boundary_observers.remove(observer)


def lease_runs_out(operation: Operation) -> None:
    with tenant_scope(operation.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))


@pytest.mark.parametrize("boundary", range(1, 21))
def test_a_crash_at_any_boundary_does_each_effect_once(
    live_cast: Any, writer: Any, outside: Outside, crash_at: Any, boundary: int
) -> None:
    operation = begin(live_cast)
    crash_at(boundary)
    with pytest.raises(Crash):
        drive(operation)
    assert drive(operation) is None, "still leased to the dead worker"
    told(operation)
    lease_runs_out(operation)
    assert services.reap() == 1
    assert drive(operation) == "COMPLETED"
    assert outside.done == ["a", "b", "c", "d", "e"]
    told(operation)
    done = fresh(operation)
    assert done.result == {"written": 5}
    assert [step.state for step in done.steps.all()] == ["DONE"] * 5
    assert done.attempt == 2


def test_a_worker_that_was_taken_over_writes_nothing(live_cast: Any, writer: Any, outside: Outside) -> None:
    operation = begin(live_cast)
    first = engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30)
    assert first is not None
    lease_runs_out(operation)
    second = engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30)
    assert second is not None and second.operation.fence == first.operation.fence + 1
    with pytest.raises(engine.LeaseLost):
        first.effect(outside.effect("late"))
    assert outside.done == []
    with pytest.raises(engine.LeaseLost), first.fenced():
        pass


def test_two_workers_claim_it_once(live_cast: Any, writer: Any) -> None:
    operation = begin(live_cast)
    claimed: list[Any] = []
    gate = threading.Barrier(4)

    def take() -> None:
        gate.wait()
        claimed.append(engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id))
        connection.close()

    threads = [threading.Thread(target=copy_context().run, args=(take,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([run for run in claimed if run is not None]) == 1


def test_an_outcome_nobody_can_tell_parks_it(live_cast: Any, outside: Outside) -> None:
    class Torn:
        kind: ClassVar[str] = "test.torn"

        def run(self, run: Run) -> dict[str, Any]:
            return run.effect(outside.effect("x", look="unknown"))

    handlers.register(Torn)

    class Dropped(OpsError):
        ambiguous = True

    outside.refuse["x"] = Dropped("the connection broke")
    operation = begin(live_cast, kind="test.torn")
    assert drive(operation) == "PARKED"
    parked = fresh(operation)
    assert parked.error_code == "OPERATION_UNKNOWN"
    assert [step.state for step in parked.steps.all()] == ["UNKNOWN"]
    services.give_up(tenant_id=operation.tenant_id, operation_id=operation.pk, by=live_cast.owner, reason="looked")
    assert fresh(operation).status == OperationStatus.FAILED


def test_an_intent_whose_worker_died_and_how_it_was_settled(live_cast: Any, outside: Outside, crash_at: Any) -> None:
    """Begun by the one attempt, looked at by the next: unknown first, done once a person has looked."""

    class Settled:
        kind: ClassVar[str] = "test.settled"
        look: ClassVar[str | None] = "unknown"

        def run(self, run: Run) -> dict[str, Any]:
            return run.effect(outside.effect("x", look=self.look))

    handlers.register(Settled)
    who = {"actor_id": live_cast.support.pk, "acting_as_id": live_cast.owner.pk, "request_id": "r-7"}
    with context.acting(source="web", ip_address="192.0.2.9", **who):
        operation = begin(live_cast, kind="test.settled")
    crash_at(4)  # claimed, before the intent, after it, answered
    with pytest.raises(Crash):
        drive(operation)
    assert outside.done == ["x"]
    assert [(step, row.action) for step, row in told(operation)] == [("x", "EFFECT_INTENDED")]
    lease_runs_out(operation)
    assert drive(operation) == "PARKED"
    Settled.look = None
    services.retry(tenant_id=operation.tenant_id, operation_id=operation.pk)
    assert drive(operation) == "COMPLETED" and outside.done == ["x"]
    entries = [row for _, row in told(operation)]
    assert [(row.action, row.details.get("attempt")) for row in entries] == [
        ("EFFECT_INTENDED", 1),
        ("EFFECT_INTENDED", 2),
        ("EFFECT_UNKNOWN", None),
        ("EFFECT_INTENDED", 3),
        ("EFFECT_DONE", None),
    ]
    assert entries[2].details["code"] == "OPERATION_UNKNOWN"
    for row in entries:
        assert (row.actor_user_id, row.impersonated_user_id, row.request_id, row.source, row.ip_address) == (
            live_cast.support.pk, live_cast.owner.pk, "r-7", "task", "192.0.2.9",
        )  # fmt: skip
        assert (row.tenant_id, row.resource_type, row.object_repr) == (live_cast.tenant.pk, "environments", "x")
        assert {"system": "n8n", "method": "PUT", "key": "x", "step": "x"}.items() <= row.details.items()


def test_attempts_are_counted_before_the_try(live_cast: Any, writer: Any, crash_at: Any) -> None:
    operation = begin(live_cast, max_attempts=3)
    for _ in range(3):
        crash_at(1)
        with pytest.raises(Crash):
            drive(operation)
        lease_runs_out(operation)
    assert drive(operation) is None
    parked = fresh(operation)
    assert (parked.status, parked.attempt) == ("PARKED", 3)
    services.retry(tenant_id=operation.tenant_id, operation_id=operation.pk)
    assert drive(operation) == "COMPLETED"


def test_ended_by_hand_stops_at_the_next_write(live_cast: Any, outside: Outside) -> None:
    """The runbook's emergency stop: UPDATE background_jobs SET status = 'FAILED'."""

    class Stopped:
        kind: ClassVar[str] = "test.stopped"

        def run(self, run: Run) -> dict[str, Any]:
            run.effect(outside.effect("first"))
            with tenant_scope(run.tenant_id):
                Operation.objects.filter(pk=run.operation.pk).update(status="FAILED", error_message="Emergency stop")
            run.effect(outside.effect("second"))
            return {}

    handlers.register(Stopped)
    operation = begin(live_cast, kind="test.stopped")
    assert drive(operation) is None
    assert outside.done == ["first"]
    assert fresh(operation).error_message == "Emergency stop"


def test_cancel_lets_the_handler_put_things_back(live_cast: Any, outside: Outside) -> None:
    class Careful:
        kind: ClassVar[str] = "test.careful"

        def run(self, run: Run) -> dict[str, Any]:
            try:
                run.effect(outside.effect("write"))
                services.cancel(tenant_id=run.tenant_id, operation_id=run.operation.pk, by=live_cast.owner)
                run.heartbeat()
                run.check()
            except Cancelled:
                with run.shielded():
                    run.effect(outside.effect("restore"))
                raise
            return {}

    handlers.register(Careful)
    operation = begin(live_cast, kind="test.careful")
    assert drive(operation) == "CANCELLED"
    assert outside.done == ["write", "restore"]
    with pytest.raises(NotCancellable):
        services.cancel(tenant_id=operation.tenant_id, operation_id=operation.pk, by=live_cast.owner)


def test_concurrent_effects_report_the_failure_and_keep_the_rest(live_cast: Any, outside: Outside) -> None:
    class Many:
        kind: ClassVar[str] = "test.many"

        def run(self, run: Run) -> dict[str, Any]:
            effects = [outside.effect(f"n{i}") for i in range(400)]
            return {"done": len(run.effects(effects, concurrency=8, chunk=20))}

    handlers.register(Many)
    outside.refuse["n7"] = OpsError("no")
    operation = begin(live_cast, kind="test.many")
    assert drive(operation) == "FAILED"
    states = {step.name: step.state for step in fresh(operation).steps.all()}
    assert states["n7"] == "FAILED"
    assert set(states.values()) <= {"DONE", "FAILED", "SKIPPED"}, "what was not begun says so"
    assert len(states) < 400, "after the failure no more chunks were begun"
    assert sorted(outside.done) == sorted(n for n, s in states.items() if s == "DONE")
    assert len(told(operation)) == 2 * len(states), "each intent has its outcome"


@pytest.fixture
def stream(outside: Outside) -> Any:
    """A kind of work whose effects go side by side, in several chunks."""

    class Stream:
        kind: ClassVar[str] = "test.stream"
        names: ClassVar[list[str]] = [f"n{i:02d}" for i in range(11)]
        heard: ClassVar[list[int]] = []

        def run(self, run: Run) -> dict[str, Any]:
            effects = [outside.effect(name) for name in self.names]
            return run.effects(effects, concurrency=3, chunk=4, on_progress=self.heard.append)

    handlers.register(Stream)
    yield Stream
    handlers._handlers.pop(Stream.kind)


#: Three chunks with two boundaries each, one for every effect, two at the end, and those of the operation itself.
STREAM_BOUNDARIES = 3 * 2 + 11 + 2 + 3


@pytest.mark.parametrize("boundary", range(1, STREAM_BOUNDARIES + 1))
def test_a_crash_anywhere_in_a_stream_does_each_effect_once(
    live_cast: Any, stream: Any, outside: Outside, crash_at: Any, boundary: int
) -> None:
    operation = begin(live_cast, kind="test.stream")
    crash_at(boundary)
    with pytest.raises(Crash):
        drive(operation)
    told(operation)
    lease_runs_out(operation)
    assert drive(operation) in ("COMPLETED", None), "None: it had ended before the crash"
    told(operation)
    assert sorted(outside.done) == stream.names
    done = fresh(operation)
    assert done.status == "COMPLETED"
    assert done.result == {name: {"wrote": name} for name in stream.names}
    assert {step.state for step in done.steps.all()} == {"DONE"}


def test_intents_of_a_stream_are_committed_before_their_effects(live_cast: Any, stream: Any, outside: Outside) -> None:
    seen: dict[str, str] = {}

    def observe(boundary: str) -> None:
        name, _, place = boundary.partition(":")
        if place == "effect-answered":
            with tenant_scope(live_cast.tenant.pk):
                seen[name] = OperationStep.objects.get(name=name).state
            connection.close()

    handlers.boundary_observers.append(observe)
    try:
        assert drive(begin(live_cast, kind="test.stream")) == "COMPLETED"
    finally:
        handlers.boundary_observers.remove(observe)
    assert seen == dict.fromkeys(stream.names, "INTENT")
    assert stream.heard[-1] == len(stream.names)
    assert set(stream.heard) >= set(range(1, len(stream.names) + 1)), "each that ends is told, not each chunk"


def test_a_wish_to_cancel_ends_a_stream_between_effects(live_cast: Any, stream: Any, outside: Outside) -> None:
    operation = begin(live_cast, kind="test.stream")
    run = engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30)
    assert run is not None
    first = outside.effect("first")

    def act() -> Any:
        run.cancel_requested.set()
        return first.act()

    effects = [replace(first, act=act), *(outside.effect(f"n{i}") for i in range(400))]
    with pytest.raises(Cancelled):
        run.effects(effects, concurrency=2, chunk=4)
    states = {step.name: step.state for step in fresh(operation).steps.all()}
    assert states["first"] == "DONE"
    assert len(states) < 400
    assert sorted(outside.done) == sorted(n for n, s in states.items() if s == "DONE")
    run.cancel_requested.clear()
    assert len(run.effects(effects, concurrency=2, chunk=4)) == 401, "what was skipped is done when it is begun again"
    assert sorted(outside.done) == sorted(e.name for e in effects)


def test_a_wish_to_cancel_before_a_stream_began_ends_it_at_once(live_cast: Any, stream: Any, outside: Outside) -> None:
    """As between creating and updating workflows: nothing is under way then that could end and wake it."""
    operation = begin(live_cast, kind="test.stream")
    run = engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30)
    assert run is not None
    run.cancel_requested.set()
    ended: list[Exception] = []

    def go() -> None:
        try:
            run.effects([outside.effect(str(n)) for n in range(6)], concurrency=2, chunk=4)
        except Cancelled as error:
            ended.append(error)
        finally:
            connection.close()

    working = threading.Thread(target=copy_context().run, args=(go,), daemon=True)
    working.start()
    working.join(timeout=15)
    assert ended and outside.done == []


def test_the_same_key_is_the_same_operation(live_cast: Any, writer: Any) -> None:
    first = begin(live_cast, idempotency_key="k1")
    assert begin(live_cast, idempotency_key="k1").pk == first.pk
    with pytest.raises(IdempotencyMismatch):
        begin(live_cast, idempotency_key="k1", params={"x": 2})


def test_one_operation_holds_an_environment(live_cast: Any, writer: Any) -> None:
    begin(live_cast, exclusive_key="environment:1")
    with pytest.raises(Busy):
        begin(live_cast, exclusive_key="environment:1")


def test_a_due_schedule_starts_once_with_two_beats(live_cast: Any, writer: Any) -> None:
    schedule = services.set_schedule(
        tenant_id=live_cast.tenant.pk, name="every so often", kind="test.write", params={}, every_seconds=60
    )
    with tenant_scope(live_cast.tenant.pk):
        Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock.now() - timedelta(seconds=1))
    counts: list[int] = []
    gate = threading.Barrier(2)

    def beat() -> None:
        gate.wait()
        counts.append(services.run_due_schedules())
        connection.close()

    threads = [threading.Thread(target=copy_context().run, args=(beat,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 1
    with tenant_scope(live_cast.tenant.pk):
        assert Operation.objects.count() == 1


def test_what_nobody_foresaw_is_looked_at_before_it_is_done_again(
    live_cast: Any, writer: Any, outside: Outside
) -> None:
    """A fault of ours right after the write: the write took place, and the next try must not repeat it."""
    writer.names = ("a",)
    operation = begin(live_cast)

    def stumble(boundary: str) -> None:
        if boundary == "a:effect-answered":
            raise KeyError("id")

    handlers.boundary_observers.append(stumble)
    try:
        assert drive(operation) == "RETRY_PENDING"
    finally:
        handlers.boundary_observers.remove(stumble)
    assert [step.state for step in fresh(operation).steps.all()] == ["UNKNOWN"]
    with tenant_scope(operation.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(run_after=None)
    assert drive(operation) == "COMPLETED"
    assert outside.done == ["a"]


def test_the_reaper_does_not_pile_up_messages(live_cast: Any, writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [begin(live_cast) for _ in range(3)]
    lost = begin(live_cast)
    assert engine.claim(operation_id=lost.pk, tenant_id=lost.tenant_id) is not None
    lease_runs_out(lost)
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.update(created_at=clock.now() - timedelta(minutes=1))
    for operation in (*waiting, lost):
        tasks.drive.app.send_task(tasks.drive.name, args=[str(operation.pk), str(operation.tenant_id)])
    assert services.messages_waiting() >= 4, "one for each, and no worker here"
    woken: list[Any] = []
    monkeypatch.setattr(services, "wake", lambda *, operation_id, tenant_id: woken.append(operation_id))
    monkeypatch.setattr(services, "REAPED_AT_ONCE", 4)
    assert (services.reap(), woken) == (4, [])
    monkeypatch.setattr(services, "REAPED_AT_ONCE", services.messages_waiting() + 1000)
    assert services.reap() == 4
    assert woken[0] == lost.pk and set(woken[1:]) == {operation.pk for operation in waiting}


def test_sigterm_hands_the_work_back(live_cast: Any, writer: Any, outside: Outside) -> None:
    operation = begin(live_cast)
    engine.stopping.set()
    try:
        assert drive(operation) == "RETRY_PENDING"
    finally:
        engine.stopping.clear()
    assert fresh(operation).attempt == 0, "a stop is no failed try"
    assert drive(operation) == "COMPLETED"


def test_a_wish_to_cancel_reaches_the_handler_of_work_that_was_handed_back(
    live_cast: Any, writer: Any, outside: Outside
) -> None:
    """Between two workers, with effects behind it: it may not end where it waits, or nobody puts them back."""
    operation = begin(live_cast)

    def stop(boundary: str) -> None:
        if boundary == "c:before-intent":
            engine.stopping.set()

    handlers.boundary_observers.append(stop)
    try:
        assert drive(operation) == "RETRY_PENDING"
    finally:
        handlers.boundary_observers.remove(stop)
        engine.stopping.clear()
    assert outside.done == ["a", "b", "c"]
    asked = services.cancel(tenant_id=operation.tenant_id, operation_id=operation.pk, by=live_cast.owner)
    assert asked.is_open
    assert drive(operation) == "CANCELLED"
    assert outside.done == ["a", "b", "c"], "the next worker knows from the start"


def test_the_orchestration_runbook_has_stuck_work_retried(live_cast: Any, writer: Any, outside: Outside) -> None:
    """Its UPDATE of ``saga_executions`` as the operator, and its query for orphaned idempotency keys."""
    operation = begin(live_cast)
    assert engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id) is not None
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        counted = "SELECT retry_count FROM saga_executions"
        assert operator.execute(counted).fetchone() == (0,), "its first attempt is no retry"
        retried = operator.execute(
            "UPDATE saga_executions SET status = 'RETRY_PENDING', retry_count = retry_count + 1"
            " WHERE status = 'RUNNING' AND updated_at < NOW() + INTERVAL '30 minutes' AND retry_count < 3"
        )
        assert retried.rowcount == 1
        assert operator.execute(counted).fetchone() == (1,)
        orphans = operator.execute(
            "SELECT COUNT(*) FROM idempotent_operations io LEFT JOIN saga_executions se"
            " ON io.operation_key = se.correlation_id WHERE se.id IS NULL"
        )
        assert orphans.fetchone() == (0,)
        assert services.reap() == 0, "its worker may still be there"
        lease_runs_out(operation)
        trail = operator.execute(
            "SELECT source, database_role FROM audit_logs WHERE resource_type = 'background_jobs'"
            " AND action = 'UPDATE' ORDER BY id DESC LIMIT 1"
        )
        assert trail.fetchone() == ("sql", "opsconsole_operator")
    assert services.reap() == 1
    assert drive(operation) == "COMPLETED"
    assert len(outside.done) == 5
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        assert operator.execute(counted).fetchone() == (1,), "the retry that was asked for, counted once"


def test_a_living_job_is_never_taken_for_stuck(live_cast: Any, writer: Any, outside: Outside) -> None:
    """Runbooks ask for RUNNING jobs whose ``updated_at`` is old; a job may say nothing of its progress for hours."""
    operation = begin(live_cast)
    run = engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id)
    assert run is not None
    stale = "SELECT count(*) FROM saga_executions WHERE status = 'RUNNING' AND updated_at < NOW() - INTERVAL '2 hours'"
    with tenant_scope(operation.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(updated_at=clock.now() - timedelta(hours=3))
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        assert operator.execute(stale).fetchone() == (1,), "nobody has heard of it"
        run.heartbeat()
        assert operator.execute(stale).fetchone() == (0,)


def test_a_quiet_beat_wakes_nobody_who_watches(live_cast: Any, writer: Any, outside: Outside) -> None:
    operation = begin(live_cast)
    run = engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id)
    assert run is not None
    before = services.get_operation(tenant_id=operation.tenant_id, operation_id=operation.pk)
    run.heartbeat()
    after = services.get_operation(tenant_id=operation.tenant_id, operation_id=operation.pk)
    assert after.updated_at == before.updated_at and after.heartbeat_at > before.heartbeat_at


# -- the lock outlives a stop by hand ---------------------------------------------------------------------------------


def stop_by_hand(operation: Operation) -> None:
    with tenant_scope(operation.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(status="FAILED", error_message="Emergency stop")


def test_a_job_stopped_by_hand_holds_its_key_until_its_worker_lets_go(live_cast: Any, writer: Any) -> None:
    operation = begin(live_cast, exclusive_key="environment:1")
    run = engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30)
    assert run is not None
    stop_by_hand(operation)
    with pytest.raises(Busy, match="still under way"):
        begin(live_cast, exclusive_key="environment:1")
    with pytest.raises(engine.LeaseLost):
        run.heartbeat()
    with tenant_scope(operation.tenant_id):
        assert run.lease.keep(), "its heart beats on"
    run.lease.release()
    assert begin(live_cast, exclusive_key="environment:1").pk != operation.pk


def test_a_dead_worker_holds_the_key_no_longer_than_its_lease(live_cast: Any, writer: Any) -> None:
    operation = begin(live_cast, exclusive_key="environment:1")
    assert engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30) is not None
    stop_by_hand(operation)
    lease_runs_out(operation)
    assert begin(live_cast, exclusive_key="environment:1").pk != operation.pk
    assert fresh(operation).lease_owner == ""


def test_work_that_is_retried_by_hand_waits_for_the_worker_that_still_has_it(
    live_cast: Any, writer: Any, outside: Outside
) -> None:
    """Else the next one would look for what is still on its way, not find it, and do it again."""
    operation = begin(live_cast)
    assert engine.claim(operation_id=operation.pk, tenant_id=operation.tenant_id, lease_seconds=30) is not None
    with tenant_scope(operation.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(status="RETRY_PENDING")
    assert drive(operation) is None
    lease_runs_out(operation)
    assert drive(operation) == "COMPLETED"


def test_an_effect_that_had_begun_when_the_job_was_stopped_is_put_on_record(live_cast: Any, outside: Outside) -> None:
    class Stopped:
        kind: ClassVar[str] = "test.stopped"

        def run(self, run: Run) -> dict[str, Any]:
            first = outside.effect("first")

            def act() -> Any:
                stop_by_hand(run.operation)
                return first.act()

            run.effects([replace(first, act=act), outside.effect("second")])
            return {}

    handlers.register(Stopped)
    operation = begin(live_cast, kind="test.stopped")
    assert drive(operation) is None
    assert outside.done == ["first", "second"], "neither asks before it acts, as clients of other systems do"
    assert {step.name: step.state for step in fresh(operation).steps.all()} == {"first": "DONE", "second": "DONE"}
    told(operation)
    assert (fresh(operation).status, fresh(operation).lease_owner) == ("FAILED", "")


def test_a_write_is_refused_once_the_job_was_stopped(
    live_cast: Any, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As clients ask: right before the request leaves, also in the middle of an effect."""
    monkeypatch.setattr(lease, "CONFIRMED_SECONDS", 0.0)
    sent: list[str] = []

    class Sender:
        kind: ClassVar[str] = "test.sender"

        def run(self, run: Run) -> dict[str, Any]:
            def act() -> None:
                for name in ("one", "two"):
                    outgoing.refuse_stopped()
                    sent.append(name)
                    stop_by_hand(run.operation)

            run.effects([replace(outside.effect(f"n{n}"), act=act) for n in range(3)], concurrency=2)
            return {}

    handlers.register(Sender)
    operation = begin(live_cast, kind="test.sender")
    assert drive(operation) is None
    assert set(sent) == {"one"}
    assert fresh(operation).lease_owner == ""


# -- the end is heard of where the work was asked for -----------------------------------------------------------------


@pytest.fixture
def heard(outside: Outside) -> Any:
    """What a handler was told of the ends of its jobs: status, and whether the row had been written by then."""
    ends: list[tuple[str, str, bool]] = []

    class Heard:
        kind: ClassVar[str] = "test.heard"

        def run(self, run: Run) -> dict[str, Any]:
            run.effect(outside.effect("a"))
            return {}

        def ended(self, operation: Operation) -> None:
            if "fails" in operation.params:
                OperationStep.objects.filter(operation_id=operation.pk).update(title="told")
                raise ValueError("a mistake of the app's")
            ends.append((operation.status, operation.error_code, connection.in_atomic_block))

    handlers.register(Heard)
    yield ends
    handlers._handlers.pop(Heard.kind)


@pytest.mark.parametrize(
    ("refusal", "told_of"),
    [
        (None, ("COMPLETED", "", True)),
        (OpsError("no"), ("FAILED", "OPS_ERROR", True)),
        (Cancelled(), ("CANCELLED", "", True)),
    ],
)
def test_the_end_of_a_job_is_told(live_cast: Any, outside: Outside, heard: Any, refusal: Any, told_of: Any) -> None:
    if refusal is not None:
        outside.refuse["a"] = refusal
    drive(begin(live_cast, kind="test.heard"))
    assert heard == [(told_of[0], OpsError.code if told_of[1] else "", True)]


def test_the_end_of_a_job_that_is_cancelled_or_given_up_by_a_person_is_told(live_cast: Any, heard: Any) -> None:
    waiting, parked = begin(live_cast, kind="test.heard"), begin(live_cast, kind="test.heard")
    services.cancel(tenant_id=waiting.tenant_id, operation_id=waiting.pk, by=live_cast.owner)
    with tenant_scope(parked.tenant_id):
        Operation.objects.filter(pk=parked.pk).update(status="PARKED")
    services.give_up(tenant_id=parked.tenant_id, operation_id=parked.pk, by=live_cast.owner, reason="looked")
    assert [status for status, _, _ in heard] == ["CANCELLED", "FAILED"]


def test_an_app_that_fails_to_follow_up_keeps_no_job_from_ending(live_cast: Any, heard: Any) -> None:
    operation = begin(live_cast, kind="test.heard", params={"fails": True})
    assert drive(operation) == "COMPLETED"
    assert [step.title for step in fresh(operation).steps.all()] == ["Write a"], "its part is rolled back"


def test_work_that_is_parked_or_tried_again_has_not_ended(live_cast: Any, outside: Outside, heard: Any) -> None:
    outside.refuse["a"] = KeyError("x")
    assert drive(begin(live_cast, kind="test.heard")) == "RETRY_PENDING"
    assert drive(begin(live_cast, kind="test.heard", max_attempts=1)) == "PARKED"
    assert heard == []
