"""Where the nodes of a workflow are drawn: at n8n's own positions where they are sane, else in layers of our own."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

Point = tuple[float, float]

WIDTH, HEIGHT = 184.0, 60.0
GAP_X, GAP_Y = 72.0, 36.0
LEAST_X, LEAST_Y = 28.0, 16.0
"""What is left free between two nodes, for the lines."""
_FAR = 200_000.0
_DEEPEST = 40
"""Nodes that are drawn below each other in one column."""


Link = tuple[str, str, int, str]
"""Source, kind, number of the output, target."""


def edges(content: Mapping[str, Any]) -> list[Link]:
    """Return the links, each once, in their order.

    Ends that are given by a node's id are drawn at that node; n8n itself goes by names, as `warnings` points out.
    """
    nodes = content.get("nodes") or ()
    names = {str(node.get("name") or "") for node in nodes}
    by_id = {str(n["id"]): str(n.get("name") or "") for n in nodes if n.get("id") and str(n["id"]) not in names}
    links = (
        (by_id.get(str(source), str(source)), kind, number, by_id.get(target, target))
        for source, kinds in (content.get("connections") or {}).items()
        for kind, number, target in _targets(kinds)
    )
    return list(dict.fromkeys(links))


def _targets(kinds: Any) -> Iterator[tuple[str, int, str]]:
    for kind, outputs in kinds.items() if isinstance(kinds, dict) else ():
        for number, links in enumerate(outputs or ()):
            for link in links or ():
                if isinstance(link, dict):
                    yield str(kind), number, str(link.get("node") or "")


def position(node: Mapping[str, Any]) -> Point | None:
    """The node's own position, None where it has no usable one."""
    found = node.get("position")
    if not isinstance(found, list | tuple) or len(found) < 2 or not all(map(_is_usable, found[:2])):
        return None
    return float(found[0]), float(found[1])


def _is_usable(coordinate: Any) -> bool:
    if isinstance(coordinate, bool) or not isinstance(coordinate, int | float):
        return False
    return math.isfinite(coordinate) and abs(coordinate) <= _FAR


class Layout:
    """`points`: the upper left corner of each node by name. `moved` maps a position on n8n's canvas to ours."""

    def __init__(self, points: dict[str, Point], moved: Callable[[float, float], Point] | None = None) -> None:
        self.points = points
        self.moved = moved


#: Horizontal and vertical factors by which n8n's positions are stretched, tried in this order.
_STRETCHES = ((1.0, 1.0), (1.15, 1.0), (1.3, 1.0), (1.5, 1.0), (1.8, 1.2), (2.2, 1.5))
_OVERLAPS_ALLOWED = 0.15
"""Share of the nodes that may lie on another one and be moved apart."""


def lay_out(nodes: Sequence[Mapping[str, Any]], links: Iterable[Link]) -> Layout:
    """Lay out nodes by n8n's own positions, in their order, with wide empty stretches taken out.

    The positions are stretched until boxes of our size do not lie on each other. Where they are missing, far away or
    piled up, the nodes are put into layers along the links.
    """
    own = {str(node.get("name") or ""): position(node) for node in nodes}
    known = {name: point for name, point in own.items() if point is not None}
    kept = _stretched(known) if known and len(known) == len(own) else None
    return kept or Layout(layered(list(own), links))


def _stretched(positions: Mapping[str, Point]) -> Layout | None:
    for by_x, by_y in _STRETCHES:
        across = _axis([x for x, _ in positions.values()], by_x, WIDTH + 1.5 * GAP_X)
        down = _axis([y for _, y in positions.values()], by_y, HEIGHT + 2 * GAP_Y)
        points = {name: (across(x), down(y)) for name, (x, y) in positions.items()}
        if _overlaps(points) <= len(points) * _OVERLAPS_ALLOWED:
            return Layout(_apart(points), _both(across, down))
    return None


def _both(across: Callable[[float], float], down: Callable[[float], float]) -> Callable[[float, float], Point]:
    return lambda x, y: (across(x), down(y))


