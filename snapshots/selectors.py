"""Reads about snapshots."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from core.errors import Invalid
from core.paging import Page, by_time, decode, encode

from .models import Snapshot, SnapshotType


def list_snapshots(
    *,
    environment_id: uuid.UUID | None = None,
    snapshot_type: str = "",
    cursor: str = "",
    limit: int = 50,
) -> Page:
    """Snapshots that the scope shows, newest first, without their manifests."""
    rows: QuerySet[Snapshot] = Snapshot.objects.select_related("environment", "created_by").defer("workflows")
    if environment_id is not None:
        rows = rows.filter(environment_id=environment_id)
    if snapshot_type:
        if snapshot_type not in SnapshotType.values:
            raise Invalid(
                f"There is no snapshot type “{snapshot_type}”.",
                recovery=f"Use one of {', '.join(SnapshotType.values)}.",
                details={"snapshot_type": snapshot_type},
            )
        rows = rows.filter(snapshot_type=snapshot_type)
    return by_time(rows, cursor=cursor, limit=limit)


def snapshot_row(snapshot: Snapshot) -> dict[str, Any]:
    """JSON-able facts for the API, without the list of workflows."""
    verification = snapshot.verification or {}
    return {
        "id": str(snapshot.pk),
        "tenant_id": str(snapshot.tenant_id),
        "environment_id": str(snapshot.environment_id),
        "environment_name": snapshot.environment.name,
        "snapshot_type": snapshot.snapshot_type,
        "description": snapshot.description or "",
        "workflow_count": snapshot.workflow_count,
        "total_bytes": snapshot.total_bytes,
        "git_commit_sha": snapshot.git_commit_sha,
        "created_at": snapshot.created_at,
        "created_by": str(snapshot.created_by_id) if snapshot.created_by_id else None,
        "operation_id": str(snapshot.operation_id) if snapshot.operation_id else None,
        "verified_at": snapshot.verified_at,
        "verification": {
            "status": verification.get("status", "not_checked"),
            "problems": verification.get("problems") or [],
            "findings": verification.get("findings") or [],
        },
    }


def entry_page(
    entries: Sequence[Mapping[str, Any]], *, q: str = "", cursor: str = "", limit: int = 50
) -> tuple[Page, int]:
    """A page of a manifest's entries by key, and how many match ``q`` in name or key."""
    after = str(decode(cursor, 1)[0]) if cursor else ""
    wanted = q.casefold()
    found = [
        e
        for e in sorted(entries, key=lambda e: str(e["key"]))
        if not wanted or wanted in str(e.get("name") or "").casefold() or wanted in str(e["key"])
    ]
    rest = [e for e in found if str(e["key"]) > after]
    rows = list(rest[:limit])
    return Page(rows, encode([rows[-1]["key"]]) if len(rest) > limit else ""), len(found)


@dataclass(frozen=True, slots=True)
class Compared:
    """One workflow on two sides. ``state``: added, removed, changed or unchanged (right against left)."""

    key: str
    name: str
    state: str
    left: Mapping[str, Any] | None
    right: Mapping[str, Any] | None


def compare_entries(
    left: Sequence[Mapping[str, Any]], right: Sequence[Mapping[str, Any]]
) -> tuple[list[Compared], dict[str, int]]:
    """Two manifests side by side, what differs first; and how many of each state."""
    before, after = ({str(e["key"]): e for e in side} for side in (left, right))
    rows = []
    for key in sorted(before.keys() | after.keys()):
        a, b = before.get(key), after.get(key)
        if a is None or b is None:
            state = "added" if a is None else "removed"
        else:
            same = a.get("content_hash") == b.get("content_hash") and bool(a.get("active")) == bool(b.get("active"))
            state = "unchanged" if same else "changed"
        rows.append(Compared(key, str((b or a or {}).get("name") or ""), state, a, b))
    counts = {name: sum(r.state == name for r in rows) for name in ("added", "removed", "changed", "unchanged")}
    order = {"changed": 0, "removed": 1, "added": 2, "unchanged": 3}
    return sorted(rows, key=lambda r: (order[r.state], r.key)), counts
