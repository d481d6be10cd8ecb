"""Watching children: one that dies is started again a few times, then named."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .errors import LauncherError
from .processes import Child, signal_group
from .terminal import say

PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
HEALTHY_AFTER = 60.0
LOOK_EVERY = 0.3
# What stops together; each group once the one before has ended.
STOP_ORDER = (("demo", "web", "beat"), ("worker", "control"), ("sandbox",))


@dataclass
class Watched:
    """A child with its history of deaths."""

    child: Child
    failures: int = 0
    due: float | None = None
    began: float = field(default_factory=time.monotonic)
    given_up: bool = False


class Supervisor:
    """The children of one launcher."""

    def __init__(self) -> None:
        self.watched: list[Watched] = []
        self.passing: list[Child] = []

    def add(self, child: Child) -> Child:
        """Watch a child from now on (it may be started already)."""
        self.watched.append(Watched(child))
        return child

    def stop_with(self, child: Child) -> None:
        """A child that ends by itself: it is not started again, and stopped with the others where it still runs."""
        self.passing.append(child)

    def watch(self, *, until: Callable[[], bool] = lambda: False) -> None:
        """Look after the children that were started, until an exception ends it or ``until`` holds.

        The exception is a signal's, or that of an essential child that stays dead.
        """
        while not until():
            for each in self.watched:
                if each.child.process is not None or each.failures:
                    self.look(each, now=time.monotonic())
            time.sleep(LOOK_EVERY)

    def look(self, each: Watched, *, now: float) -> None:
        """One look at one child: note a death, or start it again when its pause is over."""
        if each.given_up:
            return
        if each.due is not None:
            if now >= each.due:
                self._restart(each, now)
            return
        if each.child.running():
            if each.failures and now - each.began > HEALTHY_AFTER:
                each.failures = 0
            return
        self._note_death(each, now)

    def _note_death(self, each: Watched, now: float) -> None:
        child = each.child
        reason = child.exit_reason()
        if child.process is not None:
            # What it started is of no use without it, and may hold its port.
            signal_group(child.process.pid, 9)
        if each.failures >= len(PAUSES):
            each.given_up = True
            failure = LauncherError(
                f"{child.name} {reason}, {each.failures + 1} times in a row.",
                log=child.last_words(),
                recovery=f"the whole log is {child.log}; start again once the cause is gone",
            )
            if child.essential:
                raise failure
            say(f"\n{failure}\nThe rest keeps running without it.")
            return
        pause = PAUSES[each.failures]
        each.failures += 1
        each.due = now + pause
        say(f"{child.name} {reason}; starting it again in {pause:.0f} s (log: {child.log})")

    def _restart(self, each: Watched, now: float) -> None:
        each.due = None
        each.began = now
        each.child.start()

    def stop(self, *, except_for: Sequence[Child] = ()) -> None:
        """Stop all but `except_for`, in order; those that stop together are asked together."""
        left = [each.child for each in self.watched if each.child not in except_for] + self.passing
        for names in STOP_ORDER:
            group = [child for child in left if child.name in names]
            for child in group:
                child.request_stop()
            for child in group:
                child.stop()
        for child in left:
            child.stop()
