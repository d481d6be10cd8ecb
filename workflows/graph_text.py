"""Text in a drawing: what XML can hold, and how much of it fits into a box of some width."""

from __future__ import annotations

import re
from itertools import accumulate
from xml.sax.saxutils import escape as _xml

_BAD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_NARROW = frozenset("iIljftr.,:;'|!()[]{}/\\` -")
_WIDE = frozenset("mwMWQO@%&—…")


def escape(text: object) -> str:
    """Escape for XML text and attributes; characters that XML cannot hold become �."""
    return _xml(_BAD.sub("\ufffd", str(text)), {'"': "&quot;", "'": "&#39;"})


def _share(character: str) -> float:
    """The width of a character as a share of the font's size: what the widest of our fonts needs."""
    if character in _NARROW:
        return 0.43
    if character in _WIDE or ord(character) > 0x2E7F:
        return 1.05
    return 0.76 if character.isupper() else 0.69


def width_of(text: str, size: float) -> float:
    """About how wide a text is drawn, never less than it is."""
    return size * sum(map(_share, text))


def fitted(text: str, *, size: float, width: float, rows: int = 1) -> list[str]:
    """The text in at most so many rows of this width, broken at a space where there is one; cut with an ellipsis."""
    rest = " ".join(text.split())
    found: list[str] = []
    while rest and len(found) < rows:
        taken = _fitting(rest, size, width)
        is_last = len(found) == rows - 1
        if taken < len(rest) and is_last:
            found.append(rest[: _fitting(rest, size, width - size * _share("…"))].rstrip() + "…")
            break
        if taken < len(rest):
            space = rest.rfind(" ", taken // 3, taken + 1)
            taken = space if space > 0 else taken
        found.append(rest[:taken].rstrip())
        rest = rest[taken:].lstrip()
    return found


def _fitting(text: str, size: float, width: float) -> int:
    """How many characters fit, one at least."""
    return max(sum(so_far <= width / size for so_far in accumulate(map(_share, text[:200]))), 1)
