"""Texts of others made storable: what PostgreSQL, JSON, mail and pages refuse becomes a sign that can be seen.

n8n takes U+0000 and halves of a character (a lone surrogate, as of an emoji that was cut) in any text. What is kept to
the byte is kept as bytes; every text that is taken out of it to be shown or stored in a row goes through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import orjson

SIGN = "\ufffd"
_HALVES = re.compile("[\ud800-\udfff]")
_NUL_IN_JSON = b"\\u0000"
S = TypeVar("S", bound=msgspec.Struct)


def storable(text: str) -> str:
    """Text that PostgreSQL takes: U+0000 and halves of a character become a sign that can be seen."""
    if not text.isascii():
        text = _HALVES.sub(SIGN, text)
    return text.replace("\0", SIGN)


def tidied(value: Any) -> Any:
    """JSON with every text made storable, also those that are keys."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list | tuple):
        return [tidied(one) for one in value]
    if isinstance(value, dict):
        return {tidied(key): tidied(one) for key, one in value.items()}
    return value


def storable_struct(found: S) -> S:
    """The same struct with every text in it made storable; the very same where all are."""
    try:
        if _NUL_IN_JSON not in msgspec.json.encode(found):
            return found
    except UnicodeEncodeError:
        pass
    return msgspec.convert(tidied(msgspec.to_builtins(found)), type(found))


def json_bytes(value: Any, *, default: Callable[[Any], Any] | None = None, option: int = 0) -> bytes:
    """``orjson.dumps`` that no half of a character stops."""
    try:
        return orjson.dumps(value, default=default, option=option)
    except TypeError:
        return orjson.dumps(tidied(value), default=default, option=option)


def json_for_rows(value: Any) -> str:
    """JSON to be sent to PostgreSQL as one parameter, storable; what JSON does not know is written as text."""
    written = json_bytes(value, default=str)
    if _NUL_IN_JSON in written:
        written = orjson.dumps(tidied(value), default=str)
    return written.decode()
