"""Blocks of a page, buttons, and what a form consists of."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from django import template
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, HiddenInput, RadioSelect
from django.forms.forms import BaseForm
from django.template.context import Context
from django.template.exceptions import TemplateSyntaxError
from django.template.loader import get_template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from .places import refused
from .states import icon

register = template.Library()


def _render(name: str, **values: Any) -> SafeString:
    return SafeString(get_template(f"components/{name}.html").render(values))


def _within(context: Context, name: str, values: dict[str, Any]) -> SafeString:
    """Render a component that reads the page's context as well, such as the request's query."""
    component = get_template(f"components/{name}.html").template  # type: ignore[attr-defined]
    with context.push(**values):
        return SafeString(component.render(context))


@register.simple_tag(takes_context=True)
def search(context: Context, **inputs: Any) -> SafeString:
    """Return a list's filter; see the component for its inputs."""
    return _within(context, "search", inputs)


@register.simple_tag(takes_context=True)
def pagination(context: Context, **inputs: Any) -> SafeString:
    """Return the links to the pages before and after; see the component for its inputs."""
    return _within(context, "pagination", inputs)


@register.simple_block_tag
def capture(content: str) -> SafeString:
    """Keep what is inside in a variable: `{% capture as name %}…{% endcapture %}`."""
    return mark_safe(content.strip())  # noqa: S308 -- rendered by the template engine, already escaped


class PanelInputs(TypedDict, total=False):
    """What a panel may be given beside its title."""

    count: Any
    href: str
    actions: str
    flush: bool
    ident: str
    note: str
    tone: str


@register.simple_block_tag
def panel(content: str, title: str = "", **inputs: Unpack[PanelInputs]) -> SafeString:
    """Return a titled section. `flush` for tables; `href` makes the title a link; `actions` is captured HTML."""
    if unknown := inputs.keys() - PanelInputs.__annotations__.keys():
        raise TemplateSyntaxError(f"A panel has no input “{min(unknown)}”.")
    return _render("panel", content=mark_safe(content), title=title, **inputs)  # noqa: S308 -- rendered by the engine


@register.simple_block_tag
def alert(
    content: str,
    title: object = "",
    tone: str = "grey",
    recovery: object = "",
    url: str = "",
    label: str = "",
    code: object = "",
) -> SafeString:
    """Return a message on the page. `recovery` is the way out; `url` and `label` lead there."""
    text = mark_safe(content.strip())  # noqa: S308 -- rendered by the template engine
    return _render("alert", title=title, text=text, tone=tone, recovery=recovery, url=url, label=label, code=code)


@register.simple_block_tag
def empty(
    content: str,
    title: object,
    symbol: str = "inbox",
    url: str = "",
    label: str = "",
    url2: str = "",
    label2: str = "",
) -> SafeString:
    """Return an empty state: what would be here, and in the buttons what to do about it."""
    text = mark_safe(content.strip())  # noqa: S308 -- rendered by the template engine
    return _render("empty", title=title, text=text, symbol=symbol, url=url, label=label, url2=url2, label2=label2)


@register.simple_tag
def stat(
    label: str,
    value: object,
    url: str = "",
    state: object = "",
    unit: str = "",
    hint: object = "",
    chart: str = "",
) -> SafeString:
    """Return a number that leads to the list it counts. `state` colours it when the number is trouble."""
    return _render("stat", label=label, value=value, url=url, state=state, unit=unit, hint=hint, chart=chart)


@register.simple_block_tag
def dialog(content: str, ident: str, title: str, wide: bool = False, open: bool = False) -> SafeString:
    """Return a native dialog, opened by `{% opener %}`."""
    return _render("dialog", content=mark_safe(content), ident=ident, title=title, wide=wide, open=open)  # noqa: S308


@register.simple_tag
def cancel(ident: str, label: str = "Cancel") -> SafeString:
    """Return the button that leaves a dialog with nothing done; it stands before the one that acts."""
    return format_html('<button type="button" class="button" commandfor="{}" command="close">{}</button>', ident, label)


@register.simple_block_tag(takes_context=True)
def form(
    context: Context,
    content: str,
    to: str = "",
    cls: str = "",
    ident: str = "",
    novalidate: bool = False,
    htmx: bool = False,
    **hidden: Any,
) -> SafeString:
    """Return a form that posts to `to` (default: the page itself) with `hidden` as hidden fields.

    `htmx`: the answer takes the place of a part of the page. What the support session in force refuses is shut, and
    says why.
    """
    return _render(
        "form",
        content=mark_safe(content),  # noqa: S308 -- rendered by the template engine
        to=to,
        cls=cls,
        ident=ident,
        novalidate=novalidate,
        htmx=htmx,
        hidden=hidden,
        csrf_token=context.get("csrf_token", ""),
        why=refused(context, to, "POST", hidden),
    )


@register.simple_tag(takes_context=True)
def opener(
    context: Context,
    ident: str,
    label: str,
    symbol: str = "",
    kind: str = "",
    disabled: str = "",
    to: str = "",
    **hidden: Any,
) -> SafeString:
    """Return the button that opens a dialog. `kind`: primary, danger, quiet; `disabled` says why it cannot.

    `to` and `hidden` are those of the dialog's form.
    """
    disabled = disabled or refused(context, to, "POST", hidden)
    why = format_html(' aria-disabled="true" data-why="{}" title="{}"', disabled, disabled) if disabled else ""
    return format_html(
        # With an id it keeps the focus when a live part of the page is drawn anew around it.
        '<button type="button" id="open-{}" class="button {}" commandfor="{}" command="show-modal"'
        ' aria-haspopup="dialog"{}>{}{}</button>',
        ident,
        kind,
        ident,
        why,
        icon(symbol) if symbol else "",
        label,
    )


@register.simple_tag(takes_context=True)
def action(context: Context, label: str, href: str, symbol: str = "", kind: str = "", disabled: str = "") -> SafeString:
    """Return a link that looks like a button; `disabled` says why it cannot be pressed."""
    disabled = disabled or refused(context, href)
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
