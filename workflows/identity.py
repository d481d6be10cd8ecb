"""Who is who: each workflow keeps one key for life, whatever ids it has in the environments.

``record_seen`` takes down what a capture saw, in bulk. What a person decides (link, ignore, separate) and what the
console itself wrote (``bind``, ``mark_approved``) stands in ``workflows.linking`` and is offered here as well.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from opsconsole.core import clock
from tenants.scope import tenant_scope

from . import bulk
from .content import Fingerprint, fingerprint, portable, suggest_key
from .matching import Newcomer, counterparts, known_from, recreated
from .models import CanonicalWorkflow, Environment, KnownCredential, MapStatus, WorkflowEnvMap

BATCH = 1000
LIVE = (MapStatus.LINKED, MapStatus.UNMAPPED, MapStatus.IGNORED)
_SEEN_FIELDS = (
    "env_workflow_id",
    "status",
    "env_content_hash",
    "comparable_hash",
    "normalization_version",
    "fingerprint",
    "env_name",
    "env_active",
    "env_tags",
    "env_version_id",
    "node_count",
    "content_changed_at",
)


@dataclass(frozen=True, slots=True)
class SeenWorkflow:
    """One workflow as a capture found it. ``credentials`` are (type, name, id); ``node_types`` help to recognise it."""

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


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a seen workflow belongs. ``content_hash`` has its references resolved to keys."""

    key: str
    canonical_id: uuid.UUID
    map_id: uuid.UUID
    content_hash: str
    comparable_hash: str
    status: str = MapStatus.LINKED
    is_new: bool = False


