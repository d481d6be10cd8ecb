"""The text diff as a table, one body per section; every text is escaped here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from urllib.parse import quote

from django.utils.safestring import SafeString, mark_safe

from .comparing import Layout, Row, SectionDiff, Span
from .lines import Line

TAGS = {"removed": "del", "added": "ins"}


def draw(section: SectionDiff, *, layout: Layout, more_url: str = "") -> SafeString:
    """Return the rows of one section: before and after below each other (unified) or beside each other (split)."""
    rows = _split(section, more_url) if layout == "split" else _unified(section, more_url)
    return mark_safe("".join(rows))  # noqa: S308 -- every text is escaped below


def _unified(section: SectionDiff, more_url: str) -> Iterator[str]:
    changed: list[Row] = []
    for row in section.rows:
        if row.kind == "changed":
            changed.append(row)
            continue
        yield from _in_turn(changed)
        changed = []
        if row.kind == "fold":
            yield _fold(row, more_url, columns=3)
        else:
            yield _line(row, row.left if row.kind == "removed" else row.right, row.kind)
    yield from _in_turn(changed)


def _in_turn(rows: list[Row]) -> Iterator[str]:
    """Of lines that changed together, first all that they were."""
    yield from (_line(row, row.left, "removed") for row in rows)
    yield from (_line(row, row.right, "added") for row in rows)


def _line(row: Row, line: Line | None, state: str) -> str:
    if line is None:
        return ""
    left = row.left_number if state != "added" else 0
    right = row.right_number if state != "removed" else 0
    return f"<tr{_change(row)}><td>{left or ''}</td><td>{right or ''}</td>{_cell(row, line, state)}</tr>"


def _split(section: SectionDiff, more_url: str) -> Iterator[str]:
    for row in section.rows:
        if row.kind == "fold":
            yield _fold(row, more_url, columns=4)
            continue
        left = _side(row, row.left, row.left_number, "removed")
        yield f"<tr{_change(row)}>{left}{_side(row, row.right, row.right_number, 'added')}</tr>"


def _side(row: Row, line: Line | None, number: int, state: str) -> str:
    if line is None:
        return '<td></td><td class="void"></td>'
    return f"<td>{number}</td>{_cell(row, line, 'same' if row.kind == 'same' else state)}"


def _cell(row: Row, line: Line, state: str) -> str:
    marks = row.left_marks if state == "removed" else row.right_marks if state == "added" else ()
    tag = TAGS.get(state)
    text = _pieces(line, marks)
    note = ' <span class="muted">(hidden, changed)</span>' if _is_hidden(row) else ""
    return f'<td class="{state}">{f"<{tag}>{text}</{tag}>" if tag else text}{note}</td>'


def _change(row: Row) -> str:
    return "" if row.kind == "same" else " data-change"


def _is_hidden(row: Row) -> bool:
    """Whether what differs is a secret, so that both sides look alike."""
    return row.kind == "changed" and bool(row.left and row.right and row.left.shown == row.right.shown)


def _pieces(line: Line, marks: tuple[Span, ...]) -> str:
    """The line in stretches of one colour and one mark each."""
    text = line.shown
    if not marks and not line.colours:
        return escape(text)
    spans = [*marks, *((first, last) for first, last, _ in line.colours)]
    edges = sorted({0, len(text), *(edge for span in spans for edge in span)})
    found = []
    for start, end in pairwise(edges):
        if start >= len(text):
            break
        piece = escape(text[start:end])
        name = next((name for first, last, name in line.colours if first <= start < last), "")
        if name:
            piece = f'<span class="hl-{name}">{piece}</span>'
        if any(first <= start < last for first, last in marks):
            piece = f"<mark>{piece}</mark>"
        found.append(piece)
    return "".join(found)


def _fold(row: Row, more_url: str, *, columns: int) -> str:
    lines = "1 unchanged line" if row.folded == 1 else f"{row.folded:,} unchanged lines"
    text = f'<a href="{escape(more_url)}">{lines}</a>' if more_url else lines
    return f'<tr><td class="fold" colspan="{columns}">{text}</td></tr>'


def draw_rest(sections: Sequence[SectionDiff], *, alone_url: str) -> SafeString:
    """Return the list of sections that there was no room for; each leads to a page of its own."""
    rows = (
        f'<li><a href="{escape(f"{alone_url}&section={quote(section.key)}")}">{escape(section.title)}</a>'
        f' <span class="diff-plus">+{section.added:,}</span> <span class="diff-minus">−{section.removed:,}</span></li>'
        for section in sections
    )
    return mark_safe(f"<ul>{''.join(rows)}</ul>")  # noqa: S308 -- escaped above
