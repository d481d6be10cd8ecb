"""What a snapshot holds: its entries, from the row or from Git, and the contents behind them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.errors import NotFound, OpsError
from core.ids import uuid_or_not_found
from tenants.scope import assert_no_scope, tenant_scope
from workflows.content import NORMALIZATION_VERSION, ContentError, Fingerprint, fingerprint, parse

from . import repository
from .errors import SnapshotUnreadable
from .manifest import Manifest, ManifestEntry, entry_from, key_map, manifest_path, parse_manifest
from .models import Snapshot
from .reading import Found, Rescued, Source, source_of

Content = dict[str, Any]


def snapshot_by_id(tenant_id: uuid.UUID, snapshot_id: uuid.UUID | str) -> Snapshot:
    """One snapshot of the tenant with its environment, or ``NotFound``."""
    wanted = uuid_or_not_found(snapshot_id)
    with tenant_scope(tenant_id):
        found = Snapshot.objects.select_related("environment", "created_by").filter(pk=wanted).first()
    if found is None:
        raise NotFound("There is no such snapshot.", recovery="Choose one from the list of snapshots.")
    return found


# -- entries ----------------------------------------------------------------------------------------------------------


def entries(snapshot: Snapshot) -> list[ManifestEntry]:
    """The entries of a snapshot; from its manifest in Git where the row has lost them. Outside any scope then.

    So it is for a snapshot of an older normalization: its hashes are computed again from Git. Git's manifest stays as
    it was written. An entry whose content Git has lost keeps its hash; reading the content raises.
    """
    stored = stored_entries(snapshot)
    if snapshot.hash_version == NORMALIZATION_VERSION:
        return stored
    assert_no_scope("Git")
    keys = key_map(stored, references_of(snapshot))
    with source_of(snapshot.tenant_id) as source:
        return [_with_todays_hashes(source, entry, keys) for entry in stored]


def entries_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The same as plain documents."""
    return [entry.to_json() for entry in entries(snapshot)]


def stored_entries(snapshot: Snapshot) -> list[ManifestEntry]:
    """The entries as they were captured. Reads Git (outside any scope) where the row has lost them."""
    rows = snapshot.workflows
    if isinstance(rows, list) and (rows or not snapshot.workflow_count):
        try:
            return [entry_from(row) for row in rows]
        except SnapshotUnreadable:
            pass  # somebody has changed the row: Git holds the original
    return manifest_of(snapshot).workflows


def references_of(snapshot: Snapshot) -> dict[str, str]:
    """Ids that the snapshot's workflows call without being in it, with their keys. Reads Git."""
    try:
        return manifest_of(snapshot).references
    except OpsError:
        return {}


def keys_of(snapshot: Snapshot) -> dict[str, str]:
    """n8n id → key as it was when the snapshot was taken. Reads Git."""
    return key_map(entries(snapshot), references_of(snapshot))


def manifest_of(snapshot: Snapshot) -> Manifest:
    """The manifest in Git. Outside any scope; ``SnapshotUnreadable`` where it is not there."""
    store = repository.store_for(snapshot.tenant_id)
    if snapshot.git_commit_sha:
        try:
            return parse_manifest(
                store.read(snapshot.git_commit_sha, manifest_path(snapshot.environment_id, snapshot.pk))
            )
        except OpsError:
            pass  # the row's commit is lost or wrong: the manifest is looked for by its id
    found = store.read_manifest(snapshot.environment_id, snapshot.pk)
    if found is None:
        raise SnapshotUnreadable(details={"snapshot_id": str(snapshot.pk), "commit": snapshot.git_commit_sha})
    return parse_manifest(found[1])


def commit_of(snapshot: Snapshot) -> str | None:
    """The commit that holds a snapshot's manifest; looked for in Git where the row does not say. Outside any scope.

    A manifest cannot name the commit that it lies in, so a row that a runbook has made from one names none at first.
    """
    if snapshot.git_commit_sha:
        return snapshot.git_commit_sha
    try:
        found = repository.store_for(snapshot.tenant_id).find_manifest(snapshot.environment_id, snapshot.pk)
    except OpsError:
        return None
    return found.commit if found is not None else None


# -- hashes of an older normalization ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MovedHashes:
    """Hashes as a snapshot of an older normalization has them → as they are computed today, of contents and drafts.

    None for a draft that holds nothing else than what runs, as it is compared today.
    """

    contents: Mapping[str, str] = field(default_factory=dict)
    drafts: Mapping[str, str | None] = field(default_factory=dict)


