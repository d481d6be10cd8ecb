"""Which called workflows must run on: told from how things stand before and after."""

from __future__ import annotations

from workflows.calling import Standing, because_called, kept_running


def on(name: str, *calls: str) -> Standing:
    return Standing(name, True, calls)


def off(name: str, *calls: str) -> Standing:
    return Standing(name, False, calls)


def test_what_ends_and_is_called_by_what_runs_on_is_kept() -> None:
    now = {"a": on("A", "b"), "b": on("B"), "c": on("C")}
    assert kept_running(now, {"b": off("B"), "c": None}) == {"b": ["A"]}
    assert kept_running(now, {"b": None}) == {"b": ["A"]}


def test_callers_that_end_rest_or_call_it_no_longer_keep_nothing() -> None:
    now = {"a": on("A", "b"), "b": on("B"), "r": off("R", "b")}
    for caller in (off("A", "b"), on("A"), None):
        assert kept_running(now, {"a": caller, "b": off("B")}) == {}


def test_callers_that_begin_to_run_or_are_new_count() -> None:
    now = {"a": off("A"), "b": on("B")}
    assert kept_running(now, {"a": on("A", "b"), "b": off("B"), "n": on("N", "b")}) == {"b": ["A", "N"]}


def test_what_is_kept_keeps_what_it_calls_as_it_will_be_and_a_circle_comes_to_an_end() -> None:
    now = {"a": on("A", "b"), "b": on("B", "x"), "c": on("C"), "d": on("D"), "x": on("X")}
    then = {"b": off("B", "c"), "c": off("C", "b", "d"), "d": None, "x": off("X")}
    assert kept_running(now, then) == {"b": ["A"], "c": ["B"], "d": ["C"]}


def test_what_calls_itself_or_rests_already_is_not_kept() -> None:
    now = {"a": on("A", "a", "b"), "b": off("B")}
    assert kept_running(now, {"a": off("A", "a"), "b": off("B")}) == {}


def test_the_reason_names_three_at_most() -> None:
    assert because_called(["A"]) == "because “A” calls it"
    assert because_called(["A", "B"]) == "because “A”, “B” call it"
    assert because_called(["A", "B", "C", "D"]) == "because “A”, “B”, “C” and 1 more call it"
