"""Small charts as server-made SVG: no script, no style attribute, a title, a description and a table behind.

Geometry is in SVG attributes, colour in classes (`static/css/components.css`). Everything returns safe HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

LABELLED_AT_MOST = 8
_ids = count(1)


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _amount(value: float, unit: str) -> str:
    """A number with its unit, which is a plural: `1 incident`, `2 incidents`, `3.5 MB`."""
    return f"{_number(value)} {unit.removesuffix('s') if value == 1 and len(unit) > 2 else unit}".strip()


def _table(*, title: str, rows: Columns, unit: str, heads: Sequence[str]) -> SafeString:
    cell = '<td class="num">{}</td>'
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th>{}</tr>',
        ((label, format_html_join("", cell, ((_amount(value, unit),) for value in values))) for label, values in rows),
    )
    head = format_html_join("", '<th scope="col" class="num">{}</th>', ((word,) for word in heads))
    return format_html(
        '<details class="chart-table"><summary>Show as a table</summary>'
        '<table class="table"><caption class="sr">{}</caption>{}{}</table></details>',
        title,
        format_html('<thead><tr><th scope="col"></th>{}</tr></thead>', head) if heads else "",
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


#: (label, the values of its parts) of each column.
Columns = Sequence[tuple[str, Sequence[float]]]
#: (word, state whose colour it has): one part of each column.
Series = Sequence[tuple[str, str]]


def bars(rows: Sequence[tuple[str, float]], *, title: str, unit: str = "", tone: str = "grey") -> SafeString:
    """Return columns for `rows` of (label, value), with their table behind a disclosure. `unit` is a plural."""
    return _columns([(label, [value]) for label, value in rows], title=title, unit=unit, series=(), tone=tone)


def stacked(rows: Columns, series: Series, *, title: str, unit: str = "") -> SafeString:
    """Return columns cut into the parts of `series`, the first at the bottom, with their table behind."""
    return _columns(rows, title=title, unit=unit, series=series, tone="grey")


def _columns(rows: Columns, *, title: str, unit: str, series: Series, tone: str) -> SafeString:
    name, width, height = f"bars-{next(_ids)}", 600, 96
    if not rows:
        return format_html(
            '<figure class="chart"><figcaption>{}</figcaption><p class="muted">no data</p></figure>', title
        )
    top = max(sum(values) for _, values in rows)
    rects = _rects(rows, series, width=width, height=height, top=top or 1, unit=unit)
    svg = format_html(
        '<svg class="bars tone-{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{}-t {}-d"><title id="{}-t">{}</title><desc id="{}-d">{}; the highest is {}.</desc>{}</svg>',
        tone,
        width,
        height,
        name,
        name,
        name,
        title,
        name,
        f"{len(rows)} column{'s' if len(rows) != 1 else ''}",
        _amount(top, unit),
        format_html_join(
            "",
            '<rect class="bar{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
            rects,
        ),
    )
    behind = _table(title=title, rows=rows, unit=unit, heads=[word for word, _ in series])
    return format_html(
        '<figure class="chart"><figcaption>{}<span>{}highest {}</span></figcaption>{}'
        '<div class="chart-scale{}" aria-hidden="true">{}</div>{}</figure>',
        title,
        _legend(series),
        _amount(top, unit),
        svg,
        " each" if len(rows) <= LABELLED_AT_MOST else "",
        format_html_join("", "<span>{}</span>", ((label,) for label in _labels(rows))),
        behind,
    )


def _labels(rows: Columns) -> list[str]:
    """What stands below the columns: each label where there is room, else the first and the last."""
    labels = [label for label, _ in rows]
    return labels if len(labels) <= LABELLED_AT_MOST else [labels[0], labels[-1]]


def _rects(
    rows: Columns, series: Series, *, width: int, height: int, top: float, unit: str
) -> list[tuple[str, str, str, str, str, str]]:
    """(class, x, y, width, height, title) of each part of each column."""
    from core.states import look

    slot = width / len(rows)
    rects = []
    for index, (label, values) in enumerate(rows):
        foot = float(height)
        for part, value in enumerate(values):
            tall = max(value / top * height, 1 if value else 0)
            foot -= tall
            word, state = series[part] if series else ("", "")
            tone = f" tone-{look(state).tone}" if state else ""
            told = f"{label}: {_amount(value, unit)}{f' {word.lower()}' if word else ''}"
            if series and not value:
                continue
            rects.append(
                (tone, f"{index * slot + slot * 0.1:.1f}", f"{foot:.1f}", f"{slot * 0.8:.1f}", f"{tall:.1f}", told)
            )
    return rects


def _legend(series: Series) -> SafeString:
    from core.states import look

    return format_html_join(
        "",
        '<span class="chart-key"><span class="tone tone-{}" aria-hidden="true">■</span> {}</span>',
        ((look(state).tone, word) for word, state in series),
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
