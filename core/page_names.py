"""What the page behind an address is called, for records of what people looked at."""

from __future__ import annotations

from functools import lru_cache

from django.urls import Resolver404, resolve

from .registry import registry


def page_name(address: str) -> str:
    """“Drift”, “Workflow order-intake”; the address itself where it leads to no page (a program's, or none)."""
    path = address.partition("?")[0]
    return _named(path) or address


@lru_cache(maxsize=2048)
def _named(path: str) -> str:
    try:
        found = resolve(path)
    except Resolver404:
        return ""
    if not found.url_name or found.app_names:
        return ""
    title = _titles().get(found.url_name) or found.url_name.replace("-", " ").replace("_", " ").capitalize()
    return f"{title} {key}" if (key := found.kwargs.get("key")) else title


@lru_cache(maxsize=1)
def _titles() -> dict[str, str]:
    """Of pages that people go to by name, and of those of one thing of a kind."""
    subjects = {subject.url_name: subject.noun.capitalize() for subject in registry.subjects().values()}
    places = (page for of_platform in (False, True) for page in registry.destinations(of_platform=of_platform))
    return subjects | {page.url_name: page.title for page in places}
