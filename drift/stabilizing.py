"""Stabilize: workflows are as approved again, never over an edit that nobody has looked at."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from core.errors import OpsError
from operations.engine import Run
from operations.errors import UnknownOutcome
from snapshots.canonical import canonical_references
from snapshots.capture import capture_into
from snapshots.models import SnapshotType
from snapshots.reading import Rescued
from snapshots.restore import RestoreReport, RestoreRequest, restore_into
from snapshots.restore_documents import KeptPublished
from snapshots.services import canonical_content
from workflows.gateway import client_for
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n.errors import RemoteNotFound
from workflows.writes import Release

from . import contents
from .describing import signature
from .documents import Failure, Proof
from .errors import SeenMeanwhile, StabilizeFailed
from .keeping import ABOUT_RUNNING
from .models import IncidentState
from .stabilize_plan import DEACTIVATE, DELETE, RESTORE, Action, StabilizePlan, plan_stabilize
from .status_sync import (
    Item,
    Job,
    conclude,
    failures_from,
    leave_standing,
    mappings_by_key,
    mappings_of,
    record_as_seen,
    refused,
    settle,
    standing_facts,
    stored,
    what,
)


def stabilize(run: Run, environment: Environment) -> dict[str, Any]:
    """Write back what is approved; see ``services.stabilize``."""
    job = Job.of(run, environment)
    if job.is_outdated and "plan" not in run.done_steps():
        raise job.refuse_outdated(StabilizeFailed)
    try:
        before = capture_into(
            run,
            environment=environment,
            snapshot_type=SnapshotType.PRE_STABILIZE,
            description=f"Before stabilizing {what(job.items)}",
            step="before",
            snapshot_id=uuid.uuid5(run.operation.pk, "before"),
        )
    except UnknownOutcome:
        raise
    except OpsError as error:
        job.failed = [item.failure(error) for item in job.items]
        raise refused(job, StabilizeFailed, "No safety snapshot could be taken, so nothing was changed.") from error
    planned = run.step("plan", "Compare with what was looked at", lambda: plan_stabilize(job, before).to_json())
    plan = StabilizePlan.from_json(planned)
    job.failed += plan.failed
    stabilization = _Stabilization(job, plan.with_todays_hashes(before), before.pk)
    settled = stabilization.carry_out()
    result = {
        "stabilized": settled,
        "failed": stored(job.failed),
        "kept_published": stabilization.kept(),
        "warnings": msgspec.to_builtins(stabilization.rescued.warnings),
        "safety_snapshot_id": str(before.pk),
    }
    return conclude(job, result, bool(settled), StabilizeFailed)


class _Stabilization:
    """The actions of a job, by key. ``snapshot_id`` is the safety snapshot."""

    def __init__(self, job: Job, actions: Mapping[str, Action], snapshot_id: uuid.UUID) -> None:
        self.job, self.actions, self.snapshot_id = job, actions, snapshot_id
        self.rescued = Rescued()

    def carry_out(self) -> list[dict[str, Any]]:
        """Write, read back, close the incidents; what was settled."""
        job = self.job
        report = self._write()
        by_key = {item.key: item for item in job.items}
        for written in report.failed:
            if written.key in by_key:
                error = written.error or {"message": "The write failed."}
                job.failed.append(by_key[written.key].failure_from(error))
        proved = job.run.step("prove", "Read back and compare the hashes", lambda: self._prove(report))
        job.failed += failures_from(proved["failed"])
        settled: list[dict[str, Any]] = job.run.step(
            "settle", "Close the incidents", lambda: self._settle(proved["hashes"])
        )
        return settled

    def kept(self) -> list[dict[str, Any]]:
        """What stays published because something that runs calls it."""
        names = {item.key: item.name for item in self.job.items}
        kept = [KeptPublished(k, names[k], action.callers) for k, action in self.actions.items() if action.callers]
        found: list[dict[str, Any]] = msgspec.to_builtins(kept)
        return found

    def _keys(self, do: str) -> list[str]:
        return [key for key, action in self.actions.items() if action.do == do]

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(self) -> RestoreReport:
        environment = self.job.environment
        restoring, resting, deleting = self._keys(RESTORE), self._keys(DEACTIVATE), self._keys(DELETE)
        if not restoring and not resting and not deleting:
            return RestoreReport()
        drafts = canonical_content(environment, restoring, drafts=True, rescued=self.rescued) if restoring else {}
        request = RestoreRequest(
            environment=environment,
            prefix="stabilize",
            contents=self._approved(restoring) | self._unpublished(resting),
            drafts=drafts | contents.seen_drafts(environment, self.snapshot_id, resting),
            expected={key: action.expected for key, action in self.actions.items()},
            expected_drafts={
                key: {action.draft}
                for key, action in self.actions.items()
                if not isinstance(action.draft, msgspec.UnsetType)
            },
            release=Release("As approved", "Stabilized: put back to what is approved."),
            delete={key: self.actions[key].env_workflow_id for key in deleting},
            keep_published={key for key in restoring if self.actions[key].callers},
            origin=canonical_references(environment),
            tolerant=True,
        )
        return restore_into(self.job.run, request)

    def _approved(self, keys: list[str]) -> dict[str, dict[str, Any]]:
        """Approved contents, published or not as is approved."""
        if not keys:
            return {}
        wanted = canonical_content(self.job.environment, keys, rescued=self.rescued)
        with self.job.run.fenced():
            rows = WorkflowEnvMap.objects.filter(
                environment_id=self.job.environment.pk, canonical_workflow__key__in=keys, git_active__isnull=False
            )
            active = dict(rows.values_list("canonical_workflow__key", "git_active"))
        return {key: {**content, "active": active.get(key, content.get("active"))} for key, content in wanted.items()}

    def _unpublished(self, keys: list[str]) -> dict[str, dict[str, Any]]:
        seen = contents.seen(self.job.environment, self.snapshot_id, keys)
        return {key: {**content, "active": False} for key, content in seen.items()}

    # -- proving --------------------------------------------------------------------------------------------------

    def _prove(self, report: RestoreReport) -> dict[str, Any]:
        """Read back what was written, record it, and compare with what is approved."""
        raws = self._read_back(report)
        hashes = record_as_seen(self.job, raws)
        with self.job.run.fenced():
            mappings = mappings_by_key(self.job.items)
        found = (
            self._fault(item, mappings[item.key], report, is_there=item.key in raws, found=hashes.get(item.key))
            for item in self.job.remaining()
            if item.key in mappings
        )
        return {"failed": stored([failure for failure in found if failure is not None]), "hashes": hashes}

    def _read_back(self, report: RestoreReport) -> dict[str, dict[str, Any]]:
        """By key, what n8n holds of what was written; what is gone is left out."""
        written = {
            item.key: report.results[item.key].env_workflow_id
            for item in self.job.remaining()
            if self.actions[item.key].do in (RESTORE, DEACTIVATE) and item.key in report.results
        }
        raws: dict[str, dict[str, Any]] = {}
        with client_for(self.job.environment) as client:
            for key, workflow_id in written.items():
                self.job.run.check()
                try:
                    raws[key] = client.get_workflow(workflow_id)
                except RemoteNotFound:
                    continue
        return raws

    def _fault(
        self, item: Item, mapping: WorkflowEnvMap, report: RestoreReport, *, is_there: bool, found: str | None
    ) -> Failure | None:
        """Why an incident is not settled after all; nothing where it is."""
        action = self.actions[item.key]
        if action.callers and item.kind in ABOUT_RUNNING:
            return None
        if action.do == DEACTIVATE and mapping.env_active:
            return item.failure(StabilizeFailed("The workflow is still active."))
        if action.do != RESTORE:
            return None
        if not is_there or not _is_as_approved(item, mapping, report):
            return item.failure(SeenMeanwhile(details={"approved": mapping.git_content_hash, "found": found}))
        standing = standing_facts(mapping, item.aspect, self.job.environment)
        names = ", ".join(change.name for change in standing)
        return item.failure(StabilizeFailed(f"n8n did not take back: {names}.")) if standing else None

    # -- settling -------------------------------------------------------------------------------------------------

    def _settle(self, hashes: Mapping[str, str]) -> list[dict[str, Any]]:
        settled = []
        with self.job.run.fenced():
            mappings = mappings_of(self.job.items)
            for item in self.job.remaining():
                action = self.actions[item.key]
                if action.callers and item.kind in ABOUT_RUNNING:
                    leave_standing(self.job, item, action.callers)
                    continue
                proof = Proof(
                    content_hash=hashes.get(item.key),
                    safety_snapshot_id=str(self.snapshot_id),
                    kept_for=action.callers or None,
                )
                noted: dict[str, Any] = {"proof": proof}
                if action.do == DEACTIVATE:
                    mapping = mappings[item.map_id]
                    hashes_now = (mapping.git_content_hash, mapping.env_content_hash)
                    noted["tolerates"] = signature(item.kind, *hashes_now, False)
                resolution = _RESOLUTIONS.get(action.do, "stabilized")
                settle(self.job, item, IncidentState.STABILIZED, resolution, **noted)
                settled.append(
                    {
                        "incident_id": item.id,
                        "key": item.key,
                        "name": item.name,
                        "action": action.do,
                        **msgspec.to_builtins(proof),
                    }
                )
        return settled


_RESOLUTIONS = {DEACTIVATE: "deactivated", DELETE: "deleted"}


def _is_as_approved(item: Item, mapping: WorkflowEnvMap, report: RestoreReport) -> bool:
    """Whether what was read back is what is approved; a draft that n8n could not take is no difference."""
    written = report.results.get(item.key)
    undone = {left.get("path") for left in written.left} if written is not None else set()
    same_draft = "draft" in undone or mapping.env_draft_hash == mapping.git_draft_hash
    return mapping.env_content_hash == mapping.git_content_hash and same_draft
