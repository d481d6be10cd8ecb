"""Unpacks an answer as it arrives, never more of it than is accepted.

A decoder that is handed a whole chunk inflates all of it before anybody can count: 3.4 KB of gzip within gzip become
gigabytes. This one is told how much room is left.
"""

from __future__ import annotations

import zlib
from typing import Protocol

from .errors import ConnectionDropped, NotAnApi, TooLarge

_GZIP = 16 + zlib.MAX_WBITS


class Unpacking(Protocol):
    """Turns chunks off the wire into at most ``limit_bytes`` of body."""

    def feed(self, chunk: bytes) -> bytes: ...

    def end(self) -> None: ...


def unpacking_of(encoding: str, *, asked: str, limit_bytes: int) -> Unpacking:
    """How to read a body with this ``Content-Encoding``; raises ``NotAnApi`` for one that was not asked for."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return Plain(limit_bytes)
    if name in ("gzip", "x-gzip") and "gzip" in asked:
        return Gzip(limit_bytes)
    raise NotAnApi(
        "The answer is packed in a way that was not asked for.",
        details={"content_encoding": encoding[:100]},
        recovery="Have the proxy before n8n send answers as they are, or packed by gzip once.",
    )


class Plain:
    def __init__(self, limit_bytes: int) -> None:
        self._limit = self._room = limit_bytes

    def feed(self, chunk: bytes) -> bytes:
        self._room -= len(chunk)
        if self._room < 0:
            raise TooLarge(details={"limit_bytes": self._limit})
        return chunk

    def end(self) -> None:
        """A plain body may end anywhere: HTTP itself knows how long it is."""


class Gzip:
    def __init__(self, limit_bytes: int) -> None:
        self._limit = self._room = limit_bytes
        self._inflater = zlib.decompressobj(_GZIP)
        self._is_begun = False

    def feed(self, chunk: bytes) -> bytes:
        """The next part of the body; raises ``TooLarge`` before there is more than one byte too many of it."""
        self._is_begun = self._is_begun or bool(chunk)
        try:
            body = self._inflater.decompress(chunk, self._room + 1)
        except zlib.error as exc:
            raise NotAnApi("The answer is not the gzip that it says it is.") from exc
        self._room -= len(body)
        if self._room < 0:
            raise TooLarge(details={"limit_bytes": self._limit})
        return body

    def end(self) -> None:
        """Raise ``ConnectionDropped`` where the body was cut off, or something follows it."""
        if self._is_begun and (not self._inflater.eof or self._inflater.unused_data):
            raise ConnectionDropped("The answer's gzip was cut off, or more follows it.")
