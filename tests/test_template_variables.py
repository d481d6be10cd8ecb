"""A name that one block of a template sets (``{% url … as name %}``) is not known in another block: it is empty there.

A link made of it then leads to the page itself, and nothing says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).parents[1] / "templates"
BLOCK = re.compile(r"{%-?\s*(?:block (\w+)|(endblock)[^%]*)\s*%}")
SET = re.compile(r"{%\s*[^%]*\bas (\w+)\s*%}")
OPENS = re.compile(r"{%\s*(?:with|for) ([^%]*)%}")


def blocks(source: str) -> dict[str, str]:
    """The text of each outermost block, by name."""
    found: dict[str, str] = {}
    depth, name, start = 0, "", 0
    for mark in BLOCK.finditer(source):
        if mark[1]:
            if depth == 0:
                name, start = mark[1], mark.end()
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                found[name] = source[start : mark.start()]
    return found


def own_names(text: str) -> set[str]:
    """What a block names itself: by ``as``, ``with`` or ``for``."""
    opened = " ".join(OPENS.findall(text))
    return set(SET.findall(text)) | set(re.findall(r"(\w+)(?==)", opened)) | set(re.findall(r"\b(\w+)\b", opened))


def uses(text: str) -> str:
    """What stands inside of tags and variables."""
    return " ".join("".join(found) for found in re.findall(r"{{(.*?)}}|{%(.*?)%}", text, re.S))


def strays(source: str) -> Iterator[tuple[str, str, str]]:
    """(name, block that sets it, block that uses it) for each name that does not reach where it is used."""
    found = blocks(source)
    for setter, text in found.items():
        for name in set(SET.findall(text)):
            for user, other in found.items():
                if (
                    user != setter
                    and name not in own_names(other)
                    and re.search(rf"(?<![\w.\"]){name}\b(?!=)", uses(other))
                ):
                    yield name, setter, user


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_a_name_is_set_in_the_block_that_uses_it(path: Path) -> None:
    assert not list(strays(path.read_text()))


def test_a_name_from_another_block_is_found() -> None:
    source = '{% block a %}{% url "x" as to %}{% endblock %}{% block b %}<a href="{{ to }}?y">{% endblock %}'
    assert list(strays(source)) == [("to", "a", "b")]
    assert not list(strays(source.replace("{{ to }}", '{% url "x" as to %}{{ to }}')))
