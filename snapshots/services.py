"""What others do with snapshots: start a capture or a check, record a download; and the reads that other apps use."""

from __future__ import annotations

import uuid

from audit.services import record_event
from core.errors import Invalid
from operations import services as operations
from operations.models import Operation, OperationStatus
from operations.selectors import started_before
from tenants.models import User
from tenants.scope import tenant_scope
from workflows.gateway import environment_by_id
from workflows.models import Environment

from .canonical import canonical_content, commit_canonical, set_baseline
from .capture import capture_into
from .contents import (
    commit_of,
    contents,
    entries,
    entries_of,
    load_bytes,
    load_content,
    load_drafts,
    moved_hashes,
    references_of,
    snapshot_by_id,
)
from .models import Snapshot, SnapshotType
from .recovery import name_commits, recover
from .starting import named_lock
from .verification import verify_snapshot

__all__ = [
    "canonical_content",
    "capture_into",
    "commit_canonical",
    "commit_of",
    "contents",
    "entries",
    "entries_of",
    "load_bytes",
    "load_content",
    "load_drafts",
    "moved_hashes",
    "name_commits",
    "record_download",
    "recover",
    "references_of",
    "set_baseline",
    "snapshot_by_id",
    "start_capture",
    "start_verify",
    "verify_snapshot",
]

CAPTURE = "snapshots.capture"


def start_capture(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    snapshot_type: str = SnapshotType.MANUAL_BACKUP,
    description: str = "",
    requested_by: User | None,
    idempotency_key: str | None = None,
) -> Operation:
    """Start a capture; the operation's ``subject_id`` is the id that the snapshot will have.

    A baseline becomes the approved version, so nobody else may write to the environment meanwhile. Raises ``NotFound``
    for an environment of nobody or somebody else, ``Invalid`` for an unknown type, ``EnvironmentLocked``.
    """
    if snapshot_type not in SnapshotType.values:
        raise Invalid(
            f"There is no snapshot type “{snapshot_type}”.",
            recovery=f"Use one of {', '.join(SnapshotType.values)}.",
            details={"snapshot_type": snapshot_type},
        )
    environment = environment_by_id(tenant_id, environment_id)
    request = {
        "environment_id": str(environment.pk),
        "snapshot_type": str(snapshot_type),
        "description": description.strip()[:500],
    }
    with tenant_scope(tenant_id):
        if (known := _known_capture(idempotency_key, request)) is not None:
            return known
        # Two presses at the same moment come one after the other, so that the second one finds the first.
        Environment.objects.select_for_update(no_key=True).filter(pk=environment.pk).first()
        if not idempotency_key and (same := _open_capture(environment, request)) is not None:
            return same
        snapshot_id = uuid.uuid4()
        approves = snapshot_type == SnapshotType.BASELINE
        with named_lock():
            return operations.start(
                tenant_id=tenant_id,
                kind=CAPTURE,
                title=f"Capture {environment.name}{' and approve it' if approves else ''}",
                params={**request, "snapshot_id": str(snapshot_id)},
                requested_by=requested_by,
                idempotency_key=idempotency_key,
                exclusive_key=environment.write_lock if approves else None,
                environment_id=environment.pk,
                subject_type="snapshot",
                subject_id=snapshot_id,
            )


def _known_capture(idempotency_key: str | None, request: dict[str, str]) -> Operation | None:
    """The job that the same request has started before; its snapshot's id is not part of the request."""
    known = started_before(kind=CAPTURE, key=idempotency_key)
    if known is None or {k: v for k, v in known.params.items() if k != "snapshot_id"} != request:
        return None
    return known


def _open_capture(environment: Environment, request: dict[str, str]) -> Operation | None:
    """The same capture, asked for and not begun or under way: whoever asks once more gets that one."""
    waiting = (OperationStatus.PENDING, OperationStatus.RUNNING, OperationStatus.RETRY_PENDING)
    rows = Operation.objects.filter(kind=CAPTURE, environment_id=environment.pk, status__in=waiting)
    found = rows.filter(cancel_requested_at=None).order_by("created_at")
    return next((job for job in found if {k: v for k, v in job.params.items() if k != "snapshot_id"} == request), None)


def start_verify(*, snapshot: Snapshot, requested_by: User | None) -> Operation:
    """Start reading a snapshot back from Git."""
    return operations.start(
        tenant_id=snapshot.tenant_id,
        kind="snapshots.verify",
        title=f"Verify the snapshot of {snapshot.created_at:%Y-%m-%d %H:%M} UTC",
        params={"snapshot_id": str(snapshot.pk)},
        requested_by=requested_by,
        environment_id=snapshot.environment_id,
        subject_type="snapshot",
        subject_id=snapshot.pk,
    )


def record_download(snapshot: Snapshot, *, size: int, sha256: str) -> None:
    """Who takes a whole environment away as a file is on record; ``size`` in bytes."""
    with tenant_scope(snapshot.tenant_id):
        record_event(
            action="SNAPSHOT_DOWNLOADED",
            resource_type=Snapshot._meta.db_table,
            resource_id=snapshot.pk,
            tenant_id=snapshot.tenant_id,
            name=snapshot.environment.name,
            details={"bytes": size, "sha256": sha256},
        )
