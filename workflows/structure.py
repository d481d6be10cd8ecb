"""n8n's own rules of how a workflow is structured, checked before it is written, and what can safely be repaired.

The rules are those of n8n's structure check (measured on 2.41.1); an older n8n accepts such a workflow and ignores the
fault.
"""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterable, Iterator, Mapping, Set
from typing import Any

import msgspec

from .normalization import is_addressed_by_webhook_id

LONGEST_NAME = 128


class StructureFault(msgspec.Struct, frozen=True):
    """One thing that n8n does not keep as it is.

    ``consequence`` is what n8n does about it. ``repairable``: the console can repair it as ``repair`` says, which
    changes nothing that runs.
    """

    code: str
    message: str
    node: str = ""
    repairable: bool = False
    consequence: str = "n8n refuses that."
    repair: str = "It is taken away."


def structure_faults(content: Mapping[str, Any]) -> list[StructureFault]:
    """What n8n's structure check would refuse about a portable workflow."""
    nodes = content.get("nodes") or ()
    names = {str(node.get("name") or "") for node in nodes}
    faults = [
        *_name_faults(str(content.get("name") or "")),
        *_node_faults(nodes),
        *_connection_faults(content.get("connections") or {}, names),
        *_group_faults(content.get("nodeGroups") or [], {str(node.get("id") or "") for node in nodes}),
    ]
    return list(dict.fromkeys(faults))


def _name_faults(name: str) -> Iterator[StructureFault]:
    if not 1 <= len(name) <= LONGEST_NAME:
        what = f"a name of {len(name)} characters" if name else "no name"
        yield StructureFault("name_length", f"It has {what}; n8n takes 1 to {LONGEST_NAME}.")


def _node_faults(nodes: Iterable[Mapping[str, Any]]) -> Iterator[StructureFault]:
    names: set[str] = set()
    name_by_id: dict[str, str] = {}
    for node in nodes:
        name, node_id = str(node.get("name") or ""), str(node.get("id") or "")
        if not name:
            yield StructureFault("node_without_name", "A node has no name.")
        elif name in names:
            yield StructureFault("duplicate_node", f"Two nodes are called “{name}”.", name)
        names.add(name)
        if node_id and node_id in name_by_id:
            message = f"“{name_by_id[node_id]}” and “{name}” have one node id."
            yield StructureFault("duplicate_node_id", message, name, repairable=True)
        name_by_id.setdefault(node_id, name)
        if _lacks_webhook_id(node):
            yield _without_webhook_id(name)


def _connection_faults(connections: Mapping[str, Any], names: Container[str]) -> Iterator[StructureFault]:
    for source, target in _links(connections):
        if source not in names:
            message = f"A connection starts at “{source}”, which is not a node of this workflow."
        elif target is not None and target not in names:
            message = f"“{source}” leads to “{target}”, which is not a node of this workflow."
        else:
            continue
        yield StructureFault("dangling_connection", message, source, repairable=True)


def _group_faults(groups: Any, node_ids: Set[str]) -> Iterator[StructureFault]:
    if not _are_groups(groups):
        yield StructureFault("odd_group", "Its groups of nodes do not have the shape that n8n gives them.")
        return
    for group in groups:
        if set(group.get("nodeIds") or ()) - node_ids:
            message = f"The group “{group.get('name')}” holds a node that is not in this workflow."
            yield StructureFault("dangling_group", message, repairable=True)


def _lacks_webhook_id(node: Mapping[str, Any]) -> bool:
    return is_addressed_by_webhook_id(node) and not node.get("webhookId")


def _without_webhook_id(name: str) -> StructureFault:
    return StructureFault(
        "no_webhook_id",
        f"“{name}” has no webhook id, which its address is made of.",
        name,
        repairable=True,
        consequence="n8n gives it one of its own, so it is not what was approved any more.",
        repair="It is given one.",
    )


def _are_groups(groups: Any) -> bool:
    """Whether it is a list of groups, each of which holds the ids of its nodes."""
    if not isinstance(groups, list):
        return False
    held = [group.get("nodeIds") or [] if isinstance(group, dict) else None for group in groups]
    return all(isinstance(ids, list) and all(isinstance(one, str) for one in ids) for ids in held)


def _links(connections: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for source, kinds in connections.items():
        yield source, None
        for outputs in kinds.values() if isinstance(kinds, dict) else ():
            for links in outputs if isinstance(outputs, list) else ():
                for link in links if isinstance(links, list) else ():
                    yield source, str(link.get("node")) if isinstance(link, dict) else ""


def repaired(content: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` without what n8n refuses and nothing needs; equal where there is no such thing.

    Connections from and to nodes that are not there go, a second node of one id gets an id of its own, and groups
    lose nodes that are not there. A node whose address is made of its webhook id gets one where it has none: the same
    each time.
    """
    names = {str(node.get("name") or "") for node in content.get("nodes") or ()}
    nodes = _repaired_nodes(content)
    out = {**content, "nodes": nodes, "connections": _kept(content.get("connections") or {}, names)}
    groups = content.get("nodeGroups")
    if groups and _are_groups(groups):  # a person has to look at the others
        out["nodeGroups"] = _repaired_groups(groups, {str(node.get("id") or "") for node in nodes})
    return out


def _repaired_nodes(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    seen: set[str] = set()
    nodes = []
    for number, node in enumerate(content.get("nodes") or ()):
        node_id = str(node.get("id") or "")
        if node_id and node_id in seen:
            node = {**node, "id": _made_id(f"{node_id}:{number}")}
        seen.add(str(node.get("id") or ""))
        if _lacks_webhook_id(node):
            node = {**node, "webhookId": _made_id(f"{content.get('name')}:{node.get('name')}:{node_id or number}")}
        nodes.append(node)
    return nodes


def _made_id(seed: str) -> str:
    """The same id for the same seed, so that a repair is the same each time."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, seed))


def _repaired_groups(groups: list[dict[str, Any]], node_ids: Container[str]) -> list[dict[str, Any]]:
    kept = [{**group, "nodeIds": [i for i in group.get("nodeIds") or () if i in node_ids]} for group in groups]
    return [group for group in kept if group["nodeIds"]]


def _kept(connections: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    def there(link: Any) -> bool:
        return isinstance(link, dict) and str(link.get("node")) in names

    return {
        source: {
            kind: [
                [link for link in links if there(link)] if isinstance(links, list) else links
                for links in (outputs if isinstance(outputs, list) else ())
            ]
            for kind, outputs in kinds.items()
        }
        for source, kinds in connections.items()
        if source in names and isinstance(kinds, dict)
    }