def moved_hashes(snapshot: Snapshot) -> MovedHashes:
    """What became of the hashes of a snapshot; empty for one of today's normalization. Reads Git: outside any scope."""
    if snapshot.hash_version == NORMALIZATION_VERSION:
        return MovedHashes()
    pairs = list(zip(stored_entries(snapshot), entries(snapshot), strict=True))
    return MovedHashes(
        {then.content_hash: now.content_hash for then, now in pairs},
        {then.draft.content_hash: now.draft_hash for then, now in pairs if then.draft is not None},
    )


def _with_todays_hashes(source: Source, entry: ManifestEntry, keys: Mapping[str, str]) -> ManifestEntry:
    found = fingerprint_of_blob(source, entry.blob)
    if found is not None:
        entry = msgspec.structs.replace(
            entry, content_hash=found.content_hash(keys), comparable_hash=found.comparable_hash(keys)
        )
    draft = entry.draft
    draft_found = fingerprint_of_blob(source, draft.blob) if draft is not None else None
    if draft is None or draft_found is None:
        return entry
    value = draft_found.content_hash(keys)
    kept = msgspec.structs.replace(draft, content_hash=value) if value != entry.content_hash else None
    return msgspec.structs.replace(entry, draft=kept)


def fingerprint_of_blob(source: Source, blob: str) -> Fingerprint | None:
    """What a content is; None where it is lost, or it is no workflow."""
    try:
        found = source.find(blob) if blob else None
        return fingerprint(parse(found.data)) if found is not None else None
    except (ContentError, OpsError):
        return None


# -- contents ---------------------------------------------------------------------------------------------------------


def load_bytes(
    snapshot: Snapshot, keys: Collection[str] | None = None, *, rescued: Rescued | None = None
) -> Iterator[tuple[ManifestEntry, bytes]]:
    """Entries with their bytes, by one Git process; from the database where Git, or all of its store, is lost.

    ``rescued`` learns which those were. Outside any scope; ``SnapshotUnreadable`` names what is nowhere.
    """
    assert_no_scope("Git")
    wanted = _chosen(entries(snapshot), keys)
    with source_of(snapshot.tenant_id) as source:
        for entry in wanted:
            at = f"{snapshot.git_commit_sha}:{entry.path}" if snapshot.git_commit_sha else ""
            found = source.find(entry.blob, at=at)
            yield entry, _read(found, snapshot, entry, f"The content of “{entry.label}”", rescued)


def _chosen(found: Sequence[ManifestEntry], keys: Collection[str] | None) -> list[ManifestEntry]:
    return [entry for entry in found if keys is None or entry.key in keys]


def _read(found: Found | None, snapshot: Snapshot, entry: ManifestEntry, what: str, rescued: Rescued | None) -> bytes:
    if found is None:
        raise SnapshotUnreadable(
            f"{what} is neither in the Git store nor in the database.",
            details={"snapshot_id": str(snapshot.pk), "key": entry.key, "blob": entry.blob},
        )
    if found.rescued and rescued is not None:
        rescued.note(entry)
    return found.data


def load_drafts(
    snapshot: Snapshot, keys: Collection[str] | None = None, *, rescued: Rescued | None = None
) -> dict[str, bytes]:
    """By key, the bytes of each draft that was captured beside what ran. As ``load_bytes``."""
    assert_no_scope("Git")
    wanted = [entry for entry in _chosen(entries(snapshot), keys) if entry.draft is not None]
    if not wanted:
        return {}
    with source_of(snapshot.tenant_id) as source:
        return {
            entry.key: _read(source.find(entry.draft.blob), snapshot, entry, f"The draft of “{entry.label}”", rescued)
            for entry in wanted
            if entry.draft is not None
        }


def contents(
    snapshot: Snapshot, keys: Collection[str] | None = None, *, rescued: Rescued | None = None
) -> Iterator[tuple[ManifestEntry, Content]]:
    """Entries with their portable contents, one at a time; as ``load_bytes``.

    Raises ``SnapshotUnreadable`` (SNAP_002) where one is lost, ``ContentError`` where it is no workflow.
    """
    for entry, data in load_bytes(snapshot, keys, rescued=rescued):
        yield entry, parse(data)


def load_content(snapshot: Snapshot, keys: Collection[str] | None = None) -> Iterator[tuple[dict[str, Any], Content]]:
    """The same, with the entries as plain documents."""
    for entry, content in contents(snapshot, keys):
        yield entry.to_json(), content
