"""The SVG of an overlay: nodes as boxes with their names, links as curves, notes behind them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from .graph_layout import HEIGHT, WIDTH, Link, Point, lay_out, position
from .graph_overlay import Node, Overlay, anchor_of, name_of
from .graph_text import escape, fitted

MAX_NODES = 1200
MAX_STICKIES = 100
_MARGIN = 28.0
NAME_SIZE, TYPE_SIZE = 12.5, 10.5
_LEFT, _RIGHT = 13.0, 8.0
"""Space beside a node's text."""
_MARK_WIDTH = 70.0

#: The shape of each mark.
_SHAPES = {
    "added": "M5 0v10M0 5h10",
    "removed": "M0 5h10",
    "changed": "M5 0 10 5 5 10 0 5z",
    "moved": "M0 3h9L7 1M10 7H1l2 2",
}
_ARROW = "m-6-4l6 4-6 4"


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
    def around(cls, points: Iterable[Point], stickies: Iterable[_Sticky], low: float) -> _Bounds:
        """What holds all nodes, notes and the lowest line, with a margin."""
        boxes = [(x, y, x + WIDTH, y + HEIGHT) for x, y in points] or [(0.0, 0.0, WIDTH, HEIGHT)]
        boxes += [(note.x, note.y, note.x + note.width, note.y + note.height) for note in stickies]
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        bottom = max(*bottoms, low) if low else max(bottoms)
        return cls(min(lefts) - _MARGIN, min(tops) - _MARGIN, max(rights) + _MARGIN, bottom + _MARGIN)


class Drawing:
    """One drawing; ``svg`` makes it. Nodes beyond ``MAX_NODES`` are left out, those without a mark first."""

    def __init__(self, overlay: Overlay, title: str, summary: str) -> None:
        self.overlay, self.title, self.summary = overlay, title, summary
        nodes = list(overlay.nodes)
        if len(nodes) > MAX_NODES:
            nodes.sort(key=lambda node: name_of(node) not in overlay.marks)
        self.left_out = max(len(nodes) - MAX_NODES, 0)
        self.nodes = nodes[:MAX_NODES]
        layout = lay_out(self.nodes, overlay.links)
        self.points = layout.points
        # Only where the nodes keep their own positions: elsewhere the notes would frame the wrong ones.
        self.stickies = _stickies(overlay.stickies, layout.moved) if layout.moved is not None else []
        self.ghosts = _ghosts(overlay, layout.moved) if layout.moved is not None else {}
        self.lowest = 0.0

    def svg(self) -> str:
        """Return the whole drawing."""
        drawn_edges = [self._edge(link) for link in self.overlay.links]
        around = [*self.points.values(), *self.ghosts.values()]
        bounds = _Bounds.around(around, self.stickies, self.lowest)
        parts = [
            *self._head(bounds),
            *map(_drawn_sticky, self.stickies),
            *(_drawn_ghost(self.points[name], was) for name, was in self.ghosts.items() if name in self.points),
            '<g class="wf-edges">',
            *drawn_edges,
            "</g>",
            *map(self._node, self.nodes),
            *self._tail(bounds),
        ]
        return "".join(parts)

    def _head(self, bounds: _Bounds) -> Iterator[str]:
        left, top, right, bottom = bounds
        notice = f" {self.left_out:,} more nodes are not drawn." if self.left_out else ""
        name = escape(self.title)
        yield (
            f'<svg class="wf-graph" xmlns="http://www.w3.org/2000/svg" role="group" aria-label="{name}" '
            f'viewBox="{left:.0f} {top:.0f} {right - left:.0f} {bottom - top:.0f}" '
            f'width="{right - left:.0f}" height="{bottom - top:.0f}">'
        )
        yield f"<title>{name}</title><desc>{escape(self.summary + notice)}</desc>"
        if not self.nodes:
            yield f'<text class="wf-empty" x="{WIDTH / 2:.0f}" y="30" text-anchor="middle">No nodes</text>'

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
        mark = self.overlay.lines.get(link)
        classes = "wf-edge" + ("" if kind == "main" else " wf-edge--ai") + (f" wf-edge--{mark}" if mark else "")
        if kind != "main":
            path = _upward_path(start, end)
        else:
            path, low = _main_path(start, end, number)
            self.lowest = max(self.lowest, low)
            classes += " wf-edge--back" if low else ""
        if mark:
            title = escape(f"{source} → {target} ({mark})")
            return f'<path class="{classes}" d="{path}"><title>{title}</title></path>'
        return f'<path class="{classes}" d="{path}"/>'

    def _node(self, node: Node) -> str:
        name, kind = name_of(node), str(node.get("type") or "")
        mark, is_off = self.overlay.marks.get(name), bool(node.get("disabled"))
        x, y = self.points[name]
        classes = f"wf-node wf-node--{_family(kind)}"
        classes += (f" wf-node--{mark}" if mark else "") + (" wf-node--disabled" if is_off else "")
        title = escape(_node_title(name, kind, mark, is_off, self.overlay.renamed.get(name, "")))
        # What changed leads to its change; the rest is no stop of the keyboard.
        tag, leads = "g", ""
        if mark:
            anchor = anchor_of(name)
            tag, leads = "a", f' href="#change-{anchor}" id="node-{anchor}"'
        return (
            f'<{tag} class="{classes}" data-node="{escape(name)}"{leads} transform="translate({x:.0f} {y:.0f})">'
            f"<title>{title}</title>"
            f'<rect class="wf-node-box" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" rx="8"/>'
            f'<rect class="wf-node-edge" y="10" width="3" height="{HEIGHT - 20:.0f}" rx="1.5"/>'
            f"{_texts(name, kind, is_off, bool(mark))}{_drawn_mark(mark)}</{tag}>"
        )


