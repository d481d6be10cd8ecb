"""The manifest of a snapshot: what each workflow was, and enough to make the database row again. Pure.

A manifest is a versioned document, stored in Git and (its entries) in the snapshot's row. ``entry_from`` and
``parse_manifest`` are the only readers; they also take what older consoles wrote.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import orjson

from core.errors import OpsError
from workflows.content import NORMALIZATION_VERSION, LiveVersion
from workflows.facts import Facts, loaded_facts

from .errors import SnapshotUnreadable

MANIFEST_VERSION = 2
"""2: the content of an entry is what runs, and a draft beside it is kept as well. 1: it was the draft, and what ran
beside it was known by its hash only (``live_content_hash``)."""
FINDINGS_KEPT = 500
SET_ASIDE = "unreadable"
"""The code of findings that name a workflow which could not be captured, while everything else was."""
FOLDER = "workflows"
DRAFTS = "drafts"


class Draft(msgspec.Struct, frozen=True, omit_defaults=True):
    """A draft that holds something else than what runs: where its content is, and which."""

    content_hash: str
    blob: str
    path: str
    bytes: int = 0
    version_id: str = ""


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One workflow of a manifest.

    ``blob`` names its content in Git (``bytes`` long), ``path`` is where that lies in the tree. ``facts`` and ``live``
    are None where they were not captured. ``webhooks`` are the addresses it listens on, ``refs`` the n8n ids that it
    names, ``calls`` those that it calls where that is not all of ``refs``.
    """

    key: str
    name: str
    path: str
    content_hash: str
    comparable_hash: str
    active: bool
    env_workflow_id: str
    blob: str
    bytes: int
    node_count: int
    version_id: str
    updated_at: str | None
    tags: list[str] = []
    archived: bool = False
    facts: Facts | None = None
    live: LiveVersion | None = None
    draft: Draft | None = None
    webhooks: list[str] = []
    refs: list[str] = []
    calls: list[str] | None = None
    live_content_hash: str | None = None
    """Of version 1 only: the hash of what ran beside the draft that the entry holds."""

    @property
    def label(self) -> str:
        """What a person knows it by."""
        return self.name or self.key

    @property
    def draft_hash(self) -> str | None:
        """The hash of the draft beside what runs; None where there is none."""
        return self.draft.content_hash if self.draft is not None else None

    @property
    def called_ids(self) -> list[str]:
        """n8n ids of what it calls; older entries also name those that may call it."""
        return self.refs if self.calls is None else self.calls

    @property
    def folder(self) -> str | None:
        return self.facts.folder if self.facts is not None else None

    @property
    def holds_only_the_draft(self) -> bool:
        """Whether n8n ran another version whose content was not kept (version 1)."""
        return self.live_content_hash not in (None, self.content_hash)

    def as_published(self) -> ManifestEntry:
        """The entry of a workflow that stays published because others call it."""
        return msgspec.structs.replace(self, active=True, archived=False)

    def as_unpublished(self) -> ManifestEntry:
        """The entry of a workflow that is brought back without running. Its draft stays in Git until it runs."""
        return msgspec.structs.replace(self, active=False, draft=None)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a manifest; what is not set is left out."""
        stored: dict[str, Any] = msgspec.to_builtins(self)
        if self.facts is not None:
            stored["facts"] = self.facts.to_json()
        return stored


#: What entries of older consoles, or of a person's own making, may lack.
_MISSING: Mapping[str, Any] = {
    "name": "",
    "content_hash": "",
    "comparable_hash": "",
    "active": False,
    "env_workflow_id": "",
    "blob": "",
    "bytes": 0,
    "node_count": 0,
    "version_id": "",
    "updated_at": None,
}


def entry_from(stored: Mapping[str, Any]) -> ManifestEntry:
    """An entry of a manifest of any version. Raises ``SnapshotUnreadable`` where it is none."""
    try:
        present = {name: value for name, value in stored.items() if value is not None}
        present["facts"] = loaded_facts(present.get("facts"))
        present.setdefault("path", workflow_path(str(present["key"])))
        entry = msgspec.convert({**_MISSING, **present}, ManifestEntry, strict=False)
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnreadable("The manifest of this snapshot cannot be read.") from error
    if not entry.key:
        raise SnapshotUnreadable("The manifest of this snapshot names a workflow without a key.")
    return entry


class CaptureFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something odd that a capture noted. ``node`` is empty where the whole workflow is meant."""

    code: str
    message: str
    env_workflow_id: str = ""
    name: str = ""
    node: str = ""

    @property
    def is_set_aside(self) -> bool:
        """Whether the whole workflow is not in the snapshot, though it was there."""
        return self.code == SET_ASIDE

    @property
    def label(self) -> str:
        """What a person knows the workflow by."""
        return self.name or self.env_workflow_id or "without a name"


