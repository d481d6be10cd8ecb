"""Small things that every app stands on: ids from outside, parts of pages, whose something is."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import NotFound
from core.htmx import is_partial
from core.ids import uuid_or_none, uuid_or_not_found
from core.whose import Whose, whose

PK = uuid.UUID("5f4d7a52-3f0e-4f58-9a1b-6d1c3f2b8e10")


def test_an_id_that_is_none_is_an_id_of_nothing() -> None:
    assert uuid_or_not_found(PK) is PK
    assert uuid_or_not_found(str(PK)) == uuid_or_none(str(PK)) == PK
    assert uuid_or_none("x") is None
    for text in ("", "x", "5f4d"):
        with pytest.raises(NotFound):
            uuid_or_not_found(text)


@pytest.mark.parametrize(
    ("htmx", "target", "answer"),
    [
        (None, "", False),
        ({}, "", True),
        ({"boosted": True}, "", False),
        ({"history_restore_request": True}, "", False),
        ({"target": "tiles"}, "tiles", True),
        ({"target": "other"}, "tiles", False),
    ],
)
def test_a_part_is_asked_for_by_htmx_alone(htmx: dict[str, Any] | None, target: str, answer: bool) -> None:
    details = {"boosted": False, "history_restore_request": False, "target": None}
    request: Any = SimpleNamespace(htmx=SimpleNamespace(**{**details, **htmx}) if htmx is not None else None)
    assert is_partial(request, target=target) is answer
    assert is_partial(SimpleNamespace()) is False  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "before", "ours", "answer"),
    [
        ("a", "a", ("b",), Whose.BEFORE),
        ("b", "a", ("b",), Whose.OURS),
        ("c", "a", ("b",), Whose.FOREIGN),
        (None, None, ("b",), Whose.BEFORE),
        (None, "a", (None,), Whose.OURS),
        (None, "a", (), Whose.FOREIGN),
        ("a", "a", ("a",), Whose.BEFORE),
    ],
)
def test_what_stands_there_is_as_before_ours_or_somebody_elses(
    found: str | None, before: str | None, ours: tuple[str | None, ...], answer: Whose
) -> None:
    assert whose(found, before=before, ours=ours) is answer
