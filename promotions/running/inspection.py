"""Whose is what a promotion has left in its target: one row for each workflow of the plan, for the way back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from operations.models import OperationStep, StepState
from promotions.planning import snapshot_contents
from promotions.planning.documents import PlanItem
from snapshots.models import Snapshot
from workflows.references import rewrite
from workflows.writes import Resolver, pending

from .documents import RollbackRow
from .job import PromotionJob
from .ownership import FOREIGN, NOT_WRITTEN, OLD, OURS, Verdict, WriteTrace, is_mixture, judge
from .target import Live, Reading

#: Steps of the writes; there is a second one where a workflow was linked, published or unpublished afterwards.
_WRITES = r"^promote:(link:)?(write|activate|rest|draft):"


class Inspection:
    """One reading of the target, judged. ``known`` are n8n ids that were there before the first write."""

    def __init__(self, job: PromotionJob, reading: Reading, resolver: Resolver, known: set[str]) -> None:
        self.job, self.reading, self.resolver, self.known = job, reading, resolver, known
        self.contents = _Contents(job)

    def rows(self) -> tuple[RollbackRow, ...]:
        traces = write_traces(self.job)
        for key, trace in traces.items():
            if trace.workflow_id and key in self.job.items and self.job.items[key].is_created:
                self.resolver.learn(key, trace.workflow_id)
        return tuple(self._row(item, traces.get(key, NOT_WRITTEN)) for key, item in self.job.items.items())

    def _row(self, item: PlanItem, trace: WriteTrace) -> RollbackRow:
        there = item.target.env_workflow_id if item.target else trace.workflow_id or self._find_created(item, trace)
        live = self.reading.workflows.get(there) if there else None
        draft = self.reading.draft_hash_of(there, self.resolver) if there else None
        draft_is_ours = self._draft_is_ours(item, trace, live, draft)
        verdict = self._verdict(item, trace, live)
        if verdict == OLD and item.target and draft != item.expected_draft_hash:
            # What runs is as before; only the draft is not.
            verdict = OURS if draft_is_ours else FOREIGN
        return RollbackRow(
            key=item.key,
            name=item.name,
            action=item.action,
            env_workflow_id=there or "",
            verdict=verdict,
            found_hash=self._hash_of(live),
            draft_hash=draft if draft_is_ours else item.expected_draft_hash,
        )

    def _hash_of(self, live: Live | None) -> str | None:
        return self.resolver.hash_of(live.fingerprint) if live else None

    def _verdict(self, item: PlanItem, trace: WriteTrace, live: Live | None) -> Verdict:
        """By what runs: its content, and whether it is published."""
        found = self._hash_of(live)
        verdict = judge(found_hash=found, old_hash=item.expected_hash, wanted_hash=item.wanted_hash, trace=trace)
        if verdict is None:
            verdict = OURS if live and self.contents.is_mixture(item, live, self.resolver) else FOREIGN
        if verdict == OLD and live and item.target and live.active != item.target.active:
            # The content is as it was; only the switch is not, and it was ours to turn.
            verdict = OURS if trace.begun and not trace.was_switched else FOREIGN
        return verdict

    def _draft_is_ours(self, item: PlanItem, trace: WriteTrace, live: Live | None, draft: str | None) -> bool:
        if draft in (None, item.expected_draft_hash):
            return True
        if not trace.begun or live is None:
            return False
        return draft in trace.drafts or self.contents.is_mixture_of_draft(item, live, self.resolver)

    def _find_created(self, item: PlanItem, trace: WriteTrace) -> str:
        """A creation without an answer: a workflow nobody knew, of that name, holding nothing but our content."""
        if not trace.begun:
            return ""
        for there, live in self.reading.workflows.items():
            if there in self.known or live.name != item.name:
                continue
            if self._hash_of(live) == item.wanted_hash or self.contents.is_mixture(item, live, self.resolver):
                self.known.add(there)
                return there
        return ""


def write_traces(job: PromotionJob) -> dict[str, WriteTrace]:
    """What the steps of the writes tell, by key."""
    with job.run.fenced():
        rows = list(
            OperationStep.objects.filter(operation_id=job.run.operation.pk, name__regex=_WRITES)
            .exclude(state=StepState.SKIPPED)
            .only("name", "state", "result", "error", "intent")
        )
    return traces_of(rows)


def traces_of(rows: Iterable[OperationStep]) -> dict[str, WriteTrace]:
    """The same of these steps; of several for one workflow, all count."""
    found: dict[str, WriteTrace] = {}
    for row in rows:
        key = str((row.intent or {}).get("key") or row.name.partition("write:")[2])
        found[key] = _with_step(found.get(key, WriteTrace(begun=True, done=True)), row)
    return found


def _with_step(trace: WriteTrace, row: OperationStep) -> WriteTrace:
    result, error = row.result or {}, row.error or {}
    details = error.get("details") or {}
    workflow_id = trace.workflow_id or result.get("env_workflow_id") or details.get("env_workflow_id") or ""
    # A later step than the write may have seen somebody else's draft.
    drafts = (*trace.drafts, result.get("draft_hash")) if ":write:" in row.name else trace.drafts
    return msgspec.structs.replace(
        trace,
        done=trace.done and row.state == StepState.DONE,
        workflow_id=workflow_id,
        read_back=details.get("found") if error.get("code") == "WRITE_002" else trace.read_back,
        was_switched=trace.was_switched or bool(details.get("switched")),
        drafts=drafts,
    )


class _Contents:
    """Old and new contents of single workflows, read only where a hash does not tell."""

    def __init__(self, job: PromotionJob) -> None:
        self._job = job

    def is_mixture(self, item: PlanItem, live: Live, resolver: Resolver) -> bool:
        """Whether what is there holds nothing but parts of the old and of the new content."""
        return live.content is not None and self._is_made_of_ours(item, live.content, resolver)

    def is_mixture_of_draft(self, item: PlanItem, live: Live, resolver: Resolver) -> bool:
        """Whether the draft holds nothing but parts of the old and of the new content."""
        return live.draft_content is not None and self._is_made_of_ours(item, live.draft_content, resolver)

    def _is_made_of_ours(self, item: PlanItem, there: dict[str, Any], resolver: Resolver) -> bool:
        created = {workflow_id: pending(key) for key, workflow_id in resolver.created.items()}
        # References are compared by what they mean: a created workflow has an id now where the plan had none.
        found = rewrite(there, workflow_ids=created, credentials={}).content if created else there
        old, new = self._contents_of(item)
        return is_mixture(found, old, new)

    def _contents_of(self, item: PlanItem) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        job = self._job
        with job.run.fenced():
            source = Snapshot.objects.defer("workflows").get(pk=job.plan.source.snapshot_id)
            pre = Snapshot.objects.defer("workflows").get(pk=job.pre_id)
        with snapshot_contents.Reader(source, [item.key], version=item.source.version) as reader:
            new = job.approved.content_for(item, reader)
        old = snapshot_contents.load(pre, [item.key]).get(item.key) if item.target else None
        return old[1] if old else None, new
