"""What is sent to the API and not known is refused: a field that is misspelt must not be taken for left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from opsconsole.api import api

DOCUMENT = api.get_openapi_schema(path_prefix="")
SCHEMAS = DOCUMENT["components"]["schemas"]


def bodies() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                yield f"{method.upper()} /{path.lstrip('/')}", body["schema"]


def objects(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object that a body is made of, by its name."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found = SCHEMAS[name] if name else schema
    if "properties" in found:
        yield name, found
    for part in (*found.get("anyOf", ()), *found.get("properties", {}).values(), found.get("items") or {}):
        if part:
            yield from objects(part)


def test_there_are_bodies() -> None:
    assert len(dict(bodies())) > 20


@pytest.mark.parametrize(("call", "schema"), list(bodies()), ids=dict(bodies()))
def test_a_body_takes_no_unknown_field(call: str, schema: dict[str, Any]) -> None:
    open_ones = [name for name, found in objects(schema) if found.get("additionalProperties") is not False]
    assert list(objects(schema)) and not open_ones