def _texts(name: str, kind: str, is_off: bool, is_marked: bool) -> str:
    """The type of a node above its name, which takes two rows where it is long."""
    room = WIDTH - _LEFT - _RIGHT
    type_words = _type_label(kind) + (" · off" if is_off else "")
    type_row = fitted(type_words, size=TYPE_SIZE, width=room - (_MARK_WIDTH if is_marked else 0))
    rows = fitted(name, size=NAME_SIZE, width=room, rows=2) or ["(no name)"]
    top = 40.0 if len(rows) == 1 else 34.0
    names = "".join(
        f'<text class="wf-node-name" x="{_LEFT:.0f}" y="{top + 16 * row:.0f}">{escape(text)}</text>'
        for row, text in enumerate(rows)
    )
    kinds = escape(type_row[0]) if type_row else ""
    return f'<text class="wf-node-type" x="{_LEFT:.0f}" y="17">{kinds}</text>{names}'


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


def _node_title(name: str, kind: str, mark: str | None, is_off: bool, former: str) -> str:
    state = ([mark] if mark else []) + ([f"was “{former}”"] if former else []) + (["switched off"] if is_off else [])
    return f"{name} – {_type_label(kind)}" + (f" ({', '.join(state)})" if state else "")


def _drawn_mark(mark: str | None) -> str:
    if mark not in _SHAPES:
        return ""
    return (
        f'<path class="wf-mark-shape" transform="translate({WIDTH - _MARK_WIDTH + 3:.0f} 8)" d="{_SHAPES[mark]}"/>'
        f'<text class="wf-mark-word" x="{WIDTH - _MARK_WIDTH + 17:.0f}" y="17">{mark}</text>'
    )


# -- notes and places from before -------------------------------------------------------------------------------------


def _stickies(notes: Sequence[Node], moved: Callable[[float, float], Point]) -> list[_Sticky]:
    placed = ((note, found) for note in notes if (found := position(note)) is not None)
    return [_sticky(note, found, moved) for note, found in islice(placed, MAX_STICKIES)]


def _sticky(note: Node, corner: Point, moved: Callable[[float, float], Point]) -> _Sticky:
    given = note.get("parameters") or {}
    left, top = moved(*corner)
    right, bottom = moved(corner[0] + _size(given.get("width"), 240.0), corner[1] + _size(given.get("height"), 160.0))
    return _Sticky(left, top, max(right - left, 40), max(bottom - top, 30), str(given.get("content") or ""))


def _drawn_sticky(note: _Sticky) -> str:
    first = next((line.strip("# *_") for line in note.text.splitlines() if line.strip("# *_")), "")
    label = "".join(fitted(first, size=11, width=max(note.width - 20, 20)))
    return (
        f'<g class="wf-sticky"><title>{escape(note.text[:600])}</title>'
        f'<rect x="{note.x:.0f}" y="{note.y:.0f}" width="{note.width:.0f}" height="{note.height:.0f}" rx="6"/>'
        f'<text x="{note.x + 12:.0f}" y="{note.y + 22:.0f}">{escape(label)}</text></g>'
    )


def _size(value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 20_000:
        return default
    return float(value)


def _ghosts(overlay: Overlay, moved: Callable[[float, float], Point]) -> dict[str, Point]:
    placed = ((name, position(node)) for name, node in overlay.ghosts.items())
    return {name: moved(*found) for name, found in placed if found is not None}


def _drawn_ghost(now: Point, was: Point) -> str:
    x1, y1, x2, y2 = was[0] + WIDTH / 2, was[1] + HEIGHT / 2, now[0] + WIDTH / 2, now[1] + HEIGHT / 2
    box = f'x="{was[0]:.0f}" y="{was[1]:.0f}" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" rx="8"'
    return f'<g class="wf-ghost"><rect {box}/><path d="M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"/></g>'


# -- links ------------------------------------------------------------------------------------------------------------


def _upward_path(start: Point, end: Point) -> str:
    """A model, a memory or a tool hangs below the node that uses it."""
    x1, y1, x2, y2 = start[0] + WIDTH / 2, start[1], end[0] + WIDTH / 2, end[1] + HEIGHT
    bend = max(abs(y1 - y2) / 2, 24)
    return f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 - bend:.0f} {x2:.0f} {y2 + bend:.0f} {x2:.0f} {y2:.0f}"


def _main_path(start: Point, end: Point, output: int) -> tuple[str, float]:
    """The path from an output to the next node. One that leads back goes around below both: how low, else 0."""
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT / 2 + min(output, 3) * 7 - (7 if output else 0)
    x2, y2 = end[0], end[1] + HEIGHT / 2
    if x2 >= x1 - 8:
        bend = max((x2 - x1) / 2, 18)
        curve = f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}{_ARROW}"
        return curve, 0.0
    low = max(start[1], end[1]) + HEIGHT + 22
    return (
        f"M{x1:.0f} {y1:.0f}C{x1 + 48:.0f} {y1:.0f} {x1 + 48:.0f} {low:.0f} {x1:.0f} {low:.0f}"
        f"L{x2:.0f} {low:.0f}C{x2 - 48:.0f} {low:.0f} {x2 - 48:.0f} {y2:.0f} {x2:.0f} {y2:.0f}{_ARROW}"
    ), low
