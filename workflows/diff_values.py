"""What a diff is made of: one change, and the values behind it leaf by leaf, as text without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from .masking import HIDDEN, is_secret_name, mask

MAX_TEXT = 400

Severity = Literal["low", "medium", "high"]
RANK = {"low": 0, "medium": 1, "high": 2}


@dataclass(frozen=True, slots=True)
class Part:
    """One value that changed: its path, and what it was and is, as text without secrets."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed.

    `kind` is `added`, `removed`, `changed` or `moved`; `what` is the narrower word (`node_renamed`, `connection`,
    `setting`, `node_disabled`…). `touches` holds hints: credentials, trigger, webhook, http, code, subworkflow.
    `behaviour` is False for what does not count as drift (places, notes, tags, being active).
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
    parts: tuple[Part, ...] = ()
    parts_left_out: int = 0


ABSENT: Any = object()


def leaves(a: Any, b: Any, path: str, secret: bool = False, depth: int = 0) -> Iterator[tuple[str, Any, Any, bool]]:
    """Yield (path, before, after, whether it is a secret by its name) for each leaf that differs."""
    if a is b or (type(a) is type(b) and a == b and not isinstance(a, dict | list)):
        return
    if isinstance(a, dict) and isinstance(b, dict) and depth < 60:
        named = any(isinstance(d.get(k), str) and is_secret_name(d[k]) for d in (a, b) for k in ("name", "key"))
        for key in dict.fromkeys((*a, *b)):
            hide = secret or (is_secret_name(key) and path != "credentials") or (named and key == "value")
            where = f"{path}.{key}" if path else str(key)
            yield from leaves(a.get(key, ABSENT), b.get(key, ABSENT), where, hide, depth + 1)
    elif isinstance(a, list) and isinstance(b, list) and depth < 60:
        for i in range(max(len(a), len(b))):
            old, new = a[i] if i < len(a) else ABSENT, b[i] if i < len(b) else ABSENT
            yield from leaves(old, new, f"{path}[{i}]", secret, depth + 1)
    else:
        yield path, a, b, secret


def text_of(value: Any, secret: bool) -> str | None:
    if value is ABSENT:
        return None
    if isinstance(value, str):
        return _cut(mask(value, secret=secret))
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "on", False: "off"}[value]
    if isinstance(value, int | float):
        return HIDDEN if secret else str(value)
    return HIDDEN if secret else _cut(mask(_plain(_masked(value))))


def _masked(value: Any, depth: int = 0) -> Any:
    if depth > 60:
        return "…"
    if isinstance(value, dict):
        named = any(isinstance(value.get(k), str) and is_secret_name(value[k]) for k in ("name", "key"))
        return {
            k: mask(v, secret=is_secret_name(k) or (named and k == "value"))
            if isinstance(v, str)
            else _masked(v, depth + 1)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_masked(v, depth + 1) for v in value]
    return mask(value) if isinstance(value, str) else value


def _plain(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except TypeError:
        return repr(value)


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
