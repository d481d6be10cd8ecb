"""What calls of the REST API answer, as types: the OpenAPI document is made of them, and each answer is checked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """A body of an answer, or a part of one, made from a mapping or from an object's attributes.

    An undeclared key of a mapping is refused, so that a new field cannot be left out of the OpenAPI document. Plain
    pydantic on purpose: ``ninja.Schema`` validates a model that forbids extra keys twice at each level.
    """

    model_config = ConfigDict(extra="forbid", from_attributes=True)


#: A JSON object whose shape something else decides: n8n, a job's kind, a failure. tests/api/test_typed_answers.py lists
#: every field of this type with the reason.
FreeForm = Annotated[dict[str, Any], Field(json_schema_extra={"additionalProperties": True})]


class PageAnswer(Answer):
    """A part of a list. ``next_cursor`` asks for the next part; null at the end."""

    next_cursor: str | None


class ErrorOut(Answer):
    """A failure: a stable code, a plain sentence, and the way out. Kept ones may be older than this shape."""

    model_config = ConfigDict(extra="ignore")

    code: str = ""
    message: str = ""
    details: FreeForm = {}
    recovery: str = ""
