"""Marks of states, environments and actions: a shape and a word, never colour alone."""

from __future__ import annotations

from functools import lru_cache

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from heroicons.templatetags import heroicons

from core import states

register = template.Library()


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
    found = states.look(value)
    word = str(label) if label not in ("", None) else found.word
    name = "a" if href else "span"
    target = format_html(' href="{}"', href) if href else ""
    title_attribute = format_html(' title="{}"', title or (word if compact else "")) if (title or compact) else ""
    text = format_html('<span class="sr">{}</span>', word) if compact else word
    return format_html(
        '<{} class="state tone-{} is-{}{}"{}{}>{}{}</{}>',
        name,
        found.tone,
        found.shape,
        " compact" if compact else "",
        target,
        title_attribute,
        states.mark(found.shape),
        text,
        name,
    )


@register.simple_tag
def mark(value: object, size: int = 12) -> SafeString:
    """Return only the mark of a state in its colour, for places where the word stands nearby."""
    found = states.look(value)
    return format_html('<span class="tone tone-{}">{}</span>', found.tone, states.mark(found.shape, size=size))


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
    return _chip(kind, name or getattr(environment, "name", "") or kind.capitalize(), href)


@lru_cache(maxsize=2048)
def _chip(kind: str, text: str, href: str) -> SafeString:
    tag = "a" if href else "span"
    target = format_html(' href="{}"', href) if href else ""
    return format_html(
        '<{} class="env env-{}"{}><span class="env-kind">{}</span>{}</{}>', tag, kind, target, _SHORT[kind], text, tag
    )


@register.filter
def change(kind: object) -> SafeString:
    """Return the mark of a kind of change (added, removed, changed, moved), for diff lists."""
    return mark(kind)
