"""The console's components as template tags, `{% load ui %}`; docs/guide/ui-components.md tells how to use them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django import template
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, HiddenInput, RadioSelect
from django.forms.forms import BaseForm
from django.template.context import Context
from django.template.loader import get_template
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from heroicons.templatetags import heroicons

from opsconsole.core import charts, marks

register = template.Library()


# ------------------------------------------------------------------ marks


@lru_cache(maxsize=256)
def _icon(name: str, size: int) -> str:
    return str(heroicons.heroicon_micro(name, size=size, aria_hidden="true", **{"class": "icon"}))


@register.simple_tag
def icon(name: str, size: int = 16) -> SafeString:
    """Return a heroicon (micro) in the text's colour; decoration only, so the word must stand beside it."""
    return mark_safe(_icon(str(name), size))  # noqa: S308 -- read from the installed package


@register.simple_tag
def state(value: object, label: object = "", compact: bool = False, href: str = "", title: str = "") -> SafeString:
    """Return the badge of a state: mark and word. `compact` shows the mark and keeps the word for screen readers."""
    found = marks.look(value)
    word = str(label) if label not in ("", None) else found.word
    name = "a" if href else "span"
    target = format_html(' href="{}"', href) if href else ""
    said = format_html(' title="{}"', title or (word if compact else "")) if (title or compact) else ""
    text = format_html('<span class="sr">{}</span>', word) if compact else word
    return format_html(
        '<{} class="state tone-{} is-{}{}"{}{}>{}{}</{}>',
        name,
        found.tone,
        found.shape,
        " compact" if compact else "",
        target,
        said,
        marks.mark(found.shape),
        text,
        name,
    )


@register.simple_tag
def mark(value: object, size: int = 12) -> SafeString:
    """Return only the mark of a state in its colour, for places where the word stands nearby."""
    found = marks.look(value)
    return format_html('<span class="tone tone-{}">{}</span>', found.tone, marks.mark(found.shape, size=size))


_KINDS = {
    "dev": "development",
    "development": "development",
    "test": "staging",
    "staging": "staging",
    "prod": "production",
    "production": "production",
}
_SHORT = {"development": "dev", "staging": "stage", "production": "PROD"}


def _kind(value: object) -> str:
    return _KINDS.get(str(getattr(value, "value", value) or "").lower(), "development")


@register.filter
def kind_class(environment: object) -> str:
    """Return `env-development`, `env-staging` or `env-production` for an environment or a kind."""
    return "env-" + _kind(getattr(environment, "kind", environment))


@register.simple_tag
def env(environment: object, href: str = "", name: str = "") -> SafeString:
    """Return an environment's chip: its name and the mark of its kind; production is hatched and inverted.

    `environment` has `name` and `kind`, or is a kind itself, with `name` given beside it.
    """
    kind = _kind(getattr(environment, "kind", environment))
    text = name or getattr(environment, "name", "") or kind.capitalize()
    tag = "a" if href else "span"
    target = format_html(' href="{}"', href) if href else ""
    return format_html(
        '<{} class="env env-{}"{}><span class="env-kind">{}</span>{}</{}>', tag, kind, target, _SHORT[kind], text, tag
    )


# ------------------------------------------------------------------ times, sizes, ids

_UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def _span(seconds: float, *, parts: int = 1) -> str:
    left = round(abs(seconds))
    said: list[str] = []
    for size, unit in _UNITS:
        if left >= size and len(said) < parts:
            amount, left = divmod(left, size)
            said.append(f"{amount} {unit}")
        elif said:
            break
    return " ".join(said) or "0 s"


