"""What a capture saw, taken down in bulk: who is known, who came again, who is somebody else's counterpart."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from core import clock
from tenants.scope import tenant_scope

from . import bulk
from .content import suggest_key
from .facts import given_to_all, loaded_facts
from .identity import (
    BATCH,
    LIVE,
    Placed,
    SeenWorkflow,
    lock_identities,
    record_credentials,
    stored_fingerprint,
)
from .matching import Newcomer, counterparts, known_from, recreated
from .models import CanonicalWorkflow, Environment, MapStatus, WorkflowEnvMap

_SEEN_FIELDS = (
    "env_workflow_id",
    "status",
    "env_content_hash",
    "env_draft_hash",
    "env_facts",
    "git_facts",
    "live_version",
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
"""What tells whether a place is as it was. A row that is not is written: thousands of others are not touched."""


def record_seen(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    seen: Sequence[SeenWorkflow],
    captured_at: datetime,
    complete: bool,
    is_baseline: bool = False,
    decided: Callable[[dict[str, Placed]], None] = lambda _placed: None,
) -> dict[str, Placed]:
    """Take down what a capture saw; n8n id to the workflow's place.

    Joins the caller's scope. Bulk statements only. With ``complete`` what was not seen is gone: approved ones become
    *missing*, others *deleted*. A capture that saw only a part never says so. With ``is_baseline`` the caller will take
    what was seen as approved: new rows say so from the start, unless the environment got a baseline meanwhile.
    ``decided`` is told all places as soon as they are certain, before the rows are written.
    """
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        recording = _Recording(tenant_id, environment_id, seen, captured_at, complete, is_baseline)
        recording.decide()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="describe") as pool:
            # Thousands of hashes are made while the database takes the new workflows in.
            describing = pool.submit(recording.describe)
            recording.write_canonicals()
            placed = describing.result()
        decided(placed)
        recording.write_places()
        return placed


class _Recording:
    """The steps of one ``record_seen``; lives for one call."""

    def __init__(
        self,
        tenant_id: uuid.UUID,
        environment_id: uuid.UUID,
        seen: Sequence[SeenWorkflow],
        captured_at: datetime,
        complete: bool,
        is_baseline: bool,
    ) -> None:
        self.tenant_id, self.environment_id = tenant_id, environment_id
        # Paging by offset can hand out a row twice: the last one counts.
        self.seen = {workflow.env_workflow_id: workflow for workflow in seen if workflow.env_workflow_id}
        self.captured_at, self.complete = captured_at, complete
        self.is_baseline = is_baseline
        self.environment = Environment.objects.get(pk=environment_id)
        self.environments = list(Environment.objects.filter(is_archived=False).order_by("position", "name", "pk"))
        self.places = list(WorkflowEnvMap.objects.filter(environment_id=environment_id))
        canonicals = list(CanonicalWorkflow.objects.filter(tenant_id=tenant_id).values_list("pk", "key", "name"))
        self.keys = {pk: key for pk, key, _ in canonicals}
        self.names = {pk: name for pk, _, name in canonicals}
        self.place_of: dict[str, WorkflowEnvMap] = {}
        self.new_canonicals: list[CanonicalWorkflow] = []
        self.new_places: list[WorkflowEnvMap] = []
        self.undecided: set[str] = set()
        self.before: dict[uuid.UUID, tuple[Any, ...]] = {}
        stored = (loaded_facts(p.env_facts) for p in self.places if p.status in LIVE)
        self.facts_before = [facts for facts in stored if facts is not None]

    def decide(self) -> None:
        """Who each one is; nothing is written."""
        self.before = {place.pk: _state(place) for place in self.places}
        self._find_known()
        self._find_recreated()
        self._find_counterparts()

    def write_canonicals(self) -> None:
        """The workflows that nobody knew."""
        bulk.insert(self.new_canonicals)

    def write_places(self) -> None:
        """Everything else, in bulk; once it is described."""
        bulk.insert(self.new_places)
        changed = [p for p in self.place_of.values() if p.pk in self.before and _state(p) != self.before[p.pk]]
        WorkflowEnvMap.objects.bulk_create(
            changed,
            batch_size=BATCH,
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=[*_SEEN_FIELDS, "last_seen_at", "updated_at"],
        )
        if self.complete:
            self._mark_gone()
            self._learn()
        self._rename_canonicals()
        record_credentials(
            tenant_id=self.tenant_id,
            environment_id=self.environment_id,
            used=(credential for workflow in self.seen.values() for credential in set(workflow.credentials)),
            seen_at=self.captured_at,
            complete=self.complete,
        )

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
        new_canonical = bulk.maker(CanonicalWorkflow, tenant_id=self.tenant_id)
        new_place = bulk.maker(WorkflowEnvMap, tenant_id=self.tenant_id, environment_id=self.environment_id)
        for newcomer in newcomers:
            ident = newcomer.env_workflow_id
            canonical_id = decision.linked.get(ident)
            if canonical_id is not None and canonical_id in reusable:
                self.place_of[ident] = reusable[canonical_id]
                continue
            if canonical_id is None:
                canonical = new_canonical(key=keys.make(newcomer.name), name=newcomer.name[:500])
                self.new_canonicals.append(canonical)
                self.keys[canonical.pk] = canonical.key
                canonical_id = canonical.pk
            place = new_place(canonical_workflow_id=canonical_id, env_workflow_id=ident)
            self.new_places.append(place)
            self.place_of[ident] = place

    def describe(self) -> dict[str, Placed]:
        """Fill the rows in, once every id of the environment has its key. Asks the database nothing."""
        key_of = {
            p.env_workflow_id: self.keys[p.canonical_workflow_id]
            for p in self.places
            if p.env_workflow_id and p.status != MapStatus.DELETED
        }
        key_of.update({ident: self.keys[place.canonical_workflow_id] for ident, place in self.place_of.items()})
        new = {place.pk for place in self.new_places}
        approves = self.is_baseline and self.complete and not self.environment.baseline_commit_sha
        placed: dict[str, Placed] = {}
        for ident, place in self.place_of.items():
            workflow = self.seen[ident]
            place.env_workflow_id = ident
            if place.pk in new and ident in self.undecided:
                place.status = MapStatus.UNMAPPED
            elif place.status in (MapStatus.MISSING, MapStatus.DELETED):
                place.status = MapStatus.LINKED
            place.env_content_hash = workflow.fingerprint.content_hash(key_of)
            draft_hash = workflow.draft.content_hash(key_of) if workflow.draft is not None else None
            place.env_draft_hash = draft_hash if draft_hash != place.env_content_hash else None
            place.env_facts = workflow.facts.to_json()
            first_look = place.git_facts is None and place.git_content_hash is not None
            as_draft = first_look and draft_hash is not None and draft_hash == place.git_content_hash
            if first_look:
                # Approved before facts were kept: what is there at the first look is what was approved.
                place.git_facts = place.env_facts
            place.live_version = workflow.live.to_json() if workflow.live is not None else None
            place.comparable_hash = workflow.fingerprint.comparable_hash(key_of)
            place.normalization_version = workflow.fingerprint.version
            place.fingerprint = stored_fingerprint(workflow.fingerprint, workflow.node_types, workflow.draft)
            place.env_name = workflow.name[:500]
            place.env_active = workflow.active
            place.env_tags = sorted({tag[:120] for tag in workflow.tags})
            place.env_version_id = workflow.version_id[:64]
            place.node_count = workflow.node_count
            place.content_changed_at = workflow.updated_at
            place.last_seen_at = self.captured_at
            if approves and place.pk in new:
                place.git_content_hash, place.git_active = place.env_content_hash, place.env_active
                place.git_fingerprint = place.fingerprint
                place.git_draft_hash, place.git_facts = place.env_draft_hash, place.env_facts
            placed[ident] = Placed(
                key=self.keys[place.canonical_workflow_id],
                canonical_id=place.canonical_workflow_id,
                map_id=place.pk,
                content_hash=place.env_content_hash,
                comparable_hash=place.comparable_hash,
                status=str(place.status),
                is_new=place.pk in new,
                draft_hash=place.env_draft_hash,
                was_approved_as_draft=as_draft,
            )
        return placed

    def _mark_gone(self) -> None:
        found = {place.pk for place in self.place_of.values()}
        gone = [p for p in self.places if p.pk not in found and p.status in (MapStatus.LINKED, MapStatus.UNMAPPED)]
        for status, rows in (
            (MapStatus.MISSING, [p.pk for p in gone if p.git_content_hash]),
            (MapStatus.DELETED, [p.pk for p in gone if not p.git_content_hash]),
        ):
            WorkflowEnvMap.objects.filter(pk__in=rows).update(
                status=status, last_seen_at=self.environment.last_captured_at, updated_at=clock.now()
            )

    def _learn(self) -> None:
        """Settings that an upgrade of n8n gave every workflow are its defaults from now on, and nobody's change."""
        learnt = given_to_all(self.facts_before, [workflow.facts for workflow in self.seen.values()])
        if learnt:
            Environment.objects.filter(pk=self.environment_id).update(
                learnt_settings={**self.environment.learnt_settings, **learnt}, updated_at=clock.now()
            )

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
