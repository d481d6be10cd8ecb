"""Reads about snapshots."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db.models import QuerySet

from core.errors import Invalid
from core.paging import Page, by_time, decode, encode
from workflows.models import Environment

from .manifest import CaptureFinding, ManifestEntry, set_aside, verification_from
from .models import Snapshot, SnapshotType

SET_ASIDE_SHOWN = 20


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
    verification = verification_from(snapshot.verification)
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
            "status": verification.status,
            "problems": msgspec.to_builtins(verification.problems),
            "findings": msgspec.to_builtins(verification.findings),
        },
    }


def set_aside_in(environment: Environment) -> list[CaptureFinding]:
    """The workflows that the last capture of an environment could not take in. Needs the tenant's scope."""
    return set_aside_by_environment([environment]).get(environment.pk, [])


def set_aside_by_environment(environments: Iterable[Environment]) -> dict[uuid.UUID, list[CaptureFinding]]:
    """The same of several, where there are any."""
    last = [environment.last_snapshot_id for environment in environments if environment.last_snapshot_id]
    rows = Snapshot.objects.filter(pk__in=last).values_list("environment_id", "verification") if last else ()
    return {pk: found for pk, stored in rows if (found := set_aside(verification_from(stored).findings))}


def set_aside_part(environment_id: uuid.UUID) -> dict[str, Any] | None:
    """What the page of an environment says of them; None where there are none. Needs the tenant's scope."""
    environment = Environment.objects.only("pk", "last_snapshot_id").get(pk=environment_id)
    found = set_aside_in(environment)
    if not found:
        return None
    return {"set_aside": found[:SET_ASIDE_SHOWN], "count": len(found), "snapshot_id": environment.last_snapshot_id}


def entry_page(entries: Sequence[ManifestEntry], *, q: str = "", cursor: str = "", limit: int = 50) -> tuple[Page, int]:
    """A page of a manifest's entries by key, and how many match ``q`` in name or key."""
    after = str(decode(cursor, 1)[0]) if cursor else ""
    wanted = q.casefold()
    by_key = sorted(entries, key=lambda entry: entry.key)
    found = [entry for entry in by_key if not wanted or wanted in entry.name.casefold() or wanted in entry.key]
    rest = [entry for entry in found if entry.key > after]
    rows = rest[:limit]
    return Page(rows, encode([rows[-1].key]) if len(rest) > limit else ""), len(found)


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """A workflow on one side of a comparison."""

    name: str
    content_hash: str | None
    active: bool

    @classmethod
    def of(cls, entry: ManifestEntry) -> ComparedSide:
        return cls(entry.name, entry.content_hash, entry.active)


@dataclass(frozen=True, slots=True)
class ComparedWorkflow:
    """One workflow on two sides. ``state``: added, removed, changed or unchanged (right against left)."""

    key: str
    name: str
    state: str
    left: ComparedSide | None
    right: ComparedSide | None

    @property
    def sides(self) -> tuple[ComparedSide | None, ComparedSide | None]:
        return self.left, self.right


#: States of a comparison in the order in which they are listed.
STATES = ("changed", "removed", "added", "unchanged")


def chosen_state(wanted: str) -> str:
    """The one state to be shown; empty where none is chosen: all that differs."""
    return wanted if wanted in STATES else ""


def compare(
    left: Mapping[str, ComparedSide], right: Mapping[str, ComparedSide]
) -> tuple[list[ComparedWorkflow], dict[str, int]]:
    """Two sides by key, what differs first; and how many of each state."""
    rows = [_compared(key, left.get(key), right.get(key)) for key in sorted(left.keys() | right.keys())]
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    return sorted(rows, key=lambda row: (STATES.index(row.state), row.key)), counts


def _compared(key: str, left: ComparedSide | None, right: ComparedSide | None) -> ComparedWorkflow:
    side = right or left
    return ComparedWorkflow(key, side.name if side is not None else "", _state(left, right), left, right)


def _state(left: ComparedSide | None, right: ComparedSide | None) -> str:
    if left is None or right is None:
        return "added" if left is None else "removed"
    same = left.content_hash == right.content_hash and left.active == right.active
    return "unchanged" if same else "changed"
