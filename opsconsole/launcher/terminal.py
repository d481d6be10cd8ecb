"""Lines for the person at the terminal. They go to stderr: stdout is for what another program reads."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str = "") -> None:
    """Print one line at once."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Name a piece of work, and how long it took once that is worth knowing (from a second on)."""
    began = time.monotonic()
    say(f"  {text} …")
    yield
    took = time.monotonic() - began
    if took >= 1:
        say(f"    done in {took:.1f} s")
