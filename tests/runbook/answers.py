"""What a block printed: psql's tables and the JSON of the calls, and what of it must not be empty."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: How psql shows a NULL here: the shell's psqlrc says so.
NULL = "(null)"
TABLE = re.compile(r"^(?P<head>[^\n]*)\n(?P<rule>[-+]+)\n(?P<body>(?:[^\n]*\n)*?)\((?P<count>\d+) rows?\)\n", re.M)

#: Tables that are good when empty, by block: the place of the table, from 0.
EMPTY_IS_WELL = {
    25: {0: "the rollback took everything back, and nothing is left to look after"},
    5: {0: "a tenant with more than ten environments would be an anomaly"},
    42: {1: "no stabilization failed"},
}
#: Tables that must be empty: what they look for is damage, or has just been taken away.
MUST_BE_EMPTY = {
    8: {0: "environments without a tenant", 1: "map rows without an environment"},
    53: {0: "the admin who was taken off"},
}
#: Columns that say nothing where all is well, by block.
NULL_IS_WELL = {
    5: {"confupdtype": "tenants refers to no other table", "confdeltype": "tenants refers to no other table"},
    47: {"ended_at": "a session that runs has no end"},
}
#: What a call or a file has no value for where all is well, by block.
NONE_IS_WELL = {
    18: {"git_commit_sha": "a file cannot name the commit that it is part of"},
    19: {"": "as above, read by jq"},
}
#: The end of a list, in every list.
LAST_PAGE = "next_cursor"


@dataclass(frozen=True)
class Table:
    """A result as psql printed it."""

    columns: list[str]
    rows: list[dict[str, str]]

    def values(self, column: str) -> list[str]:
        return [row[column] for row in self.rows]


@dataclass(frozen=True)
class Answer:
    """What a block said."""

    text: str
    tables: list[Table]
    documents: list[Any]

    def __contains__(self, wanted: str) -> bool:
        return wanted in self.text

    def table_with(self, column: str) -> Table:
        return next(table for table in self.tables if column in table.columns)


def read(text: str) -> Answer:
    return Answer(
        text=text,
        tables=[_table(found) for found in TABLE.finditer(text)],
        documents=list(_documents(TABLE.sub(_before_table, text))),
    )


def _before_table(found: re.Match[str]) -> str:
    """curl adds no line: its answer stands in the line of the next table's head."""
    return found["head"][: -len(found["rule"])] + "\n"


def _table(found: re.Match[str]) -> Table:
    """Columns end where the rule under the head has its crosses."""
    edges = [-1, *(at for at, mark in enumerate(found["rule"]) if mark == "+"), None]
    spans = [slice(left + 1, right) for left, right in itertools.pairwise(edges) if left is not None]
    head = found["head"][-len(found["rule"]) :]
    columns = [head[span].strip() for span in spans]
    rows = [
        dict(zip(columns, [line[span].strip() for span in spans], strict=True))
        for line in found["body"].splitlines()
        if line.strip()
    ]
    return Table(columns, rows)


def _documents(text: str) -> Iterator[Any]:
    """One answer often begins where the one before ends: curl adds no line."""
    decoder, at = json.JSONDecoder(), 0
    begins = re.compile(r'^\s*null$|[{\[]|^\s*"', re.M)
    while begin := begins.search(text, at):
        try:
            value, at = decoder.raw_decode(text, begin.end() - len(begin[0].strip()))
        except ValueError:
            at = begin.end()
            continue
        yield value
        at += len(text[at:]) - len(text[at:].lstrip())
        text, at = text[at:], 0


def meaningless(number: int, answer: Answer) -> list[str]:
    """What is empty or null in a block's answer though it should not be, and the other way round."""
    return [*_odd_tables(number, answer.tables), *_odd_documents(NONE_IS_WELL.get(number, {}), answer.documents)]


def _odd_tables(number: int, tables: list[Table]) -> Iterator[str]:
    for place, table in enumerate(tables):
        if place in MUST_BE_EMPTY.get(number, {}):
            if table.rows:
                yield f"table {place} should be empty: {MUST_BE_EMPTY[number][place]}"
        elif not table.rows and place not in EMPTY_IS_WELL.get(number, {}):
            yield f"table {place} ({', '.join(table.columns)}) is empty"
        for column in table.columns if table.rows else []:
            if column not in NULL_IS_WELL.get(number, {}) and set(table.values(column)) <= {NULL, "", "null"}:
                yield f"{column} says nothing"


def _odd_documents(well: dict[str, str], documents: list[Any]) -> Iterator[str]:
    for document in documents:
        if document in (None, {}) and "" not in well:
            yield "a call answered nothing"
        elif isinstance(document, dict):
            yield from (
                f"{name} is null"
                for name, value in document.items()
                if value is None and name not in {LAST_PAGE, *well}
            )
