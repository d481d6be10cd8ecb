"""An environment's workflows as n8n has them now, compared with what is approved. Writes nothing."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core import clock
from core.declarations import AcceptedDifference
from tenants.scope import tenant_scope

from .accepted import accepted
from .content import ContentError, Fingerprint, fingerprint, portable
from .errors import AlreadyAsked
from .gateway import quick_client_for
from .identity import key_by_workflow_id
from .models import Environment, MapStatus, WorkflowEnvMap
from .selectors import workflow_row

LIST_SECONDS = 20.0
_asking: set[uuid.UUID] = set()
_asking_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows as ``schemas.LiveWorkflow`` or ``StoredWorkflow`` declares them, and the moment they are true for."""

    as_of: datetime | None
    workflows: list[dict[str, Any]]


def live_workflows(environment: Environment) -> Listing:
    """Ask n8n now; call outside any scope. Keys and approved hashes are those on record, None where there are none.

    A person waits for it: raises `TimedOut` after ``LIST_SECONDS``, and `AlreadyAsked` while this process is already
    asking the same instance.
    """
    with _alone(environment), quick_client_for(environment) as client:
        listed = client.iter_workflows(exclude_pinned_data=True, within_seconds=LIST_SECONDS)
        found = [_row(raw) for raw in listed]
    now = clock.now()
    with tenant_scope(environment.tenant_id):
        keys = key_by_workflow_id(environment.pk)
        mappings = {
            mapping.env_workflow_id: mapping
            for mapping in WorkflowEnvMap.objects.filter(environment=environment)
            .exclude(status=MapStatus.DELETED)
            .only("env_workflow_id", "status", "git_content_hash", "git_active", "env_content_hash")
        }
        left = accepted()
    rows = [row | _beside(row["id"], fingerprint, keys, mappings.get(row["id"]), left) for row, fingerprint in found]
    return Listing(now, sorted(rows, key=lambda row: (row["name"], row["id"])))


def _beside(
    workflow_id: str,
    fingerprint: Fingerprint | None,
    keys: Mapping[str, str],
    mapping: WorkflowEnvMap | None,
    left: Mapping[uuid.UUID, AcceptedDifference],
) -> dict[str, Any]:
    """What is on record of a listed workflow, and whether it still is as approved."""
    content_hash = fingerprint.content_hash(keys) if fingerprint else None
    approved = mapping.git_content_hash if mapping else None
    is_as_seen = mapping is not None and mapping.env_content_hash == content_hash
    found = left.get(mapping.pk) if mapping is not None and is_as_seen else None
    return {
        "key": keys.get(workflow_id),
        "status": mapping.status if mapping else "unmapped",
        "content_hash": content_hash,
        "git_content_hash": approved,
        "drifted": bool(approved and approved != content_hash) and found is None,
        "accepted_since": found.since if found else None,
    }


@contextmanager
def _alone(environment: Environment) -> Iterator[None]:
    """One request per environment at a time, so that a slow instance holds one thread of a process and not all."""
    with _asking_lock:
        if environment.pk in _asking:
            raise AlreadyAsked
        _asking.add(environment.pk)
    try:
        yield
    finally:
        with _asking_lock:
            _asking.discard(environment.pk)


def _row(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Fingerprint | None]:
    """One of n8n's rows and its fingerprint; None where it cannot be read, which is no reason to hide the others."""
    found: Fingerprint | None = None
    try:
        content = portable(raw)
        found = fingerprint(content)
    except ContentError:
        content = {"name": str(raw.get("name") or ""), "active": bool(raw.get("active")), "tags": []}
    row = {
        "id": str(raw["id"]),
        "name": content["name"],
        "active": content["active"],
        "updated_at": _text(raw.get("updatedAt")),
        "version_id": _text(raw.get("versionId")),
        "tags": content["tags"],
        "node_count": len(content.get("nodes") or ()),
        "readable": found is not None,
    }
    return row, found


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def stored_workflows(environment: Environment) -> Listing:
    """What the last capture saw."""
    with tenant_scope(environment.tenant_id):
        mappings = (
            WorkflowEnvMap.objects.filter(environment=environment)
            .exclude(status=MapStatus.DELETED)
            .select_related("canonical_workflow", "environment")
            .defer("fingerprint", "git_fingerprint")
            .order_by("env_name", "env_workflow_id")
        )
        left = accepted()
        return Listing(environment.last_captured_at, [workflow_row(m, left.get(m.pk)) for m in mappings])
