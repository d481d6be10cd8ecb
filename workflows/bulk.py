"""Many new rows in one statement of two parameters: a quarter of the time that ``bulk_create`` takes for thousands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model
from django.db.models.base import ModelState

from core.texts import json_for_rows

ROWS_AT_ONCE = 2000
M = TypeVar("M", bound=Model)


def maker(model: type[M], **common: Any) -> Callable[..., M]:
    """A function that makes instances with new keys that share the values of ``common``, without calling the model.

    A quarter of the time of calling the model, for thousands. Defaults are shared: replace them, do not change them.
    """
    template = model(**common).__dict__
    key = model._meta.pk

    def make(**values: Any) -> M:
        made = model.__new__(model)
        made.__dict__ = {**template, "_state": ModelState(), key.attname: key.get_default(), **values}
        return made

    return make


def insert(rows: Sequence[Model]) -> None:
    """Insert unsaved instances of one model. Joins the caller's transaction; triggers and policies apply as ever.

    A column that holds the very same object in every row is sent once; so is one that holds another column's object.
    """
    if not rows:
        return
    columns = _columns(rows)
    shared = _shared(columns) if len(rows) > 1 else {}  # a single row has nothing in common with others
    own = {name: column for name, column in columns.items() if name not in shared}
    copied = _copied(rows[0], own)
    sent = {name: column for name, column in own.items() if name not in copied}
    query = _insertion(_quoted(rows[0]._meta.db_table), shared, {name: copied.get(name, name) for name in own})
    with connection.cursor() as cursor:
        for each in _batches(sent, len(rows)):
            cursor.execute(query, [json_for_rows(shared), json_for_rows(each)])
    for row in rows:
        row._state.adding = False


def _batches(columns: Mapping[str, list[Any]], count: int) -> Iterator[list[dict[str, Any]]]:
    """The rows of some columns, in batches of one statement each."""
    for start in range(0, count, ROWS_AT_ONCE):
        parts = [column[start : start + ROWS_AT_ONCE] for column in columns.values()]
        yield [dict(zip(columns, row, strict=True)) for row in zip(*parts, strict=True)]


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def _insertion(table: str, shared: Iterable[str], own: Mapping[str, str]) -> str:
    """The statement. ``shared`` columns are sent once; ``own`` ones are filled from the column that they map to."""
    sources = {name: f"same.{_quoted(name)}" for name in shared}
    sources |= {name: f"each.{_quoted(source)}" for name, source in own.items()}
    return (
        f"INSERT INTO {table} ({', '.join(map(_quoted, sources))}) SELECT {', '.join(sources.values())}"  # noqa: S608 - names of a model's columns
        f" FROM jsonb_populate_record(NULL::{table}, %s::jsonb) AS same,"
        f" jsonb_populate_recordset(NULL::{table}, %s::jsonb) AS each"
    )


def _columns(rows: Sequence[Model]) -> dict[str, list[Any]]:
    """Each column's values, row by row. A field that sets itself on saving, such as a time, is set once for all."""
    columns: dict[str, list[Any]] = {}
    for field in rows[0]._meta.concrete_fields:
        given = rows[0].__dict__[field.attname]
        made = field.pre_save(rows[0], True)
        if made is not given:
            for row in rows:
                setattr(row, field.attname, made)
        columns[str(field.column)] = [row.__dict__[field.attname] for row in rows]
    return columns


def _shared(columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The values of columns that hold the very same object in every row."""
    return {name: column[0] for name, column in columns.items() if _is_same(column)}


def _is_same(column: Sequence[Any]) -> bool:
    first = column[0]
    return all(value is first for value in column)


def _copied(row: Model, columns: dict[str, list[Any]]) -> dict[str, str]:
    """Columns that hold the same objects as an earlier one of their type, which is sent."""
    types = {str(field.column): field.db_type(connection) for field in row._meta.concrete_fields}
    first: dict[tuple[Any, ...], str] = {}
    earlier = {name: first.setdefault((types[name], *map(id, column)), name) for name, column in columns.items()}
    return {name: other for name, other in earlier.items() if other != name}
