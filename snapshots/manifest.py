"""The manifest of a snapshot: what each workflow was, and enough to make the database row again. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import orjson

from core.errors import OpsError
from workflows.content import NORMALIZATION_VERSION, Fingerprint, LiveVersion
from workflows.facts import Facts, loaded_facts

from .errors import SnapshotUnreadable

MANIFEST_VERSION = 2
"""2: the content of an entry is what runs, and a draft beside it is kept as well. 1: it was the draft, and what ran
beside it was known by its hash only (``live_content_hash``)."""
FINDINGS_KEPT = 500
FOLDER = "workflows"
DRAFTS = "drafts"


class Draft(msgspec.Struct, frozen=True, omit_defaults=True):
    """A draft that holds something else than what runs: where its content is, and which."""

    content_hash: str
    blob: str
    path: str
    bytes: int = 0
    version_id: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in an entry."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def draft_in(entry: Mapping[str, Any]) -> Draft | None:
    """The draft of an entry, if one was captured beside what runs."""
    stored = entry.get("draft")
    return msgspec.convert(stored, Draft) if isinstance(stored, dict) else None


def facts_in(entry: Mapping[str, Any]) -> Facts | None:
    """The facts of an entry; None where it was captured before they were."""
    return loaded_facts(entry.get("facts"))


def live_in(entry: Mapping[str, Any]) -> LiveVersion | None:
    """Which version ran when the entry was captured, where that n8n had versions."""
    stored = entry.get("live")
    return msgspec.convert(stored, LiveVersion) if isinstance(stored, dict) else None


def ran_something_else(entry: Mapping[str, Any]) -> bool:
    """Whether an old entry holds the draft only, though n8n ran another version whose content was not kept."""
    return entry.get("live_content_hash") not in (None, entry.get("content_hash"))


def calls_in(entry: Mapping[str, Any]) -> list[str]:
    """n8n ids of what an entry's workflow calls; older entries also name those that may call it."""
    return [str(ref) for ref in entry.get("calls", entry.get("refs")) or ()]


def draft_path(key: str) -> str:
    """Where a workflow's draft lies in a tree."""
    return f"{DRAFTS}/{key}.json"


def workflow_path(key: str) -> str:
    """Where a workflow's content lies in a tree."""
    return f"{FOLDER}/{key}.json"


def manifest_path(environment_id: uuid.UUID | str, snapshot_id: uuid.UUID | str) -> str:
    """Where a snapshot's manifest lies in a tree."""
    return f"snapshots/{environment_id}/{snapshot_id}.json"


def build_manifest(
    *,
    snapshot_id: uuid.UUID,
    environment_id: uuid.UUID,
    environment_slug: str,
    snapshot_type: str,
    description: str,
    created_at: datetime,
    created_by: uuid.UUID | None,
    operation_id: uuid.UUID | None,
    entries: Sequence[Mapping[str, Any]],
    references: Mapping[str, str],
    findings: Sequence[Mapping[str, Any]],
    complete: bool,
) -> dict[str, Any]:
    """The manifest as plain data. ``references`` maps ids that are called, but were not seen, to their keys."""
    return {
        "id": str(snapshot_id),
        "environment_id": str(environment_id),
        "environment": environment_slug,
        "snapshot_type": snapshot_type,
        "description": description,
        "created_at": created_at.isoformat(),
        "created_by": str(created_by) if created_by else None,
        "operation_id": str(operation_id) if operation_id else None,
        # A commit cannot name itself: it is the commit in which this file was found.
        "git_commit_sha": None,
        "manifest_version": MANIFEST_VERSION,
        "normalization_version": NORMALIZATION_VERSION,
        "complete": complete,
        "references": dict(sorted(references.items())),
        "findings": list(findings[:FINDINGS_KEPT]),
        "workflows": sorted(entries, key=lambda entry: str(entry["key"])),
    }


def dump_manifest(manifest: Mapping[str, Any]) -> bytes:
    """Its bytes in Git: one workflow a line, so that ``git diff`` reads well and ``jq`` reads at all."""
    head = {name: value for name, value in manifest.items() if name != "workflows"}
    lines = b",\n    ".join(orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) for entry in manifest["workflows"])
    start = orjson.dumps(head, option=orjson.OPT_INDENT_2).rstrip(b"}").rstrip()
    return start + b',\n  "workflows": [' + (b"\n    " + lines + b"\n  " if lines else b"") + b"]\n}\n"


def parse_manifest(data: bytes) -> dict[str, Any]:
    """Read a manifest; raises ``SnapshotUnreadable`` where it is none."""
    try:
        manifest = orjson.loads(data)
        if not isinstance(manifest["workflows"], list):
            raise TypeError
        for name in ("id", "environment_id", "snapshot_type", "created_at"):
            str(manifest[name])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise SnapshotUnreadable("The manifest of this snapshot in Git cannot be read.") from error
    return manifest  # type: ignore[no-any-return]


def key_map(entries: Iterable[Mapping[str, Any]], references: Mapping[str, str] | None = None) -> dict[str, str]:
    """n8n id → key as it was when the snapshot was taken."""
    return {
        **(references or {}),
        **{str(e["env_workflow_id"]): str(e["key"]) for e in entries if e.get("env_workflow_id") and e.get("key")},
    }


def hash_by_entry(entry: Mapping[str, Any], mark: Fingerprint, keys: Mapping[str, str]) -> str:
    """The content hash that a stored workflow has now; compare it with ``entry["content_hash"]``."""
    return mark.content_hash(keys)


def problem(key: str, name: str, error: OpsError | str, *, code: str = "") -> dict[str, str]:
    """One line of a report."""
    if isinstance(error, OpsError):
        return {"key": key, "name": name, "code": error.code, "message": error.message}
    return {"key": key, "name": name, "code": code, "message": error}
