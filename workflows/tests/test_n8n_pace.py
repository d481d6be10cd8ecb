from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest

from workflows.n8n import errors, pace

from .test_n8n_door import client_of


class Day:
    """A clock that goes on when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = self.spent = self.slept = 0.0

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.spent += seconds

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Day:
    found = Day()
    monkeypatch.setattr(pace.time, "monotonic", lambda: found.now)
    monkeypatch.setattr(pace.time, "thread_time", lambda: found.spent)
    return found


@pytest.mark.parametrize("worked", [0.0, 0.002, 0.05, 0.2])
def test_pages_take_a_quarter_of_the_time_at_the_most(day: Day, worked: float) -> None:
    reading = pace.Pace(3600, sleep=day.sleep)
    for _ in range(10):
        day.work(worked)
        reading.rest()
    assert day.spent <= day.now / pace.REST_FACTOR + 1e-9
    assert day.now >= 10 * pace.PAGE_SECONDS - 1e-9


def test_what_was_slow_by_itself_is_not_slowed_further(day: Day) -> None:
    reading = pace.Pace(3600, sleep=day.sleep)
    day.now += 5
    reading.rest()
    assert day.slept == 0


def test_a_list_that_nobody_waits_for_neither_rests_nor_ends(day: Day) -> None:
    reading = pace.Pace(None, sleep=day.sleep)
    day.work(1000)
    reading.rest()
    reading.keep()
    assert day.slept == 0


def test_an_n8n_that_never_ends_is_asked_few_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count(1)

    def page(_: Any) -> httpx.Response:
        number = next(numbers)
        row = {"id": f"w{number}", "name": "N", "nodes": [], "connections": {}}
        return httpx.Response(200, json={"data": [row], "nextCursor": f"c{number}"})

    monkeypatch.setattr(pace, "PAGE_SECONDS", 0.2)
    with client_of(page) as client, pytest.raises(errors.TimedOut):
        list(client.iter_workflows(within_seconds=1))
    assert next(numbers) <= 12
