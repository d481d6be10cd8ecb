"""Code in its own language: which stretches of a line are keywords, texts, numbers, comments or names.

Lexers are a library's and the code is other people's: how much is looked at, and for how long, is bounded. What is left
over stands uncoloured.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby

from msgspec.structs import replace
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String, _TokenType

from .lines import EXPRESSION, Colour, Line

LONGEST_CODE = 20_000
"""Characters of one piece of code that are coloured."""
SECONDS = 0.1
"""For how long one piece is looked at."""

_CLASSES = (
    (Comment, "c"),
    (Keyword, "k"),
    (String, "s"),
    (Number, "m"),
    (Name.Function, "n"),
    (Name.Class, "n"),
    (Name.Tag, "n"),
    (Name.Builtin, "n"),
)
_BRACES = re.compile(r"\{\{.*?\}\}")


def coloured(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The same lines, with their colours where they are code."""
    found: list[Line] = []
    for language, group in groupby(lines, key=lambda line: line.language):
        part = list(group)
        if language == EXPRESSION:
            part = [replace(line, colours=_expressions(line.shown)) for line in part]
        elif language:
            part = list(_lexed(part, language))
        found += part
    return tuple(found)


def _expressions(text: str) -> tuple[Colour, ...]:
    return tuple((braces.start(), braces.end(), "x") for braces in _BRACES.finditer(text))


@lru_cache(maxsize=32)
def _lexer(language: str) -> Lexer:
    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


def _lexed(lines: Sequence[Line], language: str) -> Iterator[Line]:
    """Lexed as one piece, since a text or a comment may go over several lines."""
    text = "\n".join(line.shown for line in lines)
    if len(text) > LONGEST_CODE:
        yield from lines
        return
    stretches = _stretches(text, language)
    start = 0
    pending: list[tuple[int, int, str]] = []
    for line in lines:
        end = start + len(line.shown)
        while not pending or pending[-1][1] <= end:
            found = next(stretches, None)
            if found is None:
                break
            pending.append(found)
        inside = tuple(
            (max(first, start) - start, min(last, end) - start, name)
            for first, last, name in pending
            if first < end and last > start
        )
        pending = [stretch for stretch in pending if stretch[1] > end]
        yield replace(line, colours=inside)
        start = end + 1


def _stretches(text: str, language: str) -> Iterator[tuple[int, int, str]]:
    lexer = _lexer(language)  # made once, which takes longer than most code
    until = time.monotonic() + SECONDS
    for index, token, value in lexer.get_tokens_unprocessed(text):
        if name := _class_of(token):
            yield index, index + len(value), name
        if time.monotonic() > until:
            return


@lru_cache(maxsize=512)
def _class_of(token: _TokenType) -> str:
    return next((name for kind, name in _CLASSES if token in kind), "")
