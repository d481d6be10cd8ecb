"""Rests between the pages of a list, so that reading it takes a small part of the process, however many come.

An n8n that answers at once, and never comes to an end, would keep a web process busy until the list's deadline, and
every page of everybody with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PAGE_SECONDS = 0.05
"""What a page takes at the least, by the clock: less than any n8n needs for 250 workflows."""
REST_FACTOR = 4.0
"""How many times as long as it was worked on."""
LONGEST_REST_SECONDS = 1.0


class Pace:
    """For one list, in the thread that reads it."""

    def __init__(self, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._since, self._worked = time.monotonic(), time.thread_time()

    def rest(self) -> None:
        """Sleep until the page has taken as long as it may at the least."""
        worked = time.thread_time() - self._worked
        least = self._since + max(PAGE_SECONDS, worked * REST_FACTOR)
        self._sleep(min(max(least - time.monotonic(), 0.0), LONGEST_REST_SECONDS))
        self._since, self._worked = time.monotonic(), time.thread_time()
