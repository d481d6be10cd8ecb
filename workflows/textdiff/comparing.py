"""What differs between two versions, section by section and line by line, with the marks within a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

from .colouring import coloured
from .lines import Line, Section, sections_of

Layout = Literal["unified", "split"]
RowKind = Literal["same", "removed", "added", "changed", "fold"]
SectionState = Literal["added", "removed", "changed", "same"]
Span = tuple[int, int]
Block = tuple[str, int, int, int, int]
"""What happened to a stretch of lines, and from where to where it goes on either side, as ``difflib`` says it."""

CONTEXT_LINES = 3
"""Unchanged lines that stay around a change; the rest is folded."""
MOST_ROWS = 3000
"""Rows of a whole diff; sections beyond are named, and open on their own."""
MOST_CHARACTERS = 190_000
"""About how much the drawn rows of a whole diff may come to."""
MOST_COLOURED = 40_000
"""Characters of a whole diff that are coloured; what is left stands uncoloured."""
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

    @property
    def shown(self) -> tuple[SectionDiff, ...]:
        """Those that there was room for; the ``rest`` is named."""
        return tuple(section for section in self.sections if section.rows)

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes whose sections are shown."""
        return tuple(section.node for section in self.shown if section.node)

    @property
    def rest(self) -> tuple[SectionDiff, ...]:
        return tuple(section for section in self.sections if not section.rows)


@dataclass(slots=True)
class _Budget:
    """What may still be kept and done."""

    rows: int
    characters: int
    coloured: int

    @property
    def is_spent(self) -> bool:
        return self.rows <= 0 or self.characters <= 0

    def colour(self, section: Section | None) -> tuple[Line, ...]:
        """The lines of a section, in colours until there were enough of them."""
        if section is None:
            return ()
        if self.coloured <= 0:
            return section.lines
        self.coloured -= sum(len(line.shown) for line in section.lines if line.language)
        return coloured(section.lines)

    def take(self, rows: Iterable[Row]) -> tuple[Row, ...]:
        """As many of the rows as there is room for."""
        taken = []
        for row in rows:
            if self.is_spent:
                break
            taken.append(row)
            self.rows -= 1
            self.characters -= _size(row.left) + _size(row.right)
        return tuple(taken)


def _size(line: Line | None) -> int:
    """About how many characters it takes to draw a line."""
    return 0 if line is None else 70 + len(line.shown) + 32 * len(line.colours)


def compare(
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    renamed: Mapping[str, str] | None = None,
    whole: bool = False,
    only: str = "",
) -> TextDiff:
    """Compare two versions of a portable workflow (None: it does not exist); ``whole`` folds nothing.

    ``renamed`` leads from the name of a node after to the one it had before. ``only``: the section of this key alone.
    """
    budget = _Budget(MOST_ROWS, MOST_CHARACTERS, MOST_COLOURED)
    pairs = [pair for pair in _paired(before, after, renamed or {}) if not only or pair.shown.address == only]
    differing = [pair for pair in pairs if pair.differs]
    found = tuple(_section(pair, whole=whole, budget=budget) for pair in differing)
    return TextDiff(found, len(pairs) - len(found), sum(d.added for d in found), sum(d.removed for d in found))


@dataclass(frozen=True, slots=True)
class _SectionPair:
    """One section before and after; what it was ``former``ly called, where it was renamed."""

    old: Section | None
    new: Section | None
    shown: Section
    former: str = ""

    @property
    def differs(self) -> bool:
        if self.old is None or self.new is None or self.former:
            return True
        return self.old.stamp != self.new.stamp and self.old.raws != self.new.raws

    @property
    def state(self) -> SectionState:
        if self.old is None:
            return "added"
        return "changed" if self.new is not None else "removed"

    def blocks(self) -> list[Block]:
        """Which stretches of lines are equal and which are not."""
        return list(_blocks(self.old.raws if self.old else (), self.new.raws if self.new else ()))


