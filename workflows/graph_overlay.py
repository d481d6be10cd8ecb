"""Both versions of a workflow in one drawing: what each node and connection is marked as, and what was where."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .diff import WorkflowDiff
from .diff_aside import COSMETIC
from .diff_values import Change
from .graph_layout import Link, edges
from .normalization import STICKY

MARKS = ("added", "removed", "changed", "moved")
"""What a node may be marked as, the gravest first."""
_RANK = {kind: rank for rank, kind in enumerate(MARKS)}

Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Overlay:
    """What is drawn: ``nodes`` as they are, then those that are gone.

    ``marks`` and ``renamed`` (new to old) go by the names of nodes, ``lines`` by links. ``ghosts`` are places that
    nodes were moved from. ``with_canvas``: places and notes are part of it.
    """

    nodes: Sequence[Node] = ()
    stickies: Sequence[Node] = ()
    links: Sequence[Link] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[Link, str] = field(default_factory=dict)
    ghosts: Mapping[str, Node] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many nodes carry each mark, the gravest first; marks that nothing carries are left out."""
        counted = Counter(self.marks.values())
        return {mark: counted[mark] for mark in MARKS if counted[mark]}

    @property
    def line_counts(self) -> dict[str, int]:
        """The same for connections."""
        return dict(Counter(self.lines.values()))


def single(content: Mapping[str, Any]) -> Overlay:
    """One version alone, with its notes."""
    nodes, stickies = _parted(content)
    return Overlay(nodes, stickies, edges(content))


def overlaid(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, diff: WorkflowDiff, *, canvas: bool = False
) -> Overlay:
    """Both versions; with ``canvas`` also what was only moved, and the notes of the later one.

    ``diff`` holds every change of a node: what it leaves out carries no mark.
    """
    old_side, new_side = before or {}, after or {}
    nodes, stickies = _parted(new_side)
    gone = _gone(old_side, nodes, diff)
    changes = [c for c in diff.changes if c.node and c.what.startswith("node_") and (canvas or c.what not in COSMETIC)]
    marks = dict.fromkeys(map(name_of, nodes), "added") if diff.status == "added" else _marks(changes)
    marks |= {name_of(node): "removed" for node in gone}
    renamed = {c.node: c.before_node for c in diff.changes if c.what == "node_renamed"}
    lines = _changed_links(old_side, new_side, {old: new for new, old in renamed.items()})
    return Overlay(
        nodes=[*nodes, *gone],
        stickies=stickies if canvas else (),
        links=list(dict.fromkeys([*edges(new_side), *(link for link, mark in lines.items() if mark == "removed")])),
        marks=marks,
        renamed=renamed,
        lines=lines,
        ghosts=_moved_from(old_side, diff) if canvas else {},
    )


def anchor_of(name: str) -> str:
    """What a node is called in addresses within a page, whatever its name holds."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def name_of(node: Node) -> str:
    """A node's name, as links call it."""
    return str(node.get("name") or "")


def _parted(content: Mapping[str, Any]) -> tuple[list[Node], list[Node]]:
    nodes: Sequence[Node] = content.get("nodes") or ()
    return [n for n in nodes if n.get("type") != STICKY], [n for n in nodes if n.get("type") == STICKY]


def _gone(old_side: Mapping[str, Any], now: Iterable[Node], diff: WorkflowDiff) -> list[Node]:
    were, _ = _parted(old_side)
    if diff.status == "removed":
        return were
    names = {change.before_node for change in diff.changes if change.what == "node_removed"} - set(map(name_of, now))
    return [node for node in were if name_of(node) in names]


def _marks(changes: Iterable[Change]) -> dict[str, str]:
    """The gravest kind of change of each node."""
    marks: dict[str, str] = {}
    for change in changes:
        marks[change.node] = min(marks.get(change.node, change.kind), change.kind, key=_RANK.__getitem__)
    return marks


def _changed_links(
    old_side: Mapping[str, Any], new_side: Mapping[str, Any], renamed: Mapping[str, str]
) -> dict[Link, str]:
    now = dict.fromkeys(edges(new_side))
    was = dict.fromkeys((renamed.get(s, s), kind, n, renamed.get(t, t)) for s, kind, n, t in edges(old_side))
    added = {link: "added" for link in now if link not in was}
    return added | {link: "removed" for link in was if link not in now}


def _moved_from(old_side: Mapping[str, Any], diff: WorkflowDiff) -> dict[str, Node]:
    were = {name_of(node): node for node in _parted(old_side)[0]}
    moved = [change for change in diff.changes if change.what == "node_moved"]
    return {change.node: were[change.before_node] for change in moved if change.before_node in were}
