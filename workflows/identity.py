"""Who is who: each workflow keeps one key for life, whatever ids it has in the environments.

What a capture saw is taken down in bulk by ``workflows.recording``. What a person decides (link, ignore, separate) and
what the console itself wrote (``bind``, ``mark_approved``) stands in ``workflows.linking`` and is offered here as well.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from tenants.scope import tenant_scope

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
from .models import CanonicalWorkflow, KnownCredential, MapStatus, WorkflowEnvMap
from .names import storable

BATCH = 1000
_LONGEST_ID = 64
LIVE = (MapStatus.LINKED, MapStatus.UNMAPPED, MapStatus.IGNORED)


@dataclass(frozen=True, slots=True)
class SeenWorkflow:
    """One workflow as a capture found it. ``credentials`` are (type, name, id); ``node_types`` help to recognise it.

    ``fingerprint`` is of what runs, ``draft`` of the draft where that holds something else.
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


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a seen workflow belongs. ``content_hash`` has its references resolved to keys.

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
    if len(str(raw.get("id") or "")) > _LONGEST_ID:
        raise ContentError("Its id is longer than any of n8n's.")
    kept = content if content is not None else portable(raw)
    mark = fingerprint(kept)
    draft = draft_of(raw)
    draft_mark = fingerprint(draft) if draft is not None else None
    credentials: list[tuple[str, str, str]] = []
    types: set[str] = set()
    for node in kept["nodes"]:
        types.add(storable(str(node.get("type") or "")))
        for kind, reference in (node.get("credentials") or {}).items():
            held = reference if isinstance(reference, Mapping) else {"name": reference}
            told = (kind, held.get("name") or "", held.get("id") or "")
            kind, named, ident = (storable(str(word)) for word in told)
            credentials.append((kind, named, ident))
    updated = raw.get("updatedAt")
    return SeenWorkflow(
        env_workflow_id=storable(str(raw.get("id") or "")),
        name=storable(kept["name"]),
        fingerprint=mark,
        active=bool(kept.get("active")),
        tags=tuple(map(storable, kept.get("tags") or ())),
        version_id=storable(str(raw.get("versionId") or ""))[:VERSION_ID_LIMIT],
        updated_at=_moment(updated) if isinstance(updated, str) else None,
        node_count=len(kept["nodes"]),
        credentials=credentials,
        node_types=tuple(sorted(types)),
        draft=draft_mark if draft_mark != mark else None,
        facts=facts_of(kept),
        live=live_version(raw),
    )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def key_by_workflow_id(environment_id: uuid.UUID) -> dict[str, str]:
    """n8n id to key of everything that lives in the environment. Needs the tenant's scope."""
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id).exclude(status=MapStatus.DELETED)
    return _with_keys(rows.exclude(env_workflow_id="").values_list("env_workflow_id", "canonical_workflow_id"))


def key_by_former_id(environment_id: uuid.UUID) -> dict[str, str]:
    """The same of everything that lives there or has lived there: what still calls it has its id."""
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id).exclude(env_workflow_id="")
    former = _with_keys(rows.values_list("env_workflow_id", "canonical_workflow_id"))
    return {**former, **key_by_workflow_id(environment_id)}


def workflow_id_by_key(environment_id: uuid.UUID) -> dict[str, str]:
    """Key to n8n id of everything that lives in the environment and was not missed. Needs the tenant's scope."""
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id, status__in=LIVE).exclude(env_workflow_id="")
    found = _with_keys(rows.values_list("env_workflow_id", "canonical_workflow_id"))
    return {key: ident for ident, key in found.items()}


def _with_keys(rows: Iterable[tuple[str, uuid.UUID]]) -> dict[str, str]:
    # Two plain reads put together here: on tables that were just filled, the planner takes a join behind row
    # security for a handful of rows and loops over ten thousand times ten thousand (23 s against 0.1 s).
    places = list(rows)
    keys = dict(CanonicalWorkflow.objects.values_list("pk", "key")) if places else {}
    return {ident: keys[canonical_id] for ident, canonical_id in places}


def lock_identities(tenant_id: uuid.UUID) -> None:
    """Let one transaction at a time decide who is who in a tenant; released at its end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('identity:' || %s, 0))", [str(tenant_id)])


def stored_fingerprint(
    of: Fingerprint, node_types: Iterable[str] = (), draft: Fingerprint | None = None
) -> dict[str, Any]:
    """The JSON kept on a row, so that hashes can follow when a reference gets another key; the draft's beside it."""
    found = {**_stored(of), "types": sorted(set(node_types))}
    return found if draft is None else {**found, "draft": _stored(draft)}


