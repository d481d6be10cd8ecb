"""Times, sizes, ids and JSON as people read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from .states import icon

register = template.Library()


_UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def _span(seconds: float, *, parts: int = 1) -> str:
    left = round(abs(seconds))
    words: list[str] = []
    for size, unit in _UNITS:
        if left >= size and len(words) < parts:
            amount, left = divmod(left, size)
            words.append(f"{amount} {unit}")
        elif words:
            break
    return " ".join(words) or "0 s"


@register.simple_tag
def ago(moment: datetime | None, empty: str = "never") -> SafeString:
    """Return `moment` relative to now, with the exact zoned time on hover and for screen readers."""
    if not isinstance(moment, datetime):
        return format_html('<span class="muted">{}</span>', empty)
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    seconds = (timezone.now() - moment).total_seconds()
    text = f"{_span(seconds)} ago" if seconds > 0 else f"in {_span(seconds, parts=2)}"
    if abs(seconds) < 5:
        text = "just now"
    local = timezone.localtime(moment)
    exact = f"{local:%d %b %Y, %H:%M:%S} {local.tzname()}"
    return format_html(
        '<time datetime="{}" title="{}" data-ago>'
        '<span aria-hidden="true">{}</span><span class="sr">{}, {}</span></time>',
        moment.isoformat(timespec="seconds"),
        exact,
        text,
        text,
        exact,
    )


@register.simple_tag
def at(moment: datetime | None, empty: str = "–") -> SafeString:
    """Return the exact zoned time, for reports and evidence."""
    if not isinstance(moment, datetime):
        return format_html('<span class="muted">{}</span>', empty)
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return format_html(
        '<time class="num" datetime="{}">{} {}</time>',
        moment.isoformat(timespec="seconds"),
        f"{local:%Y-%m-%d %H:%M:%S}",
        local.tzname() or "",
    )


@register.filter
def span(value: timedelta | float | None) -> str:
    """Return a duration (seconds or timedelta) in at most two units: `2 min 10 s`."""
    if value is None or value == "":
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 and seconds % 1 else _span(seconds, parts=2)


_SINGULARS = {"people": "person", "entries": "entry"}


@register.filter
def as_many(noun: str, amount: int | None) -> str:
    """Return a plural as it stands beside its amount: `1 report`, `2 reports`."""
    return _SINGULARS.get(noun, noun.removesuffix("s")) if amount == 1 else noun


@register.filter
def size(value: float | str | None) -> str:
    """Return bytes with a unit: `12.4 MB`."""
    if value is None or value == "":
        return "–"
    amount = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(amount) < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"


@register.filter
def amount(value: float | str | None) -> str:
    """Return a number with thousands set apart by a thin space."""
    if value is None or value == "":
        return "–"
    return f"{value:,}".replace(",", "\u202f")


@register.simple_tag
def copy(value: object, label: str = "Copy") -> SafeString:
    """Return a button that copies `value`."""
    return format_html(
        '<button type="button" class="copy" data-copy="{}" aria-label="{}">{}</button>',
        value,
        label,
        icon("square-2-stack", 14),
    )


@register.simple_tag
def uid(value: object, length: int = 8, href: str = "") -> SafeString:
    """Return an id or hash, shortened, with its whole text on hover and a button that copies it."""
    if value in (None, ""):
        return format_html('<span class="muted">{}</span>', "–")
    text = str(value)
    short = text if len(text) <= length + 2 else text[:length]
    name = (
        format_html('<a href="{}"><code title="{}">{}</code></a>', href, text, short)
        if href
        else format_html('<code title="{}">{}</code>', text, short)
    )
    return format_html('<span class="uid">{}{}</span>', name, copy(text, f"Copy {text}"))


@register.simple_tag
def kbd(*keys: str) -> SafeString:
    """Return keys as they are printed on a keyboard."""
    return mark_safe("".join(format_html("<kbd>{}</kbd>", key) for key in keys))  # noqa: S308 -- each part is escaped


@register.filter
def pretty(value: object) -> str:
    """Return JSON with two spaces, keys in their order; text that is no JSON stays as it is."""
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)')


@register.filter
def lit(text: str) -> SafeString:
    """Return JSON text with its keys, strings and values told apart (escaped)."""
    out, last = [], 0
    for found in _TOKEN.finditer(text):
        out.append(format_html("{}", text[last : found.start()]))
        string, colon, word, _number = found.groups()
        if string:
            out.append(format_html('<span class="{}">{}</span>{}', "j-key" if colon else "j-str", string, colon or ""))
        else:
            out.append(format_html('<span class="{}">{}</span>', "j-word" if word else "j-num", found.group()))
        last = found.end()
    out.append(format_html("{}", text[last:]))
    return mark_safe("".join(out))  # noqa: S308 -- every part went through format_html


@register.filter
def same(value: object, other: object) -> bool:
    """Return whether two values read the same, as a tag's argument: `{% tab "All" url view|same:"all" %}`."""
    return str(value) == str(other)


@register.filter
def attr(value: object, name: str) -> object:
    """Return `value[name]` or `value.name`, for keys a template cannot spell."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, "")
