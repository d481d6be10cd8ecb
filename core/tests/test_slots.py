from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from core.slots import Slots


def test_what_is_full_under_one_name_takes_none_under_another() -> None:
    slots = Slots()
    both, one = {"all": 2, "ada": 1}, {"all": 2, "bob": 5}
    assert slots.take(both) and not slots.take(both) and slots.take(one) and not slots.take(one)
    slots.give_back(both)
    assert slots.take(one)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_there_are_never_more_than_may_be_and_nothing_is_left_behind(acts: list[tuple[str, bool]]) -> None:
    slots, held = Slots(), []
    for who, takes in acts:
        if takes:
            free = len(held) < 4 and held.count(who) < 2
            assert slots.take({"all": 4, who: 2}) is free
            held += [who] if free else []
        elif who in held:
            slots.give_back({"all": 4, who: 2})
            held.remove(who)
    for who in held:
        slots.give_back({"all": 4, who: 2})
    assert len(slots) == 0


def test_threads_share_them() -> None:
    slots, most, high = Slots(), {"all": 3}, []
    inside, lock = [0], threading.Lock()

    def work() -> None:
        for _ in range(200):
            with slots.held(most) as taken:
                if taken:
                    with lock:
                        inside[0] += 1
                        high.append(inside[0])
                    with lock:
                        inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(high) <= 3 and len(slots) == 0
