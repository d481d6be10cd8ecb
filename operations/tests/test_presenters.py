"""What pages show of an operation."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core import clock
from operations.handlers import known_kinds
from operations.lease import Lease
from operations.models import Operation, OperationStep
from operations.pace import Pace, pace
from operations.presenters import made_links, step_rows
from operations.summaries import summary_of


def test_every_kind_says_what_it_came_to_whatever_an_older_result_lacks() -> None:
    for kind in known_kinds():
        if kind.startswith("test."):
            continue
        found = summary_of(Operation(kind=kind, status="COMPLETED", result={}))
        assert found is not None and found.sentence.endswith("."), kind


def test_the_rate_is_that_of_the_phase_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    monkeypatch.setattr(clock, "now", lambda: moment)
    lease = Lease(Operation(), seconds=30)

    def at(second: int, done: int, total: int, note: str) -> Pace:
        nonlocal moment
        moment = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=second)
        lease.report(done, total, note)
        since, already = lease._phase
        return pace(
            Operation(
                status="RUNNING", progress_done=done, progress_total=total, progress_since=since, progress_from=already
            )
        )

    at(0, 0, 100, "Reading")
    at(2, 100, 100, "Reading")
    assert at(2, 0, 10, "Writing") == Pace()
    assert at(12, 5, 10, "Writing") == Pace("0.5 a second", 10.0)
    assert at(14, 6, 10, "Execution 6").seconds_left == pytest.approx(8.0), "words alone begin no phase"
    # A job that begins again has done much of it already.
    again = Lease(Operation(), seconds=30)
    again.report(900, 1000, "Writing")
    assert again._phase[1] == 900


def test_time_left_grows_only_with_a_word_on_why(monkeypatch: pytest.MonkeyPatch) -> None:
    began = datetime(2026, 3, 1, 12, tzinfo=UTC)
    operation = Operation(status="RUNNING", progress_total=100, progress_since=began, progress_from=0)

    def at(second: int, done: int) -> Pace:
        monkeypatch.setattr(clock, "now", lambda: began + timedelta(seconds=second))
        operation.progress_done = done
        return pace(operation)

    assert at(10, 20) == Pace("2.0 a second", 40.0)
    assert at(20, 44).seconds_left == pytest.approx(25.45, abs=0.01), "quicker: it ends earlier"
    assert at(21, 45) == Pace("2.1 a second", pytest.approx(24.45, abs=0.01)), "what was said is kept to"
    slow = at(40, 46)
    assert slow.seconds_left == pytest.approx(46.96, abs=0.01) and slow.why == "slower now: 2 in the last 20 s"
    assert at(60, 46).why == "nothing finished in the last 20 s"
    assert at(61, 90).why == "", "it has caught up"


def test_a_job_that_made_nothing_leads_to_its_environment() -> None:
    environment_id = uuid.uuid4()
    failed = Operation(kind="snapshots.capture", status="FAILED", environment_id=environment_id)
    assert made_links(failed, "acme") == [("Open environment", f"/t/acme/environments/{environment_id}/")]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"reused": False, "findings": 1}, "findings 1"),
        ({"can_restore": True, "gates": [1, 2]}, "can restore · 2 gates"),
        ([{"hash": "f" * 64}] * 3, "3 in all"),
        ({"content_hash": "a" * 64, "nested": {"a": 1}}, f"content hash {'a' * 12}"),
        (None, ""),
    ],
)
def test_a_result_is_a_line_and_no_dump(result: Any, told: str) -> None:
    (row,) = step_rows([OperationStep(title="A step", state="DONE", result=result)])
    assert row["result"] == told
