"""A workflow's graph as server-made SVG: classes instead of styles, a title, a description, nothing unescaped.

Colours and strokes are in `static/css/graph.css`, zoom and pan in `static/js/graph.js`; without it the drawing scrolls.
In a drawing of a diff, each changed node carries a mark and a word besides its colour, and leads to its change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .diff import WorkflowDiff
from .graph_drawing import MAX_NODES, Drawing
from .graph_overlay import Overlay, overlaid, single

__all__ = ["MAX_NODES", "draw_overlay", "render_diff_svg", "render_svg"]


def render_svg(content: Mapping[str, Any], *, title: str) -> str:
    """Return the graph of a portable workflow. At most 1,200 nodes are drawn; the description counts the rest."""
    overlay = single(content)
    return Drawing(overlay, title, f"{_count(overlay)}.").svg()


def render_diff_svg(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    diff: WorkflowDiff,
    *,
    title: str,
    canvas: bool = False,
) -> str:
    """Return both sides laid over each other: what is gone is drawn where it was, the rest where it is now."""
    return draw_overlay(overlaid(before, after, diff, canvas=canvas), title=title)


def draw_overlay(overlay: Overlay, *, title: str) -> str:
    """Return the drawing of both sides; its description counts what differs."""
    counts = ", ".join(f"{number} {mark}" for mark, number in overlay.counts.items())
    return Drawing(overlay, title, f"{_count(overlay)}: {counts or 'none differ'}.").svg()


def _count(overlay: Overlay) -> str:
    number = len(overlay.nodes)
    return "1 node" if number == 1 else f"{number:,} nodes"
