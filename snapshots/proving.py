"""Proof of a restore: the snapshot taken after it against what was to be there, by hash and fact by fact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.calling import because_called
from workflows.facts import Facts, changes
from workflows.writes import Written

from .contents import entries
from .manifest import ManifestEntry
from .models import Snapshot
from .restore_documents import KeptPublished, ProofDifference, ProofReport, ProofResidue

LISTED = 200
_NOT_REMOVED = "n8n keeps a setting that was not there then, and has no default for it."


@dataclass(slots=True)
class Proof:
    """``differing``: what is not as it was to be. ``left``: facts that could not be restored, each with its reason."""

    compared: int = 0
    differing: list[ProofDifference] = field(default_factory=list)
    left: list[ProofResidue] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether all is as it was to be, but for what is named as left."""
        return not self.differing

    def add_facts(
        self, wanted: ManifestEntry, found: ManifestEntry | None, undone: dict[str, str], learnt: Mapping[str, Any]
    ) -> None:
        """Compare the facts of one workflow. ``undone`` names, with reasons, those that could not be brought about."""
        for fact, should, is_now in _apart(wanted, found, learnt):
            if fact.startswith("settings.") and should is None:
                undone.setdefault(fact, _NOT_REMOVED)
            if fact not in undone:
                difference = ProofDifference(key=wanted.key, name=wanted.name, fact=fact, wanted=should, found=is_now)
                self.differing.append(difference)
        self.left += [
            ProofResidue(key=wanted.key, name=wanted.name, fact=fact, reason=reason) for fact, reason in undone.items()
        ]

    def report(self) -> ProofReport:
        """As it is kept, bounded."""
        return ProofReport(
            equal=self.equal,
            compared=self.compared,
            differing=self.differing[:LISTED],
            left=self.left[:LISTED],
        )


def prove(
    after: Snapshot,
    hashes: Mapping[str, str | None],
    wanted: Iterable[ManifestEntry],
    written: Mapping[str, Written],
    *,
    learnt: Mapping[str, Any],
) -> Proof:
    """Compare with ``hashes`` by key (None: not to be there) and with the facts of the entries ``wanted``.

    ``written`` says what became of each; what it names as left undone is no difference. ``learnt`` are settings that
    the instance gives to every workflow.
    """
    there = {entry.key: entry for entry in entries(after)}
    proof = Proof(compared=len(hashes))
    for key, value in sorted(hashes.items()):
        found = there[key].content_hash if key in there else None
        if found != value:
            proof.differing.append(ProofDifference(key=key, wanted=value, found=found))
    for entry in wanted:
        proof.add_facts(entry, there.get(entry.key), _left_undone(written.get(entry.key)), learnt)
    return proof


def residues(kept: Iterable[KeptPublished]) -> list[ProofResidue]:
    """What is not as it was because others call it, as rows of what is left."""
    return [
        ProofResidue(
            key=row.key,
            name=row.name,
            fact="published",
            reason=f"It is still published, {because_called(row.called_by)}.",
        )
        for row in kept
    ]


def _left_undone(written: Written | None) -> dict[str, str]:
    """Fact to reason, of the facts that a write could not bring about."""
    if written is None:
        return {}
    return {row["path"]: row["reason"] for row in written.left if _is_fact(row["path"])}


def _is_fact(path: str) -> bool:
    return path in (*_STATES, "tags", "description", "folder") or path.startswith("settings.")


def _apart(
    wanted: ManifestEntry, found: ManifestEntry | None, learnt: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Fact, as it was to be, as it is; where the two differ and both are known."""
    for fact, (read, absent) in _STATES.items():
        should, is_now = read(wanted), read(found) if found is not None else absent
        if should != is_now:
            yield fact, should, is_now
    facts = found.facts if found is not None else None
    if wanted.facts is not None and facts is not None:
        yield from _facts_apart(wanted.facts, facts, learnt)
    elif (tags := sorted(wanted.tags)) != (now := sorted(found.tags if found is not None else ())):
        yield "tags", tags, now


def _facts_apart(wanted: Facts, found: Facts, learnt: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for change in changes(wanted, found, defaults=learnt):
        if change.kind != "archived":
            path = f"settings.{change.name}" if change.kind == "setting" else change.name
            yield path, change.before, change.after


#: Of each fact: how it is read off an entry, and what it is where there is no workflow.
_STATES: Mapping[str, tuple[Callable[[ManifestEntry], Any], Any]] = {
    "published": (lambda entry: entry.active, False),
    "archived": (lambda entry: entry.archived, False),
    "draft": (lambda entry: entry.draft_hash, None),
}
