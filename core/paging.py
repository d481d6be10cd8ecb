"""Lists that stay quick however long they are: by key, never by offset."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

from .errors import Invalid

M = TypeVar("M", bound=Model)
LARGEST_PAGE = 200


class BadCursor(Invalid):
    code = "BAD_CURSOR"
    title = "That cursor cannot be read"
    message = "The cursor does not come from this list."
    recovery = "Begin again without a cursor."


@dataclass(frozen=True, slots=True)
class Page:
    """Rows and the way on. ``next_cursor`` is empty at the end."""

    rows: list[Any]
    next_cursor: str = ""


def encode(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values, default=str)).decode().rstrip("=")


def decode(cursor: str, count: int) -> list[Any]:
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise BadCursor from error
    if not isinstance(values, list) or len(values) != count:
        raise BadCursor
    return values


@contextmanager
def of_another_list() -> Iterator[None]:
    """A cursor that can be read may still hold what these columns cannot: another list's id, or anything at all."""
    try:
        yield
    except (TypeError, ValueError, ValidationError) as error:
        raise BadCursor from error


def clamp(limit: Any, default: int = 50, largest: int = LARGEST_PAGE) -> int:
    """A page size between 1 and ``largest``."""
    try:
        wanted = int(limit or default)
    except (TypeError, ValueError) as error:
        raise Invalid("`limit` must be a whole number.", details={"limit": str(limit)}) from error
    if wanted < 1:
        raise Invalid("`limit` must be at least 1.", details={"limit": wanted})
    return min(wanted, largest)


def one_of(name: str, given: str, known: Collection[str]) -> None:
    """Refuse a program's filter that is none of those known: nothing at all, or everything, would be a wrong answer."""
    if given and given not in known:
        raise Invalid(f"There is no {name} “{given}”.", recovery=f"Use one of {', '.join(known)}.")


def by_time(queryset: QuerySet[M], *, cursor: str = "", limit: int = 50, field: str = "created_at") -> Page:
    """Newest first, by (``field``, id)."""
    if cursor:
        moment, last_id = decode(cursor, 2)
        with of_another_list():
            when = datetime.fromisoformat(str(moment))
            queryset = queryset.filter(Q(**{f"{field}__lt": when}) | Q(**{field: when, "pk__lt": last_id}))
    return paged(queryset.order_by(f"-{field}", "-pk"), limit, lambda row: [getattr(row, field).isoformat(), row.pk])


def by_id(queryset: QuerySet[M], *, cursor: str = "", limit: int = 50) -> Page:
    """Newest first, by a rising number."""
    if cursor:
        (last_id,) = decode(cursor, 1)
        with of_another_list():
            queryset = queryset.filter(pk__lt=last_id)
    return paged(queryset.order_by("-pk"), limit, lambda row: [row.pk])


def by_name(queryset: QuerySet[M], *, cursor: str = "", limit: int = 50, field: str = "name") -> Page:
    """In the order of (``field``, id)."""
    if cursor:
        name, last_id = decode(cursor, 2)
        with of_another_list():
            queryset = queryset.filter(Q(**{f"{field}__gt": name}) | Q(**{field: name, "pk__gt": last_id}))
    return paged(queryset.order_by(field, "pk"), limit, lambda row: [getattr(row, field), row.pk])


def paged(ordered: QuerySet[Any] | Sequence[Any], limit: int, key: Callable[[Any], list[Any]]) -> Page:
    """The first rows of an ordered list; ``key`` makes the cursor that leads on from its last row."""
    rows = list(ordered[: limit + 1])
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows, encode(key(rows[-1])) if more else "")
