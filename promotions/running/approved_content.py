"""What was approved: the plan's items as they are to be written, mapped as the plan says and in no other way."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from operations.engine import Run
from promotions.errors import PlanStale
from promotions.planning import snapshot_contents
from promotions.planning.documents import Plan, PlanItem
from promotions.planning.inputs import EnvironmentState, PlanInputs, ResourceIndex, WorkflowState
from promotions.planning.mapping import Mapped, keys_in_target, map_workflow, target_ids
from snapshots.models import Snapshot
from workflows.models import Environment
from workflows.writes import Release, WriteItem, pending


class ApprovedContent:
    """The contents of one plan, as far as they are written."""

    def __init__(
        self,
        plan: Plan,
        source: Environment,
        target: Environment,
        release: Release = Release(),  # noqa: B008 - frozen
    ) -> None:
        self.plan, self.source, self.target = plan, source, target
        self.items: Mapping[str, PlanItem] = plan.written_items
        self.release = release
        #: Keys of the workflows that the target does not have yet.
        self.creating = frozenset(key for key, item in self.items.items() if item.is_created)

    @cached_property
    def _target_ids(self) -> dict[str, str]:
        return target_ids(self.inputs, self.creating)

    @cached_property
    def _target_keys(self) -> dict[str, str]:
        return keys_in_target(self.inputs, self.creating)

    def reader(self, run: Run) -> snapshot_contents.Reader:
        """The contents that were approved, as the source's snapshot holds them."""
        with run.fenced():
            snapshot = Snapshot.objects.defer("workflows").filter(pk=self.plan.source.snapshot_id).first()
        if snapshot is None:
            raise PlanStale("The snapshot of the source that the plan was made from is gone.")
        return snapshot_contents.Reader(snapshot, list(self.items), version=self.plan.options.version)

    def write_items(self, reader: snapshot_contents.Reader) -> list[WriteItem]:
        """One for each workflow that is created or updated; contents are loaded when they are written."""
        return [self._write_item(item, reader) for item in self.items.values()]

    def _write_item(self, item: PlanItem, reader: snapshot_contents.Reader) -> WriteItem:
        there = item.target
        word = "Create" if there is None else "Update"
        return WriteItem(
            key=item.key,
            name=item.name,
            title=f"{word} {item.name or item.key}",
            action=item.action,
            wanted_hash=item.wanted_hash,
            env_workflow_id=there.env_workflow_id if there else None,
            content=lambda: self.content_for(item, reader),
            active=item.active,
            expected_active=there.active if there else None,
            archived=False if there else None,
            expected_drafts=frozenset({item.expected_draft_hash}) if there else None,
            release=self.release,
            tags=None if there else list(item.tags),
            expected_hash=item.expected_hash,
            needs=self.creating & {*item.depends_on, *_self_call(item)},
            create_if_missing=False,
        )

    def content_for(self, item: PlanItem, reader: snapshot_contents.Reader) -> dict[str, Any]:
        """What was approved, and nothing else: the pinned blob, mapped as the plan says, proven by the wanted hash.

        Raises ``PlanStale``.
        """
        mapped = self._mapped(item, reader)
        if mapped.wanted_hash != item.wanted_hash:
            raise PlanStale(f"“{item.name}” would not become what was approved.", details={"key": item.key})
        return mapped.content

    def hash_today(self, item: PlanItem, reader: snapshot_contents.Reader) -> str:
        """What was approved, hashed as today: the pinned blob proves it, whatever the plan's hash was made of."""
        return self._mapped(item, reader).wanted_hash

    def _mapped(self, item: PlanItem, reader: snapshot_contents.Reader) -> Mapped:
        found = reader.get(item.key)
        pinned = item.source.blob
        if found is None or (pinned and found[0].get("blob") not in (None, pinned)):
            raise PlanStale(f"The content of “{item.name}” that was approved is not in Git any more.")
        return map_workflow(found[1], inputs=self.inputs, workflow_ids=self._target_ids, keys=self._target_keys)

    @cached_property
    def inputs(self) -> PlanInputs:
        """The mapping that the plan locked, whatever was entered since."""
        source, target = self._workflows()
        return PlanInputs(
            source=EnvironmentState(self.source, source, None),
            target=EnvironmentState(self.target, target, None),
            resources=self._resources(),
            repairs=self.plan.options.repair,
        )

    def _workflows(self) -> tuple[dict[str, WorkflowState], dict[str, WorkflowState]]:
        source: dict[str, WorkflowState] = {}
        target: dict[str, WorkflowState] = {}
        for item in self.plan.items:
            source[item.key] = _workflow(item.key, item.source.env_workflow_id)
            if item.target:
                target[item.key] = _workflow(item.key, item.target.env_workflow_id)
        for called in (one for item in self.plan.items for one in item.workflows):
            if not called.key or not called.target_id:
                continue
            source.setdefault(called.key, _workflow(called.key, called.source_id))
            if called.target_id != pending(called.key):
                target.setdefault(called.key, _workflow(called.key, called.target_id))
        return source, target

    def _resources(self) -> ResourceIndex:
        by_name: dict[tuple[str, str], tuple[str, str]] = {}
        by_id: dict[tuple[str, str], tuple[str, str]] = {}
        for used in (one for item in self.plan.items for one in item.resources):
            if not used.target_id:
                continue
            found = (used.target_id, used.target_name or "")
            by_name[used.type, used.source_name] = found
            if used.source_id:
                by_id[used.type, used.source_id] = found
        return ResourceIndex(mapped_by_name=by_name, mapped_by_id=by_id)


def _workflow(key: str, env_workflow_id: str) -> WorkflowState:
    return WorkflowState(key, "", env_workflow_id, "linked", "", "", "", False, (), 0, None)


def _self_call(item: PlanItem) -> set[str]:
    return {used.key for used in item.workflows if used.key == item.key}
