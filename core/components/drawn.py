"""Charts as SVG made on the server."""

from __future__ import annotations

from collections.abc import Sequence

from django import template
from django.utils.safestring import SafeString

from core import charts

register = template.Library()


@register.simple_tag
def sparkline(values: Sequence[float], title: str, tone: str = "grey", width: int = 96, height: int = 20) -> SafeString:
    return charts.sparkline(list(values), title=title, tone=tone, width=width, height=height)


@register.simple_tag
def bars(rows: Sequence[tuple[str, float]], title: str, unit: str = "", tone: str = "grey") -> SafeString:
    return charts.bars(list(rows), title=title, unit=unit, tone=tone)


@register.simple_tag
def stacked(
    rows: Sequence[tuple[str, Sequence[float]]], series: charts.Series, title: str, unit: str = ""
) -> SafeString:
    return charts.stacked(list(rows), series, title=title, unit=unit)


@register.simple_tag
def share(parts: Sequence[tuple[str, float]], title: str) -> SafeString:
    return charts.share(list(parts), title=title)


@register.simple_tag
def progressbar(done: float, total: float | None, label: str, ident: str = "", tone: str = "blue") -> SafeString:
    return charts.progress(done or 0, total, label=label, ident=str(ident), tone=tone)
