"""How much of something may go on at a time in this process: in all, and for one person, tenant or address."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping


class Slots:
    """Counts what is under way by names. Safe between threads; each process counts for itself."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, most: Mapping[str, int]) -> bool:
        """Hold one slot under each name, or none where one of them has as many as it may."""
        with self._lock:
            if not self.has_room(most):
                return False
            self._held.update(most.keys())
            return True

    def has_room(self, most: Mapping[str, int]) -> bool:
        """Whether `take` would hold one now: to refuse before anything is done for it."""
        return all(self._held[name] < count for name, count in most.items())

    def give_back(self, most: Mapping[str, int]) -> None:
        with self._lock:
            self._held.subtract(most.keys())
            for name in most:
                if self._held[name] <= 0:
                    del self._held[name]

    @contextlib.contextmanager
    def held(self, most: Mapping[str, int]) -> Iterator[bool]:
        """Whether a slot was free; it is held inside the block."""
        taken = self.take(most)
        try:
            yield taken
        finally:
            if taken:
                self.give_back(most)

    def __len__(self) -> int:
        """How many names hold any."""
        return len(self._held)
