"""Large blocks of memory are mapped for themselves: they grow without being copied, and are given back at once.

glibc begins that way, but takes the largest block that was freed as its new measure (up to 32 MiB): a process that has
read one answer of 8 MB keeps such blocks in its heap from then on, and copies what grows there.
"""

from __future__ import annotations

import contextlib
import ctypes

_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 1024 * 1024


def map_large_blocks() -> None:
    """For every process, before it reads anything. Where the C library is another one, nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
