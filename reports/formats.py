"""Rows into a file, one at a time: memory stays flat however many there are.

PostgreSQL itself writes CSV (COPY) and the objects of JSON Lines; the others read a server-side cursor. All of it is
one statement in the caller's scope, so a file shows one moment.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import xlsxwriter
from django.db import connection

from core.reports import Column, Report
from core.spreadsheets import harmless
from core.wording import counted

from .definitions import Asked
from .models import Format

#: Called with the number of rows so far.
OnProgress = Callable[[int], None]
#: Rows between two calls of ``OnProgress``; also what the cursor fetches at once.
CHUNK_ROWS = 2_000
SHEET_ROWS = 1_000_000
CELL_CHARACTERS = 32_000

CONTENT_TYPES = {
    Format.CSV: "text/csv; charset=utf-8",
    Format.JSONL: "application/x-ndjson",
    Format.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    Format.HTML: "text/html; charset=utf-8",
}
#: The same without parameters.
MEDIA_TYPES = tuple(content_type.partition(";")[0] for content_type in CONTENT_TYPES.values())


def query_values(asked: Asked, *, platform: bool) -> dict[str, Any]:
    """The parameters of the query."""
    return {
        "since": asked.since,
        "until": asked.until,
        "as_of": asked.as_of,
        "person": asked.person,
        "tenant": asked.tenant,
        "platform": platform,
    }


def rows_of(report: Report, values: dict[str, Any], *, limit: int | None = None) -> Iterator[tuple[Any, ...]]:
    """The rows through a server-side cursor, ``CHUNK_ROWS`` held at a time. Needs a scope."""
    sql = report.sources if limit is None else f"{report.sources} LIMIT {int(limit)}"
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, values)
        while chunk := cursor.fetchmany(CHUNK_ROWS):
            yield from chunk


def write(report: Report, values: dict[str, Any], kind: str, path: Path, *, title: str, on_progress: OnProgress) -> int:
    """Make the file. Returns the number of rows. ``on_progress`` may raise to stop."""
    if kind == Format.XLSX:
        return _xlsx(report, values, path, title, on_progress)
    with path.open("wb", buffering=1 << 20) as out:
        return {Format.CSV: _csv, Format.JSONL: _jsonl, Format.HTML: _html}[Format(kind)](
            report, values, out, title, on_progress
        )


def _cell(column: Column) -> str:
    """SQL of a column in CSV."""
    if column.kind == "boolean":
        return f"{column.name}::text AS {column.name}"
    return harmless(column.name) if column.kind == "text" else column.name


def _csv(report: Report, values: dict[str, Any], out: BinaryIO, title: str, on_progress: OnProgress) -> int:
    cells = ", ".join(_cell(column) for column in report.columns)
    sql = f"COPY (SELECT {cells} FROM ({report.query}) AS found) TO STDOUT WITH (FORMAT csv, HEADER)"  # noqa: S608
    with connection.cursor() as cursor:
        with cursor.copy(sql, values) as stream:
            for number, line in enumerate(stream):
                out.write(line)
                if number % CHUNK_ROWS == 0:
                    on_progress(number)
        return int(cursor.rowcount)


def _jsonl(report: Report, values: dict[str, Any], out: BinaryIO, title: str, on_progress: OnProgress) -> int:
    number = 0
    with connection.chunked_cursor() as cursor:
        cursor.execute(f"SELECT row_to_json(line)::text FROM ({report.sources}) AS line", values)  # noqa: S608
        while chunk := cursor.fetchmany(CHUNK_ROWS):
            out.writelines(line.encode() + b"\n" for (line,) in chunk)
            number += len(chunk)
            on_progress(number)
    return number


def _xlsx(report: Report, values: dict[str, Any], path: Path, title: str, on_progress: OnProgress) -> int:
    options = {"constant_memory": True, "tmpdir": str(path.parent), "remove_timezone": True}
    book = xlsxwriter.Workbook(str(path), options)
    # Its own clock would make two files of the same rows differ.
    book.set_properties({"title": title, "created": values["as_of"].astimezone(UTC).replace(tzinfo=None)})
    head = book.add_format({"bold": True})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    number, sheet = 0, None
    for number, row in enumerate(rows_of(report, values), start=1):
        line = (number - 1) % SHEET_ROWS + 1
        if line == 1:
            sheet = _sheet(book, report, head)
        for position, (column, value) in enumerate(zip(report.columns, row, strict=True)):
            _write_cell(sheet, line, position, column, value, moment)
        if number % CHUNK_ROWS == 0:
            on_progress(number)
    if sheet is None:
        _sheet(book, report, head)
    book.close()
    return number


def _sheet(book: Any, report: Report, head: Any) -> Any:
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, len(report.columns) - 1, 22)
    for position, column in enumerate(report.columns):
        label = f"{column.label} (UTC)" if column.kind == "time" else column.label
        sheet.write_string(0, position, label, head)
    return sheet


def _write_cell(sheet: Any, line: int, position: int, column: Column, value: Any, moment: Any) -> None:
    if value is None:
        return
    if column.kind == "time":
        sheet.write_datetime(line, position, value.astimezone(UTC), moment)
    elif column.kind in ("integer", "decimal"):
        sheet.write_number(line, position, value)
    elif column.kind == "boolean":
        sheet.write_boolean(line, position, value)
    else:
        # As a string whatever it looks like: nothing becomes a formula or a link.
        sheet.write_string(line, position, str(value)[:CELL_CHARACTERS])


_PAGE_STYLE = """
body { font: 12px/1.45 system-ui, sans-serif; margin: 24px; color: #111; background: #fff; }
h1 { font-size: 18px; margin: 0 0 4px; } p { margin: 0 0 12px; color: #555; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #ccc; padding: 3px 6px; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
thead { display: table-header-group; background: #eee; } tr { break-inside: avoid; }
@page { size: A4 landscape; margin: 10mm; } @media print { body { margin: 0; font-size: 8px; } }
"""


def _html(report: Report, values: dict[str, Any], out: BinaryIO, title: str, on_progress: OnProgress) -> int:
    """A self-contained page: it is opened from a disk and printed, never served by the console."""
    heads = "".join(f"<th>{html.escape(column.label)}</th>" for column in report.columns)
    until = f" Times are UTC; nothing later than {shown(values['as_of'])}."
    out.write(
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        f"<style>{_PAGE_STYLE}</style>\n<h1>{html.escape(title)}</h1><p>{html.escape(report.answers + until)}</p>\n"
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n".encode()
    )
    number = 0
    for number, row in enumerate(rows_of(report, values), start=1):
        cells = "".join(f"<td>{html.escape(shown(value))}</td>" for value in row)
        out.write(f"<tr>{cells}</tr>\n".encode())
        if number % CHUNK_ROWS == 0:
            on_progress(number)
    out.write(f"</tbody></table>\n<p>{counted(number, 'row')}.</p></html>\n".encode())
    return number


def shown(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(round(value, 2)) if hasattr(value, "quantize") else str(value)
