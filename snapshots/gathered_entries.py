"""From what a capture saw to the entries of its manifest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workflows import identity

from .gathering import Gathered
from .manifest import Draft, ManifestEntry, draft_path, workflow_path


def entry_of(gathered: Gathered, workflow_id: str, recorded: identity.Placed) -> ManifestEntry:
    seen, stored = gathered.seen[workflow_id], gathered.stored[workflow_id]
    draft = None
    if recorded.draft_hash is not None and stored.draft is not None:
        draft = Draft(
            content_hash=recorded.draft_hash,
            path=draft_path(recorded.key),
            blob=stored.draft.blob,
            bytes=stored.draft.bytes,
            version_id=seen.version_id,
        )
    return ManifestEntry(
        key=recorded.key,
        name=seen.name,
        path=workflow_path(recorded.key),
        content_hash=recorded.content_hash,
        comparable_hash=recorded.comparable_hash,
        active=seen.active,
        env_workflow_id=workflow_id,
        blob=stored.blob,
        bytes=stored.bytes,
        node_count=seen.node_count,
        version_id=seen.version_id,
        updated_at=seen.updated_at.isoformat() if seen.updated_at else None,
        tags=list(seen.tags),
        archived=seen.facts.archived,
        facts=seen.facts,
        live=seen.live,
        draft=draft,
        webhooks=stored.webhooks,
        refs=stored.refs,
        calls=stored.calls,
    )


def called_elsewhere(gathered: Gathered, here: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    """Keys of workflows that are called and known, but were not seen: gone, or not readable."""
    called = {ref for seen in gathered.seen.values() for ref in seen.fingerprint.workflow_refs}
    return {ref: keys[ref] for ref in called - here.keys() if ref in keys}


def paths_of(entries: Iterable[ManifestEntry]) -> dict[str, str]:
    """Path to blob of every content, drafts included."""
    paths: dict[str, str] = {}
    for entry in entries:
        paths[entry.path] = entry.blob
        if entry.draft is not None:
            paths[entry.draft.path] = entry.draft.blob
    return paths
