"""Numbers as they stand in sentences."""

from __future__ import annotations

from collections.abc import Sequence

NAMED_AT_MOST = 3


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 workflow`, `24 workflows`, `2 people` (`counted(2, "person", "people")`)."""
    return f"{number:,} {one if number == 1 else many or one + 's'}".replace(",", "\N{THIN SPACE}")


def quoted(names: Sequence[str]) -> str:
    """Return the first names for a sentence and how many more there are: `“A”, “B”, “C” and 5 more`."""
    more = len(names) - NAMED_AT_MOST
    first = ", ".join(f"“{name}”" for name in names[:NAMED_AT_MOST])
    return f"{first} and {more} more" if more > 0 else first


def named(names: Sequence[str], one: str, many: str = "") -> str:
    """Return what a sentence calls some things: their names where they are few, else how many there are."""
    if not names or len(names) > NAMED_AT_MOST:
        return counted(len(names), one, many)
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
