"""An environment's workflows as n8n has them this moment, beside what is approved of them. Writes nothing."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core import clock
from tenants.scope import tenant_scope

from .content import ContentError, Fingerprint, fingerprint, portable
from .errors import AlreadyAsked
from .gateway import quick_client_for
from .identity import key_by_workflow_id
from .models import Environment, MapStatus, WorkflowEnvMap
from .selectors import workflow_dict

LIST_SECONDS = 20.0
_asking: set[uuid.UUID] = set()
_asking_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows and the moment they are true for."""

    as_of: datetime | None
    workflows: list[dict[str, Any]]


def live_workflows(environment: Environment) -> Listing:
    """Ask n8n now; outside any scope. Keys and approved hashes are those on record, None for what is not known yet.

    Somebody waits for it: raises `TimedOut` after ``LIST_SECONDS``, and `AlreadyAsked` while this process asks the
    same instance for another.
    """
    with _alone(environment), quick_client_for(environment) as client:
        listed = client.iter_workflows(exclude_pinned_data=True, within_seconds=LIST_SECONDS)
        found = [_row(raw) for raw in listed]
    now = clock.now()
    with tenant_scope(environment.tenant_id):
        keys = key_by_workflow_id(environment.pk)
        places = {
            place.env_workflow_id: place
            for place in WorkflowEnvMap.objects.filter(environment=environment)
            .exclude(status=MapStatus.DELETED)
            .only("env_workflow_id", "status", "git_content_hash", "git_active")
        }
    rows = []
    for row in found:
        mark: Fingerprint | None = row.pop("_print")
        content_hash = mark.content_hash(keys) if mark else None
        place = places.get(row["id"])
        approved = place.git_content_hash if place else None
        rows.append(
            row
            | {
                "key": keys.get(row["id"]),
                "status": place.status if place else "unmapped",
                "content_hash": content_hash,
                "git_content_hash": approved,
                "drifted": bool(approved and approved != content_hash),
            }
        )
    return Listing(now, sorted(rows, key=lambda row: (row["name"], row["id"])))


@contextmanager
def _alone(environment: Environment) -> Iterator[None]:
    """One look at an environment at a time, so that a slow instance holds one thread of a process and not all."""
    with _asking_lock:
        if environment.pk in _asking:
            raise AlreadyAsked
        _asking.add(environment.pk)
    try:
        yield
    finally:
        with _asking_lock:
            _asking.discard(environment.pk)


def _row(raw: Mapping[str, Any]) -> dict[str, Any]:
    """One of n8n's rows; one that cannot be read is listed as such beside the others."""
    try:
        content = portable(raw)
        mark = fingerprint(content)
    except ContentError:
        content, mark = {"name": str(raw.get("name") or ""), "active": bool(raw.get("active")), "tags": []}, None
    return {
        "id": str(raw["id"]),
        "name": content["name"],
        "active": content["active"],
        "updated_at": raw.get("updatedAt"),
        "version_id": raw.get("versionId"),
        "tags": content["tags"],
        "node_count": len(content.get("nodes") or ()),
        "readable": mark is not None,
        "_print": mark,
    }


def stored_workflows(environment: Environment) -> Listing:
    """What the last capture saw."""
    with tenant_scope(environment.tenant_id):
        places = (
            WorkflowEnvMap.objects.filter(environment=environment)
            .exclude(status=MapStatus.DELETED)
            .select_related("canonical_workflow", "environment")
            .defer("fingerprint", "git_fingerprint")
            .order_by("env_name", "env_workflow_id")
        )
        return Listing(environment.last_captured_at, [workflow_dict(place) for place in places])