def _stored(of: Fingerprint) -> dict[str, Any]:
    return {
        "v": of.version,
        "body": of.body,
        "refs": list(of.workflow_refs),
        "creds": list(of.credential_names),
        "cred_ids": list(of.credential_ids),
        "cred_types": list(of.credential_types),
    }


def loaded_fingerprint(stored: Mapping[str, Any] | None) -> Fingerprint | None:
    """The fingerprint behind ``stored_fingerprint``'s JSON, or None."""
    if not stored:
        return None
    names = tuple(stored["creds"])
    ids = tuple(stored["cred_ids"]) if "cred_ids" in stored else ("",) * len(names)
    kinds = tuple(stored.get("cred_types") or ())
    return Fingerprint(stored["v"], stored["body"], tuple(stored["refs"]), names, ids, kinds)


def record_credentials(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    used: Iterable[tuple[str, str, str]],
    seen_at: datetime,
    complete: bool,
    source: str = "seen",
) -> int:
    """Take down which credentials were met (type, name, id), once per use; how many different ones.

    n8n renames lazily: where one id comes under several names, the most used name is kept, unless the instance's own
    list has told it; the others are kept beside it.
    """
    names: dict[tuple[str, str], Counter[str]] = {}
    for kind, name, ident in used:
        names.setdefault((kind[:120], ident[:64]), Counter())[name[:200]] += 1
    with tenant_scope(tenant_id):
        here = KnownCredential.objects.filter(environment_id=environment_id)
        told = {
            (kind, ident): name
            for kind, ident, name in here.filter(source="listed").values_list(
                "credential_type", "credential_id", "name"
            )
        }
        if complete and source == "seen":
            KnownCredential.objects.filter(environment_id=environment_id, uses__gt=0).update(uses=0)
        KnownCredential.objects.bulk_create(
            [
                KnownCredential(
                    tenant_id=tenant_id,
                    environment_id=environment_id,
                    credential_type=kind,
                    credential_id=ident,
                    name=told.get((kind, ident)) or counts.most_common(1)[0][0],
                    also_named=[] if (kind, ident) in told else [n for n, _ in counts.most_common()[1:9]],
                    source=source,
                    uses=counts.total() if source == "seen" else 0,
                    last_seen_at=seen_at,
                )
                for (kind, ident), counts in names.items()
            ],
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=["environment", "credential_type", "credential_id"],
            update_fields=["name", "also_named", "last_seen_at", *(["uses"] if source == "seen" else ["source"])],
        )
    return len(names)


def record_listed_credentials(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, listed: Iterable[Mapping[str, Any]], seen_at: datetime
) -> None:
    """Take down the instance's own list (``{id, name, type}`` each): what is not on it is gone."""
    rows = {(str(c["type"])[:120], str(c["id"])[:64]): str(c["name"])[:200] for c in listed}
    with tenant_scope(tenant_id):
        here = KnownCredential.objects.filter(environment_id=environment_id)
        found = list(here.values_list("pk", "credential_type", "credential_id", "name", "source", "is_gone"))
        as_told = {
            (kind, ident)
            for _, kind, ident, name, source, is_gone in found
            if source == "listed" and not is_gone and rows.get((kind, ident)) == name
        }
        gone = [pk for pk, kind, ident, *_, is_gone in found if (kind, ident) not in rows and not is_gone]
        if gone:
            here.filter(pk__in=gone).update(is_gone=True)
        KnownCredential.objects.bulk_create(
            [
                KnownCredential(
                    tenant_id=tenant_id,
                    environment_id=environment_id,
                    credential_type=kind,
                    credential_id=ident,
                    name=name,
                    source="listed",
                    last_seen_at=seen_at,
                )
                for (kind, ident), name in rows.items()
                if (kind, ident) not in as_told
            ],
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=["environment", "credential_type", "credential_id"],
            update_fields=["name", "also_named", "source", "is_gone", "last_seen_at"],
        )


from .linking import (  # noqa: E402  (offered here: one door to identities)
    WITHDRAWN,
    Approval,
    bind,
    confirm,
    ignore,
    link,
    make_known,
    mark_approved,
    mark_deleted,
    restore_ignored,
    separate,
)

__all__ = [
    "LIVE",
    "WITHDRAWN",
    "Approval",
    "Placed",
    "SeenWorkflow",
    "bind",
    "confirm",
    "ignore",
    "key_by_workflow_id",
    "link",
    "make_known",
    "mark_approved",
    "mark_deleted",
    "record_credentials",
    "record_listed_credentials",
    "restore_ignored",
    "seen_workflow",
    "separate",
    "workflow_id_by_key",
]
