"""Whether a write may still leave the console. Clients ask right before each one; the job that writes answers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

_refuse: ContextVar[Callable[[], None] | None] = ContextVar("opsconsole_outgoing", default=None)


@contextlib.contextmanager
def guarded_by(refuse: Callable[[], None]) -> Iterator[None]:
    """Inside the block ``refuse`` is called before each write; what it raises keeps the write from leaving."""
    token = _refuse.set(refuse)
    try:
        yield
    finally:
        _refuse.reset(token)


def refuse_stopped() -> None:
    """Raise where the job that wants to write was stopped or taken over. Outside a job nothing is refused."""
    refuse = _refuse.get()
    if refuse is not None:
        refuse()
