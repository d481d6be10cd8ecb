"""A session's end and what is under way: writes in flight come before it, nothing after it, its work stops."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models import F

from core import context, support
from impersonation import services
from impersonation.models import ImpersonationSession, Mode
from operations import engine, handlers
from operations import services as operations
from operations.effects import Effect, ProbeResult
from operations.models import Operation
from tenants.models import Membership
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 60


@pytest.fixture
def session(live_cast: Any) -> ImpersonationSession:
    """A writing session of support as the operator."""
    made = services.start_session(
        actor=live_cast.support, target=live_cast.operator, tenant=live_cast.tenant,
        reason="Labels come out twice", origin=services.RequestOrigin(),
    )  # fmt: skip
    with platform_scope():
        ImpersonationSession.objects.filter(pk=made.pk).update(mode=Mode.WRITE)
    return made


@contextmanager
def inside(session: ImpersonationSession) -> Iterator[None]:
    """As a request of the session would run."""
    force = support.InForce(session_id=session.pk, tenant_id=session.impersonated_tenant_id, mode=support.WRITE)
    people = {"actor_id": session.actor_user_id, "acting_as_id": session.impersonated_user_id}
    with support.in_force(force), context.acting(session_id=session.pk, source="web", **people):
        yield


def kill_by_hand(session: ImpersonationSession) -> None:
    """The runbook's UPDATE, as the operator at psql."""
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        operator.execute("UPDATE platform_impersonation_sessions SET ended_at = NOW() WHERE ended_at IS NULL")


def kill_by_service(session: ImpersonationSession) -> None:
    try:
        services.end_session(session_id=session.pk, by=None, reason="killed")
    finally:
        connection.close()


@pytest.mark.parametrize("kill", [kill_by_hand, kill_by_service])
def test_an_end_waits_for_writes_in_flight_and_lets_none_in_after_it(
    live_cast: Any, session: ImpersonationSession, kill: Any
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write() -> str:
        try:
            with inside(session), tenant_scope(live_cast.tenant.pk):
                Membership.objects.filter(user=live_cast.viewer).update(role="approver")
                begun.set()
                assert go_on.wait(PATIENCE)
            return "committed"
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        writing = pool.submit(write)
        assert begun.wait(PATIENCE)
        killing = pool.submit(kill, session)
        waits_for_lock()
        assert not killing.done()
        # Whoever comes while the end waits stands behind it, and finds the session over.
        late = pool.submit(write)
        go_on.set()
        assert writing.result(PATIENCE) == "committed"
        killing.result(PATIENCE)
        with pytest.raises(support.SupportEnded):
            late.result(PATIENCE)
    with pytest.raises(support.SupportEnded), inside(session), tenant_scope(live_cast.tenant.pk):
        Membership.objects.filter(user=live_cast.viewer).update(role="owner")
    with tenant_scope(live_cast.tenant.pk):
        assert Membership.objects.get(user=live_cast.viewer).role == "approver"


def waits_for_lock() -> None:
    """Until somebody waits for an advisory lock of this database; other tests have others on the same server."""
    here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    asking = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND {here}"
    for _ in range(PATIENCE * 20):
        with connection.cursor() as cursor:
            cursor.execute(asking)
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)
    raise AssertionError("nobody waits")


@pytest.fixture
def slow_work(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A kind of work of 50 effects; the third waits until it is told to go on."""
    said: dict[str, Any] = {"done": [], "third": threading.Event(), "go_on": threading.Event(), "back": []}

    class Slow:
        def run(self, run: engine.Run) -> dict[str, Any]:
            def act(number: int) -> int:
                if number == 3:
                    said["third"].set()
                    assert said["go_on"].wait(PATIENCE)
                said["done"].append(number)
                return number

            effects = [
                Effect(f"e{n}", f"Effect {n}", {}, lambda n=n: act(n), lambda _i: ProbeResult.not_done())
                for n in range(1, 51)
            ]
            try:
                run.effects(effects)
            except Exception:
                with run.shielded(), run.fenced():
                    said["back"].append(context.current().session_id)
                raise
            return {}

    monkeypatch.setitem(handlers._handlers, "impersonation.slow", Slow())
    return said


def start(cast: Any, session: ImpersonationSession) -> Operation:
    with inside(session):
        return operations.start(
            tenant_id=cast.tenant.pk, kind="impersonation.slow", title="Slow", params={}, requested_by=cast.operator
        )


@pytest.mark.parametrize("kill", [kill_by_hand, kill_by_service])
def test_running_work_stops_at_its_next_effect_and_puts_back_as_the_console(
    live_cast: Any, session: ImpersonationSession, slow_work: dict[str, Any], kill: Any
) -> None:
    operation = start(live_cast, session)

    def work() -> str | None:
        try:
            with context.acting(source="system"):
                return engine.drive(operation_id=operation.pk, tenant_id=live_cast.tenant.pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        assert slow_work["third"].wait(PATIENCE)
        kill(session)
        told = threading.Event()
        while not told.wait(0.05) and not running.done():
            # The heart learns of the end within two seconds; then the third effect is let go.
            with tenant_scope(live_cast.tenant.pk):
                beat = Operation.objects.get(pk=operation.pk)
            if beat.cancel_requested_at and beat.heartbeat_at and beat.heartbeat_at > beat.cancel_requested_at:
                told.set()
        slow_work["go_on"].set()
        assert running.result(PATIENCE) == "CANCELLED"
    assert slow_work["done"] == [1, 2, 3]
    assert slow_work["back"] == [None]


def test_the_last_part_is_the_sessions_while_it_stands_and_the_consoles_after_it(
    live_cast: Any, session: ImpersonationSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes too late to be stopped: in the name of whoever asked, but never once they were sent away."""

    class Finishing:
        def run(self, run: engine.Run) -> dict[str, Any]:
            said = []
            with run.shielded(finishing=True):
                for end in (None, kill_by_hand):
                    if end:
                        end(session)
                    with run.fenced():
                        said.append(str(context.current().session_id))
                    run.step(f"after {end}", "A last step", dict)
            return {"said": said}

    monkeypatch.setitem(handlers._handlers, "impersonation.slow", Finishing())
    operation = start(live_cast, session)
    with context.acting(source="system"):
        assert engine.drive(operation_id=operation.pk, tenant_id=live_cast.tenant.pk) == "COMPLETED"
    with tenant_scope(live_cast.tenant.pk):
        assert Operation.objects.get(pk=operation.pk).result == {"said": [str(session.pk), "None"]}


def test_waiting_work_of_an_ended_session_never_begins(
    live_cast: Any, session: ImpersonationSession, slow_work: dict[str, Any]
) -> None:
    operation = start(live_cast, session)
    kill_by_hand(session)
    assert engine.drive(operation_id=operation.pk, tenant_id=live_cast.tenant.pk) is None
    with tenant_scope(live_cast.tenant.pk):
        assert Operation.objects.get(pk=operation.pk).status == "CANCELLED"
    assert slow_work["done"] == []


def test_work_of_a_session_that_ran_out_unseen_is_cancelled_when_it_is_claimed(
    live_cast: Any, session: ImpersonationSession, slow_work: dict[str, Any]
) -> None:
    operation = start(live_cast, session)
    with platform_scope():
        ImpersonationSession.objects.filter(pk=session.pk).update(
            last_seen_at=F("last_seen_at") - timedelta(minutes=16)
        )
    assert engine.drive(operation_id=operation.pk, tenant_id=live_cast.tenant.pk) == "CANCELLED"
    assert slow_work["done"] == []
