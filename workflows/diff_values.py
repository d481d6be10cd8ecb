"""What a diff is made of: one change, and the values behind it leaf by leaf, as text without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import orjson

from core.texts import json_bytes, storable

from .masking import HIDDEN, is_secret_name, mask

MAX_TEXT = 400
"""Characters of one value that a diff shows."""
_SEARCHED = 2 * MAX_TEXT
"""Characters that are searched for secrets: one that begins in what is shown is known by then."""
_MAX_DEPTH = 60

Severity = Literal["low", "medium", "high"]
RANK = {"low": 0, "medium": 1, "high": 2}
Leaf = tuple[str, Any, Any, bool]
"""Path, value before, value after, and whether its name says that it is a secret."""


class ValueChange(msgspec.Struct, frozen=True):
    """One value that changed: its path, and what it was and is, as text without secrets."""

    path: str
    before: str | None
    after: str | None


class Change(msgspec.Struct, frozen=True):
    """One thing that changed.

    `kind` is `added`, `removed`, `changed` or `moved`; `what` is the narrower word (`node_renamed`, `connection`,
    `setting`, `node_disabled`…). `touches` holds hints: credentials, trigger, webhook, http, code, subworkflow.
    `behaviour` is False for what does not count as drift (positions, notes, tags, being active).
    """

    kind: str
    what: str
    title: str
    sentence: str
    node: str = ""
    before_node: str = ""
    severity: Severity = "low"
    touches: tuple[str, ...] = ()
    behaviour: bool = True
    parts: tuple[ValueChange, ...] = ()
    parts_left_out: int = 0


ABSENT: Any = object()


def leaves(before: Any, after: Any, path: str, secret: bool = False, depth: int = 0) -> Iterator[Leaf]:
    """Yield each leaf that differs."""
    if before is after:
        return
    if depth < _MAX_DEPTH and isinstance(before, dict) and isinstance(after, dict):
        yield from _leaves_of_objects(before, after, path, secret, depth + 1)
    elif depth < _MAX_DEPTH and isinstance(before, list) and isinstance(after, list):
        yield from _leaves_of_lists(before, after, path, secret, depth + 1)
    elif not _is_same_scalar(before, after):
        yield path, before, after, secret


def _is_same_scalar(before: Any, after: Any) -> bool:
    return type(before) is type(after) and not isinstance(before, dict | list) and bool(before == after)


def _leaves_of_objects(
    before: dict[str, Any], after: dict[str, Any], path: str, secret: bool, depth: int
) -> Iterator[Leaf]:
    value_is_secret = names_a_secret(before) or names_a_secret(after)
    for key in dict.fromkeys((*before, *after)):
        hide = secret or (is_secret_name(key) and path != "credentials") or (value_is_secret and key == "value")
        where = f"{path}.{key}" if path else str(key)
        yield from leaves(before.get(key, ABSENT), after.get(key, ABSENT), where, hide, depth)


def _leaves_of_lists(before: list[Any], after: list[Any], path: str, secret: bool, depth: int) -> Iterator[Leaf]:
    for i in range(max(len(before), len(after))):
        old = before[i] if i < len(before) else ABSENT
        new = after[i] if i < len(after) else ABSENT
        yield from leaves(old, new, f"{path}[{i}]", secret, depth)


def names_a_secret(pair: Mapping[str, Any]) -> bool:
    """Whether a pair such as `{name: "token", value: …}` names a secret, so that its value is one."""
    return any(isinstance(pair.get(key), str) and is_secret_name(pair[key]) for key in ("name", "key"))


def text_of(value: Any, secret: bool) -> str | None:
    """The value as text of at most ``MAX_TEXT`` characters, without secrets; None where it is absent."""
    if value is ABSENT:
        return None
    if isinstance(value, str):
        return _cut(mask(value, secret=secret, longest=_SEARCHED))
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "on", False: "off"}[value]
    if secret:
        return HIDDEN
    return str(value) if isinstance(value, int | float) else _cut(mask(_plain(_masked(value))))


def _masked(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        value_is_secret = names_a_secret(value)
        return {key: _masked_field(key, each, value_is_secret, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, depth + 1) for each in value]
    return mask(value) if isinstance(value, str) else value


def _masked_field(key: str, value: Any, value_is_secret: bool, depth: int) -> Any:
    if isinstance(value, str):
        return mask(value, secret=is_secret_name(key) or (value_is_secret and key == "value"))
    return _masked(value, depth)


def _plain(value: Any) -> str:
    try:
        return json_bytes(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return repr(value)


def _cut(text: str) -> str:
    text = storable(text)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
