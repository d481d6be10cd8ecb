"""Recognising what a write of ours left behind when it was interrupted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_mixture(found: Mapping[str, Any], before: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether ``found`` holds nothing that is not in ``before`` or ``wanted``: the trace of an interrupted write.

    A person's edit brings something of its own; one that only takes nodes away looks the same, which is why this is
    asked only right after our own write of the same workflow failed.
    """

    def one_of(key: str, empty: Any) -> bool:
        value = found.get(key) or empty
        return value in ((before.get(key) or empty), (wanted.get(key) or empty))

    if not found.get("nodes") or not one_of("name", "") or not one_of("connections", {}):
        return False
    known = [*(before.get("nodes") or ()), *(wanted.get("nodes") or ())]
    by_name: dict[Any, list[Any]] = {}
    for node in known:
        by_name.setdefault(node.get("name"), []).append(node.get("parameters"))
    return all(node.get("parameters") in by_name.get(node.get("name"), ()) for node in found["nodes"])
