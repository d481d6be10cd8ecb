"""Connections of two versions: which appeared, which are gone, and whether their order changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .diff_values import Change

Link = tuple[Any, ...]
"""Source, kind, number of the output, target, and what else a target is made of."""
LINKS_NAMED = 5


def connection_changes(
    old: dict[str, Any], new: dict[str, Any], renamed: Mapping[str, str], names_by_id: Mapping[str, str]
) -> list[Change]:
    """The changes between normalized connections; ``renamed`` maps the names of nodes before to those after."""
    if old == new:
        return []
    before, after = Counter(links_of(old, renamed)), Counter(links_of(new, {}))
    gone = [_link_change(link, names_by_id, "removed", "no longer leads") for link in _beyond(before, after)]
    fresh = [_link_change(link, names_by_id, "added", "now leads") for link in _beyond(after, before)]
    if gone or fresh or before != after:
        return gone + fresh
    return _order_changes(old, new, renamed)


def links_of(connections: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Link]:
    """Every link of normalized connections; ``names`` maps names of nodes to those that they go by."""
    for source, kinds in connections.items():
        for kind, outputs in kinds.items():
            for number, links in enumerate(outputs):
                for link in links:
                    target: list[Any] = link if isinstance(link, list) else [str(link), "main", 0]
                    end = names.get(target[0], target[0])
                    yield (names.get(source, source), kind, number, end, *map(str, target[1:]))


def _beyond(links: Mapping[Link, int], others: Mapping[Link, int]) -> Iterator[Link]:
    """What is in ``links`` more often than in ``others``, in its order."""
    for link, count in links.items():
        for _ in range(count - others.get(link, 0)):
            yield link


def _link_change(link: Link, names_by_id: Mapping[str, str], kind: str, verb: str) -> Change:
    # Files that n8n did not make may name the ends by the nodes' ids.
    source, way, number, target = names_by_id.get(link[0], link[0]), *link[1:3], names_by_id.get(link[3], link[3])
    output = f" (output {number + 1})" if number else ""
    by = "" if way == "main" else f" as {way}"
    sentence = f"“{source}”{output} {verb} to “{target}”{by}."
    return Change(kind, "connection", f"{source} → {target}", sentence, str(source), severity="medium")


def _order_changes(old: dict[str, Any], new: dict[str, Any], renamed: Mapping[str, str]) -> list[Change]:
    """The same links in another order, which counts in the older execution order."""
    same_names = all(before == after for before, after in renamed.items())
    if not same_names or {renamed.get(source, source) for source in old} != new.keys():
        return []
    reordered = [f"“{source}”" for source in new if source in old and old[source] != new[source]]
    if not reordered:
        return []
    named = ", ".join(reordered[:LINKS_NAMED])
    sentence = f"The order of what follows {named} changed; older execution order goes by it."
    return [Change("changed", "connection", "Order of connections", sentence)]