def _paired(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, renamed: Mapping[str, str]
) -> Iterator[_SectionPair]:
    left = {section.key: section for section in sections_of(before)}
    for section in sections_of(after):
        former = renamed.get(section.node, "") if section.node else ""
        yield _SectionPair(left.pop(f"node:{former}" if former else section.key, None), section, section, former)
    yield from (_SectionPair(section, None, section) for section in left.values())


def _section(pair: _SectionPair, *, whole: bool, budget: _Budget) -> SectionDiff:
    blocks, shown = pair.blocks(), pair.shown
    rows, is_cut = ((), True) if budget.is_spent else _kept(pair, blocks, whole=whole, budget=budget)
    return SectionDiff(
        key=shown.address,
        title=shown.title,
        kind=shown.kind,
        state=pair.state,
        rows=rows,
        added=sum(j2 - j1 for tag, _, _, j1, j2 in blocks if tag != "equal"),
        removed=sum(i2 - i1 for tag, i1, i2, _, _ in blocks if tag != "equal"),
        node=shown.node,
        former=pair.former,
        is_cut=is_cut,
    )


def _kept(pair: _SectionPair, blocks: list[Block], *, whole: bool, budget: _Budget) -> tuple[tuple[Row, ...], bool]:
    """The rows that there is room for, and whether that is less than all."""
    pairs = list(_pairs(blocks))
    kept = pairs if whole else list(_folded(pairs))
    rows = budget.take(_rows(kept, budget.colour(pair.old), budget.colour(pair.new)))
    return rows, len(rows) < len(kept)


# -- lines ------------------------------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """Which line of which side stands in a row, counted from 0; -1: none. A fold begins there."""

    kind: RowKind
    left: int = -1
    right: int = -1
    folded: int = 0


def _pairs(blocks: Iterable[Block]) -> Iterator[Pair]:
    for tag, i1, i2, j1, j2 in blocks:
        if tag == "equal":
            yield from (Pair("same", i, j) for i, j in zip(range(i1, i2), range(j1, j2), strict=True))
        else:
            yield from _replaced(range(i1, i2), range(j1, j2))


def _rows(pairs: Iterable[Pair], before: Sequence[Line], after: Sequence[Line]) -> Iterator[Row]:
    for kind, i, j, folded in pairs:
        if kind == "fold":
            yield Row("fold", left_number=i + 1, right_number=j + 1, folded=folded)
            continue
        left, right = before[i] if i >= 0 else None, after[j] if j >= 0 else None
        marks = _marks(left, right) if kind == "changed" and left and right else ((), ())
        yield Row(kind, left, right, i + 1, j + 1, *marks)


def _blocks(left: Sequence[str], right: Sequence[str]) -> Iterator[Block]:
    """What is equal and what is not. Equal beginnings and ends are set aside first: most of a long text is that."""
    if bool(left) != bool(right):
        yield ("insert" if right else "delete"), 0, len(left), 0, len(right)
        return
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


def _replaced(gone: range, new: range) -> Iterator[Pair]:
    """Lines that took the place of others: paired in their order, for marks within; the rest stands alone."""
    paired = min(len(gone), len(new))
    yield from (Pair("changed", i, j) for i, j in zip(gone[:paired], new[:paired], strict=True))
    yield from (Pair("removed", i) for i in gone[paired:])
    yield from (Pair("added", right=j) for j in new[paired:])


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


def _folded(pairs: Sequence[Pair]) -> Iterator[Pair]:
    """The changes with some lines around; a run of others becomes a fold, unless it is as short as one."""
    keep: set[int] = set()
    for index, pair in enumerate(pairs):
        if pair.kind != "same":
            keep.update(range(index - CONTEXT_LINES, index + CONTEXT_LINES + 1))
    run: list[Pair] = []
    for index, pair in enumerate(pairs):
        if index in keep:
            yield from _fold(run)
            run = []
            yield pair
        else:
            run.append(pair)
    yield from _fold(run)


def _fold(run: list[Pair]) -> Iterator[Pair]:
    if len(run) <= 1:
        yield from run
        return
    yield Pair("fold", run[0].left, run[0].right, len(run))
