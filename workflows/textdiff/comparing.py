"""What differs between two versions, section by section and line by line, with the marks within a line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from .colouring import coloured
from .lines import Line, Section, sections_of

Layout = Literal["unified", "split"]
RowKind = Literal["same", "removed", "added", "changed", "fold"]
SectionState = Literal["added", "removed", "changed", "same"]
Span = tuple[int, int]

CONTEXT_LINES = 3
"""Unchanged lines that stay around a change; the rest is folded."""
MOST_ROWS = 3000
"""Rows of a whole diff; sections beyond are named, and closed."""
LARGEST_PAIR = 4_000_000
"""Lines of one side times lines of the other up to which every line is looked for; beyond, by rare lines only."""
ALIKE = 0.4
"""How much two lines must have in common for marks within them."""

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the diff: beside each other what it was and is. Numbers count from 1 within the section.

    ``marks`` are (from, to) in what is shown. A fold stands for ``folded`` lines that did not change.
    """

    kind: RowKind
    left: Line | None = None
    right: Line | None = None
    left_number: int = 0
    right_number: int = 0
    left_marks: tuple[Span, ...] = ()
    right_marks: tuple[Span, ...] = ()
    folded: int = 0


@dataclass(frozen=True, slots=True)
class SectionDiff:
    """One section that differs. ``former`` is what the node was called before, where it was renamed."""

    key: str
    title: str
    kind: str
    state: SectionState
    rows: tuple[Row, ...]
    added: int
    removed: int
    node: str = ""
    former: str = ""
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class TextDiff:
    """All sections that differ, in the order of the later version; what is gone stands last."""

    sections: tuple[SectionDiff, ...] = ()
    unchanged: int = 0
    added: int = 0
    removed: int = 0

    @property
    def is_empty(self) -> bool:
        return not self.sections


@dataclass(slots=True)
class _Budget:
    """Rows that may still be kept."""

    rows: int


def compare(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    renamed: Mapping[str, str] | None = None,
    whole: bool = False,
) -> TextDiff:
    """Compare two versions of a portable workflow (None: it does not exist); ``whole`` folds nothing.

    ``renamed`` leads from the name of a node after to the one it had before.
    """
    former_names = renamed or {}
    left = {section.key: section for section in sections_of(before)}
    budget, found, unchanged = _Budget(MOST_ROWS), [], 0
    for section in sections_of(after):
        former = former_names.get(section.node, "") if section.node else ""
        old = left.pop(f"node:{former}" if former else section.key, None)
        diff = _section(old, section, former=former, whole=whole, budget=budget)
        if diff is None:
            unchanged += 1
        else:
            found.append(diff)
    gone = (_section(section, None, former="", whole=whole, budget=budget) for section in left.values())
    found += [diff for diff in gone if diff is not None]
    return TextDiff(tuple(found), unchanged, sum(d.added for d in found), sum(d.removed for d in found))


def _section(
    old: Section | None, new: Section | None, *, former: str, whole: bool, budget: _Budget
) -> SectionDiff | None:
    shown = new or old
    if shown is None:
        return None
    before, after = (old.lines if old else ()), (new.lines if new else ())
    if old and new and not former and [line.raw for line in before] == [line.raw for line in after]:
        return None
    rows = list(_rows(coloured(before), coloured(after)))
    added = sum(row.kind in ("added", "changed") for row in rows)
    removed = sum(row.kind in ("removed", "changed") for row in rows)
    state: SectionState = "changed" if old and new else "added" if new else "removed"
    kept = rows if whole else list(_folded(rows))
    is_cut = len(kept) > budget.rows
    kept = kept[: max(budget.rows, 0)]
    budget.rows -= len(kept)
    return SectionDiff(
        shown.key, shown.title, shown.kind, state, tuple(kept), added, removed, shown.node, former, is_cut
    )


# -- lines ------------------------------------------------------------------------------------------------------------


def _rows(before: Sequence[Line], after: Sequence[Line]) -> Iterator[Row]:
    left, right = [line.raw for line in before], [line.raw for line in after]
    for tag, i1, i2, j1, j2 in _blocks(left, right):
        if tag == "equal":
            for i, j in zip(range(i1, i2), range(j1, j2), strict=True):
                yield Row("same", before[i], after[j], i + 1, j + 1)
        else:
            yield from _replaced(before, after, range(i1, i2), range(j1, j2))


def _blocks(left: list[str], right: list[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """What is equal and what is not. Equal beginnings and ends are set aside first: most of a long text is that."""
    head = 0
    while head < min(len(left), len(right)) and left[head] == right[head]:
        head += 1
    tail = 0
    while tail < min(len(left), len(right)) - head and left[-1 - tail] == right[-1 - tail]:
        tail += 1
    if head:
        yield "equal", 0, head, 0, head
    inner_left, inner_right = left[head : len(left) - tail], right[head : len(right) - tail]
    is_large = len(inner_left) * len(inner_right) > LARGEST_PAIR
    matcher = SequenceMatcher(None, inner_left, inner_right, autojunk=is_large)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        yield tag, i1 + head, i2 + head, j1 + head, j2 + head
    if tail:
        yield "equal", len(left) - tail, len(left), len(right) - tail, len(right)


def _replaced(before: Sequence[Line], after: Sequence[Line], gone: range, new: range) -> Iterator[Row]:
    """Lines that took the place of others: paired in their order, for marks within; the rest stands alone."""
    paired = min(len(gone), len(new))
    for i, j in zip(gone[:paired], new[:paired], strict=True):
        left_marks, right_marks = _marks(before[i], after[j])
        yield Row("changed", before[i], after[j], i + 1, j + 1, left_marks, right_marks)
    for i in gone[paired:]:
        yield Row("removed", before[i], None, i + 1)
    for j in new[paired:]:
        yield Row("added", None, after[j], 0, j + 1)


def _marks(left: Line, right: Line) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Where two lines differ, word by word; nothing where they have little in common, or where they are hidden."""
    if left.shown == right.shown:
        return (), ()
    old, new = _WORDS.findall(left.shown), _WORDS.findall(right.shown)
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.real_quick_ratio() < ALIKE or matcher.quick_ratio() < ALIKE:
        return (), ()
    changed = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    left_marks = _spans(old, [(i1, i2) for _, i1, i2, _, _ in changed])
    return left_marks, _spans(new, [(j1, j2) for _, _, _, j1, j2 in changed])


def _spans(words: Sequence[str], ranges: Sequence[Span]) -> tuple[Span, ...]:
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    return tuple((starts[first], starts[last]) for first, last in ranges if last > first)


def _folded(rows: Sequence[Row]) -> Iterator[Row]:
    """The changes with some lines around; a run of others becomes a fold, unless it is as short as one."""
    keep: set[int] = set()
    for index, row in enumerate(rows):
        if row.kind != "same":
            keep.update(range(index - CONTEXT_LINES, index + CONTEXT_LINES + 1))
    run: list[Row] = []
    for index, row in enumerate(rows):
        if index in keep:
            yield from _fold(run)
            run = []
            yield row
        else:
            run.append(row)
    yield from _fold(run)


def _fold(run: list[Row]) -> Iterator[Row]:
    if len(run) <= 1:
        yield from run
        return
    first = run[0]
    yield Row("fold", left_number=first.left_number, right_number=first.right_number, folded=len(run))
