"""A number and its noun agree: one workflow is not called “1 workflows”.

In Python `core.wording.counted` says both; in templates the filter `as_many` makes the noun.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_code_shape import trees
from .test_template_layout import TEMPLATES, every_template

NOUNS = (
    "changes|comments|credentials|days|entries|environments|executions|incidents|jobs|members|nodes|others|people|"
    "promotions|rows|runs|sessions|snapshots|steps|tenants|tokens|triggers|variables|workflows"
)
AFTER_A_VALUE = re.compile(rf"\s*(?:{NOUNS})\b")
#: A value, alone or in an element, and a plural right after it. A limit is never one.
IN_A_TEMPLATE = re.compile(rf"{{{{(?! limit )[^{{}}]*}}}}(?:</\w+>)?\s+(?:{NOUNS})\b")


def plurals_beside_a_value(tree: ast.Module) -> Iterator[int]:
    """Lines of f-strings that put a plural beside a value which may be one."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and not _asks_for_one(function):
            for string in ast.walk(function):
                if isinstance(string, ast.JoinedStr):
                    yield from _plurals(string)


def _plurals(string: ast.JoinedStr) -> Iterator[int]:
    for value, after in zip(string.values, string.values[1:], strict=False):
        if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant):
            name = ast.unparse(value.value).rpartition(".")[2]
            if AFTER_A_VALUE.match(str(after.value)) and not (name.isupper() or name in ("limit", "at_most")):
                yield string.lineno


def _asks_for_one(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it tells one from many itself, or from a number that is large."""
    compared = [node for node in ast.walk(function) if isinstance(node, ast.Compare)]
    sides = [side for node in compared for side in (node.left, *node.comparators)]
    return any((isinstance(side, ast.Constant) and side.value == 1) or ast.unparse(side).isupper() for side in sides)


def test_in_sentences_of_the_code() -> None:
    found = {str(path): lines for path, tree in trees().items() if (lines := list(plurals_beside_a_value(tree)))}
    assert found == {}


@pytest.mark.parametrize("path", every_template(), ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_in_templates(path: Path) -> None:
    assert IN_A_TEMPLATE.findall(path.read_text()) == []
