"""What differs and changes no behaviour: places on the canvas, notes, and what n8n keeps beside the content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .diff_nodes import NodePair
from .diff_values import Change
from .normalization import STICKY

COSMETIC = frozenset({"node_moved", "node_noted", "node_kept", "notes"})
"""Changes (`what`) that only somebody who draws on the canvas cares about."""

#: What n8n keeps of a workflow beside what it does.
_KEPT_BESIDE = {
    "description": "Description",
    "pinData": "Pinned data",
    "staticData": "Static data",
    "nodeGroups": "Groups of nodes",
    "folder": "Folder",
    "archived": "Archived",
}
_TOLD_ELSEWHERE = frozenset({"name", "nodes", "connections", "settings", "active", "tags"})
_OF_A_NODE_TOLD_ELSEWHERE = frozenset({"name", "position", "notes"})


def changes_aside(before: Mapping[str, Any], after: Mapping[str, Any], pairs: list[NodePair]) -> list[Change]:
    """Each thing that differs and does not count, once. ``pairs`` are one node before and after, normalized."""
    nodes_before, nodes_after = _nodes_by_name(before), _nodes_by_name(after)
    changes: list[Change] = []
    for old, new in pairs:
        changes += _canvas_changes(nodes_before[old["name"]], nodes_after[new["name"]], old["name"], new["name"])
        if old == new and _differs_beside(nodes_before[old["name"]], nodes_after[new["name"]]):
            sentence = f"Node “{new['name']}” is stored differently and does the same."
            changes.append(
                Change("changed", "node_kept", new["name"], sentence, new["name"], old["name"], behaviour=False)
            )
    return [*changes, *_notes_changes(before, after), *_kept_changes(before, after)]


def _nodes_by_name(content: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(node.get("name") or ""): node for node in content.get("nodes") or ()}


def _canvas_changes(old: Mapping[str, Any], new: Mapping[str, Any], name_before: str, name: str) -> Iterator[Change]:
    if old.get("position") != new.get("position"):
        sentence = f"Node “{name}” was moved on the canvas."
        yield Change("moved", "node_moved", name, sentence, name, name_before, behaviour=False)
    if (old.get("notes") or "") != (new.get("notes") or ""):
        sentence = f"The note on “{name}” changed."
        yield Change("changed", "node_noted", name, sentence, name, name_before, behaviour=False)


def _differs_beside(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a node that does the same is stored differently: its id, defaults that are written out, cached names."""
    keys = (old.keys() | new.keys()) - _OF_A_NODE_TOLD_ELSEWHERE
    return any(old.get(key) != new.get(key) for key in keys)


def _notes_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old, new = _sticky_notes(before), _sticky_notes(after)
    if _texts(old) != _texts(new):
        yield Change("changed", "notes", "Sticky notes", "Sticky notes changed.", behaviour=False)
    elif sorted(map(repr, old)) != sorted(map(repr, new)):
        sentence = "Sticky notes were moved, resized or coloured."
        yield Change("moved", "notes", "Sticky notes", sentence, behaviour=False)


def _sticky_notes(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [node for node in content.get("nodes") or () if node.get("type") == STICKY]


def _texts(notes: list[Mapping[str, Any]]) -> list[str]:
    return sorted(str((note.get("parameters") or {}).get("content") or "") for note in notes)


def _kept_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys((*_KEPT_BESIDE, *before, *after)):
        if key not in _TOLD_ELSEWHERE and (before.get(key) or None) != (after.get(key) or None):
            title = _KEPT_BESIDE.get(key, key)
            yield Change("changed", "kept", title, f"{title} changed.", behaviour=False)
