"""What two sides made of a workflow since the version they had in common, and where they contradict each other. Pure.

Every version is laid out as places, each with one value: a value of a node, a setting, a connection, the name. What a
side did is the places whose values it changed. Where both changed a place to different values, they are in conflict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .content import normalize
from .diff import MAX_CHANGES, WorkflowDiff, by_name, diff_workflows
from .diff_links import links_of
from .diff_nodes import Node, match
from .diff_values import ABSENT, names_a_secret, text_of
from .masking import is_secret_name

Place = tuple[Any, ...]
"""What kind of place, whose (a node by its name in the common version), and the path within."""
Keys = Mapping[str, str]
WHOLE = ""
CONFLICTS_NAMED = 100


@dataclass(frozen=True, slots=True)
class Version:
    """One of the three: a portable workflow (None: it is not there), and the ids that it may call."""

    content: Mapping[str, Any] | None
    keys: Keys | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """A place that both changed: ``title`` names it, the others are its values as text without secrets."""

    title: str
    node: str
    base: str | None
    theirs: str | None
    ours: str | None


@dataclass(frozen=True, slots=True)
class ThreeWay:
    """What each did since the ``base``, and their conflicts; ``alike`` counts places that both changed in the same way.

    ``theirs`` and ``ours`` say all that changed, conflicts included.
    """

    theirs: WorkflowDiff
    ours: WorkflowDiff
    conflicts: tuple[Conflict, ...]
    left_out: int
    alike: int

    @property
    def conflict_count(self) -> int:
        return len(self.conflicts) + self.left_out

    @property
    def both_changed(self) -> bool:
        """Whether there is anything to look at three ways."""
        return not self.theirs.is_empty and not self.ours.is_empty


def compare_three(base: Version, theirs: Version, ours: Version, *, across: bool = False) -> ThreeWay:
    """Compare two sides with their common version. ``across``: ours comes from another environment."""
    first, second = (
        diff_workflows(
            base.content,
            side.content,
            before_keys=base.keys,
            after_keys=side.keys,
            across=across,
            most=MAX_CHANGES,
        )
        for side in (theirs, ours)
    )
    left, right = edits(base, theirs), edits(base, ours)
    contested = conflicting(left, right)
    before, secret = places(base, base), secret_places(base, theirs, ours)
    named = sorted(contested, key=repr)[:CONFLICTS_NAMED]
    return ThreeWay(
        first,
        second,
        tuple(
            _conflict(place, secret, *(_value_in(place, edited, before) for edited in ({}, left, right)))
            for place in named
        ),
        len(contested) - len(named),
        sum(not _differ(left[place], right[place]) for place in left.keys() & right.keys()),
    )


def _value_in(place: Place, edited: Mapping[Place, Any], before: Mapping[Place, Any]) -> Any:
    return edited.get(place, before.get(place, ABSENT))


def places(base: Version, side: Version) -> dict[Place, Any]:
    """Every place of a version with its value; nodes go by their names in ``base`` where they are the same nodes."""
    return {place: value for place, value, _ in _laid_out(base, side)}


def secret_places(base: Version, *sides: Version) -> set[Place]:
    """The places whose names say that they hold secrets."""
    return {place for side in (base, *sides) for place, _, secret in _laid_out(base, side) if secret}


def _laid_out(base: Version, side: Version) -> Iterator[tuple[Place, Any, bool]]:
    if side.content is None:
        return
    now = normalize(side.content, side.keys or {}, called=by_name)
    known = _names_in(base, side, now)
    yield ("name", WHOLE, WHOLE), now["name"], False
    for path, value, secret in _values(now["settings"], WHOLE):
        yield ("setting", WHOLE, path), value, secret
    for node in now["nodes"]:
        name = known.get(node["name"], node["name"])
        for path, value, secret in _values(node, WHOLE):
            yield ("node", name, path), value, secret
    for link, count in Counter(links_of(now["connections"], known)).items():
        yield ("connection", link[0], link[1:]), count, False


def edits(base: Version, side: Version) -> dict[Place, Any]:
    """The places that a side changed, with their new values; ``ABSENT`` where it took one away."""
    before, after = places(base, base), places(base, side)
    return {
        place: after.get(place, ABSENT)
        for place in dict.fromkeys((*before, *after))
        if _differ(before.get(place, ABSENT), after.get(place, ABSENT))
    }


def conflicting(first: Mapping[Place, Any], second: Mapping[Place, Any]) -> set[Place]:
    """The places that both changed to different values; that one changed of a node which the other took away; and that
    one put inside of what the other replaced.
    """
    found = {place for place in first.keys() & second.keys() if _differ(first[place], second[place])}
    return found | _hindered(first, second) | _hindered(second, first)


def _hindered(changing: Mapping[Place, Any], other: Mapping[Place, Any]) -> set[Place]:
    gone = {place[1] for place, value in other.items() if (place[0], place[2], value) == ("node", "type", ABSENT)}
    found: set[Place] = set()
    for place, value in changing.items():
        if value is ABSENT:
            continue
        if gone & _nodes_of(place):
            found.add(place)
        found |= _around(place, other)
    return found


def _nodes_of(place: Place) -> set[Any]:
    return {place[1], place[2][2]} if place[0] == "connection" else {place[1]}


def _around(place: Place, other: Mapping[Place, Any]) -> set[Place]:
    """The place, and what the other side put where something of it has to be."""
    kind, name, path = place
    if kind == "connection":
        return set()
    steps = path.split(".")
    outer = [(kind, name, ".".join(steps[:count])) for count in range(1, len(steps))]
    replaced = {each for each in outer if other.get(each, ABSENT) is not ABSENT}
    return {place, *replaced} if replaced else set()


def merged(before: Mapping[Place, Any], *sides: Mapping[Place, Any]) -> dict[Place, Any]:
    """The places after what each side did, one after another."""
    found = dict(before)
    for side in sides:
        found |= side
    return {place: value for place, value in found.items() if value is not ABSENT}


def _names_in(base: Version, side: Version, now: Node) -> dict[str, str]:
    if base.content is None or side.content is None:
        return {}
    before = normalize(base.content, base.keys or {}, called=by_name)
    return {new["name"]: old["name"] for old, new in match(base.content, side.content, before, now).pairs}


def _values(value: Any, path: str, secret: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Each value that is no object, and each empty one, with its path; a list is one value: its order counts."""
    if not isinstance(value, dict) or not value:
        yield path, value, secret
        return
    is_named = names_a_secret(value)
    for key, each in value.items():
        hide = secret or (is_secret_name(key) and path != "credentials") or (is_named and key == "value")
        yield from _values(each, f"{path}.{key}" if path else str(key), hide)


def _differ(first: Any, second: Any) -> bool:
    return type(first) is not type(second) or bool(first != second)


def _conflict(place: Place, secret: set[Place], *values: Any) -> Conflict:
    kind, name, path = place
    base, theirs, ours = (_text(value, kind, hide=place in secret) for value in values)
    titles = {
        "name": "Name of the workflow",
        "setting": f"Setting {path}",
        "node": f"“{name}”: {str(path).removeprefix('parameters.')}",
        "connection": f"“{name}” → “{path[2] if kind == 'connection' else ''}”",
    }
    return Conflict(titles[kind], str(name), base, theirs, ours)


def _text(value: Any, kind: str, *, hide: bool) -> str | None:
    return "connected" if kind == "connection" and value is not ABSENT else text_of(value, hide)
