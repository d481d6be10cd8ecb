"""What is unusual about the content of a workflow and no reason to refuse it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from .normalization import STICKY
from .references import address_by_place

MAX_WARNINGS = 200


def warnings(content: Mapping[str, Any]) -> list[dict[str, str]]:
    """What is unusual about a portable workflow: `[{code, message, node}]`, at most ``MAX_WARNINGS``."""
    nodes = content.get("nodes") or ()
    names = {str(node.get("name") or "") for node in nodes}
    ids = {str(node.get("id")) for node in nodes}
    found = list(_node_warnings(nodes))
    for source, kinds in (content.get("connections") or {}).items():
        found += _connection_warnings(source, kinds, names, ids)
    if all(node.get("type") == STICKY for node in nodes):
        found.append(_warning("empty", "The workflow has no nodes."))
    return found[:MAX_WARNINGS]


def _warning(code: str, message: str, node: str = "") -> dict[str, str]:
    return {"code": code, "message": message, "node": node}


def _node_warnings(nodes: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    seen: set[str] = set()
    for node in nodes:
        name = str(node.get("name") or "")
        if not name:
            yield _warning("node_without_name", "A node has no name.")
        elif name in seen:
            yield _warning("duplicate_node", f"Two nodes are called “{name}”.", name)
        seen.add(name)
        if address_by_place(node, "") is not None:
            message = f"“{name}” has no webhook id: in an older n8n its address holds the id of the workflow."
            yield _warning("no_webhook_id", message, name)


def _connection_warnings(
    source: str, kinds: Any, names: Container[str], ids: Container[str]
) -> Iterator[dict[str, str]]:
    if source not in names and source in ids:
        message = f"A connection names its start by the id “{source}”; n8n goes by names and does not see it."
        yield _warning("connection_by_id", message, source)
        return
    if source not in names:
        message = f"A connection starts at “{source}”, which is not a node of this workflow."
        yield _warning("dangling_connection", message, source)
    for link in _links(kinds):
        target = link.get("node") if isinstance(link, dict) else None
        if not isinstance(target, str) or target not in names:
            message = f"“{source}” leads to “{target}”, which is not a node of this workflow."
            yield _warning("dangling_connection", message, source)


def _links(kinds: Any) -> Iterator[Any]:
    for outputs in kinds.values() if isinstance(kinds, dict) else ():
        for links in outputs or ():
            yield from links or ()
