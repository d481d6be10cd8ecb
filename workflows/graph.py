"""A workflow's graph as server-made SVG: classes instead of styles, a title, a description, nothing unescaped.

Colours and strokes are in `static/css/graph.css`. In a drawing of a diff, each changed node carries a mark and a word
besides its colour.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple
from xml.sax.saxutils import escape as _xml

from .diff import WorkflowDiff
from .diff_values import Change
from .graph_layout import HEIGHT, WIDTH, Link, Point, edges, lay_out, position
from .normalization import STICKY

MAX_NODES = 1200
_MARGIN = 44.0
_BAD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")

#: The shape and the word of each kind of change, the gravest first.
_MARKS = {
    "added": ("M5 0v10M0 5h10", "added"),
    "removed": ("M0 5h10", "removed"),
    "changed": ("M5 0 10 5 5 10 0 5z", "changed"),
    "moved": ("M0 3h9L7 1M10 7H1l2 2", "moved"),
}
_RANK = {kind: rank for rank, kind in enumerate(_MARKS)}
MAX_STICKIES = 100


def render_svg(content: Mapping[str, Any], *, title: str) -> str:
    """Return the graph of a portable workflow. At most 1,200 nodes are drawn; the description counts the rest."""
    return _Drawing(content, {}, title, f"{_count(content)}.").svg()


def render_diff_svg(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, diff: WorkflowDiff, *, title: str
) -> str:
    """Return both sides laid over each other: what is gone is drawn where it was, the rest where it is now."""
    old_side, new_side = before or {}, after or {}
    overlay = _overlay(old_side, new_side, diff)
    gone = [node for node in _nodes(old_side) if _name(node) in overlay.gone]
    both = {"nodes": [*_nodes(new_side), *gone], "connections": new_side.get("connections") or {}}
    counted = Counter(overlay.marks.values())
    counts = ", ".join(f"{counted[kind]} {word}" for kind, (_, word) in _MARKS.items() if counted[kind])
    summary = f"{_count(both)}: {counts or 'none differ'}."
    lines = _changed_links(old_side, new_side, overlay.renamed)
    return _Drawing(both, overlay.marks, title, summary, lines=lines, order_marked=True).svg()


class _Overlay(NamedTuple):
    """``marks`` by the names of nodes; ``gone`` are names that are drawn where they were; ``renamed`` old to new."""

    marks: dict[str, str]
    gone: set[str]
    renamed: dict[str, str]


def _overlay(old_side: Mapping[str, Any], new_side: Mapping[str, Any], diff: WorkflowDiff) -> _Overlay:
    names = set(map(_name, _nodes(new_side)))
    if diff.status == "removed":
        gone = set(map(_name, _nodes(old_side)))
    else:
        gone = {change.before_node for change in diff.changes if change.what == "node_removed"} - names
    changes = [change for change in diff.changes if change.node and change.what.startswith("node_")]
    marks = dict.fromkeys(names, "added") if diff.status == "added" else _marks(changes)
    marks.update((name, "removed") for name in map(_name, _nodes(old_side)) if name in gone)
    renamed = {change.before_node: change.node for change in changes if change.before_node not in ("", change.node)}
    return _Overlay(marks, gone, renamed)


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


def _nodes(content: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return content.get("nodes") or ()


def _name(node: Mapping[str, Any]) -> str:
    return str(node.get("name") or "")


def _count(content: Mapping[str, Any]) -> str:
    number = sum(n.get("type") != STICKY for n in content.get("nodes") or ())
    return "1 node" if number == 1 else f"{number:,} nodes"


def escape(text: object) -> str:
    """Escape for XML text and attributes; characters that XML cannot hold become �."""
    return _xml(_BAD.sub("\ufffd", str(text)), {'"': "&quot;", "'": "&#39;"})


def _fit(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def _type_label(kind: str) -> str:
    word = kind.rsplit(".", 1)[-1]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", word).capitalize()


def _family(kind: str) -> str:
    word = kind.rsplit(".", 1)[-1].lower()
    if word.endswith("trigger") or word in ("webhook", "cron", "interval", "start"):
        return "trigger"
    if "langchain" in kind:
        return "ai"
    if word in ("code", "function", "functionitem", "executecommand", "ssh"):
        return "code"
    if word in ("if", "switch", "merge", "filter", "splitinbatches", "wait", "noop", "stopanderror", "executeworkflow"):
        return "flow"
    return "action"


class _Sticky(NamedTuple):
    """A note: its upper left corner, its size and its text."""

    x: float
    y: float
    width: float
    height: float
    text: str


class _Bounds(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, points: Iterable[Point], stickies: Iterable[_Sticky]) -> _Bounds:
        """What holds all nodes and notes, with a margin."""
        boxes = [(x, y, x + WIDTH, y + HEIGHT) for x, y in points] or [(0.0, 0.0, WIDTH, HEIGHT)]
        boxes += [(note.x, note.y, note.x + note.width, note.y + note.height) for note in stickies]
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        return cls(min(lefts) - _MARGIN, min(tops) - _MARGIN, max(rights) + _MARGIN, max(bottoms) + _MARGIN)


class _Drawing:
    def __init__(
        self,
        content: Mapping[str, Any],
        marks: Mapping[str, str],
        title: str,
        summary: str,
        *,
        lines: Mapping[Link, str] | None = None,
        order_marked: bool = False,
    ) -> None:
        nodes = [node for node in _nodes(content) if node.get("type") != STICKY]
        if order_marked and len(nodes) > MAX_NODES:
            nodes.sort(key=lambda node: _name(node) not in marks)
        self.left_out = max(len(nodes) - MAX_NODES, 0)
        self.nodes = nodes[:MAX_NODES]
        self.marks, self.title, self.summary = marks, title, summary
        self.lines = dict(lines or {})
        links = dict.fromkeys(edges(content))
        links.update(dict.fromkeys(link for link, mark in self.lines.items() if mark == "removed"))
        self.links = list(links)
        layout = lay_out(self.nodes, self.links)
        self.points = layout.points
        # Only where the nodes keep their own positions: elsewhere the notes would frame the wrong ones.
        self.stickies = _stickies(content, layout.moved) if layout.moved is not None else []

    def svg(self) -> str:
        bounds = _Bounds.around(self.points.values(), self.stickies)
        return "".join(
            [
                *self._head(bounds),
                *map(_drawn_sticky, self.stickies),
                '<g class="wf-edges">',
                *map(self._edge, self.links),
                "</g>",
                *map(self._node, self.nodes),
                *self._tail(bounds),
            ]
        )

    def _head(self, bounds: _Bounds) -> Iterator[str]:
        left, top, right, bottom = bounds
        notice = f" {self.left_out:,} more nodes are not drawn." if self.left_out else ""
        yield (
            f'<svg class="wf-graph" xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="{left:.0f} {top:.0f} {right - left:.0f} {bottom - top:.0f}" '
            f'width="{right - left:.0f}" height="{bottom - top:.0f}">'
        )
        yield f"<title>{escape(self.title)}</title><desc>{escape(self.summary + notice)}</desc>"
        if not self.nodes:
            yield '<text class="wf-empty" x="92" y="30" text-anchor="middle">No nodes</text>'

    def _tail(self, bounds: _Bounds) -> Iterator[str]:
        if self.left_out:
            x, y = bounds.left + 8, bounds.bottom - 8
            yield f'<text class="wf-more" x="{x:.0f}" y="{y:.0f}">and {self.left_out:,} more nodes</text>'
        yield "</svg>"

    def _edge(self, link: Link) -> str:
        source, kind, number, target = link
        start, end = self.points.get(source), self.points.get(target)
        if start is None or end is None:
            return ""
        mark = self.lines.get(link)
        classes = "wf-edge" + ("" if kind == "main" else " wf-edge--ai") + (f" wf-edge--{mark}" if mark else "")
        if kind != "main":
            path = _upward_path(start, end)
        else:
            path, leads_back = _main_path(start, end, number)
            classes += " wf-edge--back" if leads_back else ""
        if mark:
            title = escape(f"{source} → {target} ({mark})")
            return f'<path class="{classes}" d="{path}"><title>{title}</title></path>'
        return f'<path class="{classes}" d="{path}"/>'

    def _node(self, node: Mapping[str, Any]) -> str:
        name, kind = _name(node), str(node.get("type") or "")
        mark, is_off = self.marks.get(name), bool(node.get("disabled"))
        x, y = self.points[name]
        classes = f"wf-node wf-node--{_family(kind)}"
        classes += (f" wf-node--{mark}" if mark else "") + (" wf-node--disabled" if is_off else "")
        label = escape(_fit(name, 21 if mark is None else 20) or "(no name)")
        return (
            f'<g class="{classes}" data-node="{escape(name)}" transform="translate({x:.0f} {y:.0f})">'
            f"<title>{escape(_node_title(name, kind, mark, is_off))}</title>"
            f'<rect class="wf-node-box" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" rx="8"/>'
            f'<rect class="wf-node-edge" x="0" y="10" width="3" height="{HEIGHT - 20:.0f}" rx="1.5"/>'
            f'<text class="wf-node-type" x="14" y="20">{escape(_fit(_type_label(kind), 24))}'
            f"{' · off' if is_off else ''}</text>"
            f'<text class="wf-node-name" x="14" y="38">{label}</text>'
            f"{_drawn_mark(mark)}</g>"
        )


def _stickies(content: Mapping[str, Any], moved: Callable[[float, float], Point]) -> list[_Sticky]:
    notes = (node for node in _nodes(content) if node.get("type") == STICKY)
    placed = ((note, found) for note in notes if (found := position(note)) is not None)
    return [_sticky(note, found, moved) for note, found in islice(placed, MAX_STICKIES)]


def _sticky(note: Mapping[str, Any], corner: Point, moved: Callable[[float, float], Point]) -> _Sticky:
    given = note.get("parameters") or {}
    left, top = moved(*corner)
    right, bottom = moved(corner[0] + _size(given.get("width"), 240.0), corner[1] + _size(given.get("height"), 160.0))
    return _Sticky(left, top, max(right - left, 40), max(bottom - top, 30), str(given.get("content") or ""))


def _drawn_sticky(note: _Sticky) -> str:
    first = next((line.strip("# *_") for line in note.text.splitlines() if line.strip("# *_")), "")
    label = escape(_fit(first, max(int(note.width // 8), 4)))
    return (
        f'<g class="wf-sticky"><title>{escape(note.text[:600])}</title>'
        f'<rect x="{note.x:.0f}" y="{note.y:.0f}" width="{note.width:.0f}" height="{note.height:.0f}" rx="6"/>'
        f'<text x="{note.x + 12:.0f}" y="{note.y + 22:.0f}">{label}</text></g>'
    )


def _upward_path(start: Point, end: Point) -> str:
    """A model, a memory or a tool hangs below the node that uses it."""
    x1, y1, x2, y2 = start[0] + WIDTH / 2, start[1], end[0] + WIDTH / 2, end[1] + HEIGHT
    bend = max(abs(y1 - y2) / 2, 24)
    return f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 - bend:.0f} {x2:.0f} {y2 + bend:.0f} {x2:.0f} {y2:.0f}"


def _main_path(start: Point, end: Point, output: int) -> tuple[str, bool]:
    """The path from an output to the next node, and whether it leads back: then it goes around below both."""
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT / 2 + min(output, 3) * 7 - (7 if output else 0)
    x2, y2 = end[0], end[1] + HEIGHT / 2
    if x2 >= x1 - 8:
        bend = max((x2 - x1) / 2, 18)
        return f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}", False
    low = max(start[1], end[1]) + HEIGHT + 26
    return (
        f"M{x1:.0f} {y1:.0f}C{x1 + 48:.0f} {y1:.0f} {x1 + 48:.0f} {low:.0f} {x1:.0f} {low:.0f}"
        f"L{x2:.0f} {low:.0f}C{x2 - 48:.0f} {low:.0f} {x2 - 48:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    ), True


def _node_title(name: str, kind: str, mark: str | None, is_off: bool) -> str:
    state = ([mark] if mark else []) + (["switched off"] if is_off else [])
    return f"{name} – {_type_label(kind)}" + (f" ({', '.join(state)})" if state else "")


def _drawn_mark(mark: str | None) -> str:
    if mark not in _MARKS:
        return ""
    path, word = _MARKS[mark]
    return (
        f'<g class="wf-mark" transform="translate({WIDTH - 22:.0f} -9)"><rect class="wf-mark-box" '
        f'x="-54" y="-1" width="72" height="18" rx="9"/>'
        f'<path class="wf-mark-shape" transform="translate(-46 3)" d="{path}"/>'
        f'<text class="wf-mark-word" x="-31" y="12">{word}</text></g>'
    )


def _size(value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 20_000:
        return default
    return float(value)
