"""Every page that code and templates name exists: a name that does not would hide a button from everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from django.urls import URLResolver, get_resolver

ROOT = Path(__file__).resolve().parent.parent
IN_TEMPLATES = re.compile(r"""{%\s*(?:url|url_if|navlink)\s+["']([^"']+)["']""")
IN_CODE = re.compile(r"""\b(?:reverse|reverse_lazy|redirect|url_of)\(\s*["']([\w:-]+)["']""")


def known_names(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from known_names(entry, f"{prefix}{entry.namespace}:" if entry.namespace else prefix)
        elif entry.name:
            yield prefix + entry.name


def names_used() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    templates = (ROOT / "templates").rglob("*.html")
    code = (path for app in ROOT.iterdir() if (app / "__init__.py").exists() for path in app.rglob("*.py"))
    for pattern, paths in ((IN_TEMPLATES, templates), (IN_CODE, code)):
        for path in paths:
            if "tests" not in path.parts:
                for name in pattern.findall(path.read_text()):
                    found.setdefault(name, []).append(str(path.relative_to(ROOT)))
    return found


def test_every_page_that_is_named_exists() -> None:
    used, known = names_used(), set(known_names(get_resolver()))
    assert len(used) > 100
    assert {name: places for name, places in used.items() if name not in known} == {}