def set_aside(findings: Iterable[CaptureFinding]) -> list[CaptureFinding]:
    """Of what a capture noted, the workflows that it could not take in."""
    return [finding for finding in findings if finding.is_set_aside]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds. ``references`` maps n8n ids that are called, but were not seen, to their keys.

    ``created_at`` is ISO 8601. ``complete``: what is not here was not there.
    """

    id: str
    environment_id: str
    environment: str = ""
    snapshot_type: str
    description: str = ""
    created_at: str
    created_by: str | None = None
    operation_id: str | None = None
    # A commit cannot name itself: it is the commit in which this file was found.
    git_commit_sha: str | None = None
    manifest_version: int = 1
    normalization_version: int = 1
    complete: bool = True
    references: dict[str, str] = {}
    findings: list[CaptureFinding] = []
    workflows: list[ManifestEntry]

    @property
    def total_bytes(self) -> int:
        """The size of all contents, in bytes."""
        return sum(entry.bytes for entry in self.workflows)


def current_manifest(
    *,
    head: Manifest,
    entries: Iterable[ManifestEntry],
    references: Mapping[str, str],
    findings: Iterable[CaptureFinding],
    complete: bool,
) -> Manifest:
    """``head`` with what was captured, in the form that this console writes: sorted and bounded."""
    return msgspec.structs.replace(
        head,
        manifest_version=MANIFEST_VERSION,
        normalization_version=NORMALIZATION_VERSION,
        complete=complete,
        references=dict(sorted(references.items())),
        findings=list(findings)[:FINDINGS_KEPT],
        workflows=sorted(entries, key=lambda entry: entry.key),
    )


def dump_manifest(manifest: Manifest) -> bytes:
    """Its bytes in Git: one workflow a line, so that ``git diff`` reads well and ``jq`` reads at all.

    No apostrophe is among them: runbooks put the file between two of them in an SQL statement, and names are anybody's.
    """
    stored = msgspec.to_builtins(msgspec.structs.replace(manifest, workflows=[]))
    del stored["workflows"]
    lines = b",\n    ".join(orjson.dumps(e.to_json(), option=orjson.OPT_SORT_KEYS) for e in manifest.workflows)
    start = orjson.dumps(stored, option=orjson.OPT_INDENT_2).rstrip(b"}").rstrip()
    written = start + b',\n  "workflows": [' + (b"\n    " + lines + b"\n  " if lines else b"") + b"]\n}\n"
    return written.replace(b"'", b"\\u0027")


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest of any version; raises ``SnapshotUnreadable`` where it is none."""
    try:
        stored = orjson.loads(data)
        present = {name: value for name, value in stored.items() if value is not None}
        return msgspec.convert(
            {**present, "workflows": [entry_from(entry) for entry in stored["workflows"]]}, Manifest, strict=False
        )
    except (orjson.JSONDecodeError, msgspec.ValidationError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnreadable("The manifest of this snapshot in Git cannot be read.") from error


def draft_in(stored: Mapping[str, Any]) -> Draft | None:
    """The draft of a stored entry, if one was captured beside what runs."""
    return entry_from(stored).draft


def ran_something_else(stored: Mapping[str, Any]) -> bool:
    """Whether a stored entry of version 1 holds the draft only."""
    return entry_from(stored).holds_only_the_draft


def calls_in(stored: Mapping[str, Any]) -> list[str]:
    """n8n ids of what a stored entry's workflow calls."""
    return entry_from(stored).called_ids


def draft_path(key: str) -> str:
    """Where a workflow's draft lies in a tree."""
    return f"{DRAFTS}/{key}.json"


def workflow_path(key: str) -> str:
    """Where a workflow's content lies in a tree."""
    return f"{FOLDER}/{key}.json"


def manifest_path(environment_id: uuid.UUID | str, snapshot_id: uuid.UUID | str) -> str:
    """Where a snapshot's manifest lies in a tree."""
    return f"snapshots/{environment_id}/{snapshot_id}.json"


def key_map(entries: Iterable[ManifestEntry], references: Mapping[str, str] | None = None) -> dict[str, str]:
    """n8n id → key as it was when the snapshot was taken."""
    return {**(references or {}), **{e.env_workflow_id: e.key for e in entries if e.env_workflow_id}}


class VerificationProblem(msgspec.Struct, frozen=True):
    """What is wrong with one workflow of a snapshot; ``key`` is empty where the whole snapshot is meant."""

    key: str
    name: str
    code: str
    message: str


class VerificationReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the last check of a snapshot found. ``status``: not_checked, verified or damaged.

    ``checked_at`` is ISO 8601; ``bytes`` is what was read back.
    """

    status: str = "not_checked"
    checked_at: str | None = None
    workflows: int | None = None
    bytes: int | None = None
    problems: list[VerificationProblem] = []
    findings: list[CaptureFinding] = []


def verification_from(stored: Mapping[str, Any] | None) -> VerificationReport:
    """The report on a snapshot's row; one that was never checked where there is none, or none that can be read."""
    try:
        return msgspec.convert(stored or {}, VerificationReport, strict=False)
    except msgspec.ValidationError:
        return VerificationReport()


def problem_from(key: str, name: str, error: OpsError) -> VerificationProblem:
    """The problem that an error means for a workflow."""
    return VerificationProblem(key, name, error.code, error.message)
