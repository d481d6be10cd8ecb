"""The references of a workflow that no rewriting can follow: variables, hosts, packages, tables by name, ids in text.

Slower than ``references`` (every text of every parameter is looked at), so it is for plans and previews, never for
captures. A search of the whole for a few bytes comes first; most workflows need no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from .content import dump
from .normalization import (
    DATA_TABLE,
    DATA_TABLE_NODES,
    STICKY,
    WORKFLOW_CALLERS,
    called_workflow,
    embedded_workflow,
    place_of_call,
)

FoundKind = Literal[
    "variable", "env_variable", "package", "host", "data_table", "dynamic_call", "hidden_call", "mention"
]

_VARIABLE = re.compile(r"""\$vars(?:\.([A-Za-z_]\w*)|\[\s*["']([^"']+)["']\s*\])""")
_ENVIRONMENT = re.compile(r"""(?:\$env|process\.env)(?:\.([A-Za-z_]\w*)|\[\s*["']([^"']+)["']\s*\])""")
_WORD = re.compile(r"[A-Za-z0-9]{10,40}")
_ITS_OWN = ("n8n-nodes-base.", "@n8n/n8n-nodes-langchain.")
FOUND_AT_MOST = 500


class Found(msgspec.Struct, frozen=True):
    """One such reference. ``value`` is a variable's name, a package, a host, a table's name or an id; ``label`` says
    more (a node type with its version, an environment, a workflow). ``in_use`` False: only a disabled node has it."""

    kind: FoundKind
    value: str
    node: str
    path: str
    label: str = ""
    in_use: bool = True


def scan(content: Mapping[str, Any], *, hosts: Mapping[str, str], ids: Mapping[str, str]) -> list[Found]:
    """Find them all, at most 500.

    ``hosts`` maps ``host[:port][/path]`` of other environments to their names; ``ids`` maps ids of the workflow's own
    environment that could be named in a text to what they are called.
    """
    data = dump({"nodes": content.get("nodes") or ()})
    named = {host: name for host, name in hosts.items() if host and host.encode() in data}
    texts = bool(named) or b"$vars" in data or b"$env" in data or b"process.env" in data
    mentioned = {m for m in _WORD.findall(data.decode("utf-8", "replace")) if m in ids} if ids else set()
    found: list[Found] = []
    for number, node in enumerate(content.get("nodes") or ()):
        if node.get("type") == STICKY:
            continue
        found += _of_node(node, f"nodes[{number}]", named, {m: ids[m] for m in mentioned}, texts)
        if len(found) >= FOUND_AT_MOST:
            break
    return list(dict.fromkeys(found))[:FOUND_AT_MOST]


def package_of(node_type: str) -> str:
    """The community package that a node type comes from, or nothing for n8n's own."""
    if not node_type or node_type.startswith(_ITS_OWN) or "." not in node_type:
        return ""
    return node_type.rpartition(".")[0]


def _of_node(
    node: Mapping[str, Any], place: str, hosts: Mapping[str, str], ids: Mapping[str, str], texts: bool
) -> Iterator[Found]:
    name, kind, used = str(node.get("name") or ""), str(node.get("type") or ""), not node.get("disabled")
    package = package_of(kind)
    if package:
        label = f"{kind} {node.get('typeVersion') or 1}"
        yield Found("package", package, name, f"{place}.type", label, used)
    parameters = node.get("parameters")
    if not isinstance(parameters, dict):
        return
    yield from _of_references(node, name, place, used)
    if not texts and not ids:
        return
    own = {called_workflow(node), _table_id(parameters)}
    for path, text in _texts(parameters, f"{place}.parameters"):
        if texts:
            yield from _of_text(text, name, path, hosts, used)
        for word in _WORD.findall(text) if ids and not path.endswith((".cachedResultUrl", ".workflowJson")) else ():
            if word in ids and word not in own:
                yield Found("mention", word, name, path, ids[word], used)


def _table_id(parameters: Mapping[str, Any]) -> Any:
    locator = parameters.get("dataTableId")
    return locator.get("value") if isinstance(locator, dict) else locator


def _of_references(node: Mapping[str, Any], name: str, place: str, used: bool) -> Iterator[Found]:
    """References to tables by name, and to workflows that only a run can tell."""
    parameters, kind = node["parameters"], node.get("type")
    locator = parameters.get("dataTableId")
    if kind in DATA_TABLE_NODES and isinstance(locator, dict) and locator.get("mode") == "name":
        value = str(locator.get("value") or "")
        if value and not value.startswith("="):
            used = used and parameters.get("source", DATA_TABLE) == DATA_TABLE
            yield Found("data_table", value, name, f"{place}.parameters.dataTableId.value", value, used)
    if kind not in WORKFLOW_CALLERS:
        return
    path = place_of_call(node)
    if path is not None and called_workflow(node) is None:
        told: Any = parameters
        for part in path:
            told = told.get(part) if isinstance(told, dict) else None
        told = told.get("value") if isinstance(told, dict) else told
        if isinstance(told, str) and told.startswith("="):
            yield Found("dynamic_call", told[:200], name, f"{place}.parameters.{'.'.join(path)}", "", used)
    elif parameters.get("source") == "parameter" and parameters.get("workflowJson"):
        if embedded_workflow(node) is None:
            yield Found("hidden_call", "workflowJson", name, f"{place}.parameters.workflowJson", "", used)
    elif parameters.get("source") in ("url", "localFile"):
        value = str(parameters.get("workflowUrl") or parameters.get("workflowPath") or "")[:200]
        yield Found("hidden_call", value, name, f"{place}.parameters", "", used)


def _of_text(text: str, name: str, path: str, hosts: Mapping[str, str], used: bool) -> Iterator[Found]:
    for match in _VARIABLE.finditer(text):
        yield Found("variable", match[1] or match[2], name, path, "", used)
    for match in _ENVIRONMENT.finditer(text):
        yield Found("env_variable", match[1] or match[2], name, path, "", used)
    for host, environment in hosts.items():
        if host in text and re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w.-])", text):
            yield Found("host", host, name, path, environment, used)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{number}]")
