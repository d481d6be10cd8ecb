"""Links and places: the rail, the breadcrumb, tabs, columns that sort."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from django import template
from django.template.context import Context
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from core import clock
from core.registry import Audience, Destination, registry

from .states import env, icon

register = template.Library()


_WORD = re.compile(r"[-a-zA-Z0-9_]+")


def _reverse(name: str, kwargs: Mapping[str, Any]) -> str:
    """The address of a page, or nothing. Lists ask for the same page of many objects: it is worked out once."""
    if all(isinstance(value, UUID) or (isinstance(value, str) and _WORD.fullmatch(value)) for value in kwargs.values()):
        kinds = tuple((key, isinstance(value, UUID)) for key, value in kwargs.items())
        if pattern := _pattern(get_script_prefix(), name, kinds):
            return pattern.format_map(kwargs)
    return _address(name, kwargs)


def _address(name: str, kwargs: Mapping[str, Any]) -> str:
    try:
        return reverse(name, kwargs=dict(kwargs) or None)
    except NoReverseMatch:
        return ""


@lru_cache(maxsize=1024)
def _pattern(prefix: str, name: str, kinds: tuple[tuple[str, bool], ...]) -> str:
    """An address with `{key}` where words and ids (``kinds``: whether it is an id) stand; '' where that cannot be.

    ``prefix`` keeps apart where the console is mounted.
    """
    stand_ins = {key: UUID(int=n) if is_id else f"stand-in-{n}" for n, (key, is_id) in enumerate(kinds, 1 << 96)}
    pattern = _address(name, stand_ins)
    for key, stand_in in stand_ins.items():
        if pattern.count(str(stand_in)) != 1:
            return ""
        pattern = pattern.replace(str(stand_in), f"{{{key}}}")
    return pattern


@register.simple_tag
def url_if(name: str, **kwargs: Any) -> str:
    """Return the address of a named page, or nothing where no such page exists."""
    return _reverse(name, kwargs)


def refused(context: Context, href: str = "", method: str = "GET", sent: Mapping[str, Any] | None = None) -> str:
    """Why the support session in force refuses a link, or a form with these fields; '' where it is open.

    Without `href` it is the page itself. A session is whatever the shell calls `support_session`.
    """
    session, request = context.get("support_session"), context.get("request")
    if session is None or request is None:
        return ""
    path = href.partition("?")[0].partition("#")[0] if href.startswith("/") else request.path
    return str(session.why_not(path, method, sent))


@register.simple_tag(takes_context=True)
def link(context: Context, label: object, href: str) -> SafeString:
    """Return a link, or its words alone where the support session in force refuses it."""
    if why := refused(context, href):
        return format_html('<span title="{}">{}</span>', why, label)
    return format_html('<a href="{}">{}</a>', href, label)


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
    if why := refused(context, href):
        return format_html(
            '<li><a class="nav-link" role="link" aria-disabled="true" tabindex="0" title="{}" data-why="{}">{}'
            "<span>{}</span></a></li>",
            why,
            why,
            icon(symbol),
            label,
        )
    return format_html(
        '<li><a class="nav-link" href="{}"{}{}>{}<span>{}</span>{}</a></li>',
        href,
        mark_safe(' aria-current="page"') if current else "",
        format_html(' data-key="{}"', key) if key else "",
        icon(symbol),
        label,
        format_html('<span class="count">{}</span>', count) if count not in ("", None, 0) else "",
    )


@register.simple_tag(takes_context=True)
def rail(context: Context) -> SafeString:
    """Return the tenant's entries of the rail that the visitor's grants open."""
    visit = context["visit"]
    entries = (entry for entry in registry.rail(of_platform=False) if entry.grant in visit.grants)
    return _entries(context, entries, visit.shell.get("badges", {}), tenant_slug=visit.tenant.slug)


@register.simple_tag(takes_context=True)
def platform_rail(context: Context, audiences: Container[Audience]) -> SafeString:
    """Return the platform's entries of the rail for people who belong to `audiences`."""
    return _entries(context, (entry for entry in registry.rail(of_platform=True) if entry.audience in audiences), {})


def _entries(context: Context, entries: Iterable[Destination], badges: Mapping[str, int], **kwargs: Any) -> SafeString:
    lines = (
        navlink(context, one.url_name, one.rail_label, one.icon, one.shortcut, badges.get(one.url_name, ""), **kwargs)
        for one in entries
    )
    return mark_safe("\n".join(lines))  # noqa: S308 -- each is escaped by its own tag


@register.simple_tag(takes_context=True)
def news(context: Context) -> SafeString:
    """Return the attributes by which a list is drawn anew where something has changed since it was drawn."""
    tenant = context.get("tenant")
    name, kwargs = ("tenant-news", {"tenant_slug": tenant.slug}) if tenant else ("platform-news", {})
    return format_html(' data-news="{}" data-drawn="{}"', _reverse(name, kwargs), f"{clock.now().timestamp():.3f}")


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
