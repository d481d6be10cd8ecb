"""Whose is what stands there now? The question before anything is put back over it."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Whose(StrEnum):
    BEFORE = "before"  #: as it was before us
    OURS = "ours"  #: as we left it
    FOREIGN = "foreign"  #: somebody has changed it since


def whose(found: object, *, before: object, ours: Collection[object]) -> Whose:
    """Judge by comparison: contents, or their hashes; None is what is not there. BEFORE where both are alike."""
    if found == before:
        return Whose.BEFORE
    return Whose.OURS if found in ours else Whose.FOREIGN
