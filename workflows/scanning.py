"""The references of a workflow that cannot be rewritten: variables, hosts, packages, tables by name, ids in text.

Slower than ``references`` (it reads every text of every parameter), so it is for plans and previews, never for
captures. A search of the whole for a few bytes comes first; most workflows need no more.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, Literal

import msgspec

from .content import dump
from .locators import (
    DATA_TABLE,
    DATA_TABLE_NODES,
    WORKFLOW_CALLERS,
    call_path,
    called_workflow,
    embedded_workflow,
)
from .normalization import STICKY

FoundKind = Literal[
    "variable", "env_variable", "package", "host", "data_table", "dynamic_call", "hidden_call", "mention"
]

_VARIABLE = re.compile(r"""\$vars(?:\.([A-Za-z_]\w*)|\[\s*["']([^"']+)["']\s*\])""")
_ENVIRONMENT = re.compile(r"""(?:\$env|process\.env)(?:\.([A-Za-z_]\w*)|\[\s*["']([^"']+)["']\s*\])""")
#: A call of the workflow that it stands in, wherever that is.
_ITSELF = re.compile(r"=\s*\{\{\s*\$workflow\.id\s*\}\}\s*")
_WORD = re.compile(r"[A-Za-z0-9]{10,40}")
_ITS_OWN = ("n8n-nodes-base.", "@n8n/n8n-nodes-langchain.")
FOUND_AT_MOST = 500
MAX_VALUE = 200
"""Characters of a value that is not an id."""


class Found(msgspec.Struct, frozen=True):
    """One such reference. ``value`` is a variable's name, a package, a host, a table's name or an id; ``label`` says
    more (a node type with its version, an environment, a workflow). ``in_use`` False: only a disabled node has it."""

    kind: FoundKind
    value: str
    node: str
    path: str
    label: str = ""
    in_use: bool = True


class _Wanted(msgspec.Struct, frozen=True):
    """What to look for in texts, once the whole has been searched: ``expressions`` are variables."""

    hosts: Mapping[str, str]
    ids: Mapping[str, str]
    expressions: bool

    @property
    def anything(self) -> bool:
        return self.expressions or bool(self.hosts) or bool(self.ids)


def scan(content: Mapping[str, Any], *, hosts: Mapping[str, str], ids: Mapping[str, str]) -> list[Found]:
    """Find them all, at most 500.

    ``hosts`` maps ``host[:port][/path]`` of other environments to their names; ``ids`` maps ids of the workflow's own
    environment that could be named in a text to what they are called.
    """
    nodes = content.get("nodes") or ()
    wanted = _wanted(dump({"nodes": nodes}), hosts, ids)
    found: list[Found] = []
    for number, node in enumerate(nodes):
        if node.get("type") != STICKY:
            found += _of_node(node, f"nodes[{number}]", wanted)
        if len(found) >= FOUND_AT_MOST:
            break
    return list(dict.fromkeys(found))[:FOUND_AT_MOST]


def _wanted(data: bytes, hosts: Mapping[str, str], ids: Mapping[str, str]) -> _Wanted:
    words = set(_WORD.findall(data.decode("utf-8", "replace"))) if ids else set()
    return _Wanted(
        hosts={host: name for host, name in hosts.items() if host and host.encode() in data},
        ids={word: ids[word] for word in words if word in ids},
        expressions=any(sign in data for sign in (b"$vars", b"$env", b"process.env")),
    )


def package_of(node_type: str) -> str:
    """The community package that a node type comes from, or nothing for n8n's own."""
    if not node_type or node_type.startswith(_ITS_OWN) or "." not in node_type:
        return ""
    return node_type.rpartition(".")[0]


def _of_node(node: Mapping[str, Any], path: str, wanted: _Wanted) -> Iterator[Found]:
    name, kind, in_use = str(node.get("name") or ""), str(node.get("type") or ""), not node.get("disabled")
    package = package_of(kind)
    if package:
        label = f"{kind} {node.get('typeVersion') or 1}"
        yield Found("package", package, name, f"{path}.type", label, in_use)
    parameters = node.get("parameters")
    if not isinstance(parameters, dict):
        return
    path = f"{path}.parameters"
    yield from _table_by_name(node, name, path, in_use)
    if kind in WORKFLOW_CALLERS:
        yield from _unfollowed_call(node, name, path, in_use)
    if wanted.anything:
        known = (called_workflow(node), _table_id(parameters))
        for where, text in _texts(parameters, path):
            yield from _of_text(text, name, where, wanted, in_use)
            yield from _mentions(text, name, where, wanted.ids, known, in_use)


def _table_id(parameters: Mapping[str, Any]) -> Any:
    locator = parameters.get("dataTableId")
    return locator.get("value") if isinstance(locator, dict) else locator


def _table_by_name(node: Mapping[str, Any], name: str, path: str, in_use: bool) -> Iterator[Found]:
    parameters = node["parameters"]
    locator = parameters.get("dataTableId")
    if node.get("type") not in DATA_TABLE_NODES or not isinstance(locator, dict) or locator.get("mode") != "name":
        return
    value = str(locator.get("value") or "")
    if value and not value.startswith("="):
        in_use = in_use and parameters.get("source", DATA_TABLE) == DATA_TABLE
        yield Found("data_table", value, name, f"{path}.dataTableId.value", value, in_use)


def _unfollowed_call(node: Mapping[str, Any], name: str, path: str, in_use: bool) -> Iterator[Found]:
    """A call of a workflow that is known only at run time, or that lies outside n8n."""
    parameters = node["parameters"]
    source, keys = parameters.get("source"), call_path(node)
    if keys is not None and called_workflow(node) is None:
        value = _value_at(parameters, keys)
        if isinstance(value, str) and value.startswith("=") and _ITSELF.fullmatch(value) is None:
            yield Found("dynamic_call", value[:MAX_VALUE], name, f"{path}.{'.'.join(keys)}", "", in_use)
    elif source == "parameter" and parameters.get("workflowJson"):
        if embedded_workflow(node) is None:
            yield Found("hidden_call", "workflowJson", name, f"{path}.workflowJson", "", in_use)
    elif source in ("url", "localFile"):
        value = str(parameters.get("workflowUrl") or parameters.get("workflowPath") or "")
        yield Found("hidden_call", value[:MAX_VALUE], name, path, "", in_use)


def _value_at(parameters: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    value: Any = parameters
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value.get("value") if isinstance(value, dict) else value


def _of_text(text: str, name: str, path: str, wanted: _Wanted, in_use: bool) -> Iterator[Found]:
    for match in _VARIABLE.finditer(text):
        yield Found("variable", match[1] or match[2], name, path, "", in_use)
    for match in _ENVIRONMENT.finditer(text):
        yield Found("env_variable", match[1] or match[2], name, path, "", in_use)
    for host, environment in wanted.hosts.items():
        if host in text and re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w.-])", text):
            yield Found("host", host, name, path, environment, in_use)


def _mentions(
    text: str, name: str, path: str, ids: Mapping[str, str], known: Container[Any], in_use: bool
) -> Iterator[Found]:
    """Ids in a text that no reference of the node accounts for."""
    if not ids or path.endswith((".cachedResultUrl", ".workflowJson")):
        return
    for word in _WORD.findall(text):
        if word in ids and word not in known:
            yield Found("mention", word, name, path, ids[word], in_use)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{number}]")