def seen_workflow(raw: Mapping[str, Any], content: Mapping[str, Any] | None = None) -> SeenWorkflow:
    """What ``record_seen`` needs of n8n's answer ``raw`` (``content``: its portable form, if made already)."""
    kept = content if content is not None else portable(raw)
    credentials: list[tuple[str, str, str]] = []
    types: set[str] = set()
    for node in kept["nodes"]:
        types.add(str(node.get("type") or ""))
        for kind, reference in (node.get("credentials") or {}).items():
            if isinstance(reference, Mapping):
                credentials.append((str(kind), str(reference.get("name") or ""), str(reference.get("id") or "")))
            else:
                credentials.append((str(kind), str(reference or ""), ""))
    updated = raw.get("updatedAt")
    return SeenWorkflow(
        env_workflow_id=str(raw.get("id") or ""),
        name=kept["name"],
        fingerprint=fingerprint(kept),
        active=bool(kept.get("active")),
        tags=tuple(kept.get("tags") or ()),
        version_id=str(raw.get("versionId") or ""),
        updated_at=_moment(updated) if isinstance(updated, str) else None,
        node_count=len(kept["nodes"]),
        credentials=credentials,
        node_types=tuple(sorted(types)),
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


def record_seen(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    seen: Sequence[SeenWorkflow],
    captured_at: datetime,
    complete: bool,
) -> dict[str, Placed]:
    """Take down what a capture saw; n8n id to the workflow's place.

    Joins the caller's scope. Bulk statements only. With ``complete`` what was not seen is gone: approved ones become
    *missing*, others *deleted*. A capture that saw only a part never says so.
    """
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        return _Recording(tenant_id, environment_id, seen, captured_at, complete).carry_out()


class _Recording:
    """The steps of one ``record_seen``; lives for one call."""

    def __init__(
        self,
        tenant_id: uuid.UUID,
        environment_id: uuid.UUID,
        seen: Sequence[SeenWorkflow],
        captured_at: datetime,
        complete: bool,
    ) -> None:
        self.tenant_id, self.environment_id = tenant_id, environment_id
        # Paging by offset can hand out a row twice: the last one counts.
        self.seen = {workflow.env_workflow_id: workflow for workflow in seen if workflow.env_workflow_id}
        self.captured_at, self.complete = captured_at, complete
        self.environments = list(Environment.objects.filter(is_archived=False).order_by("position", "name", "pk"))
        self.places = list(WorkflowEnvMap.objects.filter(environment_id=environment_id))
        canonicals = list(CanonicalWorkflow.objects.filter(tenant_id=tenant_id).values_list("pk", "key", "name"))
        self.keys = {pk: key for pk, key, _ in canonicals}
        self.names = {pk: name for pk, _, name in canonicals}
        self.place_of: dict[str, WorkflowEnvMap] = {}
        self.new_canonicals: list[CanonicalWorkflow] = []
        self.new_places: list[WorkflowEnvMap] = []
        self.undecided: set[str] = set()

    def carry_out(self) -> dict[str, Placed]:
        before = {place.pk: _state(place) for place in self.places}
        self._find_known()
        self._find_recreated()
        self._find_counterparts()
        placed = self._describe()
        bulk.insert(self.new_canonicals)
        bulk.insert(self.new_places)
        changed = [p for p in self.place_of.values() if p.pk in before and _state(p) != before[p.pk]]
        WorkflowEnvMap.objects.bulk_create(
            changed,
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[*_SEEN_FIELDS, "updated_at"],
        )
        self._touch()
        if self.complete:
            self._mark_gone()
        self._rename_canonicals()
        record_credentials(
            tenant_id=self.tenant_id,
            environment_id=self.environment_id,
            used=(credential for workflow in self.seen.values() for credential in set(workflow.credentials)),
            seen_at=self.captured_at,
            complete=self.complete,
        )
        return placed

    def _find_known(self) -> None:
        live = {p.env_workflow_id: p for p in self.places if p.env_workflow_id and p.status != MapStatus.DELETED}
        deleted = {p.env_workflow_id: p for p in self.places if p.env_workflow_id and p.status == MapStatus.DELETED}
        for ident in self.seen:
            place = live.get(ident) or deleted.get(ident)
            if place is not None:
                self.place_of[ident] = place

    def _newcomers(self) -> list[Newcomer]:
        return [
            Newcomer(w.env_workflow_id, w.name, w.fingerprint.body, frozenset(w.node_types), w.node_count)
            for w in self.seen.values()
            if w.env_workflow_id not in self.place_of
        ]

    def _find_recreated(self) -> None:
        newcomers = self._newcomers()
        if not newcomers:
            return
        absent = (MapStatus.MISSING, MapStatus.DELETED)
        surely_gone = absent if not self.complete else (*absent, MapStatus.LINKED, MapStatus.UNMAPPED)
        gone = {p.pk: p for p in self.places if p.status in surely_gone and p.env_workflow_id not in self.seen}
        knowns = [known_from(p.pk, p.env_name, p.fingerprint) for p in gone.values()]
        for ident, place_id in recreated(newcomers, knowns).items():
            self.place_of[ident] = gone[place_id]

    def _find_counterparts(self) -> None:
        newcomers = self._newcomers()
        if not newcomers:
            return
        others = (
            WorkflowEnvMap.objects.exclude(environment_id=self.environment_id)
            .exclude(status__in=[MapStatus.DELETED, MapStatus.IGNORED])
            .filter(environment_id__in=[e.pk for e in self.environments])
            .values_list("canonical_workflow_id", "env_name", "fingerprint")
        )
        reusable = {p.canonical_workflow_id: p for p in self.places if p.status == MapStatus.DELETED}
        unseen = [p for p in self.places if p.env_workflow_id not in self.seen and p.status in LIVE]
        stored = [] if self.complete else unseen
        decision = counterparts(
            newcomers,
            names_here=[w.name for w in self.seen.values()] + [p.env_name for p in stored],
            bodies_here=[w.fingerprint.body for w in self.seen.values()]
            + [(p.fingerprint or {}).get("body", "") for p in stored],
            elsewhere=[known_from(*row) for row in others],
            placed_here={p.canonical_workflow_id for p in self.places if p.status != MapStatus.DELETED}
            | {p.canonical_workflow_id for p in self.place_of.values()},
        )
        self.undecided = decision.undecided
        keys = _KeyMaker(self.keys.values())
        for newcomer in newcomers:
            ident = newcomer.env_workflow_id
            canonical_id = decision.linked.get(ident)
            if canonical_id is not None and canonical_id in reusable:
                self.place_of[ident] = reusable[canonical_id]
                continue
            if canonical_id is None:
                canonical = CanonicalWorkflow(
                    tenant_id=self.tenant_id, key=keys.make(newcomer.name), name=newcomer.name[:500]
                )
                self.new_canonicals.append(canonical)
                self.keys[canonical.pk] = canonical.key
                canonical_id = canonical.pk
            place = WorkflowEnvMap(
                tenant_id=self.tenant_id,
                environment_id=self.environment_id,
                canonical_workflow_id=canonical_id,
                env_workflow_id=ident,
            )
            self.new_places.append(place)
            self.place_of[ident] = place

    def _describe(self) -> dict[str, Placed]:
        """Fill the rows in; hashes come last, when every id of the environment has its key."""
        key_of = {
            p.env_workflow_id: self.keys[p.canonical_workflow_id]
            for p in self.places
            if p.env_workflow_id and p.status != MapStatus.DELETED
        }
        key_of.update({ident: self.keys[place.canonical_workflow_id] for ident, place in self.place_of.items()})
        new = {place.pk for place in self.new_places}
        placed: dict[str, Placed] = {}
        for ident, place in self.place_of.items():
            workflow = self.seen[ident]
            place.env_workflow_id = ident
            if place.pk in new and ident in self.undecided:
                place.status = MapStatus.UNMAPPED
            elif place.status in (MapStatus.MISSING, MapStatus.DELETED):
                place.status = MapStatus.LINKED
            place.env_content_hash = workflow.fingerprint.content_hash(key_of)
            place.comparable_hash = workflow.fingerprint.comparable_hash(key_of)
            place.normalization_version = workflow.fingerprint.version
            place.fingerprint = stored_fingerprint(workflow.fingerprint, workflow.node_types)
            place.env_name = workflow.name[:500]
            place.env_active = workflow.active
            place.env_tags = sorted({tag[:120] for tag in workflow.tags})
            place.env_version_id = workflow.version_id[:64]
            place.node_count = workflow.node_count
            place.content_changed_at = workflow.updated_at
            place.last_seen_at = self.captured_at
            placed[ident] = Placed(
                key=self.keys[place.canonical_workflow_id],
                canonical_id=place.canonical_workflow_id,
                map_id=place.pk,
                content_hash=place.env_content_hash,
                comparable_hash=place.comparable_hash,
                status=str(place.status),
                is_new=place.pk in new,
            )
        return placed

    def _touch(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE workflow_env_map SET last_seen_at = %s WHERE environment_id = %s AND id = ANY(%s)",
                [self.captured_at, self.environment_id, [place.pk for place in self.place_of.values()]],
            )

    def _mark_gone(self) -> None:
        found = {place.pk for place in self.place_of.values()}
        gone = [p for p in self.places if p.pk not in found and p.status in (MapStatus.LINKED, MapStatus.UNMAPPED)]
        for status, rows in (
            (MapStatus.MISSING, [p.pk for p in gone if p.git_content_hash]),
            (MapStatus.DELETED, [p.pk for p in gone if not p.git_content_hash]),
        ):
            WorkflowEnvMap.objects.filter(pk__in=rows).update(status=status, updated_at=clock.now())

    def _rename_canonicals(self) -> None:
        """A canonical workflow bears the name it has earliest in the pipeline."""
        new = {canonical.pk for canonical in self.new_canonicals}
        wanted = {
            place.canonical_workflow_id: place.env_name
            for place in self.place_of.values()
            if place.canonical_workflow_id not in new and self.names[place.canonical_workflow_id] != place.env_name
        }
        if not wanted:
            return
        order = [e.pk for e in self.environments]
        before = order[: order.index(self.environment_id)] if self.environment_id in order else order
        earlier = WorkflowEnvMap.objects.filter(status__in=LIVE, environment_id__in=before).values_list(
            "canonical_workflow_id", flat=True
        )
        for canonical_id in earlier:
            wanted.pop(canonical_id, None)
        now = clock.now()
        CanonicalWorkflow.objects.bulk_update(
            [CanonicalWorkflow(pk=pk, name=name, updated_at=now) for pk, name in wanted.items()],
            ["name", "updated_at"],
            batch_size=500,
        )


def _state(place: WorkflowEnvMap) -> tuple[Any, ...]:
    return tuple(getattr(place, name) for name in _SEEN_FIELDS)


class _KeyMaker:
    """Keys for many new workflows; a name that comes a thousand times does not search a thousand times."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.last: Counter[str] = Counter()

    def make(self, name: str) -> str:
        first = suggest_key(name)
        key = first
        while key in self.taken:
            self.last[first] = max(self.last[first] + 1, 2)
            tail = f"-{self.last[first]}"
            key = first[: 80 - len(tail)].rstrip("-") + tail
        self.taken.add(key)
        return key


def stored_fingerprint(of: Fingerprint, node_types: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON kept on a row, so that hashes can follow when a reference gets another key."""
    return {
        "v": of.version,
        "body": of.body,
        "refs": list(of.workflow_refs),
        "creds": list(of.credential_names),
        "types": sorted(set(node_types)),
    }


def loaded_fingerprint(stored: Mapping[str, Any] | None) -> Fingerprint | None:
    """The fingerprint behind ``stored_fingerprint``'s JSON, or None."""
    if not stored:
        return None
    return Fingerprint(stored["v"], stored["body"], tuple(stored["refs"]), tuple(stored["creds"]))


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

    n8n renames lazily: where one id comes under several names, the most used name is kept.
    """
    names: dict[tuple[str, str], Counter[str]] = {}
    for kind, name, ident in used:
        names.setdefault((kind[:120], ident[:64]), Counter())[name[:200]] += 1
    with tenant_scope(tenant_id):
        if complete and source == "seen":
            KnownCredential.objects.filter(environment_id=environment_id, uses__gt=0).update(uses=0)
        KnownCredential.objects.bulk_create(
            [
                KnownCredential(
                    tenant_id=tenant_id,
                    environment_id=environment_id,
                    credential_type=kind,
                    credential_id=ident,
                    name=counts.most_common(1)[0][0],
                    source=source,
                    uses=counts.total() if source == "seen" else 0,
                    last_seen_at=seen_at,
                )
                for (kind, ident), counts in names.items()
            ],
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=["environment", "credential_type", "credential_id"],
            update_fields=["name", "last_seen_at", *(["uses"] if source == "seen" else ["source"])],
        )
    return len(names)


from .linking import (  # noqa: E402  (offered here: one door to identities)
    bind,
    confirm,
    ignore,
    link,
    mark_approved,
    mark_deleted,
    on_relinked,
    restore_ignored,
    separate,
)

__all__ = [
    "LIVE",
    "Placed",
    "SeenWorkflow",
    "bind",
    "confirm",
    "ignore",
    "key_by_workflow_id",
    "link",
    "mark_approved",
    "mark_deleted",
    "on_relinked",
    "record_credentials",
    "record_seen",
    "restore_ignored",
    "seen_workflow",
    "separate",
    "workflow_id_by_key",
]
