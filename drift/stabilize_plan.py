"""What stabilizing does with each workflow: decided once, from how it is after the safety snapshot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.errors import OpsError
from snapshots.models import Snapshot
from snapshots.services import entries, moved_hashes
from workflows.calling import can_be_active
from workflows.facts import loaded_facts
from workflows.identity import key_by_workflow_id
from workflows.models import MapStatus, WorkflowEnvMap
from workflows.references import called_workflows

from . import contents
from .documents import Failure
from .errors import CalledByOthers, MoreHasDrifted, NothingApproved, SeenMeanwhile, WrongState
from .keeping import as_approved, by_key, kept_for
from .models import DriftAspect, DriftKind
from .status_sync import (
    Item,
    Job,
    aspects_by_key,
    failures_from,
    mappings_by_key,
    mappings_of,
    standing_facts,
    standing_ids,
    stored,
)

LISTED = 50
NOTHING, RESTORE, DEACTIVATE, DELETE, KEEP = "nothing", "restore", "deactivate", "delete", "keep"


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with one workflow. ``do``: nothing, restore, deactivate, delete or keep (published).

    ``expected`` is the content hash that may be overwritten, ``draft`` that of the draft (unset: any). ``kept_for``
    names what calls it, so that it stays published.
    """

    map_id: str
    env_workflow_id: str
    expected: str | None
    do: str
    draft: str | msgspec.UnsetType | None = msgspec.UNSET
    kept_for: list[str] | msgspec.UnsetType = msgspec.UNSET

    @property
    def callers(self) -> list[str]:
        """Names of what keeps it published."""
        return [] if isinstance(self.kept_for, msgspec.UnsetType) else self.kept_for


@dataclass(slots=True)
class StabilizePlan:
    """Actions by key, and the incidents that are refused."""

    actions: dict[str, Action] = field(default_factory=dict)
    failed: list[Failure] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As the record of a step keeps it."""
        return {"failed": stored(self.failed), "actions": msgspec.to_builtins(self.actions)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StabilizePlan:
        """Read such a record, also of an older console."""
        return cls(msgspec.convert(data["actions"], dict[str, Action]), failures_from(data["failed"]))

    def with_todays_hashes(self, before: Snapshot) -> dict[str, Action]:
        """The actions as it is compared now: the console may have been upgraded since the safety snapshot."""
        moved = moved_hashes(before)
        found = {}
        for key, action in self.actions.items():
            draft = action.draft
            if isinstance(draft, str):
                draft = moved.drafts.get(draft, draft)
            expected = moved.contents.get(action.expected or "", action.expected)
            found[key] = msgspec.structs.replace(action, expected=expected, draft=draft)
        return found


def plan_stabilize(job: Job, before: Snapshot) -> StabilizePlan:
    """Decide what to do with each workflow. Outside any scope."""
    approved = contents.approved(job.environment, [i.key for i in job.items if i.kind != DriftKind.ADDED])
    with job.run.fenced():
        mappings = mappings_of(job.items)
        standing = standing_ids(job.items)
    plan, chosen = StabilizePlan(), aspects_by_key(job.items)
    for item in job.items:
        mapping = mappings.get(item.map_id)
        if mapping is None or item.id not in standing:
            plan.failed.append(item.failure(WrongState()))
            continue
        decision = _Decision(job, item, mapping, chosen[item.key], is_approved=item.key in approved)
        outcome = decision.make()
        if isinstance(outcome, Failure):
            plan.failed.append(outcome)
        else:
            plan.actions[item.key] = outcome
    _refuse_whole_workflows(job, plan)
    plan.failed += _keep_called(job, plan.actions, approved, before)
    return plan


@dataclass(frozen=True, slots=True)
class _Decision:
    """What to do about one incident. ``chosen`` are all aspects of the workflow that are to be settled."""

    job: Job
    item: Item
    mapping: WorkflowEnvMap
    chosen: Collection[str]
    is_approved: bool

    @property
    def is_gone(self) -> bool:
        return self.mapping.status in (MapStatus.MISSING, MapStatus.DELETED)

    @property
    def found(self) -> str | None:
        """The content hash that is there now."""
        return None if self.is_gone else self.mapping.env_content_hash

    @property
    def is_as_approved(self) -> bool:
        return self.found is not None and self.found == self.mapping.git_content_hash

    def make(self) -> Action | Failure:
        item, mapping = self.item, self.mapping
        added = str(self.job.run.params.get("added") or DEACTIVATE)
        action = Action(
            map_id=item.map_id,
            env_workflow_id=mapping.env_workflow_id,
            expected=self.found,
            do=added if item.kind == DriftKind.ADDED else RESTORE,
        )
        if item.kind == DriftKind.ADDED and (mapping.git_content_hash is not None or self.is_gone):
            return msgspec.structs.replace(action, do=NOTHING)
        refusal = self._refusal()
        return refusal or msgspec.structs.replace(action, draft=mapping.env_draft_hash)

    def _refusal(self) -> Failure | None:
        item = self.item
        if item.kind != DriftKind.ADDED and not self.is_approved:
            return item.failure(NothingApproved())
        if not self.is_as_approved and DriftAspect.WORKFLOW not in self.chosen and not self.is_gone:
            return item.failure(MoreHasDrifted())
        if self.job.run.params.get("force"):
            return None
        draft = self._draft_refusal()
        return item.failure(draft) if draft is not None else self._edited()

    def _draft_refusal(self) -> OpsError | None:
        """A draft that nobody chose to discard is somebody's work; so is one that was edited since."""
        found = self.mapping.env_draft_hash
        if found in (None, self.mapping.git_draft_hash):
            return None
        if DriftAspect.DRAFT not in self.chosen:
            return MoreHasDrifted(
                "Its editor holds a draft that would be lost.",
                recovery="Choose the incident about the draft as well, or publish or discard the draft in n8n first.",
            )
        if self.item.kind == DriftKind.DRAFT and found != self.item.expected_draft:
            details = {"expected_draft": self.item.expected_draft, "draft": found}
            return SeenMeanwhile("Its draft in n8n is not the one that was looked at.", details=details)
        return None

    def _edited(self) -> Failure | None:
        """What was edited, published or unpublished since it was looked at."""
        item, mapping = self.item, self.mapping
        active = bool(mapping.env_active)
        switched = not self.is_gone and item.was_switched(active) and active != bool(mapping.git_active)
        moved = self._moved_facts()
        other_content = self.found != item.expected_hash and not self.is_as_approved
        if switched or moved or other_content:
            return item.seen_meanwhile(self.found, switched=switched, moved=moved)
        return None

    def _moved_facts(self) -> list[Any]:
        """Facts that are no longer those looked at; none where a person has made them as approved: nothing is lost."""
        environment = self.job.environment
        if self.is_gone or not standing_facts(self.mapping, self.item.aspect, environment):
            return []
        return self.item.moved(loaded_facts(self.mapping.env_facts), environment)


