"""What jobs and schedules publish: in the transaction that ends or misses them, and only then."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from core import clock
from core.errors import OpsError
from operations import engine, handlers, services
from operations.domain_events import JobFailed, JobParked, ScheduleMissed
from operations.engine import Run
from operations.errors import UnknownOutcome
from operations.models import Operation, Schedule
from outbox.tests.reading import published
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def outcome() -> Any:
    """A kind of work that ends as the test says."""
    ends: dict[str, Exception | None] = {"with": None}

    class Ending:
        kind: ClassVar[str] = "test.ending"

        def run(self, run: Run) -> dict[str, Any]:
            if ends["with"] is not None:
                raise ends["with"]
            return {}

    handlers.register(Ending)
    yield ends
    handlers._handlers.pop(Ending.kind)


def begin(tenant: Any) -> Operation:
    place = tenant.pk if tenant is not None else None
    return services.start(tenant_id=place, kind="test.ending", title="End somehow", params={}, requested_by=None)


def drive(operation: Operation) -> str | None:
    return engine.drive(operation_id=operation.pk, tenant_id=operation.tenant_id)


def test_a_job_that_ends_well_is_no_news(live_cast: Any) -> None:
    assert drive(begin(live_cast.tenant)) == "COMPLETED"
    assert published(live_cast.tenant.pk) == []


@pytest.mark.parametrize("of_platform", [False, True])
def test_a_job_that_fails_is_news_of_its_place(live_cast: Any, outcome: Any, of_platform: bool) -> None:
    outcome["with"] = OpsError("It went wrong.")
    operation = begin(None if of_platform else live_cast.tenant)
    assert drive(operation) == "FAILED"
    ((name, event),) = published(operation.tenant_id)
    assert name == "job.failed"
    assert event == JobFailed(
        job_id=operation.pk, kind="test.ending", title="End somehow", code="OPS_000", message="It went wrong."
    )
    assert published(None if operation.tenant_id else live_cast.tenant.pk) == []


def test_a_parked_job_is_news_and_so_is_giving_it_up(live_cast: Any, outcome: Any) -> None:
    outcome["with"] = UnknownOutcome("Nobody knows.")
    operation = begin(live_cast.tenant)
    assert drive(operation) == "PARKED"
    services.give_up(
        tenant_id=live_cast.tenant.pk, operation_id=operation.pk, by=live_cast.operator, reason="Settled by hand."
    )
    parked, failed = (event for _, event in published(live_cast.tenant.pk))
    assert isinstance(parked, JobParked) and isinstance(failed, JobFailed)
    assert failed.message == "Given up: Settled by hand."


def test_a_job_whose_workers_died_is_parked_as_well(live_cast: Any) -> None:
    operation = begin(live_cast.tenant)
    with tenant_scope(live_cast.tenant.pk):
        Operation.objects.filter(pk=operation.pk).update(attempt=5, max_attempts=5)
    assert drive(operation) is None
    assert [name for name, _ in published(live_cast.tenant.pk)] == ["job.parked"]


def test_a_lost_lease_publishes_nothing(live_cast: Any, outcome: Any) -> None:
    """Another worker holds the job: how it ends is the other's to say."""

    class Stolen(OpsError):
        pass

    operation = begin(live_cast.tenant)

    def steal(boundary: str) -> None:
        if boundary == "operation:before-end":
            with tenant_scope(live_cast.tenant.pk):
                Operation.objects.filter(pk=operation.pk).update(fence=99)

    outcome["with"] = Stolen("x")
    handlers.boundary_observers.append(steal)
    try:
        assert drive(operation) is None
    finally:
        handlers.boundary_observers.remove(steal)
    assert published(live_cast.tenant.pk) == []


def _schedule(tenant: Any, *, late_by: timedelta) -> Schedule:
    made = services.set_schedule(
        tenant_id=tenant.pk, name="every hour", kind="test.ending", params={}, every_seconds=3600
    )
    with tenant_scope(tenant.pk):
        Schedule.objects.filter(pk=made.pk).update(next_run_at=clock.now() - late_by)
    return made


def test_a_schedule_that_left_out_a_run_is_news(live_cast: Any) -> None:
    schedule = _schedule(live_cast.tenant, late_by=timedelta(hours=3))
    assert services.run_due_schedules() == 1
    ((_, event),) = published(live_cast.tenant.pk, "schedule.missed")
    assert isinstance(event, ScheduleMissed)
    assert (event.schedule_id, event.reason) == (schedule.pk, "late")


def test_a_schedule_that_is_a_minute_late_is_none(live_cast: Any) -> None:
    _schedule(live_cast.tenant, late_by=timedelta(minutes=1))
    assert services.run_due_schedules() == 1
    assert published(live_cast.tenant.pk) == []
    with platform_scope():
        assert Operation.objects.count() == 1
