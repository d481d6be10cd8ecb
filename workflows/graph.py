"""A workflow's graph as server-made SVG: classes instead of styles, a title, a description, nothing unescaped.

Colours and strokes are in `static/css/graph.css`. In a drawing of a difference, each changed node carries a mark and
a word besides its colour.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape as _xml

from .diff import WorkflowDiff
from .graph_layout import HEIGHT, WIDTH, edges, place, position
from .normalization import STICKY

MAX_NODES = 1200
_MARGIN = 44.0
_BAD = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")

_MARKS = {
    "added": ("M5 0v10M0 5h10", "added"),
    "removed": ("M0 5h10", "removed"),
    "changed": ("M5 0 10 5 5 10 0 5z", "changed"),
    "moved": ("M0 3h9L7 1M10 7H1l2 2", "moved"),
}


def render_svg(content: Mapping[str, Any], *, title: str) -> str:
    """Return the graph of a portable workflow. At most 1,200 nodes are drawn; the description tells the rest."""
    return _Drawing(content, {}, title, f"{_count(content)}.").svg()


def render_diff_svg(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, diff: WorkflowDiff, *, title: str
) -> str:
    """Return both sides laid over each other: what is gone is drawn where it was, the rest where it is now."""
    marks: dict[str, str] = {}
    renamed: dict[str, str] = {}
    gone: set[str] = set()
    for change in diff.changes:
        if change.what == "node_removed":
            gone.add(change.before_node)
        elif change.node and change.what.startswith("node_"):
            rank = list(_MARKS)
            old = marks.get(change.node)
            marks[change.node] = change.kind if old is None else min(old, change.kind, key=rank.index)
            if change.before_node and change.before_node != change.node:
                renamed[change.before_node] = change.node
    old_side, new_side = before or {}, after or {}
    names = {str(n.get("name") or "") for n in new_side.get("nodes") or ()}
    if after is None:
        gone = {str(n.get("name") or "") for n in old_side.get("nodes") or ()}
    if before is None:
        marks = dict.fromkeys(names, "added")
    ghosts = [n for n in old_side.get("nodes") or () if str(n.get("name") or "") in gone - names]
    marks.update({str(n.get("name") or ""): "removed" for n in ghosts})
    both = {
        "nodes": [*(new_side.get("nodes") or ()), *ghosts],
        "connections": new_side.get("connections") or {},
    }
    now = set(edges(new_side))
    was = {(renamed.get(s, s), k, n, renamed.get(t, t)) for s, k, n, t in edges(old_side)}
    lines = dict.fromkeys(now - was, "added") | dict.fromkeys(was - now, "removed")
    counted = Counter(marks.values())
    told = ", ".join(f"{counted[kind]} {word}" for kind, (_, word) in _MARKS.items() if counted[kind])
    summary = f"{_count(both)}: {told or 'none differ'}."
    return _Drawing(both, marks, title, summary, lines=lines, order_marked=True).svg()


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


class _Drawing:
    def __init__(
        self,
        content: Mapping[str, Any],
        marks: Mapping[str, str],
        title: str,
        summary: str,
        *,
        lines: Mapping[tuple[str, str, int, str], str] | None = None,
        order_marked: bool = False,
    ) -> None:
        everything = list(content.get("nodes") or ())
        nodes = [n for n in everything if n.get("type") != STICKY]
        if order_marked and len(nodes) > MAX_NODES:
            nodes.sort(key=lambda n: str(n.get("name") or "") not in marks)
        self.left_out = max(len(nodes) - MAX_NODES, 0)
        self.nodes = nodes[:MAX_NODES]
        self.marks, self.title, self.summary = marks, title, summary
        self.lines = dict(lines or {})
        links = dict.fromkeys(edges(content))
        links.update(dict.fromkeys(e for e, mark in self.lines.items() if mark == "removed"))
        self.links = list(links)
        layout = place(self.nodes, self.links)
        self.points, self.moved = layout.points, layout.moved
        self.stickies = self._stickies(everything)

    def _stickies(self, everything: list[Mapping[str, Any]]) -> list[tuple[float, float, float, float, str]]:
        """Notes, only where the nodes keep their own places: elsewhere they would frame the wrong ones."""
        found: list[tuple[float, float, float, float, str]] = []
        for note in everything if self.moved else ():
            p = position(note)
            if note.get("type") != STICKY or p is None or self.moved is None or len(found) >= 100:
                continue
            given = note.get("parameters") or {}
            left, top = self.moved(*p)
            right, bottom = self.moved(
                p[0] + _size(given.get("width"), 240.0), p[1] + _size(given.get("height"), 160.0)
            )
            found.append((left, top, max(right - left, 40), max(bottom - top, 30), str(given.get("content") or "")))
        return found

    def svg(self) -> str:
        corners = [*self.points.values()] or [(0.0, 0.0)]
        left = min(min(x for x, _ in corners), *(s[0] for s in self.stickies), 1e9) - _MARGIN
        top = min(min(y for _, y in corners), *(s[1] for s in self.stickies), 1e9) - _MARGIN
        right = max(max(x for x, _ in corners) + WIDTH, *(s[0] + s[2] for s in self.stickies), -1e9) + _MARGIN
        bottom = max(max(y for _, y in corners) + HEIGHT, *(s[1] + s[3] for s in self.stickies), -1e9) + _MARGIN
        notice = f" {self.left_out:,} more nodes are not drawn." if self.left_out else ""
        out = [
            f'<svg class="wf-graph" xmlns="http://www.w3.org/2000/svg" role="img" '
            f'viewBox="{left:.0f} {top:.0f} {right - left:.0f} {bottom - top:.0f}" '
            f'width="{right - left:.0f}" height="{bottom - top:.0f}">',
            f"<title>{escape(self.title)}</title><desc>{escape(self.summary + notice)}</desc>",
        ]
        if not self.nodes:
            out.append('<text class="wf-empty" x="92" y="30" text-anchor="middle">No nodes</text>')
        out += [self._sticky(*s) for s in self.stickies]
        out.append('<g class="wf-edges">')
        out += filter(None, (self._edge(e) for e in self.links))
        out.append("</g>")
        out += [self._node(n) for n in self.nodes]
        if self.left_out:
            out.append(
                f'<text class="wf-more" x="{left + 8:.0f}" y="{bottom - 8:.0f}">and {self.left_out:,} more nodes</text>'
            )
        out.append("</svg>")
        return "".join(out)

    def _sticky(self, x: float, y: float, wide: float, high: float, text: str) -> str:
        first = next((line.strip("# *_") for line in text.splitlines() if line.strip("# *_")), "")
        label = escape(_fit(first, max(int(wide // 8), 4)))
        return (
            f'<g class="wf-sticky"><title>{escape(text[:600])}</title>'
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{wide:.0f}" height="{high:.0f}" rx="6"/>'
            f'<text x="{x + 12:.0f}" y="{y + 22:.0f}">{label}</text></g>'
        )

    def _edge(self, edge: tuple[str, str, int, str]) -> str:
        source, kind, number, target = edge
        a, b = self.points.get(source), self.points.get(target)
        if a is None or b is None:
            return ""
        mark = self.lines.get(edge)
        classes = "wf-edge" + ("" if kind == "main" else " wf-edge--ai") + (f" wf-edge--{mark}" if mark else "")
        if kind != "main":  # a model, a memory or a tool hangs below the node that uses it
            x1, y1, x2, y2 = a[0] + WIDTH / 2, a[1], b[0] + WIDTH / 2, b[1] + HEIGHT
            bend = max(abs(y1 - y2) / 2, 24)
            path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 - bend:.0f} {x2:.0f} {y2 + bend:.0f} {x2:.0f} {y2:.0f}"
        else:
            x1, y1 = a[0] + WIDTH, a[1] + HEIGHT / 2 + min(number, 3) * 7 - (7 if number else 0)
            x2, y2 = b[0], b[1] + HEIGHT / 2
            if x2 >= x1 - 8:
                bend = max((x2 - x1) / 2, 18)
                path = f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
            else:  # back: around below both
                low = max(a[1], b[1]) + HEIGHT + 26
                path = (
                    f"M{x1:.0f} {y1:.0f}C{x1 + 48:.0f} {y1:.0f} {x1 + 48:.0f} {low:.0f} {x1:.0f} {low:.0f}"
                    f"L{x2:.0f} {low:.0f}C{x2 - 48:.0f} {low:.0f} {x2 - 48:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
                )
                classes += " wf-edge--back"
        word = f"<title>{escape(f'{source} → {target} ({mark})')}</title>" if mark else ""
        if word:
            return f'<path class="{classes}" d="{path}">{word}</path>'
        return f'<path class="{classes}" d="{path}"/>'

    def _node(self, node: Mapping[str, Any]) -> str:
        name, kind = str(node.get("name") or ""), str(node.get("type") or "")
        x, y = self.points[name]
        mark = self.marks.get(name)
        classes = f"wf-node wf-node--{_family(kind)}"
        classes += (f" wf-node--{mark}" if mark else "") + (" wf-node--disabled" if node.get("disabled") else "")
        label = escape(_fit(name, 21 if mark is None else 20) or "(no name)")
        state = [mark] if mark else []
        if node.get("disabled"):
            state.append("switched off")
        told = f"{name} – {_type_label(kind)}" + (f" ({', '.join(state)})" if state else "")
        parts = [
            f'<g class="{classes}" data-node="{escape(name)}" transform="translate({x:.0f} {y:.0f})">'
            f"<title>{escape(told)}</title>"
            f'<rect class="wf-node-box" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" rx="8"/>'
            f'<rect class="wf-node-edge" x="0" y="10" width="3" height="{HEIGHT - 20:.0f}" rx="1.5"/>'
            f'<text class="wf-node-type" x="14" y="20">{escape(_fit(_type_label(kind), 24))}'
            f"{' · off' if node.get('disabled') else ''}</text>"
            f'<text class="wf-node-name" x="14" y="38">{label}</text>'
        ]
        if mark in _MARKS:
            path, word = _MARKS[mark]
            parts.append(
                f'<g class="wf-mark" transform="translate({WIDTH - 22:.0f} -9)"><rect class="wf-mark-box" '
                f'x="-54" y="-1" width="72" height="18" rx="9"/>'
                f'<path class="wf-mark-shape" transform="translate(-46 3)" d="{path}"/>'
                f'<text class="wf-mark-word" x="-31" y="12">{word}</text></g>'
            )
        parts.append("</g>")
        return "".join(parts)


def _size(value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 20_000:
        return default
    return float(value)
