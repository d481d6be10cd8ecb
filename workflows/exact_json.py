"""JSON read strictly and written the same way each time, lone surrogates and large numbers included.

Reading is bounded: Python's objects take up to a hundred times the bytes they were read from. What nobody looks into
(pinned and static data) stays the text that it is where it is large, so that it costs its own size.
"""

from __future__ import annotations

import codecs
import json
import math
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

from .errors import ContentError

_COMPACT = orjson.OPT_SORT_KEYS
_LINE = _COMPACT | orjson.OPT_APPEND_NEWLINE
_PRETTY = _LINE | orjson.OPT_INDENT_2

LARGE_BYTES = 64 * 1024
"""From here on a part that nobody looks into stays text, and what is read into objects is counted first."""
MOST_COST_BYTES = 40 * 1024 * 1024
"""Memory that the objects of one document may take, as estimated."""
_PER_VALUE_BYTES = 100
PATIENCE_BYTES = 8 * 1024 * 1024
"""What is larger is read by the quick reader alone; the patient one holds all of it three times."""
_STAYS_TEXT = frozenset({"pinData", "staticData"})
_CHUNK_BYTES = 1024 * 1024

_ALWAYS_PRETTY_BYTES = 128 * 1024
_PRETTY_BYTES, _PRETTY_VALUES = 2 * 1024 * 1024, 100_000
"""Above either a document is written without line breaks: deep inside, each costs as many blanks as it is deep."""

