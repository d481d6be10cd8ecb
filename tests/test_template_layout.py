"""Templates can be reviewed line by line; `djhtml --check` (in CI) keeps their indentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
WIDTH = 120
#: A tag of Django's cannot be broken, and some hold a whole sentence.
LONGEST = 350
TEXTAREA = re.compile(r"<textarea\b(?:[^>\"']|\"[^\"]*\"|'[^']*')*>(.*?)</textarea>", re.DOTALL)


def every_template() -> list[Path]:
    return sorted(TEMPLATES.rglob("*.html"))


def test_lines_are_short_enough_to_be_read() -> None:
    lengths = sorted(len(line) for path in every_template() for line in path.read_text().splitlines())
    assert lengths[int(len(lengths) * 0.99)] <= WIDTH
    assert lengths[-1] <= LONGEST


@pytest.mark.parametrize("path", every_template(), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_what_people_write_into_begins_without_space(path: Path) -> None:
    """Space inside is text: a required field would be filled in already."""
    for inner in TEXTAREA.findall(path.read_text()):
        assert inner == inner.strip(), inner
