from __future__ import annotations

import pytest

from opsconsole.launcher.errors import LauncherError
from opsconsole.launcher.supervise import HEALTHY_AFTER, PAUSES, Supervisor, Watched


class FakeChild:
    """A child that is dead unless told otherwise."""

    process = None
    log = "some.log"

    def __init__(self, name: str, *, essential: bool) -> None:
        self.name, self.essential = name, essential
        self.alive, self.starts = False, 0

    def running(self) -> bool:
        return self.alive

    def start(self) -> None:
        self.starts += 1

    def exit_reason(self) -> str:
        return "was ended by SIGKILL"

    def last_words(self) -> str:
        return "the last line"


def watched(*, essential: bool) -> tuple[Supervisor, Watched, FakeChild]:
    child = FakeChild("worker", essential=essential)
    supervisor = Supervisor()
    supervisor.add(child)  # type: ignore[arg-type]
    return supervisor, supervisor.watched[0], child


def die_until_given_up(supervisor: Supervisor, each: Watched) -> float:
    now = 0.0
    for pause in PAUSES:
        supervisor.look(each, now=now)
        now += pause
        supervisor.look(each, now=now)
    supervisor.look(each, now=now)
    return now


def test_a_dead_child_is_started_again_after_its_pause_and_not_before() -> None:
    supervisor, each, child = watched(essential=False)
    supervisor.look(each, now=0)
    supervisor.look(each, now=PAUSES[0] - 0.1)
    assert child.starts == 0
    supervisor.look(each, now=PAUSES[0])
    assert child.starts == 1


def test_a_child_that_keeps_dying_is_named_and_left(capsys: pytest.CaptureFixture[str]) -> None:
    supervisor, each, child = watched(essential=False)
    now = die_until_given_up(supervisor, each)
    assert child.starts == len(PAUSES)
    supervisor.look(each, now=now + 1000)
    assert child.starts == len(PAUSES)
    told = capsys.readouterr().err
    assert "6 times in a row" in told
    assert "the last line" in told


def test_an_essential_child_that_keeps_dying_ends_everything() -> None:
    supervisor, each, _ = watched(essential=True)
    with pytest.raises(LauncherError, match="6 times in a row"):
        die_until_given_up(supervisor, each)


def test_a_child_that_lived_long_enough_has_all_its_chances_again() -> None:
    supervisor, each, child = watched(essential=True)
    supervisor.look(each, now=0)
    supervisor.look(each, now=PAUSES[0])
    child.alive = True
    supervisor.look(each, now=PAUSES[0] + HEALTHY_AFTER + 1)
    assert each.failures == 0
