"""A workflow as people read it: a section per node and one each for connections and settings, made of lines.

Values stand one to a line, indented by their place; a text of several lines stands as its lines, in its own language.
What looks like a secret is hidden in what is shown, and still compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import msgspec
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


class Line(msgspec.Struct, frozen=True, gc=False):
    """``raw`` is compared, ``shown`` is what people may see of it. ``language`` is '' for what is no code."""

    raw: str
    shown: str
    language: str = ""
    colours: tuple[Colour, ...] = ()


Write = Callable[["_Writer"], Iterator[Line]]


class Section:
    """A node, or what is the workflow's own. ``key`` finds it on the other side; ``node`` is the node's name.

    Its lines are written when they are asked for: most sections of a workflow did not change.
    """

    def __init__(self, key: str, title: str, kind: str, write: Write, *, stamp: str, node: str = "") -> None:
        self.key, self.title, self.kind, self.node = key, title, kind, node
        self.stamp = stamp
        """Equal for what is certainly equal."""
        self._write = write

    @property
    def address(self) -> str:
        """The key as an address can name it: half a character has no place there."""
        return storable(self.key)

    @cached_property
    def raws(self) -> tuple[str, ...]:
        """The lines as they are compared."""
        return tuple(line.raw for line in self._write(_Writer(self.kind, shows=False)))

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """The lines with what people may see of them."""
        return tuple(self._write(_Writer(self.kind)))


def sections_of(content: Mapping[str, Any] | None) -> list[Section]:
    """Of a portable workflow, or of what counts of it; nothing for one that does not exist."""
    if content is None:
        return []
    nodes = [_node_section(node) for node in content.get("nodes") or () if isinstance(node, Mapping)]
    return [*nodes, *_own_sections(content)]


def _node_section(node: Mapping[str, Any]) -> Section:
    name = str(node.get("name") or "")
    kind = str(node.get("type") or "").rsplit(".", 1)[-1]
    own = {k: v for k, v in node.items() if k not in ("name", "parameters")}
    parameters = node.get("parameters") or {}

    def write(writer: _Writer) -> Iterator[Line]:
        yield from writer.of_object(own, 0)
        yield from writer.of_object(parameters, 0)

    return Section(f"node:{name}", name, kind, write, stamp=_plain([own, parameters]), node=name)


def _own_sections(content: Mapping[str, Any]) -> Iterator[Section]:
    """What is the workflow's own: its settings, and a line for each connection."""
    own = {key: value for key, value in content.items() if key not in ("nodes", "connections") and value}
    if own:
        write: Write = lambda writer: writer.of_object(own, 0)  # noqa: E731
        yield Section("workflow:settings", "Settings", "settings", write, stamp=_plain(own))
    links = content.get("connections") or {}
    found = sorted(line for source, outputs in links.items() for line in _from(str(source), outputs))
    if found:
        lines = [Line(text, text) for text in found]
        stamp = "\n".join(found)
        yield Section("workflow:connections", "Connections", "connections", lambda _: iter(lines), stamp=stamp)


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


class _Writer:
    """Writes values as lines; keys stand in one order on both sides. Unless it ``shows``, only what is compared."""

    def __init__(self, kind: str, *, shows: bool = True) -> None:
        self.kind, self.shows = kind, shows

    def of_object(self, value: Mapping[str, Any], depth: int, *, secret: bool = False) -> Iterator[Line]:
        named = any(isinstance(value.get(key), str) and is_secret_name(value[key]) for key in ("name", "key"))
        for key in sorted(value, key=str):
            hide = secret or is_secret_name(str(key)) or (named and key == "value")
            yield from self._field(str(key), value[key], depth, secret=hide and str(key) != "credentials")

    def _field(self, key: str, value: Any, depth: int, *, secret: bool) -> Iterator[Line]:
        head = f"{INDENT * depth}{key}:"
        if depth >= DEEPEST:
            yield self._line(f"{head} ", _plain(value), secret=secret)
        elif isinstance(value, Mapping) and value:
            yield Line(head, head)
            yield from self.of_object(value, depth + 1, secret=secret)
        elif isinstance(value, list) and value:
            yield Line(head, head)
            yield from self._items(value, depth + 1, secret=secret)
        elif isinstance(value, str):
            yield from self._text(head, value, depth, _language(key, value, self.kind), secret=secret)
        else:
            yield self._line(f"{head} ", _plain(value), secret=secret)

    def _items(self, values: list[Any], depth: int, *, secret: bool) -> Iterator[Line]:
        for value in values:
            if isinstance(value, Mapping) and value and depth < DEEPEST:
                bullet = f"{INDENT * depth}-"
                yield Line(bullet, bullet)
                yield from self.of_object(value, depth + 1, secret=secret)
            elif isinstance(value, str):
                yield from self._text(f"{INDENT * depth}-", value, depth, "", secret=secret)
            else:
                yield self._line(f"{INDENT * depth}- ", _plain(value), secret=secret)

    def _text(self, head: str, value: str, depth: int, language: str, *, secret: bool) -> Iterator[Line]:
        if "\n" not in value:
            yield self._line(f"{head} ", value, secret=secret, language=language)
            return
        yield Line(head, head)
        rows, before = value.split("\n"), INDENT * (depth + 1)
        if not self.shows:
            yield from (Line(before + raw, "") for raw in rows)
            return
        shown = mask(value, secret=secret, longest=len(value)).split("\n")
        if len(rows) != len(shown):
            # Hidden across lines, as a private key is: then none of them is shown.
            shown = [HIDDEN] * len(rows)
        for raw, told in zip(rows, shown, strict=True):
            yield Line(f"{before}{raw}", _cut(f"{before}{told}"), language)

    def _line(self, head: str, value: str, *, secret: bool, language: str = "") -> Line:
        if not self.shows:
            return Line(head + value, "")
        return Line(head + value, _cut(head + mask(value, secret=secret, longest=LONGEST_LINE)), language)


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
