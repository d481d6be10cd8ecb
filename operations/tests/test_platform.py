"""Work of the platform, which has no tenant: as durable as a tenant's, and seen by the platform alone."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, ClassVar

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.urls import reverse

from audit.models import AuditLog
from core import clock, context, support
from core.errors import IdempotencyMismatch, NotFound
from operations import engine, handlers, services, tasks
from operations.engine import Run
from operations.errors import Busy
from operations.models import Operation, OperationStep, Schedule
from operations.tests.test_engine import (  # noqa: F401
    STREAM_BOUNDARIES,
    Crash,
    Outside,
    crash_at,
    outside,
    stream,
)
from tenants.scope import ScopeError, platform_scope, tenant_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def writer(outside: Outside) -> Any:  # noqa: F811
    """A kind of work of the platform with three effects."""

    class Writer:
        kind: ClassVar[str] = "test.platform"

        def run(self, run: Run) -> dict[str, Any]:
            for name in ("a", "b", "c"):
                run.effect(outside.effect(name))
            return {"tenant": run.tenant_id_or_none}

    handlers.register(Writer)
    yield Writer
    handlers._handlers.pop(Writer.kind)


def begin(**fields: Any) -> Operation:
    given = {"kind": "test.platform", "title": "Look after it all", "params": {"x": 1}, "requested_by": None, **fields}
    return services.start(tenant_id=None, **given)


def drive(operation: Operation) -> str | None:
    return engine.drive(operation_id=operation.pk, tenant_id=None, lease_seconds=30)


def change(operation: Operation, **fields: Any) -> None:
    with platform_scope():
        Operation.objects.filter(pk=operation.pk).update(**fields)


def fresh(operation: Operation) -> Operation:
    return services.get_operation(tenant_id=None, operation_id=operation.pk)


#: Claimed, four boundaries for each of three effects and one more for what it answered, before the end.
BOUNDARIES = 1 + 3 * 5 + 1


@pytest.mark.parametrize("boundary", range(1, BOUNDARIES + 1))
def test_a_crash_at_any_boundary_does_each_effect_once(
    live_cast: Any,
    outside: Outside,  # noqa: F811
    crash_at: Any,  # noqa: F811
    boundary: int,
) -> None:
    operation = begin()
    crash_at(boundary)
    with pytest.raises(Crash):
        drive(operation)
    assert drive(operation) is None, "still leased to the dead worker"
    change(operation, lease_expires_at=clock.now() - timedelta(seconds=1))
    assert services.reap() == 1
    assert drive(operation) == "COMPLETED"
    assert outside.done == ["a", "b", "c"]
    with platform_scope():
        assert set(OperationStep.objects.values_list("tenant_id", "state")) == {(None, "DONE")}
        last = {row.details["step"]: row for row in AuditLog.objects.filter(operation_id=operation.pk).order_by("pk")
                if row.action.startswith("EFFECT_")}  # fmt: skip
    assert {row.action for row in last.values()} == {"EFFECT_DONE"} and len(last) == 3
    assert {row.tenant_id for row in last.values()} == {None}


@pytest.mark.parametrize("boundary", range(1, STREAM_BOUNDARIES + 1))
def test_a_crash_anywhere_in_a_stream_does_each_effect_once(
    live_cast: Any,
    stream: Any,  # noqa: F811
    outside: Outside,  # noqa: F811
    crash_at: Any,  # noqa: F811
    boundary: int,
) -> None:
    """As of a tenant: effects side by side, in several chunks."""
    operation = begin(kind="test.stream")
    crash_at(boundary)
    with pytest.raises(Crash):
        drive(operation)
    change(operation, lease_expires_at=clock.now() - timedelta(seconds=1))
    assert drive(operation) in ("COMPLETED", None), "None: it had ended before the crash"
    assert sorted(outside.done) == stream.names
    assert (fresh(operation).status, fresh(operation).lease_owner) == ("COMPLETED", "")


def test_a_job_of_the_platform_that_was_stopped_by_hand_holds_its_key(live_cast: Any) -> None:
    operation = begin(exclusive_key="all")
    run = engine.claim(operation_id=operation.pk, tenant_id=None, lease_seconds=30)
    assert run is not None
    change(operation, status="FAILED")
    with pytest.raises(Busy, match="still under way"):
        begin(exclusive_key="all")
    run.lease.release()
    assert begin(exclusive_key="all").pk != operation.pk


def test_a_worker_that_was_taken_over_writes_nothing(live_cast: Any, outside: Outside) -> None:  # noqa: F811
    operation = begin()
    first = engine.claim(operation_id=operation.pk, tenant_id=None, lease_seconds=30)
    assert first is not None and first.tenant_id_or_none is None
    with pytest.raises(RuntimeError, match="has no tenant"):
        _ = first.tenant_id
    change(operation, lease_expires_at=clock.now() - timedelta(seconds=1))
    second = engine.claim(operation_id=operation.pk, tenant_id=None, lease_seconds=30)
    assert second is not None
    with pytest.raises(engine.LeaseLost):
        first.effect(outside.effect("late"))
    with pytest.raises(engine.LeaseLost):
        first.heartbeat()
    second.heartbeat()
    assert outside.done == []


def test_the_task_and_the_reaper_say_that_there_is_no_tenant(live_cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(tasks.drive, "apply_async", lambda args, **_: sent.append(args))
    operation = begin()
    assert sent == [[str(operation.pk), None]]
    change(operation, created_at=clock.now() - timedelta(minutes=1))
    assert services.reap() == 1
    assert sent[1] == sent[0]
    tasks.drive(*sent[1])
    assert fresh(operation).status == "COMPLETED"


def test_it_is_cancelled_retried_and_given_up(live_cast: Any, outside: Outside) -> None:  # noqa: F811
    waiting, parked = begin(), begin()
    services.cancel(tenant_id=None, operation_id=waiting.pk, by=live_cast.admin)
    assert fresh(waiting).status == "CANCELLED"
    change(parked, status="PARKED")
    services.retry(tenant_id=None, operation_id=parked.pk)
    assert drive(parked) == "COMPLETED"
    change(parked, status="PARKED")
    services.give_up(tenant_id=None, operation_id=parked.pk, by=live_cast.admin, reason="looked")
    assert fresh(parked).status == "FAILED"


def test_keys_are_the_platforms_own(live_cast: Any) -> None:
    """A NULL is no other than another NULL here, and a tenant's key is not the platform's."""
    first = begin(idempotency_key="k", exclusive_key="all")
    assert begin(idempotency_key="k", exclusive_key="all").pk == first.pk
    with pytest.raises(IdempotencyMismatch):
        begin(idempotency_key="k", params={"x": 2})
    with pytest.raises(Busy):
        begin(exclusive_key="all")
    with pytest.raises(IntegrityError), platform_scope():
        Operation.objects.create(kind="test.platform", title="x", idempotency_key="k")
    theirs = services.start(
        tenant_id=live_cast.tenant.pk, kind="test.platform", title="x", params={"x": 2}, requested_by=None,
        idempotency_key="k", exclusive_key="all",
    )  # fmt: skip
    assert theirs.pk != first.pk


def test_a_place_reaches_its_own_operations_only(live_cast: Any) -> None:
    mine = services.start(tenant_id=live_cast.tenant.pk, kind="test.platform", title="x", params={}, requested_by=None)
    operation = begin()
    for pk, tenant_id in ((mine.pk, None), (operation.pk, live_cast.tenant.pk)):
        assert engine.claim(operation_id=pk, tenant_id=tenant_id) is None
        for act in (services.get_operation, services.retry):
            with pytest.raises(NotFound):
                act(tenant_id=tenant_id, operation_id=pk)
        with pytest.raises(NotFound):
            services.cancel(tenant_id=tenant_id, operation_id=pk, by=None)
        with pytest.raises(NotFound):
            services.give_up(tenant_id=tenant_id, operation_id=pk, by=None, reason="x")


def test_steps_stay_in_the_place_of_their_operation(live_cast: Any) -> None:
    """The pair (tenant, id) is no key where the tenant is empty, so the database looks."""
    mine = services.start(tenant_id=live_cast.tenant.pk, kind="test.platform", title="x", params={}, requested_by=None)
    operation = begin()
    for tenant_id, owner in ((None, mine), (live_cast.tenant.pk, operation)):
        with pytest.raises(DatabaseError), platform_scope():
            OperationStep.objects.create(
                tenant_id=tenant_id, operation=owner, position=1, name="x", title="x", state="DONE", fence=1,
                started_at=clock.now(),
            )  # fmt: skip


def test_a_support_session_starts_no_work_of_the_platform(live_cast: Any) -> None:
    session = support.InForce(live_cast.tenant.pk, live_cast.tenant.pk, support.WRITE)
    with support.in_force(session), context.acting(source="web"), pytest.raises(ScopeError):
        begin()


def test_a_schedule_of_the_platform_is_started_once(live_cast: Any) -> None:
    for _ in range(2):
        schedule = services.set_schedule(tenant_id=None, name="all", kind="test.platform", params={}, every_seconds=60)
    with platform_scope():
        assert Schedule.objects.count() == 1
        Schedule.objects.filter(pk=schedule.pk).update(next_run_at=clock.now() - timedelta(seconds=1))
    assert [services.run_due_schedules() for _ in range(2)] == [1, 0]
    with platform_scope():
        assert Operation.objects.get().tenant_id is None


def test_the_runbooks_sql_meets_it(live_cast: Any, outside: Outside) -> None:  # noqa: F811
    """The emergency stop, the retry of stuck work and the search for orphaned keys, as the operator."""
    operation = begin()
    run = engine.claim(operation_id=operation.pk, tenant_id=None)
    assert run is not None
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"], autocommit=True) as operator:
        assert operator.execute("SELECT tenant_id, saga_name FROM saga_executions").fetchall() == [
            (None, "test.platform")
        ]
        orphans = operator.execute(
            "SELECT COUNT(*) FROM idempotent_operations io LEFT JOIN saga_executions se"
            " ON io.operation_key = se.correlation_id WHERE se.id IS NULL"
        )
        assert orphans.fetchone() == (0,)
        operator.execute(
            "UPDATE background_jobs SET status = 'FAILED', error_message = 'Emergency stop executed', ended_at = NOW()"
            " WHERE status = 'RUNNING'"
        )
        with pytest.raises(engine.LeaseLost):
            run.effect(outside.effect("late"))
        assert outside.done == []
        run.lease.release()  # as the worker does once nothing of it is under way
        operator.execute(
            "UPDATE saga_executions SET status = 'RETRY_PENDING', retry_count = retry_count + 1 WHERE id = %s",
            [operation.pk],
        )
    assert services.reap() == 1
    assert drive(operation) == "COMPLETED"


# -- doors ------------------------------------------------------------------------------------------------------------


def test_admins_find_it_on_the_platforms_page_and_act_on_it(live_cast: Any, client: Any) -> None:
    operation = begin()
    client.force_login(live_cast.admin)
    page = reverse("platform-job", kwargs={"pk": operation.pk})
    listed = client.get(reverse("platform-jobs")).content.decode()
    assert "Look after it all" in listed and page in listed and "the platform" in listed
    assert b"Cancel this job?" in client.get(page).content
    assert client.get(f"{page}?part=live").status_code == 200
    mine = services.start(tenant_id=live_cast.tenant.pk, kind="test.platform", title="x", params={}, requested_by=None)
    assert client.get(reverse("platform-job", kwargs={"pk": mine.pk})).status_code == 404
    assert client.post(f"{page}nonsense/").status_code == 404
    assert client.post(f"{page}cancel/").status_code == 302
    assert fresh(operation).status == "CANCELLED" and fresh(operation).cancel_requested_by_id == live_cast.admin.pk


@pytest.mark.parametrize("who", ["owner", "viewer", "officer", "support"])
def test_nobody_else_finds_it(live_cast: Any, client: Any, who: str) -> None:
    operation = begin(requested_by=live_cast.owner)
    client.force_login(getattr(live_cast, who))
    assert b"Look after it all" not in client.get(reverse("platform-jobs")).content
    page = reverse("platform-job", kwargs={"pk": operation.pk})
    assert (client.get(page).status_code, client.post(f"{page}cancel/").status_code) == (403, 403)
    key = {"tenant_slug": "acme", "pk": operation.pk}
    missing = {"tenant_slug": "acme", "pk": live_cast.tenant.pk}
    for name in ("job", "job-events"):
        mine, none = (client.get(reverse(name, kwargs=k)) for k in (key, missing))
        assert mine.status_code == none.status_code == 404
    assert fresh(operation).status == "PENDING"


def test_over_rest(live_cast: Any, client: Any) -> None:
    operation = begin()

    def ask(path: str, user: Any, method: str = "get", **token: Any) -> Any:
        _, secret = create_token(user=user, name="t", **token)
        return getattr(client, method)(f"/api/v1/{path}", headers={"authorization": f"Bearer {secret}"})

    told = ask(f"operations/{operation.pk}", live_cast.admin).json()["operation"]
    assert (told["id"], told["tenant_id"]) == (str(operation.pk), None)
    assert str(operation.pk) in str(ask("background-jobs", live_cast.admin).json())
    for user, token in (
        (live_cast.owner, {}),
        (live_cast.owner, {"tenant": live_cast.tenant}),
        (live_cast.officer, {}),
        (live_cast.admin, {"tenant": live_cast.tenant}),
        (live_cast.admin, {"permissions": ["view_trail"]}),
    ):
        missing = ask(f"operations/{live_cast.tenant.pk}", user, **token)
        for path, method in (("", "get"), ("/cancel", "post"), ("/retry", "post")):
            answer = ask(f"operations/{operation.pk}{path}", user, method, **token)
            assert (answer.status_code, answer.json()) == (404, missing.json()), (user, token, path)
    for user, token in ((live_cast.owner, {}), (live_cast.admin, {"tenant": live_cast.tenant})):
        for path in ("background-jobs", "operations?tenant=acme"):
            assert str(operation.pk) not in str(ask(path, user, **token).json())
    assert (
        ask(f"operations/{operation.pk}/cancel", live_cast.admin, "post").json()["operation"]["status"] == "CANCELLED"
    )


@pytest.mark.parametrize("policy", ["as it is", "is not distinct from", "or is null"])
def test_a_policy_that_forgets_the_empty_tenant_would_be_seen(live_cast: Any, policy: str) -> None:
    """No tenant and no scope see the platform's work; policies that are nearly right show it, and this finds them."""
    operation = begin()
    assert drive(operation) == "COMPLETED"
    current = "nullif((select current_setting('opsconsole.tenant_id', true)), '')::uuid"
    wrong = {
        "is not distinct from": f"tenant_id IS NOT DISTINCT FROM {current}",
        "or is null": f"tenant_id IS NULL OR tenant_id = {current}",
    }.get(policy)
    seen = 0
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as owner:
        for table in ("background_jobs", "operation_steps"):
            if wrong:
                owner.execute(f"ALTER POLICY tenant_rows ON {table} USING ({wrong}) WITH CHECK ({wrong})")
        owner.commit()
        try:
            seen += Operation.objects.count() + OperationStep.objects.count()
            for tenant in (live_cast.tenant, live_cast.other_tenant):
                for read_only in (False, True):
                    with tenant_scope(tenant.pk, read_only=read_only):
                        seen += Operation.objects.count() + OperationStep.objects.count()
            with tenant_scope(live_cast.tenant.pk), connection.cursor() as cursor:
                cursor.execute("UPDATE background_jobs SET title = 'mine' WHERE tenant_id IS NULL")
                seen += cursor.rowcount
        finally:
            right = f"tenant_id = {current}"
            for table in ("background_jobs", "operation_steps"):
                owner.execute(f"ALTER POLICY tenant_rows ON {table} USING ({right}) WITH CHECK ({right})")
            owner.commit()
    assert (seen == 0) is (wrong is None)


def test_no_tenant_gives_a_row_to_the_platform(live_cast: Any) -> None:
    mine = services.start(tenant_id=live_cast.tenant.pk, kind="test.platform", title="x", params={}, requested_by=None)
    for write in (
        lambda: Operation.objects.filter(pk=mine.pk).update(tenant_id=None),
        lambda: Operation.objects.create(kind="x", title="x"),
        lambda: Schedule.objects.create(name="x", kind="x", every_seconds=60, next_run_at=clock.now()),
    ):
        with (
            pytest.raises(DatabaseError, match="row-level security"),
            tenant_scope(live_cast.tenant.pk),
            transaction.atomic(),
        ):
            write()
