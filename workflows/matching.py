"""Deciding which workflow is which. Pure: takes facts, returns decisions, reads and writes nothing.

Names are not unique, may be empty, and may differ by case only, so a name alone never decides. A workflow that cannot
be identified with certainty stays *unmapped* until a person decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from .stored_fingerprints import StoredFingerprint

#: Share of node types that two versions of one workflow have in common at least.
TYPES_IN_COMMON = 0.5


@dataclass(frozen=True, slots=True)
class Known:
    """A workflow that has a mapping already. ``id`` is what a decision returns: that of a mapping or a workflow."""

    id: UUID
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
    """Whether two sets of node types can be versions of one workflow; an empty set is unknown and fits any."""
    if not one or not other:
        return True
    return len(one & other) / len(one | other) >= TYPES_IN_COMMON


def known_from(known_id: UUID, name: str, fingerprint: StoredFingerprint | None) -> Known:
    """A ``Known`` out of a row's stored fingerprint."""
    if fingerprint is None:
        return Known(known_id, name)
    return Known(known_id, name, fingerprint.body, fingerprint.node_types())


def recreated(newcomers: Sequence[Newcomer], gone: Iterable[Known]) -> dict[str, UUID]:
    """Newcomers with exactly the content of a workflow that is gone: n8n id to the id of the one that is gone.

    Where several share that content, they are paired only if as many came as went: equal content makes any pairing
    as good as another, and unequal numbers mean that somebody made or removed a copy.
    """
    went: dict[str, list[UUID]] = defaultdict(list)
    came: dict[str, list[str]] = defaultdict(list)
    for known in gone:
        if known.body:
            went[known.body].append(known.id)
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
    mapped_here: set[UUID],
) -> Decision:
    """Which newcomers are a canonical workflow that lives in another environment.

    ``names_here`` and ``bodies_here`` are those of everything in this environment, newcomers included; ``elsewhere``
    has one ``Known`` per mapping, its id the canonical workflow's; ``mapped_here`` are canonical workflows that have a
    mapping here already. Linked where exactly one on each side has the same content, or exactly one on each side has
    the name (spelt alike) and the node types agree.
    """
    here = _Here(Counter(same_name(name) for name in names_here), Counter(bodies_here))
    there = _Elsewhere(elsewhere)
    decision = Decision()
    taken = set(mapped_here)
    for newcomer in newcomers:
        canonical_id = there.with_content(newcomer, here) or there.with_name(newcomer, here)
        if canonical_id is not None and canonical_id not in taken:
            taken.add(canonical_id)
            decision.linked[newcomer.env_workflow_id] = canonical_id
        elif there.resembles(newcomer):
            decision.undecided.add(newcomer.env_workflow_id)
    return decision


@dataclass(frozen=True, slots=True)
class _Here:
    """How often each name and each content occurs in this environment."""

    names: Counter[str]
    bodies: Counter[str]


class _Elsewhere:
    """The workflows of other environments, by name and by content."""

    def __init__(self, knowns: Iterable[Known]) -> None:
        self.by_name: dict[str, dict[UUID, list[Known]]] = defaultdict(lambda: defaultdict(list))
        self.by_body: dict[str, set[UUID]] = defaultdict(set)
        for known in knowns:
            self.by_name[same_name(known.name)][known.id].append(known)
            if known.body:
                self.by_body[known.body].add(known.id)

    def with_content(self, newcomer: Newcomer, here: _Here) -> UUID | None:
        """The only one with the newcomer's content, where the newcomer is the only one here."""
        found = self.by_body.get(newcomer.body, set())
        is_certain = newcomer.node_count and len(found) == 1 and here.bodies[newcomer.body] == 1
        return next(iter(found)) if is_certain else None

    def with_name(self, newcomer: Newcomer, here: _Here) -> UUID | None:
        """The only one with the newcomer's name and node types that agree."""
        name = same_name(newcomer.name)
        found = self.by_name.get(name, {})
        if not name or len(found) != 1 or here.names[name] != 1:
            return None
        canonical_id, knowns = next(iter(found.items()))
        alike = (k for k in knowns if k.name == newcomer.name and types_agree(k.node_types, newcomer.node_types))
        return canonical_id if next(alike, None) is not None else None

    def resembles(self, newcomer: Newcomer) -> bool:
        """Whether some workflow elsewhere has the newcomer's content or name."""
        name = same_name(newcomer.name)
        return newcomer.body in self.by_body or (name != "" and name in self.by_name)
