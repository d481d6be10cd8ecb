"""A workflow as people read it: a section per node and one each for connections and settings, made of lines.

Values stand one to a line, indented by their place; a text of several lines stands as its lines, in its own language.
What looks like a secret is hidden in what is shown, and still compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from core.texts import json_bytes, storable
from workflows.masking import HIDDEN, is_secret_name, mask

INDENT = "  "
DEEPEST = 40
LONGEST_LINE = 2000
"""Characters of one line that are shown; the rest is counted."""

#: Languages of a node's parameters, by the last part of its type; any other parameter of such a name counts too.
BY_PARAMETER = {
    "jsCode": "javascript",
    "functionCode": "javascript",
    "pythonCode": "python",
    "jsonBody": "json",
    "jsonOutput": "json",
    "jsonSchema": "json",
    "jsonExample": "json",
    "html": "html",
    "htmlTemplate": "html",
    "css": "css",
    "command": "bash",
    "systemMessage": "markdown",
    "prompt": "markdown",
}
SQL_NODES = ("postgres", "mysql", "mssql", "microsoftsql", "snowflake", "bigquery", "questdb", "cratedb", "timescaledb")
EXPRESSION = "expression"


Colour = tuple[int, int, str]
"""From, to, and the class of a stretch of a line."""


@dataclass(frozen=True, slots=True)
class Line:
    """``raw`` is compared, ``shown`` is what people may see of it. ``language`` is '' for what is no code."""

    raw: str
    shown: str
    language: str = ""
    colours: tuple[Colour, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A node, or what is the workflow's own. ``key`` finds it on the other side; ``node`` is the node's name."""

    key: str
    title: str
    kind: str
    lines: tuple[Line, ...]
    node: str = ""


def sections_of(content: Mapping[str, Any] | None) -> list[Section]:
    """Of a portable workflow, or of what counts of it; nothing for one that does not exist."""
    if content is None:
        return []
    own = [
        Section("workflow:settings", "Settings", "settings", tuple(_workflow_lines(content))),
        Section("workflow:connections", "Connections", "connections", tuple(_connection_lines(content))),
    ]
    nodes = [_node_section(node) for node in content.get("nodes") or () if isinstance(node, Mapping)]
    return [section for section in [*nodes, *own] if section.lines]


def _node_section(node: Mapping[str, Any]) -> Section:
    name = str(node.get("name") or "")
    kind = str(node.get("type") or "").rsplit(".", 1)[-1]
    own = {k: v for k, v in node.items() if k not in ("name", "parameters", "id")}
    lines = [*_of_object(own, 0, kind), *_of_object(node.get("parameters") or {}, 0, kind)]
    return Section(f"node:{name}", name, kind, tuple(lines), name)


def _workflow_lines(content: Mapping[str, Any]) -> Iterator[Line]:
    own = {k: content[k] for k in ("name", "description", "active", "settings", "tags", "pinData") if content.get(k)}
    yield from _of_object(own, 0, "")


def _connection_lines(content: Mapping[str, Any]) -> Iterator[Line]:
    """One line for each connection: ``From → To``, with the output and what kind of connection it is."""
    connections = content.get("connections") or {}
    found = [line for source, outputs in connections.items() for line in _from(str(source), outputs)]
    for text in sorted(found):
        yield Line(text, text)


def _from(source: str, outputs: Any) -> Iterator[str]:
    if not isinstance(outputs, Mapping):
        return
    for kind, slots in outputs.items():
        for number, targets in enumerate(slots if isinstance(slots, list) else ()):
            for target in targets if isinstance(targets, list) else ():
                yield _connection(source, str(kind), number, target)


def _connection(source: str, kind: str, number: int, target: Any) -> str:
    """``target`` as n8n writes it, or as ``normalize`` does: a list of node, kind and input."""
    if isinstance(target, list):
        node, index = (target[0] if target else ""), (target[2] if len(target) > 2 else 0)
    elif isinstance(target, Mapping):
        node, index = target.get("node", ""), target.get("index")
    else:
        node, index = target, 0
    output = f" (output {number + 1})" if number else ""
    into = f" (input {index + 1})" if isinstance(index, int) and index else ""
    through = "" if kind == "main" else f" [{kind}]"
    return f"{source}{output} → {node}{into}{through}"


# -- values -----------------------------------------------------------------------------------------------------------


def _of_object(value: Mapping[str, Any], depth: int, kind: str, *, secret: bool = False) -> Iterator[Line]:
    named = any(isinstance(value.get(key), str) and is_secret_name(value[key]) for key in ("name", "key"))
    for key in value:
        hide = secret or is_secret_name(str(key)) or (named and key == "value")
        yield from _field(str(key), value[key], depth, kind, secret=hide and str(key) != "credentials")


def _field(key: str, value: Any, depth: int, kind: str, *, secret: bool) -> Iterator[Line]:
    head = f"{INDENT * depth}{key}:"
    if depth >= DEEPEST:
        yield _line(f"{head} ", _plain(value), secret=secret)
    elif isinstance(value, Mapping) and value:
        yield Line(head, head)
        yield from _of_object(value, depth + 1, kind, secret=secret)
    elif isinstance(value, list) and value:
        yield Line(head, head)
        yield from _items(value, depth + 1, kind, secret=secret)
    elif isinstance(value, str):
        yield from _text(head, value, depth, _language(key, value, kind), secret=secret)
    else:
        yield _line(f"{head} ", _plain(value), secret=secret)


def _items(values: list[Any], depth: int, kind: str, *, secret: bool) -> Iterator[Line]:
    for value in values:
        if isinstance(value, Mapping) and value and depth < DEEPEST:
            bullet = f"{INDENT * depth}-"
            yield Line(bullet, bullet)
            yield from _of_object(value, depth + 1, kind, secret=secret)
        elif isinstance(value, str):
            yield from _text(f"{INDENT * depth}-", value, depth, "", secret=secret)
        else:
            yield _line(f"{INDENT * depth}- ", _plain(value), secret=secret)


def _text(head: str, value: str, depth: int, language: str, *, secret: bool) -> Iterator[Line]:
    if "\n" not in value:
        yield _line(f"{head} ", value, secret=secret, language=language)
        return
    yield Line(head, head)
    rows, shown = value.split("\n"), mask(value, secret=secret, longest=len(value)).split("\n")
    before = INDENT * (depth + 1)
    if len(rows) != len(shown):
        # Hidden across lines, as a private key is: what is shown has other lines than what is compared.
        yield Line(f"{before}{value}", f"{before}{HIDDEN}", language)
        return
    for raw, told in zip(rows, shown, strict=True):
        yield Line(f"{before}{raw}", _cut(f"{before}{told}"), language)


def _line(head: str, value: str, *, secret: bool, language: str = "") -> Line:
    return Line(f"{head}{value}", _cut(f"{head}{mask(value, secret=secret, longest=LONGEST_LINE)}"), language)


def _cut(text: str) -> str:
    text = storable(text)
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}… {len(text) - LONGEST_LINE:,} more"


def _language(key: str, value: str, kind: str) -> str:
    lowered = kind.lower()
    if key == "query" and any(name in lowered for name in SQL_NODES):
        return "sql"
    if key in BY_PARAMETER:
        return BY_PARAMETER[key]
    return EXPRESSION if value.startswith("=") else ""


def _plain(value: Any) -> str:
    try:
        return json_bytes(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return repr(value)