_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT_OR_OPENING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{\[,]', re.DOTALL)
_HUGE_NUMBER = re.compile(rb"[0-9]{309}|[0-9.][eE]\+?[0-9]{3}")
_TEXT_OR_HUGE_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[0-9]{309}|[0-9.][eE]\+?[0-9]{3}', re.DOTALL)
_BEYOND_16_BIT = re.compile(rb"[\xf0-\xff]|\\u[dD]")
_BEYOND_LATIN = re.compile(rb"[\xc4-\xff]|\\u")


class TooMuch(ContentError):
    """A document would take more memory than is given to one."""


class Verbatim:
    """A large part of a workflow that nobody looks into, as the JSON text that came."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verbatim) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"<{len(self.text):,} bytes of JSON>"


def exact_bytes(value: Any) -> bytes:
    """Compact UTF-8 JSON with sorted keys; the same bytes for the same value.

    Raises `ContentError` for what JSON cannot hold.
    """
    return _written(value, _COMPACT)


def body_bytes(value: Any) -> bytes:
    """As `exact_bytes`, with keys in the order in which they stand."""
    return _written(value, 0)


def _written(value: Any, option: int) -> bytes:
    try:
        return orjson.dumps(value, default=_fragment, option=option)
    except TypeError:
        pass  # lone surrogates, numbers beyond 64 bit, deep nesting: slower, but exact
    pretty = bool(option & orjson.OPT_INDENT_2)
    texts: dict[str, bytes] = {}

    def placeholder(part: Any) -> str:
        if not isinstance(part, Verbatim):
            raise TypeError
        name = f"verbatim-{uuid.uuid4()}"
        texts[name] = part.text
        return name

    try:
        text = json.dumps(
            value,
            sort_keys=bool(option & orjson.OPT_SORT_KEYS),
            allow_nan=False,
            indent=2 if pretty else None,
            separators=None if pretty else (",", ":"),
            default=placeholder,
        )
    except (ValueError, TypeError, RecursionError) as exc:
        raise ContentError("The workflow holds values that JSON cannot hold.") from exc
    data = (text + "\n" if option & orjson.OPT_APPEND_NEWLINE else text).encode()
    for name, kept in texts.items():
        data = data.replace(b'"' + name.encode() + b'"', kept)
    return data


def _fragment(part: Any) -> orjson.Fragment:
    if isinstance(part, Verbatim):
        return orjson.Fragment(part.text)
    raise TypeError


def dump(content: Mapping[str, Any]) -> bytes:
    """Return `content` for Git: UTF-8 JSON, keys sorted, one newline at the end; indented by two unless it is huge."""
    compact = _written(content, _LINE)
    if len(compact) > _PRETTY_BYTES or (len(compact) > _ALWAYS_PRETTY_BYTES and _values(compact) > _PRETTY_VALUES):
        return compact
    return _written(content, _PRETTY)


def loads(data: bytes | memoryview) -> Any:
    """Parse JSON strictly (no NaN, no Infinity), with lone surrogates kept; raises `ContentError`.

    `TooMuch` where the objects would take more memory than is given to one document.
    """
    _refuse_costly(data)
    if len(data) > PATIENCE_BYTES and _HUGE_NUMBER.search(data) and _is_beyond_numbers(data):
        raise ContentError("It holds a number that no reader of JSON takes.")
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        data = bytes(data)
        if len(data) > PATIENCE_BYTES:
            raise TooMuch("It is too large to be read with half an emoji in it.") from None
        if b"\\ud" not in data and b"\\uD" not in data:
            raise ContentError(f"Not JSON: {exc}.") from exc
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        raise ContentError("Not JSON, or nested too deeply.") from exc


def loads_workflow(data: bytes | memoryview) -> Any:
    """As `loads`; large pinned and static data are left as `Verbatim`."""
    if len(data) <= LARGE_BYTES:
        return loads(data)
    try:
        parts = _PARTS.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        return loads(data)  # half an emoji, or no object: the patient reader knows
    found: dict[str, Any] = {}
    left = MOST_COST_BYTES
    for name, raw in parts.items():
        part = memoryview(raw)
        stays_text = name in _STAYS_TEXT and len(part) > LARGE_BYTES and bytes(part[:1]) == b"{"
        left -= 2 * len(part) if stays_text else _cost(part)
        if left < 0:
            raise _too_much()
        found[name] = Verbatim(_utf8(part)) if stays_text else loads(part)
    return found


def _utf8(part: memoryview) -> bytes:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(part):
            decoder.decode(chunk)
        decoder.decode(b"", True)
    except UnicodeDecodeError as exc:
        raise ContentError("Not JSON: it is not UTF-8.") from exc
    return bytes(part)


def _refuse_costly(data: bytes | memoryview) -> None:
    if _cost(data) > MOST_COST_BYTES:
        raise _too_much()


def _too_much() -> TooMuch:
    return TooMuch("It holds more than one workflow may take of this console's memory.")


def _cost(data: bytes | memoryview) -> int:
    """Bytes that its objects, and one writing of them, take at the most; 0 for what is small. Copies none of it."""
    if len(data) <= LARGE_BYTES:
        return 0
    wide = 4 if _BEYOND_16_BIT.search(data) else 2 if _BEYOND_LATIN.search(data) else 1
    texts = len(data) * (wide + 1)
    room = max(0, MOST_COST_BYTES - texts)
    values = sum(map(_values, _chunks(data)))
    if values * _PER_VALUE_BYTES > room > 0:
        values = _values_outside_texts(data, room // _PER_VALUE_BYTES)
    return texts + values * _PER_VALUE_BYTES


def _chunks(data: bytes | memoryview) -> Iterator[bytes]:
    view = memoryview(data)
    return (bytes(view[start : start + _CHUNK_BYTES]) for start in range(0, len(view), _CHUNK_BYTES))


def _values(data: bytes) -> int:
    """How many values there are at the most: commas in texts are counted as well."""
    return sum(map(data.count, (b"{", b"[", b",")))


def _values_outside_texts(data: bytes | memoryview, most: int) -> int:
    """How many values there are; not counted on once there are more than ``most``."""
    found = 0
    for match in _TEXT_OR_OPENING.finditer(data):
        if match.end() - match.start() == 1:
            found += 1
            if found > most:
                break
    return found


def _is_beyond_numbers(data: bytes | memoryview) -> bool:
    """Whether a number is larger than any that JSON's readers take: they would copy all of it to say so."""
    return any(match[0][:1] != b'"' for match in _TEXT_OR_HUGE_NUMBER.finditer(data))


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value
