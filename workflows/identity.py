"""Identities: each workflow keeps one key for life, whatever ids it has in the environments.

What a capture saw is recorded in bulk by ``workflows.recording``. What a person decides (link, ignore, separate) and
what the console itself wrote (``bind``) is in ``workflows.linking``, what is approved in ``workflows.approvals``; both
are offered here as well.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.texts import storable

from .approvals import WITHDRAWN, Approval, mark_approved, mark_deleted
from .content import (
    VERSION_ID_LIMIT,
    ContentError,
    Fingerprint,
    LiveVersion,
    draft_of,
    fingerprint,
    live_version,
    portable,
)
from .facts import NO_FACTS, Facts, facts_of
from .hosts import hosts_of
from .identity_keys import (
    LIVE,
    key_by_former_id,
    key_by_workflow_id,
    lock_identities,
    workflow_id_by_key,
)
from .known_credentials import record_credentials, record_listed_credentials
from .linking import Relinked, bind, confirm, ignore, link, make_known, restore_ignored, separate
from .models import MapStatus
from .stored_fingerprints import loaded_fingerprint, stored_fingerprint

__all__ = [
    "LIVE",
    "WITHDRAWN",
    "Approval",
    "Placed",
    "Relinked",
    "SeenWorkflow",
    "bind",
    "confirm",
    "ignore",
    "key_by_former_id",
    "key_by_workflow_id",
    "link",
    "loaded_fingerprint",
    "lock_identities",
    "make_known",
    "mark_approved",
    "mark_deleted",
    "record_credentials",
    "record_listed_credentials",
    "restore_ignored",
    "seen_workflow",
    "separate",
    "stored_fingerprint",
    "workflow_id_by_key",
]

_LONGEST_ID = 64


@dataclass(frozen=True, slots=True)
class SeenWorkflow:
    """One workflow as a capture found it. ``credentials`` are (type, name, id); ``node_types`` help to recognize it.

    ``fingerprint`` is of what runs, ``draft`` of the draft where that holds something else; ``hosts`` are of both.
    """

    env_workflow_id: str
    name: str
    fingerprint: Fingerprint
    active: bool
    tags: Sequence[str] = ()
    version_id: str = ""
    updated_at: datetime | None = None
    node_count: int = 0
    credentials: Sequence[tuple[str, str, str]] = ()
    node_types: Sequence[str] = ()
    draft: Fingerprint | None = None
    facts: Facts = NO_FACTS
    live: LiveVersion | None = None
    hosts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """The mapping of a seen workflow. ``content_hash`` has its references resolved to keys.

    ``was_approved_as_draft``: approved by a console that took the draft for the workflow, and the draft is still that.
    """

    key: str
    canonical_id: uuid.UUID
    map_id: uuid.UUID
    content_hash: str
    comparable_hash: str
    status: str = MapStatus.LINKED
    is_new: bool = False
    draft_hash: str | None = None
    was_approved_as_draft: bool = False


def seen_workflow(raw: Mapping[str, Any], content: Mapping[str, Any] | None = None) -> SeenWorkflow:
    """What ``record_seen`` needs of n8n's answer ``raw`` (``content``: its portable form, if made already).

    Raises `ContentError`.
    """
    workflow_id = str(raw.get("id") or "")
    if len(workflow_id) > _LONGEST_ID:
        raise ContentError("Its id is longer than any of n8n's.")
    kept = content if content is not None else portable(raw)
    running = fingerprint(kept)
    draft_content = draft_of(raw)
    draft = fingerprint(draft_content) if draft_content is not None else None
    return SeenWorkflow(
        env_workflow_id=storable(workflow_id),
        name=storable(kept["name"]),
        fingerprint=running,
        active=bool(kept.get("active")),
        tags=tuple(map(storable, kept.get("tags") or ())),
        version_id=storable(str(raw.get("versionId") or ""))[:VERSION_ID_LIMIT],
        updated_at=_moment(raw.get("updatedAt")),
        node_count=len(kept["nodes"]),
        credentials=[used for node in kept["nodes"] for used in _credentials_of(node)],
        node_types=tuple(sorted({storable(str(node.get("type") or "")) for node in kept["nodes"]})),
        draft=draft if draft != running else None,
        facts=facts_of(kept),
        live=live_version(raw),
        hosts=tuple(map(storable, hosts_of(kept, draft_content))),
    )


def _credentials_of(node: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Type, name and id of each credential that a node names."""
    for kind, reference in (node.get("credentials") or {}).items():
        held = reference if isinstance(reference, Mapping) else {"name": reference}
        name, credential_id = held.get("name") or "", held.get("id") or ""
        yield storable(str(kind)), storable(str(name)), storable(str(credential_id))


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo else None
