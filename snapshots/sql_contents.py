"""Contents of snapshots in the database: what SQL reads, and what is left where Git has lost one.

Each content once per tenant, under its name in Git. Git is the original: nothing here is ever written back into it.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection

from core import clock
from core.errors import OpsError
from operations.engine import Run
from tenants.scope import platform_scope, tenant_scope

from . import repository
from .manifest import ManifestEntry, entry_from
from .models import Snapshot, WorkflowContent

BATCH_BYTES = 4_000_000
#: More than this is left to ``keep_recent``.
AT_ONCE_BYTES = 2_000_000
RECENT, RECENT_AT_ONCE = timedelta(hours=1), 20
#: Snapshots of the last hour that this process knows to be kept; another process looks once more.
_kept: OrderedDict[uuid.UUID, None] = OrderedDict()
KEPT_IN_MIND = 2000
_LACKING = """
SELECT DISTINCT named.blob
  FROM snapshots s
 CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(s.workflows) WHEN 'array' THEN s.workflows ELSE '[]' END) e
 CROSS JOIN LATERAL (VALUES (e ->> 'blob'), (e -> 'draft' ->> 'blob')) AS named (blob)
 WHERE named.blob <> '' AND NOT EXISTS (SELECT 1 FROM workflow_contents c WHERE c.blob = named.blob)
"""
_UNUSED = """
DELETE FROM workflow_contents c USING (
    SELECT blob FROM workflow_contents EXCEPT
    SELECT named.blob FROM snapshots s
     CROSS JOIN LATERAL
           jsonb_array_elements(CASE jsonb_typeof(s.workflows) WHEN 'array' THEN s.workflows ELSE '[]' END) e
     CROSS JOIN LATERAL (VALUES (e ->> 'blob'), (e -> 'draft' ->> 'blob')) AS named (blob)
) unused WHERE c.blob = unused.blob
"""
_INSERT = """
INSERT INTO workflow_contents (id, tenant_id, blob, content)
SELECT gen_random_uuid(), %s, given.blob, given.content FROM unnest(%b::text[], %b::text[]) AS given (blob, content)
    ON CONFLICT (tenant_id, blob) DO NOTHING
"""


def keep(run: Run, entries: Collection[ManifestEntry]) -> dict[str, Any]:
    """Keep the contents of a snapshot that are not kept yet; the record of a step. Call outside any scope.

    Where they are many, a capture does not wait for it: ``keep_recent`` does it within seconds. Nor does it fail for
    it: Git has them.
    """
    with run.fenced():
        lacking = _lacking(entries)
    if sum(lacking.values()) > AT_ONCE_BYTES:
        return {"later": len(lacking)}
    try:
        return {"kept": _copy(run.tenant_id, sorted(lacking), run=run)}
    except OpsError as error:
        return {"error": error.to_dict()}


def keep_recent() -> int:
    """Keep the contents that captures of the last hour have left for later; how many. For the beat."""
    with platform_scope():
        recent = Snapshot.objects.filter(created_at__gt=clock.now() - RECENT).exclude(pk__in=list(_kept))
        rows = list(recent.order_by("-created_at").values_list("pk", "tenant_id")[:RECENT_AT_ONCE])
    kept = 0
    for snapshot_id, tenant_id in rows:
        with tenant_scope(tenant_id):
            snapshot = Snapshot.objects.filter(pk=snapshot_id).first()
            entries = [entry_from(row) for row in snapshot.workflows or ()] if snapshot is not None else []
            lacking = _lacking(entries)
        with contextlib.suppress(OpsError):
            kept += _copy(tenant_id, sorted(lacking))
            _kept[snapshot_id] = None
    while len(_kept) > KEPT_IN_MIND:
        _kept.popitem(last=False)
    return kept


def _lacking(entries: Collection[ManifestEntry]) -> dict[str, int]:
    """Blob to size, in bytes, of what is not kept yet. Needs the tenant's scope."""
    blobs = {entry.blob: entry.bytes for entry in entries if entry.blob}
    blobs |= {entry.draft.blob: entry.draft.bytes for entry in entries if entry.draft is not None}
    for blob in WorkflowContent.objects.filter(blob__in=list(blobs)).values_list("blob", flat=True):
        del blobs[blob]
    return blobs


def look_after(tenant_id: uuid.UUID) -> dict[str, int]:
    """Drop contents that no snapshot names any more, and keep those that snapshots of before lack."""
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(_UNUSED)
        dropped = cursor.rowcount
        cursor.execute(_LACKING)
        lacking = [blob for (blob,) in cursor.fetchall()]
    return {"contents_dropped": dropped, "contents_kept": _copy(tenant_id, lacking)}


def read(tenant_id: uuid.UUID, blob: str) -> bytes | None:
    """A content by its name in Git; None where it is not kept. Outside any scope."""
    with tenant_scope(tenant_id):
        found = WorkflowContent.objects.filter(blob=blob).values_list("content", flat=True).first()
    return found.encode() if found is not None else None


def _copy(tenant_id: uuid.UUID, blobs: Sequence[str], *, run: Run | None = None) -> int:
    """From Git into the database; what Git does not have is left out."""
    copied = 0
    for batch in _batches(tenant_id, blobs):
        scope: contextlib.AbstractContextManager[Any] = run.fenced() if run is not None else tenant_scope(tenant_id)
        with scope, connection.cursor() as cursor:
            cursor.execute(_INSERT, [tenant_id, list(batch), list(batch.values())])
            copied += cursor.rowcount
    return copied


def _batches(tenant_id: uuid.UUID, blobs: Sequence[str]) -> Iterator[dict[str, str]]:
    if not blobs:
        return
    batch: dict[str, str] = {}
    size = 0
    with repository.store_for(tenant_id).reader() as reader:
        for blob in blobs:
            text = _text(reader.find(blob))
            if text is None:
                continue
            batch[blob], size = text, size + len(text)
            if size >= BATCH_BYTES:
                yield batch
                batch, size = {}, 0
    if batch:
        yield batch


def _text(found: tuple[str, str, bytes] | None) -> str | None:
    """A blob as PostgreSQL can hold it."""
    if found is None:
        return None
    try:
        text = found[2].decode()
    except UnicodeDecodeError:
        return None
    return text if "\0" not in text else None
