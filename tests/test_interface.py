"""Rules of the interface whose breach no reader would notice: the content policy, the budget, what templates hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import get_template

ROOT = Path(settings.BASE_DIR)
OURS = sorted(
    path
    for folder in [ROOT / "templates", *ROOT.glob("*/templates"), *ROOT.glob("opsconsole/*/templates")]
    for path in folder.rglob("*.html")
    if ".venv" not in path.parts
)

FORBIDDEN = {
    "a style attribute": re.compile(r"<[^>]*\sstyle\s*="),
    "an inline handler": re.compile(r"<[^>]*\son[a-z]+\s*="),
    "an inline style": re.compile(r"<style\b"),
    "an htmx expression": re.compile(r"\bhx-on[:-]|hx-vals=['\"]js:|hx-vars="),
    "an address elsewhere": re.compile(r"(?:src|href)=[\"']https?://"),
    "a javascript address": re.compile(r"href=[\"']javascript:"),
}
INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)")


def _names(paths: list[Path]) -> Iterator[str]:
    return (str(path.relative_to(ROOT)) for path in paths)


@pytest.mark.parametrize("path", OURS, ids=_names(OURS))
def test_template_keeps_the_content_policy(path: Path) -> None:
    text = re.sub(r"{%\s*comment.*?endcomment\s*%}", "", path.read_text(), flags=re.S)
    broken = [what for what, pattern in FORBIDDEN.items() if pattern.search(text)]
    if INLINE_SCRIPT.search(text):
        broken.append("an inline script")
    assert broken == []


@pytest.mark.parametrize("path", OURS, ids=_names(OURS))
def test_template_compiles(path: Path) -> None:
    get_template(str(path).split("/templates/", 1)[1])


@pytest.mark.parametrize(("kind", "limit"), [("css", 48_000), ("js", 34_000)])
def test_our_own_files_stay_small(kind: str, limit: int) -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "static").rglob(f"*.{kind}")}
    assert sum(sizes.values()) <= limit, sizes
