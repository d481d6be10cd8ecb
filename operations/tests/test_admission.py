"""Whose turn it is: no tenant and no n8n takes every worker, and who waits is told why."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from typing import Any, ClassVar

import pytest
from django.db import connection
from django.test import Client

from core import clock, context
from operations import admission, engine, handlers, services, tasks
from operations.errors import TooManyJobs
from operations.models import Operation, OperationStatus
from operations.run import Run
from snapshots.services import start_capture
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token
from workflows.models import Environment

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def limits(settings: Any) -> None:
    settings.JOBS_PER_TENANT, settings.JOBS_PER_N8N = 2, 2


@pytest.fixture(autouse=True)
def woken(monkeypatch: pytest.MonkeyPatch) -> list[uuid.UUID]:
    """The jobs that a message was sent for."""
    sent: list[uuid.UUID] = []
    monkeypatch.setattr(services, "wake", lambda *, operation_id, tenant_id: sent.append(operation_id))
    return sent


@pytest.fixture(autouse=True)
def one_at_a_time() -> Iterator[None]:
    class Single:
        kind: ClassVar[str] = "test.single"
        one_at_a_time: ClassVar[bool] = True

        def run(self, run: Run) -> dict[str, Any]:
            return {}

    handlers.register(Single)
    yield
    handlers._handlers.pop(Single.kind)


def begin(tenant: Any, title: str = "Any", **fields: Any) -> Operation:
    given = {"kind": "test.any", "params": {}, "requested_by": None, **fields}
    return services.start(tenant_id=tenant.pk, title=title, **given)


def environment(tenant: Any, host: str) -> uuid.UUID:
    slug = f"e-{uuid.uuid4().hex[:8]}"
    with tenant_scope(tenant.pk):
        made = Environment.objects.create(
            tenant_id=tenant.pk, name=slug, slug=slug, kind="dev", position=1, base_url=f"http://{host}"
        )
    return made.pk


def taken() -> str | None:
    run = admission.take()
    return run.operation.title if run is not None else None


def test_tenants_take_turns_and_none_takes_every_worker(live_cast: Any) -> None:
    for number in range(6):
        begin(live_cast.tenant, f"Acme {number}")
    begin(live_cast.other_tenant, "Umbrella 0")
    assert [taken() for _ in range(5)] == ["Acme 0", "Umbrella 0", "Acme 1", None, None]


def test_whoever_was_served_last_comes_last(live_cast: Any) -> None:
    for number in range(3):
        begin(live_cast.tenant, f"Acme {number}")
    begin(live_cast.other_tenant, "Umbrella 0")
    first = admission.take()
    assert first is not None and first.operation.title == "Acme 0"
    finish(first.operation)
    assert taken() == "Umbrella 0"


def finish(operation: Operation) -> None:
    with tenant_scope(operation.tenant_id):
        Operation.objects.filter(pk=operation.pk).update(status="COMPLETED", lease_owner="", lease_expires_at=None)


def test_what_people_wait_for_comes_before_scheduled_work_which_is_not_put_off_for_ever(live_cast: Any) -> None:
    night = begin(live_cast.other_tenant, "Nightly")
    begin(live_cast.tenant, "By hand", requested_by=live_cast.owner)
    assert [taken(), taken()] == ["By hand", "Nightly"]
    for operation in (night, begin(live_cast.tenant, "Also by hand", requested_by=live_cast.owner)):
        with tenant_scope(operation.tenant_id):
            Operation.objects.filter(pk=operation.pk).update(
                status="PENDING", lease_expires_at=None, created_at=clock.now() - timedelta(hours=1)
            )
    assert taken() == "Nightly", "its tenant runs less"


def test_one_n8n_takes_no_more_workers_than_it_may_whoever_asks_it(live_cast: Any) -> None:
    for tenant, name in ((live_cast.tenant, "Acme"), (live_cast.other_tenant, "Umbrella")):
        for number in range(2):
            begin(tenant, f"{name} {number}", environment_id=environment(tenant, "Hung.example.org/n8n"))
    begin(live_cast.other_tenant, "Elsewhere", environment_id=environment(live_cast.other_tenant, "other.example.org"))
    assert [taken() for _ in range(4)] == ["Acme 0", "Umbrella 0", "Elsewhere", None]


def test_one_capture_of_an_environment_runs_at_a_time_and_a_second_press_joins_it(live_cast: Any) -> None:
    here = environment(live_cast.tenant, "n8n.example.org")
    asked = {"tenant_id": live_cast.tenant.pk, "environment_id": here}
    first = start_capture(**asked, requested_by=live_cast.owner)
    assert start_capture(**asked, requested_by=live_cast.operator).pk == first.pk
    other = start_capture(**asked, requested_by=live_cast.owner, description="before the change")
    assert other.pk != first.pk, "asks for something else"
    assert taken() == first.title
    assert start_capture(**asked, requested_by=live_cast.owner).pk == first.pk
    assert admission.take() is None
    finish(first)
    run = admission.take()
    assert run is not None and run.operation.pk == other.pk


def test_a_worker_that_died_holds_nothing_once_its_lease_has_run_out(live_cast: Any) -> None:
    lost = [begin(live_cast.tenant, f"Lost {number}") for number in range(2)]
    assert (taken(), taken(), taken()) == ("Lost 0", "Lost 1", None)
    begin(live_cast.tenant, "By hand", requested_by=live_cast.owner)
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.filter(pk=lost[1].pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    assert taken() == "Lost 1", "what a worker has lost comes first"
    assert taken() is None


def test_many_workers_at_once_keep_to_the_limit_and_take_nothing_twice(live_cast: Any) -> None:
    for tenant in (live_cast.tenant, live_cast.other_tenant):
        for number in range(5):
            begin(tenant, f"{tenant.slug} {number}")
    together = threading.Barrier(8)

    def take(_worker: int) -> str | None:
        try:
            together.wait()
            with context.acting(source="system"):
                return taken()
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        found = [title for title in pool.map(take, range(8)) if title]
    assert Counter(title.split()[0] for title in found) == {"acme": 2, "umbrella": 2}
    assert len(set(found)) == len(found)


def test_the_end_of_a_job_announces_the_next(live_cast: Any, woken: list[uuid.UUID]) -> None:
    jobs = [begin(live_cast.tenant, f"Job {number}", kind="test.single") for number in range(2)]
    woken.clear()
    tasks.drive(str(jobs[1].pk), str(live_cast.tenant.pk))
    assert woken == [jobs[1].pk], "the message was for the second; the first one's turn it was"
    with tenant_scope(live_cast.tenant.pk):
        assert Operation.objects.get(pk=jobs[0].pk).status == OperationStatus.COMPLETED


def test_one_that_was_tried_too_often_is_parked_in_passing(live_cast: Any) -> None:
    worn = begin(live_cast.tenant, "Worn out", max_attempts=1)
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.filter(pk=worn.pk).update(status="RETRY_PENDING", attempt=1)
    begin(live_cast.tenant, "Next")
    assert taken() == "Next"
    with platform_scope():
        assert Operation.objects.get(pk=worn.pk).status == OperationStatus.PARKED


def test_page_and_api_say_what_a_job_waits_for(live_cast: Any) -> None:
    here = environment(live_cast.tenant, "n8n.example.org")
    singles = [begin(live_cast.tenant, f"Check {n}", kind="test.single", environment_id=here) for n in range(2)]
    assert taken() == "Check 0"
    queued = [begin(live_cast.tenant, f"Queued {number}", requested_by=live_cast.owner) for number in range(2)]
    said = waits(live_cast, singles[1])
    assert said == "Waits until “Check 0” has ended: one at a time for an environment."
    assert waits(live_cast, queued[1]) == "Waits for a free worker, or for its n8n; place 2."
    assert taken() == "Queued 0"
    expected = "Waits: 2 other jobs of this tenant run; place 1."
    assert waits(live_cast, queued[1]) == expected

    client = Client()
    client.force_login(live_cast.viewer)
    for path in ("jobs/", f"jobs/{queued[1].pk}/"):
        assert expected in unescape(client.get(f"/t/acme/{path}").content.decode()), path
    secret = create_token(user=live_cast.owner, name="reader", tenant=live_cast.tenant)[1]
    headers = {"authorization": f"Bearer {secret}"}
    one = client.get(f"/api/v1/operations/{queued[1].pk}", headers=headers).json()["operation"]
    listed = client.get(f"/api/v1/operations?tenant={live_cast.tenant.pk}", headers=headers).json()["operations"]
    assert one["waits"] == expected
    assert {row["title"]: row["waits"] for row in listed}["Queued 1"] == expected
    assert {row["waits"] for row in listed if row["status"] == "RUNNING"} == {""}


def waits(cast: Any, operation: Operation) -> str:
    with tenant_scope(cast.tenant.pk):
        row = Operation.objects.get(pk=operation.pk)
        admission.tell_why_waiting([row])
    return row.waits


def test_a_job_may_be_driven_at_once_where_nobody_queues(live_cast: Any) -> None:
    """Tests, the demo and a job that carries out another go past the queue."""
    job = begin(live_cast.tenant, kind="test.single")
    assert engine.drive(operation_id=job.pk, tenant_id=job.tenant_id) == "COMPLETED"


def test_places_are_told_from_few_rows_whoever_else_waits(live_cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MOST_TOLD", 3)
    queued = [begin(live_cast.tenant, f"Queued {number}", requested_by=live_cast.owner) for number in range(6)]
    assert waits(live_cast, queued[1]).endswith("; place 2.")
    assert waits(live_cast, queued[5]).endswith("; behind hundreds of others.")
    scheduled = begin(live_cast.tenant, "Nightly")
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.filter(pk=scheduled.pk).update(created_at=queued[0].created_at)
    assert waits(live_cast, queued[0]).endswith("; place 1."), "what people wait for goes first"


def test_people_get_no_more_in_than_may_wait_and_the_console_does(live_cast: Any, settings: Any) -> None:
    settings.JOBS_WAITING_PER_TENANT = 2
    first = begin(live_cast.tenant, "One", requested_by=live_cast.owner, idempotency_key="once")
    for number in range(3):
        begin(live_cast.tenant, f"Nightly {number}")
    later = begin(live_cast.tenant, "Tried again later", requested_by=live_cast.owner)
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.filter(pk=later.pk).update(run_after=clock.now() + timedelta(hours=1))
    begin(live_cast.tenant, "Two", requested_by=live_cast.owner)
    with pytest.raises(TooManyJobs):
        begin(live_cast.tenant, "Three", requested_by=live_cast.owner)
    again = begin(live_cast.tenant, "One", requested_by=live_cast.owner, idempotency_key="once")
    assert again.pk == first.pk
    begin(live_cast.tenant, "Nightly again")
    begin(live_cast.other_tenant, "Theirs", requested_by=live_cast.stranger)
