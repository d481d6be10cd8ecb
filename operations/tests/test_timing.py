"""When recurring work is due: periods, cron expressions by the clocks of a zone, a jitter that two beats agree on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core import clock
from core.errors import Invalid
from operations import services, timing
from operations.models import Operation, Schedule
from tenants.scope import platform_scope, tenant_or_platform_scope

FRIDAY = datetime(2026, 3, 27, 12, tzinfo=UTC)


def a_schedule(**fields: Any) -> Schedule:
    return Schedule(**{"name": "x", "kind": "x", "every_seconds": 0, **fields})


def test_a_period_counts_from_now() -> None:
    assert timing.next_run(a_schedule(every_seconds=90), FRIDAY) == FRIDAY + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", ["28 06", "29 06", "30 06"]),
        # On the 29th the clocks go forward: six in the morning comes an hour earlier.
        ("Europe/Berlin", ["28 05", "29 04", "30 04"]),
        ("Asia/Tokyo", ["27 21", "28 21", "29 21"]),
    ],
)
def test_a_cron_expression_goes_by_the_clocks_of_its_zone(zone: str, expected: list[str]) -> None:
    schedule, moment, found = a_schedule(cron="0 6 * * *", time_zone=zone), FRIDAY, []
    for _ in range(3):
        moment = timing.next_run(schedule, moment)
        found.append(f"{moment.astimezone(UTC):%d %H}")
    assert found == expected


def test_the_jitter_of_a_moment_is_one_and_spreads_schedules() -> None:
    at_six = {"cron": "0 6 * * *", "jitter_seconds": 600}
    moments = [timing.next_run(a_schedule(name=f"n{n}", **at_six), FRIDAY) for n in range(50)]
    again = [timing.next_run(a_schedule(name=f"n{n}", **at_six), FRIDAY + timedelta(hours=1)) for n in range(50)]
    assert moments == again, "another beat, a little later, finds the same"
    six = datetime(2026, 3, 28, 6, tzinfo=UTC)
    assert all(six <= moment < six + timedelta(seconds=600) for moment in moments)
    assert len(set(moments)) > 40
    after_its_run = timing.next_run(a_schedule(name="n0", **at_six), moments[0])
    assert after_its_run.day == 29, "its own lateness makes no second run of the day"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"every_seconds": 0}, "every_seconds"),
        ({"every_seconds": 60, "cron": "0 6 * * *"}, "every_seconds"),
        ({"cron": "0 25 * * *"}, "cron"),
        ({"cron": "every day"}, "cron"),
        ({"cron": "0 0 6 * * *"}, "cron"),
        ({"cron": "0 6 * * *", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"cron": "0 6 * * *", "time_zone": "../../etc/passwd"}, "time_zone"),
        ({"every_seconds": 60, "jitter_seconds": -1}, "jitter_seconds"),
    ],
)
def test_times_that_cannot_be_worked_out_are_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        services.set_schedule(tenant_id=None, name="x", kind="x", params={}, **given)
    assert field in refused.value.details


@pytest.mark.django_db
@pytest.mark.parametrize("where", ["tenant", "platform"])
def test_a_new_expression_counts_from_now_on_and_the_same_one_changes_nothing(cast: Any, where: str) -> None:
    tenant_id = cast.tenant.pk if where == "tenant" else None

    def at(hour: int) -> Schedule:
        return services.set_schedule(
            tenant_id=tenant_id, name="x", kind="x", params={}, cron=f"0 {hour} * * *", time_zone="Europe/Berlin"
        )

    first = at(6)
    with tenant_or_platform_scope(tenant_id):
        Schedule.objects.filter(pk=first.pk).update(next_run_at=FRIDAY)
    assert at(6).next_run_at == FRIDAY
    assert at(7).next_run_at > clock.now()


@pytest.mark.django_db
def test_one_that_was_made_unreadable_by_hand_does_not_stop_the_others(cast: Any) -> None:
    for name in ("a", "b"):
        services.set_schedule(tenant_id=None, name=name, kind="test.any", params={"due_at": ""}, cron="0 6 * * *")
    with platform_scope():
        Schedule.objects.update(next_run_at=FRIDAY)
        Schedule.objects.filter(name="a").update(cron="nonsense")
    assert services.run_due_schedules() == 1
    with platform_scope():
        job = Operation.objects.get()
    assert (job.title, job.params) == ("b", {"due_at": FRIDAY.isoformat()})
