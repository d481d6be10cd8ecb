"""Where the nodes of a workflow stand in a drawing: n8n's own places where they are sane, else layers of our own."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

Point = tuple[float, float]

WIDTH, HEIGHT = 184.0, 52.0
GAP_X, GAP_Y = 72.0, 36.0
_FAR = 200_000.0


def edges(content: Mapping[str, Any]) -> list[tuple[str, str, int, str]]:
    """Return the links as (source, kind, output, target), each once, in their order.

    Ends that are given by a node's id are drawn at that node; `warnings` tells that n8n itself goes by names.
    """
    nodes = content.get("nodes") or ()
    names = {str(n.get("name") or "") for n in nodes}
    by_id = {str(n["id"]): str(n.get("name") or "") for n in nodes if n.get("id") and str(n["id"]) not in names}
    found: dict[tuple[str, str, int, str], None] = {}
    for source, kinds in (content.get("connections") or {}).items():
        for kind, outputs in kinds.items() if isinstance(kinds, dict) else ():
            for number, links in enumerate(outputs or ()):
                for link in links or ():
                    if isinstance(link, dict):
                        target = str(link.get("node") or "")
                        start = by_id.get(str(source), str(source))
                        found[(start, str(kind), number, by_id.get(target, target))] = None
    return list(found)


def position(node: Mapping[str, Any]) -> Point | None:
    """The node's own place, or None where it has no usable one."""
    place = node.get("position")
    if not isinstance(place, list | tuple) or len(place) < 2:
        return None
    x, y = place[0], place[1]
    if isinstance(x, bool) or isinstance(y, bool) or not isinstance(x, int | float) or not isinstance(y, int | float):
        return None
    if not (math.isfinite(x) and math.isfinite(y)) or abs(x) > _FAR or abs(y) > _FAR:
        return None
    return float(x), float(y)


class Layout:
    """`points`: the upper left corner of each node by name. `moved` says where any place of n8n's canvas went to."""

    def __init__(self, points: dict[str, Point], moved: Callable[[float, float], Point] | None = None) -> None:
        self.points = points
        self.moved = moved


def place(nodes: Sequence[Mapping[str, Any]], links: Iterable[tuple[str, str, int, str]]) -> Layout:
    """Lay out nodes by n8n's own places, in their order, with wide empty stretches taken out.

    The places are stretched until boxes of our size do not lie on each other. Where they are missing, far away or
    piled up, the nodes are put into layers along the links.
    """
    own = {str(n.get("name") or ""): position(n) for n in nodes}
    known = {name: p for name, p in own.items() if p is not None}
    if known and len(known) == len(own):
        for by_x, by_y in ((1.0, 1.0), (1.15, 1.0), (1.3, 1.0), (1.5, 1.0), (1.8, 1.2), (2.2, 1.5)):
            across = _axis([x for x, _ in known.values()], by_x, WIDTH + 1.5 * GAP_X)
            down = _axis([y for _, y in known.values()], by_y, HEIGHT + 2 * GAP_Y)
            points = {name: (across(x), down(y)) for name, (x, y) in known.items()}
            if _overlaps(points) <= len(points) * 0.15:
                return Layout(_apart(points), _both(across, down))
    return Layout(layered(list(own), links))


def _both(across: Callable[[float], float], down: Callable[[float], float]) -> Callable[[float, float], Point]:
    return lambda x, y: (across(x), down(y))


def _axis(values: Iterable[float], stretch: float, widest: float) -> Callable[[float], float]:
    """A rising function from n8n's axis to ours: stretched, and no gap between two stops wider than `widest`."""
    stops = sorted(set(values))
    ours = [0.0]
    for before, after in pairwise(stops):
        ours.append(ours[-1] + min((after - before) * stretch, widest))

    def place_of(value: float) -> float:
        i = bisect_right(stops, value) - 1
        if i < 0:
            return (value - stops[0]) * stretch
        if i == len(stops) - 1:
            return ours[i] + (value - stops[i]) * stretch
        return ours[i] + (value - stops[i]) / (stops[i + 1] - stops[i]) * (ours[i + 1] - ours[i])

    return place_of


def _overlaps(points: Mapping[str, Point]) -> int:
    """How many boxes lie on an earlier one."""
    taken = _Taken()
    return sum(not taken.take(point) for point in points.values())


def _apart(points: Mapping[str, Point]) -> dict[str, Point]:
    """Move the boxes that lie on an earlier one downwards to the next free place."""
    taken, out = _Taken(), {}
    for name, (x, y) in points.items():
        while not taken.take((x, y)):
            y += HEIGHT / 2
        out[name] = (x, y)
    return out


class _Taken:
    """Which places are taken, by a grid of box-sized cells."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Point]] = defaultdict(list)

    def take(self, point: Point) -> bool:
        """Take a place unless a box lies there."""
        x, y = point
        column, row = int(x // WIDTH), int(y // HEIGHT)
        near = (p for c in (column - 1, column, column + 1) for r in (row - 1, row, row + 1) for p in self._cells[c, r])
        if any(abs(p[0] - x) < WIDTH and abs(p[1] - y) < HEIGHT + 2 for p in near):
            return False
        self._cells[column, row].append(point)
        return True


def layered(names: Sequence[str], links: Iterable[tuple[str, str, int, str]]) -> dict[str, Point]:
    """Put each node one column after the earliest that leads to it; loops lead back. Bounded in time by the links."""
    known = set(names)
    after: dict[str, list[str]] = defaultdict(list)
    before: dict[str, list[str]] = defaultdict(list)
    for source, _kind, _number, target in links:
        if source in known and target in known and source != target:
            after[source].append(target)
            before[target].append(source)
    column: dict[str, int] = {}
    for start in sorted(names, key=lambda n: bool(before[n])):
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
    rows: dict[int, list[str]] = defaultdict(list)
    for name in names:
        rows[column[name]].append(name)
    height: dict[str, float] = {}
    for number in sorted(rows):
        # Beside the middle of what leads here, so that lines cross seldom.
        rows[number].sort(key=lambda n: _mean([height[b] for b in before[n] if b in height]))
        for row, name in enumerate(rows[number]):
            height[name] = float(row)
    # A very long column is broken into several, side by side.
    deep, points, shift = 40, {}, 0.0
    for number in sorted(rows):
        for i, name in enumerate(rows[number]):
            points[name] = (shift + (i // deep) * (WIDTH + GAP_X), (i % deep) * (HEIGHT + GAP_Y))
        shift += (1 + (len(rows[number]) - 1) // deep) * (WIDTH + GAP_X)
    return points


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
