"""Kill -9 of the worker at every step boundary of a promotion of twenty workflows, with Redis emptied meanwhile.

Each case is a promotion into a fresh production. A Celery worker takes it and is killed by SIGKILL at the boundary;
Redis is emptied; a worker and a beat that know nothing of it must find the work, and finish it or put it back. The
cases run beside each other (most of their time is waiting for a lease to run out); each test looks at one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from core import context

from .estate import changed
from .stage import LEASE_SECONDS, Ending, Stage

pytestmark = [pytest.mark.kill, pytest.mark.xdist_group("kill")]

AT_ONCE = 3
#: Far beyond the few seconds that it takes on a machine of its own: what is lost is found, and not only by luck.
FOUND_WITHIN_SECONDS = LEASE_SECONDS + 60
AROUND = ("before-intent", "after-intent", "after-effect", "after-result")
NEW = ("new-helper", *(f"new-plain-{n}" for n in range(1, 5)))
CHANGED = tuple(changed(n).lower().replace(" ", "-") for n in range(1, 13))
HEARD = "told:drift.detection.captured"

#: What the steps of a promotion are; writes that go side by side have the name of the first.
FORWARD = (
    "promotion:gates",
    *(f"pre:{step}" for step in ("git", "row", "contents", "verify", HEARD)),
    "promotion:live",
    "promotion:places",
    *(f"promote:write:{key}" for key in ("new-helper", "new-caller", "new-ping", "new-pong", CHANGED[0])),
    "promote:link:write:new-ping",
    "promote:activate:changed-03",
    "promote:listening",
    "promotion:verify",
    "promotion:canonical",
    *(f"post:{step}" for step in ("git", "row", "contents", HEARD)),
    "promotion:finish",
)
#: And of the way back, after a write was refused.
BACK = (
    "undo:decide",
    "undo:look",
    "undo:write:changed-01",
    "undo:activate:changed-04",
    "undo:listening",
    "undo:write:new-caller",  # callers go first, what they call after them
    "undo:write:new-helper",
    "undo:places",
    "undo:prove",
    "undo:finish",
)


#: Writes beyond the fifth are begun in further chunks; their results come with those of the first.
AHEAD = tuple(f"promote:write:{CHANGED[n]}" for n in (5, 10))
AHEAD_BACK = (*(f"undo:write:{CHANGED[n]}" for n in (5, 10)), "undo:write:new-plain-4")


def boundaries_of(steps: tuple[str, ...], ahead: tuple[str, ...]) -> list[str]:
    return [
        *(f"{step}:{place}" for step, place in itertools.product(steps, AROUND)),
        *(f"{step}:{place}" for step, place in itertools.product(ahead, AROUND[:2])),
    ]


#: Within a chunk of writes that run side by side: right after a single write's answer, the others anywhere.
ANSWERED = [f"promote:write:{key}:effect-answered" for key in (*NEW, *CHANGED)] + [
    f"promote:activate:{key}:effect-answered" for key in ("changed-03", "new-plain-1", "new-plain-2")
]
ANSWERED_BACK = [
    f"undo:write:{key}:effect-answered" for key in (*CHANGED[:-1], "new-caller", "new-ping", "new-pong", *NEW)
]
ENDS = ["operation:claimed", "operation:before-end", "operation:after-end"]
FORWARD_CASES = [*ENDS[:1], *boundaries_of(FORWARD, AHEAD), *ANSWERED, *ENDS[1:]]
BACK_CASES = [*boundaries_of(BACK, AHEAD_BACK), *ANSWERED_BACK[::4], *ENDS[1:]]


def work_as_the_system() -> None:
    """A thread begins without a context."""
    context.set_current(context.ActionContext(source="system"))


class Plays:
    """All the plays that the chosen tests will ask for, under way beside each other."""

    def __init__(self, stage: Stage, cases: list[tuple[str | None, bool]]) -> None:
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, initializer=work_as_the_system)
        self._stage = stage
        self._futures: dict[tuple[str | None, bool], Future[Ending]] = {
            case: self._pool.submit(self._play, *case) for case in cases
        }

    def _play(self, kill_at: str | None, refused: bool) -> Ending:
        try:
            return self._stage.play(kill_at=kill_at, refused=refused)
        finally:
            connections.close_all()

    def of(self, kill_at: str | None, *, refused: bool = False) -> Ending:
        return self._futures[kill_at, refused].result(timeout=560)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


@pytest.fixture(scope="module")
def plays(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Plays]:
    chosen = [item for item in request.session.items if getattr(item, "module", None) is request.module]
    params: list[dict[str, Any]] = [item.callspec.params for item in chosen if hasattr(item, "callspec")]
    made = Plays(stage, [(p["kill_at"], p["refused"]) for p in params])
    yield made
    made.close()


@pytest.mark.parametrize(("kill_at", "refused"), [(None, False)], ids=["nobody killed"])
def test_these_are_all_the_boundaries(plays: Plays, kill_at: None, refused: bool) -> None:
    ending = plays.of(kill_at, refused=refused)
    assert ending.outcome == "whole"
    alone = {f"{step}:effect-answered" for step in FORWARD} - set(ANSWERED)  # the same moment as after-effect
    assert set(ending.boundaries) - alone == set(FORWARD_CASES)


@pytest.mark.parametrize(("kill_at", "refused"), [(None, True)], ids=["nobody killed"])
def test_these_are_all_the_boundaries_of_the_way_back(plays: Plays, kill_at: None, refused: bool) -> None:
    ending = plays.of(kill_at, refused=refused)
    assert ending.outcome == "before"
    back = {name for name in ending.boundaries if name.startswith("undo:")}
    alone = {f"{step}:effect-answered" for step in BACK} - set(ANSWERED_BACK)
    assert back - alone == {*boundaries_of(BACK, AHEAD_BACK), *ANSWERED_BACK}


@pytest.mark.parametrize("refused", [False], ids=["forward"])
@pytest.mark.parametrize("kill_at", FORWARD_CASES)
def test_a_promotion_whose_worker_is_killed(plays: Plays, kill_at: str, refused: bool) -> None:
    ending = plays.of(kill_at, refused=refused)
    _holds(ending)
    assert ending.says() == {"whole": ("COMPLETED", "COMPLETED"), "before": ("FAILED", "FAILED")}[ending.outcome]


@pytest.mark.parametrize("refused", [True], ids=["back"])
@pytest.mark.parametrize("kill_at", BACK_CASES)
def test_a_promotion_whose_worker_is_killed_on_the_way_back(plays: Plays, kill_at: str, refused: bool) -> None:
    ending = plays.of(kill_at, refused=refused)
    _holds(ending)
    assert ending.outcome == "before"
    assert ending.says() == ("FAILED", "FAILED")
    result = ending.promotion.execution_result or {}
    assert result["rollback_result"]["status"] == "success"
    assert result["rollback_result"]["proof"]["equal"] == 15


def _holds(ending: Ending) -> None:
    """Killed indeed, wholly the one or wholly the other, and found by others."""
    assert ending.exit_code == -9
    assert ending.outcome in ("whole", "before"), (ending.outcome, ending.promotion.execution_result)
    assert ending.waited_seconds <= FOUND_WITHIN_SECONDS
