"""Proof of a restore: the snapshot taken after it against what was to be there, by hash and fact by fact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.calling import because_called
from workflows.facts import changes
from workflows.writes import Written

from . import services
from .manifest import draft_in, facts_in
from .models import Snapshot

LISTED = 200
_NOT_REMOVED = "n8n keeps a setting that was not there then, and has no default for it."

Entry = Mapping[str, Any]


@dataclass(slots=True)
class Proof:
    """``differing``: what is not as it was to be. ``left``: facts that could not be put back, each with its reason."""

    compared: int = 0
    differing: list[dict[str, Any]] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether all is as it was to be, but for what is named as left."""
        return not self.differing

    def to_dict(self) -> dict[str, Any]:
        """JSON, bounded."""
        return {
            "equal": self.equal,
            "compared": self.compared,
            "differing": self.differing[:LISTED],
            "left": self.left[:LISTED],
        }


def prove(
    after: Snapshot,
    hashes: Mapping[str, str | None],
    entries: Iterable[Entry],
    written: Mapping[str, Written],
    *,
    learnt: Mapping[str, Any],
) -> Proof:
    """Compare with ``hashes`` by key (None: not to be there) and with the facts of ``entries``.

    ``written`` says what became of each; what it names as left undone is no difference. ``learnt`` are settings that
    the instance gives to every workflow.
    """
    there = {str(entry["key"]): entry for entry in services.entries_of(after)}
    proof = Proof(compared=len(hashes))
    for key, value in sorted(hashes.items()):
        found = str(there[key].get("content_hash")) if key in there else None
        if found != value:
            proof.differing.append({"key": key, "wanted": value, "found": found})
    for entry in entries:
        key = str(entry["key"])
        told = {row["path"]: row["reason"] for row in written[key].left if _is_fact(row)} if key in written else {}
        about = {"key": key, "name": str(entry.get("name") or "")}
        for fact, wanted, found in _apart(entry, there.get(key, {}), learnt):
            if fact.startswith("settings.") and wanted is None:
                told.setdefault(fact, _NOT_REMOVED)
            if fact not in told:
                proof.differing.append({**about, "fact": fact, "wanted": wanted, "found": found})
        proof.left += [{**about, "fact": fact, "reason": reason} for fact, reason in told.items()]
    return proof


def residues(kept: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is not as it was because others call it, as rows of what is left."""
    return [
        {
            "key": row["key"],
            "name": row["name"],
            "fact": "published",
            "reason": f"It is still published, {because_called(row['called_by'])}.",
        }
        for row in kept
    ]


def _is_fact(row: Mapping[str, str]) -> bool:
    path = row["path"]
    return path in (*_STATES, "tags", "description", "folder") or path.startswith("settings.")


def _apart(wanted: Entry, found: Entry, learnt: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Fact, as it was to be, as it is; where the two differ and both are known."""
    for fact, read in _STATES.items():
        should, is_now = read(wanted), read(found)
        if should != is_now:
            yield fact, should, is_now
    first, second = facts_in(wanted), facts_in(found)
    if first is None or second is None:
        if (tags := sorted(wanted.get("tags") or ())) != (now := sorted(found.get("tags") or ())):
            yield "tags", tags, now
        return
    for change in changes(first, second, defaults=learnt):
        if change.kind != "archived":
            path = f"settings.{change.name}" if change.kind == "setting" else change.name
            yield path, change.before, change.after


def _draft(entry: Entry) -> str | None:
    draft = draft_in(entry)
    return draft.content_hash if draft is not None else None


_STATES: Mapping[str, Callable[[Entry], Any]] = {
    "published": lambda entry: bool(entry.get("active")),
    "archived": lambda entry: bool(entry.get("archived")),
    "draft": _draft,
}
