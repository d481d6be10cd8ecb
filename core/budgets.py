"""How often something may happen under a name, and how much of it at a time. Counted in this process.

``Budgets`` and ``Turns`` belong to one event loop: only ``Turn.give_back`` may be called from other threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_NAMES = 20_000
"""Names that are remembered; the one longest unused goes first, and begins anew when it comes back."""


class Budgets:
    """Each name may spend ``most`` at once, and gets ``per_second`` back."""

    def __init__(self, *, per_second: float, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._most, self._clock = per_second, most, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_short(self, name: str) -> float:
        """How long until the name can spend one; 0 where it can now."""
        return max(0.0, (1.0 - self._now_left(name)) / self._per_second)

    def spend(self, name: str) -> None:
        """Take one, whether it is there or not: who asks looks first."""
        self._left[name] = (self._now_left(name) - 1.0, self._clock())
        self._left.move_to_end(name)
        if len(self._left) > MOST_NAMES:
            self._left.popitem(last=False)

    def _now_left(self, name: str) -> float:
        left, since = self._left.get(name, (self._most, self._clock()))
        return min(self._most, left + (self._clock() - since) * self._per_second)


class LineFull(Exception):
    """As many wait under the name as may."""


@dataclass(slots=True)
class _Line:
    working: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """At most ``most`` at a time under each name. Others wait, in order and ``longest_line`` of them."""

    def __init__(self, *, most: int, longest_line: int) -> None:
        self._most, self._longest_line = most, longest_line
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        """How many names are at work or wait."""
        return len(self._lines)

    async def take(self, name: str) -> Turn:
        """Wait for a turn; raises ``LineFull`` at once where too many do already."""
        line = self._lines.setdefault(name, _Line())
        if line.working < self._most:
            line.working += 1
        elif len(line.waiting) >= self._longest_line:
            raise LineFull
        else:
            await self._called_up(name, line)
        return Turn(lambda: self._pass_on(name))

    async def _called_up(self, name: str, line: _Line) -> None:
        call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(call)
        try:
            await call
        except asyncio.CancelledError:
            if call.cancelled():
                line.waiting.remove(call)
            else:
                self._pass_on(name)
            raise

    def _pass_on(self, name: str) -> None:
        line = self._lines[name]
        while line.waiting:
            call = line.waiting.popleft()
            if not call.done():
                call.set_result(None)
                return
        line.working -= 1
        if not line.working:
            del self._lines[name]


class Turn:
    """The right to work, until it is given back: once, however often that is asked for."""

    def __init__(self, pass_on: Callable[[], None]) -> None:
        self._pass_on = pass_on
        self._loop = asyncio.get_running_loop()
        self._is_held = True

    def give_back(self) -> None:
        """Let the next one work. From any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._give_back)

    def _give_back(self) -> None:
        if self._is_held:
            self._is_held = False
            self._pass_on()
