"""JSON read strictly and written the same way each time, lone surrogates and large numbers included."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import orjson

from .errors import ContentError

_COMPACT = orjson.OPT_SORT_KEYS
_PRETTY = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def exact_bytes(value: Any, *, pretty: bool = False) -> bytes:
    """UTF-8 JSON with sorted keys, compact or indented by two; the same bytes for the same value.

    Raises `ContentError` for what JSON cannot hold.
    """
    try:
        return orjson.dumps(value, option=_PRETTY if pretty else _COMPACT)
    except TypeError:
        pass  # lone surrogates, numbers beyond 64 bit, deep nesting: slower, but exact
    try:
        text = json.dumps(
            value,
            sort_keys=True,
            allow_nan=False,
            indent=2 if pretty else None,
            separators=None if pretty else (",", ":"),
        )
    except (ValueError, TypeError, RecursionError) as exc:
        raise ContentError("The workflow holds values that JSON cannot hold.") from exc
    return (text + "\n" if pretty else text).encode()


def dump(content: Mapping[str, Any]) -> bytes:
    """Return `content` for Git: UTF-8 JSON, indented by two, keys sorted, one newline at the end."""
    return exact_bytes(content, pretty=True)


def loads(data: bytes) -> Any:
    """Parse JSON strictly (no NaN, no Infinity), with lone surrogates kept; raises `ContentError`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        if b"\\ud" not in data and b"\\uD" not in data:
            raise ContentError(f"Not JSON: {exc}.") from exc
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        raise ContentError("Not JSON, or nested too deeply.") from exc


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value