def _axis(values: Iterable[float], stretch: float, widest: float) -> Callable[[float], float]:
    """A rising function from n8n's axis to ours: stretched, and no gap between two stops wider than `widest`."""
    stops = sorted(set(values))
    ours = [0.0]
    for before, after in pairwise(stops):
        ours.append(ours[-1] + min((after - before) * stretch, widest))

    def moved(value: float) -> float:
        i = bisect_right(stops, value) - 1
        if i < 0:
            return (value - stops[0]) * stretch
        if i == len(stops) - 1:
            return ours[i] + (value - stops[i]) * stretch
        return ours[i] + (value - stops[i]) / (stops[i + 1] - stops[i]) * (ours[i + 1] - ours[i])

    return moved


def _overlaps(points: Mapping[str, Point]) -> int:
    """How many boxes lie on an earlier one."""
    taken = _Taken()
    return sum(not taken.take(point) for point in points.values())


def _apart(points: Mapping[str, Point]) -> dict[str, Point]:
    """Move the boxes that lie on an earlier one down to the next free space."""
    taken, out = _Taken(), {}
    for name, (x, y) in points.items():
        while not taken.take((x, y)):
            y += (HEIGHT + LEAST_Y) / 2
        out[name] = (x, y)
    return out


class _Taken:
    """Which positions are taken, by a grid of box-sized cells."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Point]] = defaultdict(list)

    def take(self, point: Point) -> bool:
        """Take a position unless a box lies there."""
        x, y = point
        column, row = int(x // (WIDTH + LEAST_X)), int(y // (HEIGHT + LEAST_Y))
        near = (p for c in (column - 1, column, column + 1) for r in (row - 1, row, row + 1) for p in self._cells[c, r])
        if any(abs(p[0] - x) < WIDTH + LEAST_X and abs(p[1] - y) < HEIGHT + LEAST_Y for p in near):
            return False
        self._cells[column, row].append(point)
        return True


def layered(names: Sequence[str], links: Iterable[Link]) -> dict[str, Point]:
    """Put each node one column after the earliest that leads to it; loops lead back. Bounded in time by the links."""
    known = set(names)
    after: dict[str, list[str]] = defaultdict(list)
    before: dict[str, list[str]] = defaultdict(list)
    for source, _kind, _number, target in links:
        if source in known and target in known and source != target:
            after[source].append(target)
            before[target].append(source)
    column = _columns(sorted(names, key=lambda name: bool(before[name])), after)
    members: dict[int, list[str]] = defaultdict(list)
    for name in names:
        members[column[name]].append(name)
    return _spread(_without_crossings(members, before))


def _columns(starts: Iterable[str], after: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """The column of each node by the shortest way from a start."""
    column: dict[str, int] = {}
    for start in starts:
        if start in column:
            continue
        column[start] = 0
        queue = deque([start])
        while queue:
            name = queue.popleft()
            for target in after[name]:
                if target not in column:
                    column[target] = column[name] + 1
                    queue.append(target)
    return column


def _without_crossings(columns: Mapping[int, list[str]], before: Mapping[str, list[str]]) -> list[list[str]]:
    """The columns from left to right, each node beside the middle of what leads to it, so that lines cross seldom."""
    height: dict[str, float] = {}
    ordered = []
    for _, column in sorted(columns.items()):
        rows = sorted(column, key=lambda name: _mean([height[other] for other in before[name] if other in height]))
        height.update((name, float(row)) for row, name in enumerate(rows))
        ordered.append(rows)
    return ordered


def _spread(columns: Iterable[Sequence[str]]) -> dict[str, Point]:
    """A very long column is broken into several, side by side."""
    points, left = {}, 0.0
    for names in columns:
        for row, name in enumerate(names):
            points[name] = (left + (row // _DEEPEST) * (WIDTH + GAP_X), (row % _DEEPEST) * (HEIGHT + GAP_Y))
        left += (1 + (len(names) - 1) // _DEEPEST) * (WIDTH + GAP_X)
    return points


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
