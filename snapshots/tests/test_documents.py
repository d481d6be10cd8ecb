"""Manifests that older consoles wrote, or that a person has made, are still read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snapshots.errors import SnapshotUnreadable
from snapshots.manifest import (
    MANIFEST_VERSION,
    Manifest,
    current_manifest,
    dump_manifest,
    entry_from,
    parse_manifest,
    verification_from,
)

#: As the first consoles wrote it: the draft counted as the workflow, and what ran beside it was known by its hash.
OLD_ENTRY: dict[str, Any] = {
    "key": "orders",
    "name": None,
    "content_hash": "aa",
    "live_content_hash": "bb",
    "active": True,
    "env_workflow_id": "w1",
    "blob": "b1",
    "refs": ["w2"],
    "something_of_its_own": 1,
}
OLD_MANIFEST: dict[str, Any] = {
    "id": "8b0c1c68-8a35-4d9c-9df4-0a2f2d6f4a11",
    "environment_id": "1f6f8a3e-52a4-4a0c-9d28-3a1d6a7c1f00",
    "snapshot_type": "manual_backup",
    "created_at": "2026-01-02T03:04:05+00:00",
    "workflows": [OLD_ENTRY],
}


def test_an_old_entry_is_read() -> None:
    entry = entry_from(OLD_ENTRY)
    assert (entry.key, entry.name, entry.label, entry.path) == ("orders", "", "orders", "workflows/orders.json")
    assert entry.holds_only_the_draft and entry.draft is None and entry.draft_hash is None
    assert entry.called_ids == ["w2"], "older entries name all that they refer to"
    assert entry.facts is None and entry.live is None and entry.bytes == 0


def test_an_old_manifest_is_read() -> None:
    manifest = parse_manifest(json.dumps(OLD_MANIFEST).encode())
    assert (manifest.manifest_version, manifest.normalization_version, manifest.complete) == (1, 1, True)
    assert manifest.references == {} and manifest.findings == []
    assert [entry.key for entry in manifest.workflows] == ["orders"]


def test_what_is_written_is_read_back_the_same() -> None:
    new = {
        **OLD_ENTRY,
        "name": "Orders",
        "facts": {"v": 1, "tags": ["a"], "settings": {"x": 1}},
        "live": {"version_id": "v1"},
        "draft": {"content_hash": "cc", "blob": "b2", "path": "drafts/orders.json", "bytes": 7},
        "tags": ["a"],
        "calls": [],
    }
    head = Manifest(
        id="i", environment_id="e", snapshot_type="scheduled", created_at=OLD_MANIFEST["created_at"], workflows=[]
    )
    entries = [entry_from(new)]
    manifest = current_manifest(head=head, entries=entries, references={"w9": "k"}, findings=[], complete=True)
    data = dump_manifest(manifest)
    assert parse_manifest(data) == manifest and manifest.manifest_version == MANIFEST_VERSION
    stored = json.loads(data)["workflows"][0]
    assert stored["facts"] == {"v": 1, "tags": ["a"], "settings": {"x": 1}}
    assert stored["calls"] == [] and stored["draft"]["blob"] == "b2" and "webhooks" not in stored


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"workflows": 1}', json.dumps({**OLD_MANIFEST, "workflows": [{"name": "x"}]}).encode()],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(SnapshotUnreadable):
        parse_manifest(data)


def test_a_verification_of_before_is_read() -> None:
    old = {"status": "not_checked", "findings": [{"code": "draft", "message": "It has a draft.", "name": "Orders"}]}
    assert verification_from(old).findings[0].name == "Orders"
    assert verification_from(None).status == "not_checked"
    assert verification_from({"status": ["?"]}).status == "not_checked"
