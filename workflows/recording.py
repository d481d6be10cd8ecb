"""What a capture saw, recorded in bulk: which workflows are known, which came back, which live elsewhere as well."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from core import clock
from tenants.scope import tenant_scope

from . import bulk
from .content import suggest_key
from .facts import given_to_all, loaded_facts
from .identity import Placed, SeenWorkflow
from .identity_keys import LIVE, lock_identities
from .known_credentials import BATCH, record_credentials
from .matching import Decision, Known, Newcomer, counterparts, known_from, recreated
from .models import CanonicalWorkflow, Environment, MapStatus, WorkflowEnvMap
from .stored_fingerprints import read_fingerprint, stored_fingerprint

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
"""The columns that a capture compares. A row that differs is written; thousands of others are not touched."""


def record_seen(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    seen: Sequence[SeenWorkflow],
    captured_at: datetime,
    unread: frozenset[str] | None,
    is_baseline: bool = False,
    decided: Callable[[dict[str, Placed]], None] = lambda _placed: None,
) -> dict[str, Placed]:
    """Record what a capture saw; returns n8n id to the workflow's mapping.

    Joins the caller's scope. Bulk statements only. What is neither ``seen`` nor ``unread`` (ids of what is there and
    could not be read) is gone: approved ones become *missing*, others *deleted*. A capture of a part (``unread`` None)
    never decides that. With ``is_baseline`` the caller will take
    what was seen as approved: new rows say so from the start, unless the environment got a baseline meanwhile.
    ``decided`` is called with all mappings as soon as they are certain, before the rows are written.
    """
    with tenant_scope(tenant_id):
        lock_identities(tenant_id)
        recording = _Recording(tenant_id, environment_id, seen, captured_at, unread, is_baseline)
        recording.decide()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="describe") as pool:
            # Thousands of hashes are made while the database takes the new workflows in.
            describing = pool.submit(recording.describe)
            recording.write_canonicals()
            placed = describing.result()
        decided(placed)
        recording.write_mappings()
        return placed


class _Recording:
    """The steps of one ``record_seen``; lives for one call."""

    def __init__(
        self,
        tenant_id: uuid.UUID,
        environment_id: uuid.UUID,
        seen: Sequence[SeenWorkflow],
        captured_at: datetime,
        unread: frozenset[str] | None,
        is_baseline: bool,
    ) -> None:
        self.tenant_id, self.environment_id = tenant_id, environment_id
        # Paging by offset can hand out a row twice: the last one counts.
        self.seen = {workflow.env_workflow_id: workflow for workflow in seen if workflow.env_workflow_id}
        self.captured_at, self.complete, self.unread = captured_at, unread is not None, unread or frozenset()
        self.is_baseline = is_baseline
        self.environment = Environment.objects.get(pk=environment_id)
        self.environments = list(Environment.objects.filter(is_archived=False).order_by("position", "name", "pk"))
        self.mappings = list(WorkflowEnvMap.objects.filter(environment_id=environment_id))
        canonicals = list(CanonicalWorkflow.objects.filter(tenant_id=tenant_id).values_list("pk", "key", "name"))
        self.keys = {pk: key for pk, key, _ in canonicals}
        self.names = {pk: name for pk, _, name in canonicals}
        self.mapping_of: dict[str, WorkflowEnvMap] = {}
        self.new_canonicals: list[CanonicalWorkflow] = []
        self.new_mappings: list[WorkflowEnvMap] = []
        self.undecided: set[str] = set()
        self.before: dict[uuid.UUID, tuple[Any, ...]] = {}
        stored = (loaded_facts(m.env_facts) for m in self.mappings if m.status in LIVE)
        self.facts_before = [facts for facts in stored if facts is not None]

    def decide(self) -> None:
        """Which workflow each one is; nothing is written."""
        self.before = {mapping.pk: _state(mapping) for mapping in self.mappings}
        self._find_known()
        self._find_recreated()
        self._find_counterparts()

    def write_canonicals(self) -> None:
        """The workflows that are new to the tenant."""
        bulk.insert(self.new_canonicals)

    def write_mappings(self) -> None:
        """Everything else, in bulk; once it is described."""
        bulk.insert(self.new_mappings)
        changed = [m for m in self.mapping_of.values() if m.pk in self.before and _state(m) != self.before[m.pk]]
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
            complete=self.complete and not self.unread,
        )

    def _find_known(self) -> None:
        named = [mapping for mapping in self.mappings if mapping.env_workflow_id]
        deleted = {m.env_workflow_id: m for m in named if m.status == MapStatus.DELETED}
        live = {m.env_workflow_id: m for m in named if m.status != MapStatus.DELETED}
        known = deleted | live
        self.mapping_of = {workflow_id: known[workflow_id] for workflow_id in self.seen if workflow_id in known}

    def _newcomers(self) -> list[Newcomer]:
        return [
            Newcomer(w.env_workflow_id, w.name, w.fingerprint.body, frozenset(w.node_types), w.node_count)
            for w in self.seen.values()
            if w.env_workflow_id not in self.mapping_of
        ]

    def _find_recreated(self) -> None:
        newcomers = self._newcomers()
        if not newcomers:
            return
        absent = (MapStatus.MISSING, MapStatus.DELETED)
        surely_gone = absent if not self.complete else (*absent, MapStatus.LINKED, MapStatus.UNMAPPED)
        there = self.seen.keys() | self.unread
        gone = {m.pk: m for m in self.mappings if m.status in surely_gone and m.env_workflow_id not in there}
        knowns = [known_from(m.pk, m.env_name, read_fingerprint(m.fingerprint)) for m in gone.values()]
        for workflow_id, map_id in recreated(newcomers, knowns).items():
            self.mapping_of[workflow_id] = gone[map_id]

    def _find_counterparts(self) -> None:
        newcomers = self._newcomers()
        if not newcomers:
            return
        decision = self._decision_on(newcomers)
        self.undecided = decision.undecided
        reusable = {m.canonical_workflow_id: m for m in self.mappings if m.status == MapStatus.DELETED}
        keys = _KeyMaker(self.keys.values())
        new_canonical = bulk.maker(CanonicalWorkflow, tenant_id=self.tenant_id)
        new_mapping = bulk.maker(WorkflowEnvMap, tenant_id=self.tenant_id, environment_id=self.environment_id)
        for newcomer in newcomers:
            workflow_id = newcomer.env_workflow_id
            canonical_id = decision.linked.get(workflow_id)
            if canonical_id is not None and canonical_id in reusable:
                self.mapping_of[workflow_id] = reusable[canonical_id]
                continue
            if canonical_id is None:
                canonical = new_canonical(key=keys.make(newcomer.name), name=newcomer.name[:500])
                self.new_canonicals.append(canonical)
                self.keys[canonical.pk] = canonical.key
                canonical_id = canonical.pk
            mapping = new_mapping(canonical_workflow_id=canonical_id, env_workflow_id=workflow_id)
            self.new_mappings.append(mapping)
            self.mapping_of[workflow_id] = mapping

    def _decision_on(self, newcomers: Sequence[Newcomer]) -> Decision:
        """Which newcomers live in another environment."""
        seen, stored = self.seen.values(), self._unseen()
        mapped = [mapping for mapping in self.mappings if mapping.status != MapStatus.DELETED]
        return counterparts(
            newcomers,
            names_here=[workflow.name for workflow in seen] + [known.name for known in stored],
            bodies_here=[workflow.fingerprint.body for workflow in seen] + [known.body for known in stored],
            elsewhere=self._elsewhere(),
            mapped_here={m.canonical_workflow_id for m in (*mapped, *self.mapping_of.values())},
        )

    def _unseen(self) -> list[Known]:
        """What lives here and was not read."""
        unseen = (
            m
            for m in self.mappings
            if m.status in LIVE and m.env_workflow_id not in self.seen and self._may_be_there(m.env_workflow_id)
        )
        return [known_from(m.pk, m.env_name, read_fingerprint(m.fingerprint)) for m in unseen]

    def _may_be_there(self, workflow_id: str) -> bool:
        return not self.complete or workflow_id in self.unread

    def _elsewhere(self) -> list[Known]:
        rows = (
            WorkflowEnvMap.objects.exclude(environment_id=self.environment_id)
            .exclude(status__in=[MapStatus.DELETED, MapStatus.IGNORED])
            .filter(environment_id__in=[e.pk for e in self.environments])
            .values_list("canonical_workflow_id", "env_name", "fingerprint")
        )
        return [known_from(pk, name, read_fingerprint(document)) for pk, name, document in rows]

    def describe(self) -> dict[str, Placed]:
        """Fill the rows in, once every id of the environment has its key. Asks the database nothing."""
        key_of = self._key_by_workflow_id()
        new = {mapping.pk for mapping in self.new_mappings}
        approves = self.is_baseline and self.complete and not self.environment.baseline_commit_sha
        placed: dict[str, Placed] = {}
        for workflow_id, mapping in self.mapping_of.items():
            is_new = mapping.pk in new
            mapping.env_workflow_id = workflow_id
            if is_new and workflow_id in self.undecided:
                mapping.status = MapStatus.UNMAPPED
            elif mapping.status in (MapStatus.MISSING, MapStatus.DELETED):
                mapping.status = MapStatus.LINKED
            was_approved_as_draft = _fill_in(mapping, self.seen[workflow_id], key_of)
            mapping.last_seen_at = self.captured_at
            if approves and is_new:
                _approve_as_seen(mapping)
            placed[workflow_id] = _placed(
                mapping, self.keys[mapping.canonical_workflow_id], is_new, was_approved_as_draft
            )
        return placed

    def _key_by_workflow_id(self) -> dict[str, str]:
        """Of everything that lives here after the capture."""
        stored = {m.env_workflow_id: m for m in self.mappings if m.env_workflow_id and m.status != MapStatus.DELETED}
        mappings = {**stored, **self.mapping_of}
        return {workflow_id: self.keys[mapping.canonical_workflow_id] for workflow_id, mapping in mappings.items()}

    def _mark_gone(self) -> None:
        gone = self._gone()
        for status, rows in (
            (MapStatus.MISSING, [m.pk for m in gone if m.git_content_hash]),
            (MapStatus.DELETED, [m.pk for m in gone if not m.git_content_hash]),
        ):
            WorkflowEnvMap.objects.filter(pk__in=rows).update(
                status=status, last_seen_at=self.environment.last_captured_at, updated_at=clock.now()
            )

    def _gone(self) -> list[WorkflowEnvMap]:
        found = {mapping.pk for mapping in self.mapping_of.values()}
        lived = (m for m in self.mappings if m.status in (MapStatus.LINKED, MapStatus.UNMAPPED))
        return [m for m in lived if m.pk not in found and m.env_workflow_id not in self.unread]

    def _learn(self) -> None:
        """Settings that an upgrade of n8n gave every workflow are its defaults from now on, and no drift."""
        learnt = given_to_all(self.facts_before, [workflow.facts for workflow in self.seen.values()])
        if learnt:
            Environment.objects.filter(pk=self.environment_id).update(
                learnt_settings={**self.environment.learnt_settings, **learnt}, updated_at=clock.now()
            )

    def _rename_canonicals(self) -> None:
        """A canonical workflow has the name that it has earliest in the pipeline."""
        new = {canonical.pk for canonical in self.new_canonicals}
        wanted = {
            mapping.canonical_workflow_id: mapping.env_name
            for mapping in self.mapping_of.values()
            if mapping.canonical_workflow_id not in new
            and self.names[mapping.canonical_workflow_id] != mapping.env_name
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


def _fill_in(mapping: WorkflowEnvMap, workflow: SeenWorkflow, key_of: Mapping[str, str]) -> bool:
    """What was seen, on the row; returns whether what is approved is the draft of a console that knew no versions."""
    mapping.env_content_hash = content_hash = workflow.fingerprint.content_hash(key_of)
    draft_hash = workflow.draft.content_hash(key_of) if workflow.draft is not None else None
    mapping.env_draft_hash = draft_hash if draft_hash != content_hash else None
    mapping.env_facts = workflow.facts.to_json()
    first_look = mapping.git_facts is None and mapping.git_content_hash is not None
    if first_look:
        # Approved before facts were kept: what is there at the first look is what was approved.
        mapping.git_facts = mapping.env_facts
    mapping.live_version = workflow.live.to_json() if workflow.live is not None else None
    mapping.comparable_hash = workflow.fingerprint.comparable_hash(key_of)
    mapping.normalization_version = workflow.fingerprint.version
    mapping.fingerprint = stored_fingerprint(
        workflow.fingerprint, workflow.node_types, workflow.draft, hosts=workflow.hosts
    )
    mapping.env_name = workflow.name[:500]
    mapping.env_active = workflow.active
    mapping.env_tags = sorted({tag[:120] for tag in workflow.tags})
    mapping.env_version_id = workflow.version_id[:64]
    mapping.node_count = workflow.node_count
    mapping.content_changed_at = workflow.updated_at
    return first_look and draft_hash is not None and draft_hash == mapping.git_content_hash


def _approve_as_seen(mapping: WorkflowEnvMap) -> None:
    mapping.git_content_hash, mapping.git_active = mapping.env_content_hash, mapping.env_active
    mapping.git_fingerprint = mapping.fingerprint
    mapping.git_draft_hash, mapping.git_facts = mapping.env_draft_hash, mapping.env_facts


def _placed(mapping: WorkflowEnvMap, key: str, is_new: bool, was_approved_as_draft: bool) -> Placed:
    return Placed(
        key=key,
        canonical_id=mapping.canonical_workflow_id,
        map_id=mapping.pk,
        content_hash=mapping.env_content_hash or "",
        comparable_hash=mapping.comparable_hash or "",
        status=str(mapping.status),
        is_new=is_new,
        draft_hash=mapping.env_draft_hash,
        was_approved_as_draft=was_approved_as_draft,
    )


def _state(mapping: WorkflowEnvMap) -> tuple[Any, ...]:
    return tuple(getattr(mapping, name) for name in _SEEN_FIELDS)


class _KeyMaker:
    """Keys for many new workflows; a thousand of one name do not take a thousand searches each."""

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
