"""Bytes on their way to Git: whoever makes them does not wait until it has packed what came before."""

from __future__ import annotations

import contextlib
import os
import threading

from .plumbing import Process

MOST_WAITING_BYTES = 16 * 1024 * 1024
"""Whoever sends more waits until Git has taken some; as much again may be on its way."""

NICENESS = 10
"""Packing gives way to reading while both want the same processor: what is left of it is done beside the database."""

_WORTH_WAKING_BYTES = 256 * 1024


class Feed:
    """Writes to a process's input in a thread of its own, in order. ``end`` it and ``wait``, or ``abandon`` it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        # Its own: whoever ends the process closes the other one, whose number may then mean another file.
        self._input = os.dup(process.stdin.fileno())
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._ended = False
        self._error: OSError | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._carry, name=f"git-feed-{process.pid}", daemon=True)
        self._thread.start()

    def send(self, *parts: bytes) -> None:
        """Hand something on. Raises the ``OSError`` that an earlier part met."""
        with self._changed:
            while self._waiting_bytes > MOST_WAITING_BYTES and self._error is None:
                self._changed.wait()
            if self._error is not None:
                raise self._error
            self._parts += parts
            self._waiting_bytes += sum(map(len, parts))
            if self._waiting_bytes >= _WORTH_WAKING_BYTES:
                self._changed.notify_all()

    def end(self, last: bytes) -> None:
        """Nothing comes after ``last``; returns at once."""
        with self._changed:
            self._parts.append(last)
            self._ended = True
            self._changed.notify_all()

    def wait(self, *, timeout_seconds: float) -> bool:
        """Whether the process took everything in time, after ``end``."""
        self._thread.join(timeout_seconds)
        return self._error is None and not self._thread.is_alive()

    def abandon(self) -> None:
        """End the process, whatever it is doing, and forget what it was not given yet."""
        self.process.close()
        with self._changed:
            self._parts.clear()
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def _carry(self) -> None:
        try:
            while batch := self._next():
                view = memoryview(batch)
                while view:
                    view = view[os.write(self._input, view) :]
        except OSError as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
        finally:
            os.close(self._input)

    def _next(self) -> bytes:
        """Everything that waits, or nothing at the end."""
        with self._changed:
            while self._waiting_bytes < _WORTH_WAKING_BYTES and not self._ended:
                self._changed.wait()
            batch = b"".join(self._parts)
            self._parts.clear()
            self._waiting_bytes = 0
            self._changed.notify_all()
        return batch
