"""The OpenAPI document says of every answer what is in it, except where something else decides its shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsconsole.api import api

#: Fields of any shape, by the schema and the field that hold them, and why.
FREE_FORM = {
    "ErrorOut.details": "each failure's own: the fields that are wrong, the workflows concerned",
    "Error.details": "each failure's own",
    "ErrorRecord.details": "each failure's own, as it was stored",
    "ErrorRecord.cause": "another failure, as it was stored",
    "OperationDetail.result": "each kind of job's own",
    "StepOut.intent": "each step's own",
    "StepOut.result": "each step's own",
    "AuditLogOut.details": "columns of the row that was written, or what an event tells",
    "OcsfEvents.events": "OCSF 1.3.0 defines them",
    "EntryOut.content": "a workflow, as n8n made it",
    "FactsOut.settings": "a workflow's settings, as n8n made them",
    "DriftDetailsOut.env_facts": "what n8n says of a workflow beside its content",
    "RestoreOut.unreadable": "why a workflow could not be read, as it was noted",
    "SettlingFailureOut.details": "each failure's own",
}
#: Whole errors: beside the error they carry the usual body of the call, whichever that is.
WHOLE = {"Error"}
DOCUMENT = api.get_openapi_schema(path_prefix="")
SCHEMAS = DOCUMENT["components"]["schemas"]


def successes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each call with what it answers where it goes well."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if str(status).startswith("2"):
                    yield f"{method.upper()} /{path.lstrip('/')}", response


def is_free(schema: dict[str, Any]) -> bool:
    """Whether anything fits: no type, or an object without named fields and without a type for its values."""
    if any(key in schema for key in ("$ref", "enum", "const")):
        return False
    if parts := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return any(is_free(part) for part in parts)
    if schema.get("type") == "array":
        return is_free(schema.get("items", {}))
    if schema.get("type") == "object" or "properties" in schema:
        values = schema.get("additionalProperties", "properties" not in schema)
        return values is True or (isinstance(values, dict) and is_free(values))
    return "type" not in schema


def is_declared(response: dict[str, Any]) -> bool:
    contents = response.get("content") or {}
    return bool(contents) and not any(is_free(content.get("schema") or {}) for content in contents.values())


def fields(name: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields of a schema, those of objects within it included."""
    for field, inner in schema.get("properties", {}).items():
        yield f"{name}.{field}", inner
        if "properties" in inner:
            yield from fields(name, inner)


def reached(schema: Any, seen: set[str]) -> set[str]:
    """The names of all schemas that one leads to."""
    if isinstance(schema, list):
        for part in schema:
            reached(part, seen)
    elif isinstance(schema, dict):
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            reached(SCHEMAS[name], seen)
        for part in schema.values():
            reached(part, seen)
    return seen


def answered() -> set[str]:
    """The names of all schemas that answers are made of."""
    return reached([op["responses"] for methods in DOCUMENT["paths"].values() for op in methods.values()], set())


def test_every_answer_is_declared() -> None:
    open_ends = {call for call, response in successes() if not is_declared(response)}
    assert open_ends == set(), "declare response= for these"


def test_no_field_of_an_answer_takes_any_shape_without_a_reason() -> None:
    found = {path for name in answered() - WHOLE for path, schema in fields(name, SCHEMAS[name]) if is_free(schema)} | {
        path for name in WHOLE for path, schema in fields(name, SCHEMAS[name]) if path in FREE_FORM
    }
    assert found - FREE_FORM.keys() == set(), "type these, or say in FREE_FORM why they cannot be"
    assert FREE_FORM.keys() - found == set(), "these are typed now, or gone"


@pytest.mark.parametrize(
    ("schema", "free"),
    [
        ({}, True),
        ({"type": "object"}, True),
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"type": "object", "properties": {}, "additionalProperties": True}, True),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, False),
        ({"type": "array", "items": {}}, True),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": True}]}, True),
        ({"anyOf": [{"$ref": "#/components/schemas/X"}, {"type": "null"}]}, False),
        ({"title": "Anything"}, True),
    ],
)
def test_what_takes_any_shape_is_seen(schema: dict[str, Any], free: bool) -> None:
    assert is_free(schema) is free
