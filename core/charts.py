"""Small charts as server-made SVG: no script, no style attribute, a title, a description and a table behind.

Geometry is in SVG attributes, colour in classes (`static/css/components.css`). Everything returns safe HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

_ids = count(1)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _table(*, title: str, rows: Iterable[tuple[str, float]], unit: str) -> SafeString:
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th><td class="num">{}</td></tr>',
        ((label, f"{_number(value)} {unit}".strip()) for label, value in rows),
    )
    return format_html(
        '<details class="chart-table"><summary>Show as a table</summary>'
        '<table class="table"><caption class="sr">{}</caption>{}</table></details>',
        title,
        body,
    )


def sparkline(
    values: Sequence[float], *, title: str, width: int = 96, height: int = 20, tone: str = "grey"
) -> SafeString:
    """Return a line of `values`, oldest first; the last one is marked and said in the description."""
    name = f"spark-{next(_ids)}"
    if not values:
        return format_html('<span class="muted">{}</span>', "no data")
    top, low = max(values), min(min(values), 0)
    span = (top - low) or 1
    step = (width - 6) / max(len(values) - 1, 1)
    points = [(3 + i * step, height - 3 - (v - low) / span * (height - 6)) for i, v in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    last_x, last_y = points[-1]
    area = f"{points[0][0]:.1f},{height} {line} {last_x:.1f},{height}"
    return format_html(
        '<svg class="spark tone-{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{} values, from {} to {}; highest {}.</desc>'
        '<polygon class="spark-area" points="{}"/><polyline class="spark-line" points="{}"/>'
        '<circle class="spark-last" cx="{}" cy="{}" r="2"/></svg>',
        tone,
        width,
        height,
        width,
        height,
        name,
        name,
        name,
        title,
        name,
        len(values),
        _number(values[0]),
        _number(values[-1]),
        _number(top),
        area,
        line,
        f"{last_x:.1f}",
        f"{last_y:.1f}",
    )


def bars(
    rows: Sequence[tuple[str, float]], *, title: str, unit: str = "", tone: str = "grey", table: bool = True
) -> SafeString:
    """Return columns for `rows` of (label, value), with their table behind a disclosure."""
    name, width, height = f"bars-{next(_ids)}", 600, 96
    if not rows:
        return format_html(
            '<figure class="chart"><figcaption>{}</figcaption><p class="muted">no data</p></figure>', title
        )
    top = max(value for _, value in rows) or 1
    slot = width / len(rows)
    columns = []
    for index, (label, value) in enumerate(rows):
        tall = max(value / top * height, 1 if value else 0)
        columns.append(
            (
                f"{index * slot + slot * 0.1:.1f}",
                f"{height - tall:.1f}",
                f"{slot * 0.8:.1f}",
                f"{tall:.1f}",
                f"{label}: {_number(value)} {unit}".strip(),
            )
        )
    body = format_html_join(
        "", '<rect class="bar" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', columns
    )
    svg = format_html(
        '<svg class="bars tone-{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{}-t {}-d"><title id="{}-t">{}</title><desc id="{}-d">{} columns; '
        "the highest is {} {}.</desc>{}</svg>",
        tone,
        width,
        height,
        name,
        name,
        name,
        title,
        name,
        len(rows),
        _number(top),
        unit,
        body,
    )
    behind = _table(title=title, rows=rows, unit=unit) if table else mark_safe("")
    return format_html(
        '<figure class="chart"><figcaption>{}<span>highest {} {}</span></figcaption>{}'
        '<div class="chart-scale" aria-hidden="true"><span>{}</span><span>{}</span></div>{}</figure>',
        title,
        _number(top),
        unit,
        svg,
        rows[0][0],
        rows[-1][0],
        behind,
    )


def share(parts: Sequence[tuple[str, float]], *, title: str, width: int = 240, height: int = 6) -> SafeString:
    """Return one bar cut into `parts` of (state, amount), in the states' own colours; words are in the title."""
    from core.states import look

    name = f"share-{next(_ids)}"
    parts = [(state, amount) for state, amount in parts if amount > 0]
    total = sum(amount for _, amount in parts) or 1
    offset, rects = 0.0, []
    for state, amount in parts:
        wide = amount / total * width
        rects.append((look(state).tone, f"{offset:.1f}", f"{max(wide - 1, 1):.1f}", height))
        offset += wide
    description = ", ".join(f"{_number(amount)} {look(state).word.lower()}" for state, amount in parts) or "nothing yet"
    body = format_html_join("", '<rect class="fill tone-{}" x="{}" y="0" width="{}" height="{}" rx="1"/>', rects)
    return format_html(
        '<svg class="share" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-labelledby="{}-t">'
        '<title id="{}-t">{}: {}</title><rect class="share-track" width="{}" height="{}" rx="1"/>{}</svg>',
        width,
        height,
        name,
        name,
        title,
        description,
        width,
        height,
        body,
    )


def progress(done: float, total: float | None, *, label: str, ident: str = "", tone: str = "blue") -> SafeString:
    """Return a native progress bar; without `total` it is indeterminate. `ident` lets live events move it."""
    key = format_html(' data-progress="{}"', ident) if ident else ""
    if not total:
        return format_html('<progress class="progress tone-{}" aria-label="{}"{}></progress>', tone, label, key)
    return format_html(
        '<progress class="progress tone-{}" value="{}" max="{}" aria-label="{}"{}>{} %</progress>',
        tone,
        done,
        total,
        label,
        key,
        round(done / total * 100),
    )
