"""Reading a snapshot back from Git: every content against its hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from core import clock
from core.errors import OpsError
from operations.engine import Run
from tenants.scope import tenant_scope
from workflows.content import NORMALIZATION_VERSION, ContentError, fingerprint, parse

from . import repository
from .contents import manifest_of, stored_entries
from .errors import SnapshotDamaged
from .manifest import (
    CaptureFinding,
    Draft,
    ManifestEntry,
    VerificationProblem,
    VerificationReport,
    key_map,
    problem_from,
)
from .models import Snapshot
from .store import Reader

PROBLEMS_KEPT = 200
CHECK_EVERY = 200
MISSING, DIFFERENT = "SNAP_002", "SNAP_003"


def verify_snapshot(
    snapshot: Snapshot, *, run: Run | None = None, raise_if_damaged: bool = False
) -> VerificationReport:
    """Read every content back from Git and compare it with its hash; the report is stored on the row.

    Outside any scope. Raises ``SnapshotDamaged`` only with ``raise_if_damaged``.
    """
    entries = stored_entries(snapshot)
    check = _Check()
    check.compare_manifest(snapshot, entries)
    keys = key_map(entries, check.references)
    check.read_back(snapshot, entries, keys, run)
    report = VerificationReport(
        status="damaged" if check.problems else "verified",
        checked_at=clock.now().isoformat(),
        workflows=len(entries),
        bytes=check.size_bytes,
        problems=check.problems[:PROBLEMS_KEPT],
        findings=check.findings,
    )
    with run.fenced() if run is not None else tenant_scope(snapshot.tenant_id):
        Snapshot.objects.filter(pk=snapshot.pk).update(
            verified_at=clock.now(), verification=msgspec.to_builtins(report)
        )
    if check.problems and raise_if_damaged:
        problems = msgspec.to_builtins(check.problems[:20])
        raise SnapshotDamaged(details={"snapshot_id": str(snapshot.pk), "problems": problems})
    return report


@dataclass(slots=True)
class _Check:
    """One verification under way."""

    problems: list[VerificationProblem] = field(default_factory=list)
    references: Mapping[str, str] = field(default_factory=dict)
    findings: list[CaptureFinding] = field(default_factory=list)
    size_bytes: int = 0

    def compare_manifest(self, snapshot: Snapshot, entries: Sequence[ManifestEntry]) -> None:
        """The row's entries against those of the manifest in Git."""
        try:
            manifest = manifest_of(snapshot)
        except OpsError as error:
            self.problems.append(problem_from("", "", error))
            return
        self.references, self.findings = manifest.references, manifest.findings
        if {e.key: e.content_hash for e in manifest.workflows} != {e.key: e.content_hash for e in entries}:
            message = "The row and the manifest in Git name different workflows."
            self.problems.append(VerificationProblem("", "", DIFFERENT, message))

    def read_back(
        self, snapshot: Snapshot, entries: Sequence[ManifestEntry], keys: Mapping[str, str], run: Run | None
    ) -> None:
        # Hashes of an older normalization cannot be computed any more; there the blob's own name is the proof.
        compare = snapshot.hash_version == NORMALIZATION_VERSION
        with repository.store_for(snapshot.tenant_id).reader() as reader:
            for number, entry in enumerate(entries):
                if run is not None and number % CHECK_EVERY == 0:
                    run.check()
                    run.progress(number, len(entries), "Reading back from Git")
                if self._read_content(reader, entry, keys, compare=compare) and entry.draft is not None:
                    self._read_draft(reader, entry, entry.draft, keys)

    def _read_content(self, reader: Reader, entry: ManifestEntry, keys: Mapping[str, str], *, compare: bool) -> bool:
        """Check one content; whether it could be read."""
        try:
            found = reader.find(entry.blob) if entry.blob else None
            if found is None:
                self._note(entry, MISSING, "The content is not in the Git store.")
                return False
            self.size_bytes += len(found[2])
            value = fingerprint(parse(found[2])).content_hash(keys)
        except (SnapshotDamaged, ContentError) as error:
            self.problems.append(problem_from(entry.key, entry.name, error))
            return False
        if compare and value != entry.content_hash:
            self._note(entry, DIFFERENT, "The content is not the one that was captured.")
        return True

    def _read_draft(self, reader: Reader, entry: ManifestEntry, draft: Draft, keys: Mapping[str, str]) -> None:
        try:
            found = reader.find(draft.blob)
            if found is None:
                self._note(entry, MISSING, "The draft is not in the Git store.")
                return
            if fingerprint(parse(found[2])).content_hash(keys) != draft.content_hash:
                self._note(entry, DIFFERENT, "The draft is not the one that was captured.")
            self.size_bytes += len(found[2])
        except (SnapshotDamaged, ContentError) as error:
            self.problems.append(problem_from(entry.key, entry.name, error))

    def _note(self, entry: ManifestEntry, code: str, message: str) -> None:
        self.problems.append(VerificationProblem(entry.key, entry.name, code, message))
