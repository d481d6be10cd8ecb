"""Whose is what stands in the target now? Decides what a put-back may overwrite. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.content import normalize

OLD, OURS, FOREIGN, GONE = "old", "ours", "foreign", "gone"


def judge(
    *,
    found_hash: str | None,
    old_hash: str | None,
    wanted_hash: str,
    begun: bool,
    done: bool,
    read_back: str | None = None,
) -> str | None:
    """Judge by hash alone; None where the content must be looked at (``is_mixture``).

    ``begun``, ``done``: whether our write of it was begun, and ended well. ``read_back``: the hash that we read
    ourselves right after our write.
    """
    if found_hash is None:
        return OLD if old_hash is None else GONE
    if found_hash == old_hash:
        return OLD
    if not begun:
        return FOREIGN
    if found_hash in (wanted_hash, read_back):
        return OURS
    return FOREIGN if done else None


def is_mixture(found: Mapping[str, Any], old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether ``found`` (portable, references made comparable by the caller) holds nothing but parts of the two.

    That is what a write leaves that broke off half-way. Anything of a third origin makes it somebody else's edit.
    """
    sides = [normalize(new)] + ([normalize(old)] if old is not None else [])
    there = normalize(found)
    if there["name"] not in [side["name"] for side in sides]:
        return False
    for part in ("nodes", "connections", "settings"):
        parts = [_by_name(side[part]) for side in sides]
        for name, value in _by_name(there[part]).items():
            if not any(name in side and side[name] == value for side in parts):
                return False
    return True


def _by_name(part: Any) -> dict[str, Any]:
    if isinstance(part, Mapping):
        return dict(part)
    return {str(node.get("name") or number): node for number, node in enumerate(part)}
