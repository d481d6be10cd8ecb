"""How long a list may take, and how much of the process: for lists that a person waits for.

It rests between the pages. An n8n that answers at once, and never comes to an end, would keep a web process busy until
the list's deadline, and every page of everybody with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from . import errors

PAGE_SECONDS = 0.05
"""What a page takes at the least, by the clock: less than any n8n needs for 250 workflows."""
REST_FACTOR = 4.0
"""How many times as long as it was worked on."""
LONGEST_REST_SECONDS = 1.0


class Pace:
    """For one list, in the thread that reads it. Without ``within_seconds`` it neither rests nor ends."""

    def __init__(self, within_seconds: float | None, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._until = None if within_seconds is None else time.monotonic() + within_seconds
        self._sleep = sleep
        self._since, self._worked = time.monotonic(), time.thread_time()

    def rest(self) -> None:
        """After a page: sleep until it has taken as long as it may at the least."""
        if self._until is None:
            return
        worked = time.thread_time() - self._worked
        least = self._since + max(PAGE_SECONDS, worked * REST_FACTOR)
        self._sleep(min(max(least - time.monotonic(), 0.0), LONGEST_REST_SECONDS))
        self._since, self._worked = time.monotonic(), time.thread_time()

    def keep(self) -> None:
        """Raise `TimedOut` once the time is over."""
        if self._until is not None and time.monotonic() > self._until:
            raise errors.TimedOut("The list of workflows did not end in time.")
