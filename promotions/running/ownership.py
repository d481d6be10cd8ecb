"""Whose is what is in the target now? Decides what a rollback may overwrite. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from core.documents import Document
from core.whose import Whose, whose
from workflows.content import normalize

Verdict = Literal["old", "ours", "foreign", "gone"]
OLD: Verdict = "old"
OURS: Verdict = "ours"
FOREIGN: Verdict = "foreign"
GONE: Verdict = "gone"


class WriteTrace(Document, frozen=True, kw_only=True):
    """What the steps of our write of one workflow tell.

    ``begun``, ``done``: whether it was begun, and ended well. ``workflow_id`` is the one in the target, where it is
    known. ``read_back`` is the hash that we read ourselves right after our write, ``drafts`` those of the drafts.
    ``was_switched``: our write met that somebody had switched it, and left it alone.
    """

    begun: bool = False
    done: bool = False
    workflow_id: str = ""
    read_back: str | None = None
    was_switched: bool = False
    drafts: tuple[str | None, ...] = ()


NOT_WRITTEN = WriteTrace()


def judge(*, found_hash: str | None, old_hash: str | None, wanted_hash: str, trace: WriteTrace) -> Verdict | None:
    """Judge by hash alone; None where the content must be looked at (``is_mixture``)."""
    if found_hash is None:
        return OLD if old_hash is None else GONE
    match whose(found_hash, before=old_hash, ours=(wanted_hash, trace.read_back) if trace.begun else ()):
        case Whose.BEFORE:
            return OLD
        case Whose.OURS:
            return OURS
    return FOREIGN if trace.done or not trace.begun else None


def is_mixture(found: Mapping[str, Any], old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Whether ``found`` (portable, references made comparable by the caller) holds nothing but parts of the two.

    That is what a write leaves that broke off half-way. Anything of a third origin makes it somebody else's edit.
    """
    sides = [normalize(new)] + ([normalize(old)] if old is not None else [])
    there = normalize(found)
    if there["name"] not in [side["name"] for side in sides]:
        return False
    return all(
        _is_made_of(there[part], [side[part] for side in sides]) for part in ("nodes", "connections", "settings")
    )


def _is_made_of(part: Any, sides: list[Any]) -> bool:
    named = [_by_name(side) for side in sides]
    return all(any(name in side and side[name] == value for side in named) for name, value in _by_name(part).items())


def _by_name(part: Any) -> dict[str, Any]:
    if isinstance(part, Mapping):
        return dict(part)
    return {str(node.get("name") or number): node for number, node in enumerate(part)}
