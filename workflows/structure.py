"""n8n's own rules of what a workflow may look like, looked at before it is written, and what can safely be mended.

The rules are those of n8n's structure check (measured on 2.41.1); an older n8n takes such a workflow and runs around
the fault.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .normalization import is_addressed_by_webhook_id

LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that n8n does not keep as it is.

    ``consequence`` says what n8n does about it. ``repairable``: the console can mend it as ``repair`` says, and that
    changes nothing that runs.
    """

    code: str
    message: str
    node: str = ""
    repairable: bool = False
    consequence: str = "n8n refuses that."
    repair: str = "It is taken away."


def structure_faults(content: Mapping[str, Any]) -> list[Fault]:
    """What n8n's structure check would refuse about a portable workflow."""
    faults: list[Fault] = []
    length = len(str(content.get("name") or ""))
    if not 1 <= length <= LONGEST_NAME:
        what = "no name" if length == 0 else f"a name of {length} characters"
        faults.append(Fault("name_length", f"It has {what}; n8n takes 1 to {LONGEST_NAME}."))
    nodes = content.get("nodes") or ()
    names: set[str] = set()
    ids: dict[str, str] = {}
    for node in nodes:
        name, ident = str(node.get("name") or ""), str(node.get("id") or "")
        if not name:
            faults.append(Fault("node_without_name", "A node has no name."))
        elif name in names:
            faults.append(Fault("duplicate_node", f"Two nodes are called “{name}”.", name))
        names.add(name)
        if ident and ident in ids:
            faults.append(Fault("duplicate_node_id", f"“{ids[ident]}” and “{name}” have one node id.", name, True))
        ids.setdefault(ident, name)
        if _lacks_webhook_id(node):
            faults.append(_without_webhook_id(name))
    for source, target in _links(content.get("connections") or {}):
        if source not in names:
            message = f"A connection starts at “{source}”, which is not a node of this workflow."
            faults.append(Fault("dangling_connection", message, source, True))
        elif target is not None and target not in names:
            message = f"“{source}” leads to “{target}”, which is not a node of this workflow."
            faults.append(Fault("dangling_connection", message, source, True))
    groups = content.get("nodeGroups") or []
    if not _are_groups(groups):
        faults.append(Fault("odd_group", "Its groups of nodes do not have the shape that n8n gives them."))
        groups = []
    for group in groups:
        if set(group.get("nodeIds") or ()) - ids.keys():
            message = f"The group “{group.get('name')}” holds a node that is not in this workflow."
            faults.append(Fault("dangling_group", message, "", True))
    return list(dict.fromkeys(faults))


def _lacks_webhook_id(node: Mapping[str, Any]) -> bool:
    return is_addressed_by_webhook_id(node) and not node.get("webhookId")


def _without_webhook_id(name: str) -> Fault:
    return Fault(
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
    names = {str(n.get("name") or "") for n in content.get("nodes") or ()}
    seen: set[str] = set()
    nodes = []
    for number, node in enumerate(content.get("nodes") or ()):
        ident = str(node.get("id") or "")
        if ident and ident in seen:
            node = {**node, "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{ident}:{number}"))}
        seen.add(str(node.get("id") or ""))
        if _lacks_webhook_id(node):
            of = f"{content.get('name')}:{node.get('name')}:{ident or number}"
            node = {**node, "webhookId": str(uuid.uuid5(uuid.NAMESPACE_OID, of))}
        nodes.append(node)
    out = {**content, "nodes": nodes, "connections": _kept(content.get("connections") or {}, names)}
    groups = content.get("nodeGroups")
    if groups and _are_groups(groups):  # others are a fault that a person has to look at
        kept = [{**g, "nodeIds": [i for i in g.get("nodeIds") or () if i in seen]} for g in groups]
        out["nodeGroups"] = [g for g in kept if g["nodeIds"]]
    return out


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
