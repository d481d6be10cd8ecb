"""A contract enforced on what comes in, in the words of the version at hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from .shapes import Schema

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return next(name for name, fits in _TYPES.items() if fits(value))


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def first_error(
    value: Any, schema: Schema, schemas: Mapping[str, Schema], at: str = "request/body", *, newer: bool = False
) -> str | None:
    """The first complaint about `value` in n8n's words, or None. Fills in the defaults of the schema as n8n does.

    ``newer``: the words of the calls that came with 2.38.
    """
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        complaints = [first_error(value, option, schemas, at, newer=newer) for option in schema["anyOf"]]
        if None in complaints:
            return None
        return ", ".join([*filter(None, complaints), f"{at} must match a schema in anyOf"])
    if value is None and schema.get("nullable"):
        return None
    kind = schema.get("type")
    if kind and not _TYPES[kind](value):
        return f"{at} Expected {kind}, received {_kind(value)}" if newer else f"{at} must be {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return _not_listed(value, schema["enum"], at, newer=newer)
    if schema.get("format") == "jsonString" and not _is_json(value):
        return f'{at} must match format "jsonString"'
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f'{at} must match pattern "{schema["pattern"]}"'
    if kind == "object":
        return _object_error(value, schema, schemas, at, newer=newer)
    if kind == "array" and "items" in schema:
        for index, item in enumerate(value):
            if complaint := first_error(item, schema["items"], schemas, f"{at}/{index}", newer=newer):
                return complaint
    return None


def _not_listed(value: Any, allowed: list[str], at: str, *, newer: bool) -> str:
    if newer:
        return f"{at} Invalid enum value. Expected {' | '.join(repr(each) for each in allowed)}, received '{value}'"
    return f"{at} must be equal to one of the allowed values: {', '.join(allowed)}"


def _object_error(
    value: dict[str, Any], schema: Schema, schemas: Mapping[str, Schema], at: str, *, newer: bool
) -> str | None:
    properties: Schema = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            if newer and properties[name] == {"type": "object"}:
                return f"{at}/{name} must be object"
            return f"{at} must have required property '{name}'"
    unknown = [name for name in value if name not in properties] if schema.get("additionalProperties") is False else []
    if unknown and newer:
        return f"{at} Unrecognized key(s) in object: {', '.join(repr(name) for name in unknown)}"
    if unknown:
        return f"{at} must NOT have additional properties"
    for name, part in properties.items():
        if name not in value:
            if "default" in part:
                value[name] = part["default"]
            continue
        if part.get("readOnly"):
            return f"{at}/{name} is read-only"
        if complaint := first_error(value[name], part, schemas, f"{at}/{name}", newer=newer):
            return complaint
    return None


def read_query(
    query: Mapping[str, str], known: Mapping[str, Schema], *, newer: bool = False
) -> tuple[dict[str, Any], str | None]:
    """The query string as typed values, and the first complaint about it in n8n's words, or None."""
    values: dict[str, Any] = {}
    for name, text in query.items():
        schema = known.get(name)
        if schema is None:
            if newer:
                continue
            return {}, f"Unknown query parameter '{name}'"
        value, complaint = _read_one(name, text, schema, newer=newer)
        if complaint:
            return {}, complaint
        values[name] = value
    return values, None


def _read_one(name: str, text: str, schema: Schema, *, newer: bool) -> tuple[Any, str | None]:
    at = f"request/query/{name}"
    if schema["type"] == "number" and newer:
        if not re.fullmatch(r"-?\d+", text):
            return None, f"{at} Param `{name}` must be a valid integer"
        if int(text) < 0:
            return None, f"{at} Param `{name}` must be a non-negative integer"
        return min(int(text), schema.get("maximum", int(text))), None
    if schema["type"] == "number":
        try:
            value = int(float(text))
        except ValueError:
            return None, f"{at} must be number"
        if value > schema.get("maximum", value):
            return None, f"{at} must be <= {schema['maximum']}"
        return value, None
    if schema["type"] == "boolean":
        if text not in ("true", "false"):
            return None, _not_listed(text, ["true", "false"], at, newer=True) if newer else f"{at} must be boolean"
        return text == "true", None
    return text, first_error(text, schema, {}, at, newer=newer)
