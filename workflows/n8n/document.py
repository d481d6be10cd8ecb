"""Reads an untrusted YAML document, within bounds, from the parser's events.

PyYAML's own loaders call themselves for each level, the quick one in C without a limit of depth: 30,000 brackets end
the process. Here nothing calls itself, and reading stops at the first thing that no contract of n8n's holds.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

LARGEST = 4 * 1024 * 1024
"""Bytes. 2.41.1 publishes 0.8 MB, in 45,000 events and 24 levels; without anchors and tags."""
_MOST_EVENTS = 250_000
_DEEPEST = 100

_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_BROKEN = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}", re.ASCII)


class DocumentError(ValueError):
    """The document is no YAML, or more than is taken."""


def read_document(data: bytes) -> Any:
    """Mappings (with text for keys), lists and plain values; raises `DocumentError`."""
    if len(data) > LARGEST:
        raise DocumentError("It is too large.")
    builder = _Builder()
    try:
        for number, event in enumerate(yaml.parse(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            if number > _MOST_EVENTS:
                raise DocumentError("It holds too much.")
            builder.take(event)
    except (yaml.YAMLError, UnicodeError) as exc:
        raise DocumentError("It is no YAML.") from exc
    return builder.root


class _Builder:
    """Puts values into the innermost open list or mapping; `_keys` holds what each open mapping waits to fill."""

    def __init__(self) -> None:
        self.root: Any = None
        self._open: list[list[Any] | dict[str, Any]] = []
        self._keys: list[str | None] = []

    def take(self, event: yaml.Event) -> None:
        if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) not in (None, "!"):
            raise DocumentError("It uses anchors, aliases or tags.")
        match event:
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent():
                self._begin({})
            case yaml.SequenceStartEvent():
                self._begin([])
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._open.pop()
                self._keys.pop()

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self._open and isinstance(self._open[-1], dict) and self._keys[-1] is None:
            self._keys[-1] = event.value
        else:
            self._put(_plain(event.value) if event.implicit[0] else event.value)

    def _begin(self, made: list[Any] | dict[str, Any]) -> None:
        if len(self._open) >= _DEEPEST:
            raise DocumentError("It is nested too deeply.")
        self._put(made)
        self._open.append(made)
        self._keys.append(None)

    def _put(self, value: Any) -> None:
        if not self._open:
            self.root = value
            return
        into = self._open[-1]
        if isinstance(into, list):
            into.append(value)
            return
        key = self._keys[-1]
        if key is None:
            raise DocumentError("A key in it is no text.")
        into[key], self._keys[-1] = value, None


def _plain(text: str) -> Any:
    """The value of a word without quotes."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _BROKEN.fullmatch(text) else text
