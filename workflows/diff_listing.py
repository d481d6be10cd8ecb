"""The changes of a diff as a page lists them: what counts, what is said beside it, what was only drawn differently."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from .diff import MAX_CHANGES, WorkflowDiff
from .diff_aside import COSMETIC
from .diff_values import Change, ValueChange
from .graph_overlay import anchor_of


@dataclass(frozen=True, slots=True)
class ListedChange:
    """A change with its place on the page, ``ident`` ('' for a later one of the same node), and where it leads to."""

    change: Change
    ident: str = ""
    url: str = ""

    @property
    def kind(self) -> str:
        return self.change.kind

    @property
    def title(self) -> str:
        return self.change.title

    @property
    def sentence(self) -> str:
        return self.change.sentence

    @property
    def parts(self) -> tuple[ValueChange, ...]:
        return self.change.parts


@dataclass(frozen=True, slots=True)
class ListedDiff:
    """``behaviour`` is what counts, ``beside`` publishing, tags and the like, ``cosmetic`` places and notes.

    Where not all are listed, ``behaviour_count`` and ``cosmetic_count`` still count what the diff holds.
    """

    behaviour: tuple[ListedChange, ...]
    beside: tuple[ListedChange, ...]
    cosmetic: tuple[ListedChange, ...]
    behaviour_count: int
    cosmetic_count: int
    left_out: int


def listed(diff: WorkflowDiff, drawn: Collection[str], *, most: int = MAX_CHANGES) -> ListedDiff:
    """List the first changes; ``drawn`` are the nodes that carry a mark in the graph beside."""
    changes = diff.changes[:most]
    rows = list(_placed(changes, drawn))
    return ListedDiff(
        behaviour=tuple(row for row in rows if row.change.behaviour),
        beside=tuple(row for row in rows if not row.change.behaviour and not _is_cosmetic(row.change)),
        cosmetic=tuple(row for row in rows if _is_cosmetic(row.change)),
        behaviour_count=sum(change.behaviour for change in diff.changes),
        cosmetic_count=sum(map(_is_cosmetic, diff.changes)),
        left_out=diff.left_out + len(diff.changes) - len(changes),
    )


def _is_cosmetic(change: Change) -> bool:
    return not change.behaviour and change.what in COSMETIC


def _placed(changes: Iterable[Change], drawn: Collection[str]) -> Iterator[ListedChange]:
    taken: set[str] = set()
    for change in changes:
        name = node_of(change)
        if not name:
            yield ListedChange(change)
            continue
        anchor = anchor_of(name)
        ident = "" if anchor in taken else f"change-{anchor}"
        taken.add(anchor)
        yield ListedChange(change, ident, f"#node-{anchor}" if name in drawn else "")


def node_of(change: Change) -> str:
    """The node that a change is about, by the name that the drawing gives it; '' for none."""
    if not change.what.startswith("node_"):
        return ""
    return change.node or change.before_node
