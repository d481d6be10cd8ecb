"""A contract enforced on requests, with the error messages of the instance's version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Contract:
    """The named schemas of an instance. ``newer``: the error messages of the calls that came with 2.38."""

    schemas: Mapping[str, Schema]
    newer: bool = False

    def first_error(self, value: Any, schema: Schema, at: str = "request/body") -> str | None:
        """The first complaint about `value` in n8n's words, or None. Fills in the schema's defaults as n8n does."""
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        if "anyOf" in schema:
            return self._no_option(value, schema["anyOf"], at)
        if value is None and schema.get("nullable"):
            return None
        return self._plain_error(value, schema, at) or self._inner_error(value, schema, at)

    def _no_option(self, value: Any, options: list[Schema], at: str) -> str | None:
        complaints = [self.first_error(value, option, at) for option in options]
        if None in complaints:
            return None
        return ", ".join([*filter(None, complaints), f"{at} must match a schema in anyOf"])

    def _plain_error(self, value: Any, schema: Schema, at: str) -> str | None:
        kind = schema.get("type")
        if kind and not _TYPES[kind](value):
            return f"{at} Expected {kind}, received {_kind(value)}" if self.newer else f"{at} must be {kind}"
        if "enum" in schema and value not in schema["enum"]:
            return not_listed(value, schema["enum"], at, newer=self.newer)
        if schema.get("format") == "jsonString" and not _is_json(value):
            return f'{at} must match format "jsonString"'
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return f'{at} must match pattern "{schema["pattern"]}"'
        return None

    def _inner_error(self, value: Any, schema: Schema, at: str) -> str | None:
        if schema.get("type") == "object":
            checks = (self._missing_error, self._unknown_error, self._field_error)
            return next(filter(None, (check(value, schema, at) for check in checks)), None)
        if schema.get("type") == "array" and "items" in schema:
            complaints = (self.first_error(item, schema["items"], f"{at}/{i}") for i, item in enumerate(value))
            return next(filter(None, complaints), None)
        return None

    def _missing_error(self, value: dict[str, Any], schema: Schema, at: str) -> str | None:
        name = next((name for name in schema.get("required", ()) if name not in value), None)
        if name is None:
            return None
        if self.newer and schema.get("properties", {})[name] == {"type": "object"}:
            return f"{at}/{name} must be object"
        return f"{at} must have required property '{name}'"

    def _unknown_error(self, value: dict[str, Any], schema: Schema, at: str) -> str | None:
        if schema.get("additionalProperties") is not False:
            return None
        unknown = [name for name in value if name not in schema.get("properties", {})]
        if not unknown:
            return None
        if self.newer:
            return f"{at} Unrecognized key(s) in object: {', '.join(repr(name) for name in unknown)}"
        return f"{at} must NOT have additional properties"

    def _field_error(self, value: dict[str, Any], schema: Schema, at: str) -> str | None:
        for name, part in schema.get("properties", {}).items():
            if name not in value:
                if "default" in part:
                    value[name] = part["default"]
            elif part.get("readOnly"):
                return f"{at}/{name} is read-only"
            elif complaint := self.first_error(value[name], part, f"{at}/{name}"):
                return complaint
        return None


def not_listed(value: Any, allowed: list[str], at: str, *, newer: bool) -> str:
    """The complaint about a value that is none of the allowed ones."""
    if newer:
        return f"{at} Invalid enum value. Expected {' | '.join(repr(each) for each in allowed)}, received '{value}'"
    return f"{at} must be equal to one of the allowed values: {', '.join(allowed)}"


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
    if schema["type"] == "number":
        return _strict_number(name, text, schema, at) if newer else _number(text, schema, at)
    if schema["type"] != "boolean":
        return text, Contract({}, newer).first_error(text, schema, at)
    if text not in ("true", "false"):
        return None, not_listed(text, ["true", "false"], at, newer=True) if newer else f"{at} must be boolean"
    return text == "true", None


def _strict_number(name: str, text: str, schema: Schema, at: str) -> tuple[int | None, str | None]:
    if not re.fullmatch(r"-?\d+", text):
        return None, f"{at} Param `{name}` must be a valid integer"
    if int(text) < 0:
        return None, f"{at} Param `{name}` must be a non-negative integer"
    return min(int(text), schema.get("maximum", int(text))), None


def _number(text: str, schema: Schema, at: str) -> tuple[int | None, str | None]:
    try:
        value = int(float(text))
    except ValueError:
        return None, f"{at} must be number"
    if value > schema.get("maximum", value):
        return None, f"{at} must be <= {schema['maximum']}"
    return value, None
