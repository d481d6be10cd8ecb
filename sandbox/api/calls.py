"""A call past the checks, its answer, and the pages of a list."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox.schema import MAX_PAGE
from sandbox.state import Instance


@dataclass(slots=True)
class Request:
    """One call, past the key and the checks of the contract."""

    instance: Instance
    params: dict[str, str]
    query: dict[str, Any]
    body: Any
    #: What the key may do; None: everything.
    scopes: list[str] | None = None

    def may(self, scope: str) -> bool:
        return self.scopes is None or scope in self.scopes


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def reply(value: Any, status: int = 200) -> Answer:
    return Answer(status, orjson.dumps(value))


def message(status: int, text: str) -> Answer:
    return reply({"message": text}, status)


NOT_FOUND = message(404, "Not Found")
Handler = Callable[[Request], Answer]


def cursor_of(request: Request) -> dict[str, Any] | None:
    """What the cursor says; {} without one, None for one that was not made here."""
    text = request.query.get("cursor")
    if not text:
        return {}
    try:
        value = orjson.loads(base64.b64decode(text, validate=True))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def next_cursor(value: Mapping[str, Any]) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()


BAD_CURSOR = message(400, "An invalid cursor was provided")


def window(request: Request, total: int) -> tuple[int, int, str | None] | None:
    """Start and end of the asked page and the next cursor; None for a bad cursor. The cursor's limit wins."""
    cursor = cursor_of(request)
    if cursor is None:
        return None
    limit = int(cursor.get("limit", request.query.get("limit", 100)))
    offset = int(cursor.get("offset", 0))
    if limit <= 0:
        return offset, total, None
    end = offset + min(limit, MAX_PAGE)
    return offset, end, next_cursor({"limit": limit, "offset": end}) if total > end else None


def page_of(request: Request, items: list[Any]) -> Answer:
    """One page of a list."""
    found = window(request, len(items))
    if found is None:
        return BAD_CURSOR
    start, end, following = found
    return reply({"data": items[start:end], "nextCursor": following})
