"""Work that goes on beside a database transaction, and whose last step waits for its commit."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self


class Abandoned(Exception):
    """The transaction did not commit: the work beside it must not become visible."""


class Beside:
    """One piece of work in a thread of its own; use as a context manager around the transaction.

    The work must not touch the database. It gets a function that returns once ``finish`` was called, and raises
    ``Abandoned`` where the block was left without it. Leaving the block waits for the thread.
    """

    def __init__(self) -> None:
        self._committed: Future[None] = Future()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
        self._work: Future[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def begin(self, work: Callable[[Callable[[], None]], Any]) -> None:
        """Start ``work(committed)``."""
        self._work = self._pool.submit(work, self._committed.result)

    def finish(self) -> Any:
        """The transaction has committed: let the work end, and return or raise what it does."""
        if self._work is None:
            raise RuntimeError("nothing was begun beside the transaction")
        self._committed.set_result(None)
        return self._work.result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._committed.done():
            self._committed.set_exception(Abandoned())
        self._pool.shutdown()
