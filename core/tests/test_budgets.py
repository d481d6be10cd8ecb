from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import budgets
from core.budgets import Budgets, LineFull, Turns


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_is_spent_and_comes_back() -> None:
    clock = Clock()
    kept = Budgets(per_second=2, most=3, clock=clock)
    for _ in range(3):
        assert kept.seconds_short("ada") == 0
        kept.spend("ada")
    assert kept.seconds_short("ada") == pytest.approx(0.5)
    assert kept.seconds_short("bob") == 0
    clock.now = 0.5
    assert kept.seconds_short("ada") == pytest.approx(0)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=80))
def test_nobody_gets_more_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    clock = Clock()
    kept, given_away = Budgets(per_second=3, most=5, clock=clock), 0
    for pause in pauses:
        clock.now += pause
        if not kept.seconds_short("ada"):
            kept.spend("ada")
            given_away += 1
    assert given_away <= 5 + 3 * clock.now + 1e-6


def test_a_flood_of_names_takes_no_memory_and_forgets_the_idle_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MOST_NAMES", 100)
    kept = Budgets(per_second=0.001, most=2, clock=Clock())
    for number in range(500):
        kept.spend(f"name {number}")
        kept.spend("ada")
    assert len(kept._left) == 100 and kept.seconds_short("ada") > 0


async def all_at_once(turns: Turns, names: str) -> list[str]:
    """Who worked, in the order in which they began; two of one name never beside a third."""
    began: list[str] = []
    inside: dict[str, int] = {}

    async def work(name: str) -> None:
        turn = await turns.take(name)
        began.append(name)
        inside[name] = inside.get(name, 0) + 1
        assert inside[name] <= 2
        await asyncio.sleep(0)
        inside[name] -= 1
        turn.give_back()
        turn.give_back()

    await asyncio.gather(*(work(name) for name in names))
    await asyncio.sleep(0)
    return began


def test_one_that_floods_waits_for_itself_alone() -> None:
    turns = Turns(most=2, longest_line=100)
    began = asyncio.run(all_at_once(turns, "a" * 40 + "b"))
    assert began.index("b") == 2 and len(began) == 41
    assert len(turns) == 0


def test_a_full_line_takes_no_more_and_who_leaves_it_is_passed_over() -> None:
    async def play() -> None:
        turns = Turns(most=1, longest_line=1)
        first = await turns.take("a")
        waiting = asyncio.create_task(turns.take("a"))
        await asyncio.sleep(0)
        with pytest.raises(LineFull):
            await turns.take("a")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        first.give_back()
        await asyncio.sleep(0)
        assert len(turns) == 0
        (await turns.take("a")).give_back()

    asyncio.run(play())


def test_one_that_leaves_as_it_is_called_passes_its_turn_on() -> None:
    async def play() -> None:
        turns = Turns(most=1, longest_line=2)
        first = await turns.take("a")
        leaving, staying = (asyncio.create_task(turns.take("a")) for _ in range(2))
        await asyncio.sleep(0)
        first._give_back()
        leaving.cancel()
        answers: list[Any] = await asyncio.gather(leaving, staying, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        answers[1].give_back()
        await asyncio.sleep(0)
        assert len(turns) == 0

    asyncio.run(play())
