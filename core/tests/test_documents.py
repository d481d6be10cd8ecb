"""Typed documents: stored as JSON, read back, and described by the REST API."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET, UnsetType
from pydantic import BaseModel

from core.documents import Document


class Part(Document, frozen=True, kw_only=True):
    name: str
    note: str | UnsetType | None = UNSET


class Whole(Document, frozen=True, kw_only=True):
    parts: tuple[Part, ...]
    count: int = 0


class Answer(BaseModel):
    whole: Whole


WHOLE = Whole(parts=(Part(name="a"), Part(name="b", note=None)))


def test_it_is_stored_as_json_and_read_back() -> None:
    stored = WHOLE.to_json()
    assert stored == {"parts": [{"name": "a"}, {"name": "b", "note": None}], "count": 0}
    assert Whole.from_json(stored) == Whole.from_json({**stored, "of_a_later_version": 1}) == WHOLE
    with pytest.raises(msgspec.ValidationError):
        Whole.from_json({"parts": "many"})


def test_the_api_answers_it_and_describes_every_field() -> None:
    stored = WHOLE.to_json()
    assert Answer.model_validate({"whole": WHOLE}).model_dump(mode="json") == {"whole": stored}
    assert Answer.model_validate({"whole": stored}).model_dump(mode="json") == {"whole": stored}
    described = Answer.model_json_schema(mode="serialization")["$defs"]
    assert described["Part"]["required"] == ["name"], "what may be left out is not required"
    assert described["Whole"]["required"] == ["parts", "count"]