def _refuse_whole_workflows(job: Job, plan: StabilizePlan) -> None:
    """A workflow is written whole: where one of its incidents is refused, the others wait as well."""
    causes = {failure.key: failure for failure in plan.failed}
    refused = {failure.incident_id for failure in plan.failed}
    plan.failed += [
        item.because_of(causes[item.key]) for item in job.items if item.key in causes and item.id not in refused
    ]
    plan.actions = {key: action for key, action in plan.actions.items() if key not in causes}


def _keep_called(
    job: Job, actions: dict[str, Action], approved: Mapping[str, Mapping[str, Any]], before: Snapshot
) -> list[Failure]:
    """Keep published what something that runs on calls; ``actions`` are changed in place.

    Returned are the failures of those that n8n would not run as they are approved: they are left alone.
    """
    failed: list[Failure] = []
    called = _Called(job, approved, before)
    while True:
        kept = called.by(actions)
        lost = {k: names for k, names in kept.items() if k in approved and not _can_run(approved[k])}
        if not lost or job.run.params.get("force"):
            break
        for key, names in lost.items():
            del actions[key]
            error = CalledByOthers(details={"callers": names[:LISTED]})
            failed += [item.failure(error) for item in job.items if item.key == key]
    for key in kept.keys() - lost.keys():
        do = RESTORE if key in approved else KEEP
        actions[key] = msgspec.structs.replace(actions[key], do=do, kept_for=kept[key][:LISTED])
    return failed


def _can_run(content: Mapping[str, Any]) -> bool:
    return can_be_active(content, called_count=True)


class _Called:
    """Who calls what would be switched off. Needs no scope to be made."""

    def __init__(self, job: Job, approved: Mapping[str, Mapping[str, Any]], before: Snapshot) -> None:
        self._environment, self._approved = job.environment, approved
        self._entries = entries(before)
        self._despite = {item.key for item in job.items if item.by_upgrade}
        with job.run.fenced():
            self._mappings = mappings_by_key(job.items)
            self._keys = key_by_workflow_id(job.environment.pk)

    def by(self, actions: Mapping[str, Action]) -> dict[str, list[str]]:
        """By key, names of what calls it, once the actions are done."""
        then = {
            key: as_approved(self._mappings[key], by_key(called_workflows(self._approved[key]), self._keys))
            if key in self._approved
            else None
            for key, action in actions.items()
            if action.do != NOTHING
        }
        return kept_for(self._environment, self._entries, then, self._keys, despite=self._despite)