@register.simple_tag
def ago(moment: datetime | None, empty: str = "never") -> SafeString:
    """Return `moment` relative to now, with the exact zoned time on hover and for screen readers."""
    if not isinstance(moment, datetime):
        return format_html('<span class="muted">{}</span>', empty)
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    seconds = (timezone.now() - moment).total_seconds()
    said = f"{_span(seconds)} ago" if seconds > 0 else f"in {_span(seconds)}"
    if abs(seconds) < 5:
        said = "just now"
    local = timezone.localtime(moment)
    exact = f"{local:%d %b %Y, %H:%M:%S} {local.tzname()}"
    return format_html(
        '<time datetime="{}" title="{}" data-ago>'
        '<span aria-hidden="true">{}</span><span class="sr">{}, {}</span></time>',
        moment.isoformat(timespec="seconds"),
        exact,
        said,
        said,
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


@register.filter
def size(value: float | None) -> str:
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
def amount(value: float | None) -> str:
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


# ------------------------------------------------------------------ charts


@register.simple_tag
def sparkline(values: Sequence[float], title: str, tone: str = "grey", width: int = 96, height: int = 20) -> SafeString:
    return charts.sparkline(list(values), title=title, tone=tone, width=width, height=height)


@register.simple_tag
def bars(rows: Sequence[tuple[str, float]], title: str, unit: str = "", tone: str = "grey") -> SafeString:
    return charts.bars(list(rows), title=title, unit=unit, tone=tone)


@register.simple_tag
def share(parts: Sequence[tuple[str, float]], title: str) -> SafeString:
    return charts.share(list(parts), title=title)


@register.simple_tag
def progressbar(done: float, total: float | None, label: str, ident: str = "", tone: str = "blue") -> SafeString:
    return charts.progress(done or 0, total, label=label, ident=str(ident), tone=tone)


# ------------------------------------------------------------------ links and places


def _reverse(name: str, kwargs: Mapping[str, Any]) -> str:
    try:
        return reverse(name, kwargs=dict(kwargs) or None)
    except NoReverseMatch:
        return ""


@register.simple_tag
def url_if(name: str, **kwargs: Any) -> str:
    """Return the address of a named page, or nothing where no such page exists."""
    return _reverse(name, kwargs)


@register.simple_tag(takes_context=True)
def navlink(
    context: Context, name: str, label: str, symbol: str, key: str = "", count: Any = "", **kwargs: Any
) -> SafeString:
    """Return one entry of the rail, or nothing where no such page exists. Current by `nav_section` or by path."""
    href = _reverse(name, kwargs)
    if not href:
        return mark_safe("")
    section = context.get("nav_section") or ""
    request = context.get("request")
    path = request.path if request else ""
    root = name in ("estate", "tenant-home")
    current = section == name if section else (path == href if root else path.startswith(href))
    return format_html(
        '<li><a class="nav-link" href="{}"{}{}>{}<span>{}</span>{}</a></li>',
        href,
        mark_safe(' aria-current="page"') if current else "",
        format_html(' data-key="{}"', key) if key else "",
        icon(symbol),
        label,
        format_html('<span class="count">{}</span>', count) if count not in ("", None, 0) else "",
    )


@register.simple_tag
def crumb(label: object, href: str = "", environment: object = None) -> SafeString:
    """Return one station of the breadcrumb; without `href` it is the page itself."""
    inner = env(environment) if environment is not None else format_html("{}", label)
    if href:
        return format_html('<li><a href="{}">{}</a></li>', href, inner)
    return format_html('<li><span aria-current="page">{}</span></li>', inner)


@register.simple_tag
def tab(label: str, href: str, current: bool = False, count: Any = None) -> SafeString:
    """Return one tab: a link, so that the address says which one is open."""
    return format_html(
        '<a class="tab" href="{}"{}>{}{}</a>',
        href,
        mark_safe(' aria-current="page"') if current else "",
        label,
        format_html('<span class="count">{}</span>', count) if count is not None and count != "" else "",
    )


@register.simple_tag(takes_context=True)
def th(
    context: Context, label: str, sort: str = "", num: bool = False, param: str = "sort", default: str = ""
) -> SafeString:
    """Return a column's head; with `sort` it is a link that sorts by it and turns round when pressed again."""
    classes = mark_safe(' class="num"') if num else ""
    if not sort:
        return format_html('<th scope="col"{}>{}</th>', classes, label)
    query = context["request"].GET.copy()
    now = query.get(param, default)
    direction = "ascending" if now == sort else "descending" if now == f"-{sort}" else ""
    query[param] = f"-{sort}" if now == sort else sort
    query.pop("cursor", None)
    arrow = icon("chevron-up" if direction == "ascending" else "chevron-down" if direction else "chevron-up-down", 14)
    return format_html(
        '<th scope="col"{}{}><a class="sort" href="?{}">{}{}</a></th>',
        classes,
        format_html(' aria-sort="{}"', direction) if direction else "",
        query.urlencode(),
        label,
        arrow,
    )


# ------------------------------------------------------------------ blocks


def _render(name: str, **values: Any) -> SafeString:
    return SafeString(get_template(f"components/{name}.html").render(values))


@register.simple_block_tag
def capture(content: str) -> SafeString:
    """Keep what is inside in a variable: `{% capture as name %}…{% endcapture %}`."""
    return mark_safe(content.strip())  # noqa: S308 -- rendered by the template engine, already escaped


@register.simple_block_tag
def panel(
    content: str,
    title: str = "",
    count: Any = None,
    href: str = "",
    actions: str = "",
    flush: bool = False,
    ident: str = "",
    note: str = "",
    tone: str = "",
) -> SafeString:
    """Return a titled section. `flush` for tables; `href` makes the title a link; `actions` is captured HTML."""
    return _render(
        "panel",
        content=mark_safe(content),  # noqa: S308 -- rendered by the template engine
        title=title,
        count=count,
        href=href,
        actions=actions,
        flush=flush,
        ident=ident,
        note=note,
        tone=tone,
    )


@register.simple_block_tag
def dialog(content: str, ident: str, title: str, wide: bool = False, open: bool = False) -> SafeString:
    """Return a native dialog, opened by `{% opener %}`."""
    return _render("dialog", content=mark_safe(content), ident=ident, title=title, wide=wide, open=open)  # noqa: S308


@register.simple_tag
def opener(ident: str, label: str, symbol: str = "", kind: str = "", disabled: str = "") -> SafeString:
    """Return the button that opens a dialog. `kind`: primary, danger, quiet; `disabled` says why it cannot."""
    why = format_html(' aria-disabled="true" data-why="{}" title="{}"', disabled, disabled) if disabled else ""
    return format_html(
        '<button type="button" class="button {}" commandfor="{}" command="show-modal"'
        ' aria-haspopup="dialog"{}>{}{}</button>',
        kind,
        ident,
        why,
        icon(symbol) if symbol else "",
        label,
    )


@register.simple_tag
def action(label: str, href: str, symbol: str = "", kind: str = "", disabled: str = "") -> SafeString:
    """Return a link that looks like a button; `disabled` says why it cannot be pressed."""
    body = format_html("{}{}", icon(symbol) if symbol else "", label)
    if disabled:
        return format_html(
            '<a class="button {}" role="link" aria-disabled="true" tabindex="0" title="{}" data-why="{}">{}</a>',
            kind,
            disabled,
            disabled,
            body,
        )
    return format_html('<a class="button {}" href="{}">{}</a>', kind, href, body)


@register.simple_block_tag
def menu(content: str, label: str, symbol: str = "ellipsis-horizontal", hidden_label: bool = True) -> SafeString:
    """Return a small menu of links and buttons behind one button."""
    return _render("menu", content=mark_safe(content), label=label, symbol=symbol, hidden_label=hidden_label)  # noqa: S308


@register.simple_block_tag
def selection(content: str, noun: str = "row") -> SafeString:
    """Return the bar that rises when rows of the surrounding form are ticked; inside are its buttons."""
    return _render("selection", content=mark_safe(content), noun=noun)  # noqa: S308


# ------------------------------------------------------------------ forms


def _widget_kind(bound: BoundField) -> str:
    widget = bound.field.widget
    if isinstance(widget, HiddenInput):
        return "hidden"
    if isinstance(widget, (RadioSelect, CheckboxSelectMultiple)):
        return "group"
    return "check" if isinstance(widget, CheckboxInput) else "line"


@register.simple_tag
def field(bound: BoundField, unit: str = "", help: str = "", label: str = "", autofocus: bool = False) -> SafeString:
    """Return a form's field: label above, help below, its errors beside it, its unit at the end."""
    kind = _widget_kind(bound)
    described = [f"{bound.auto_id}-help"] if (help or bound.help_text) else []
    if bound.errors:
        described.append(f"{bound.auto_id}-error")
    attrs: dict[str, Any] = {}
    if described:
        attrs["aria-describedby"] = " ".join(described)
    if bound.errors:
        attrs["aria-invalid"] = "true"
    if autofocus:
        attrs["autofocus"] = True
    return _render(
        "field",
        field=bound,
        control=bound.as_widget(attrs=attrs),
        kind=kind,
        unit=unit,
        help=help or bound.help_text,
        label=label or bound.label,
        required=bound.field.required,
    )


@register.simple_tag
def fields(form: BaseForm) -> SafeString:
    """Return every field of a form with what was wrong on top."""
    return _render("fields", form=form, bound=[field(bound) for bound in form])


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
def change(kind: object) -> SafeString:
    """Return the mark of a kind of change (added, removed, changed, moved), for diff lists."""
    return mark(kind)


@register.filter
def same(value: object, other: object) -> bool:
    """Return whether two values read the same, as a tag's argument: `{% tab "All" url view|same:"all" %}`."""
    return str(value) == str(other)


@register.filter
def attr(value: object, name: str) -> object:
    """Return `value[name]` or `value.name`, for keys a template cannot spell."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, "")
