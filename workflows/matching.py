"""Deciding which workflow is which. Pure: takes facts, returns decisions, reads and writes nothing.

Names are not unique, may be empty, and may differ by case only, so a name alone never decides. Whoever cannot be
told apart with certainty stays *unmapped* until a person says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

#: Share of node types that two versions of one workflow have in common at least.
TYPES_IN_COMMON = 0.5


@dataclass(frozen=True, slots=True)
class Known:
    """A workflow that has a place already. ``ident`` is what a decision answers with."""

    ident: UUID
    name: str
    body: str = ""
    node_types: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A workflow that was seen for the first time under this id."""

    env_workflow_id: str
    name: str
    body: str
    node_types: frozenset[str] = frozenset()
    node_count: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """``linked`` maps n8n ids to canonical ids; ``undecided`` are n8n ids that look like a workflow elsewhere."""

    linked: dict[str, UUID] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)


def same_name(name: str) -> str:
    """The form in which two names count as the same for a person: no case, no surrounding or doubled space."""
    return " ".join(name.split()).casefold()


def types_agree(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of node types can be versions of one workflow; unknown (empty) sets do not speak against it."""
    if not one or not other:
        return True
    return len(one & other) / len(one | other) >= TYPES_IN_COMMON


def known_from(ident: UUID, name: str, fingerprint: Mapping[str, Any] | None) -> Known:
    """A ``Known`` out of a row's stored fingerprint."""
    stored = fingerprint or {}
    return Known(ident, name, str(stored.get("body", "")), frozenset(stored.get("types", ())))


def recreated(newcomers: Sequence[Newcomer], gone: Iterable[Known]) -> dict[str, UUID]:
    """Newcomers with exactly the content of a workflow that is gone: n8n id to the ident of the one that is gone.

    Where several share that content, they are paired only if as many came as went: equal content makes any pairing
    as good as another, and unequal numbers mean that somebody made or removed a copy.
    """
    went: dict[str, list[UUID]] = defaultdict(list)
    came: dict[str, list[str]] = defaultdict(list)
    for known in gone:
        if known.body:
            went[known.body].append(known.ident)
    for newcomer in newcomers:
        if newcomer.body in went and newcomer.node_count:
            came[newcomer.body].append(newcomer.env_workflow_id)
    pairs: dict[str, UUID] = {}
    for body, ids in came.items():
        if len(ids) == len(went[body]):
            pairs.update(zip(sorted(ids), sorted(went[body]), strict=True))
    return pairs


def counterparts(
    newcomers: Sequence[Newcomer],
    *,
    names_here: Iterable[str],
    bodies_here: Iterable[str],
    elsewhere: Iterable[Known],
    placed_here: set[UUID],
) -> Decision:
    """Which newcomers are a canonical workflow that lives in another environment.

    ``names_here`` and ``bodies_here`` are those of everything in this environment, newcomers included; ``elsewhere``
    has one ``Known`` per place, its ident the canonical workflow's; ``placed_here`` are canonical workflows that have
    a place here already. Linked where exactly one on each side has the same content, or exactly one on each side
    bears the name (spelt alike) and the node types agree.
    """
    name_count = Counter(same_name(name) for name in names_here)
    body_count = Counter(bodies_here)
    by_name: dict[str, dict[UUID, list[Known]]] = defaultdict(lambda: defaultdict(list))
    by_body: dict[str, set[UUID]] = defaultdict(set)
    for known in elsewhere:
        by_name[same_name(known.name)][known.ident].append(known)
        if known.body:
            by_body[known.body].add(known.ident)
    decision = Decision()
    taken = set(placed_here)
    for newcomer in newcomers:
        ident = _by_content(newcomer, body_count, by_body) or _by_name(newcomer, name_count, by_name)
        if ident is not None and ident not in taken:
            taken.add(ident)
            decision.linked[newcomer.env_workflow_id] = ident
        elif newcomer.body in by_body or (newcomer.name.strip() and same_name(newcomer.name) in by_name):
            decision.undecided.add(newcomer.env_workflow_id)
    return decision


def _by_content(newcomer: Newcomer, here: Counter[str], elsewhere: Mapping[str, set[UUID]]) -> UUID | None:
    found = elsewhere.get(newcomer.body, set())
    if newcomer.node_count and len(found) == 1 and here[newcomer.body] == 1:
        return next(iter(found))
    return None


def _by_name(
    newcomer: Newcomer, here: Counter[str], elsewhere: Mapping[str, Mapping[UUID, list[Known]]]
) -> UUID | None:
    name = same_name(newcomer.name)
    found = elsewhere.get(name, {})
    if not name or len(found) != 1 or here[name] != 1:
        return None
    ident, places = next(iter(found.items()))
    alike = [p for p in places if p.name == newcomer.name and types_agree(p.node_types, newcomer.node_types)]
    return ident if alike else None
