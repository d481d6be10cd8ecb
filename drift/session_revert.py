"""How what a support session wrote here is reverted: rules, checks, incidents, reconciles and stabilizations."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from impersonation.reverting.changes import Change
from impersonation.reverting.items import Fact, Item, Verdict, outcome, person_of
from impersonation.reverting.jobbase import (
    FixedVerdict,
    JobReverter,
    Judged,
    SessionWrites,
    WrittenWorkflow,
    key_of,
    quoted,
)
from impersonation.reverting.rowbase import NothingToRevert, Row, RowReverter, tenant_of
from operations.engine import Run
from operations.models import Operation, OperationStatus
from snapshots.session_revert import RestoredWorkflows
from tenants.models import User
from workflows.models import WorkflowEnvMap

from . import policies, scheduling
from .accepted import TOLERATING
from .detection import detect
from .models import DriftIncident, DriftPolicy, DriftScheduler, IncidentState
from .undo_reconcile import revert_reconcile, tolerate_no_more


class DriftRules(RowReverter):
    """How long drift may stand, and whether it stops promotions."""

    name = "drift_policies"
    kind = "drift policy"
    columns: ClassVar = {
        "enforce_ttl": "Time is enforced",
        "block_on_active_drift": "Drift blocks promotions",
        "ttl_hours_critical": "Hours, critical",
        "ttl_hours_high": "Hours, high",
        "ttl_hours_medium": "Hours, medium",
        "ttl_hours_low": "Hours, low",
    }

    def label(self, change: Change, now: Row | None) -> str:
        return "Rules about drift"

    def defaults(self) -> Row:
        fresh = DriftPolicy()
        return {column: getattr(fresh, column) for column in self.columns}

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        row = self.with_values_before(change, now)
        policies.save_policy(
            tenant_id=tenant_of(now),
            enforce_ttl=row["enforce_ttl"],
            block_on_active_drift=row["block_on_active_drift"],
            hours={level: row[field] for level, field in policies.TTL_FIELDS.items()},
        )


class DriftChecks(RowReverter):
    """Whether and how often the environments are checked."""

    name = "drift_schedulers"
    kind = "schedule of drift checks"
    columns: ClassVar = {"is_running": "Checks run", "every_seconds": "Every (seconds)"}

    def label(self, change: Change, now: Row | None) -> str:
        return "Checks for drift"

    def defaults(self) -> Row:
        fresh = DriftScheduler()
        return {column: getattr(fresh, column) for column in self.columns}

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        row = self.with_values_before(change, now)
        scheduling.set_scheduler(
            tenant_id=tenant_of(now), is_running=row["is_running"], every_seconds=row["every_seconds"], by=by
        )


class Incidents(RowReverter):
    """Acknowledging changes nothing outside. What was accepted is reported again; a closed incident stays closed."""

    name = "drift_incidents"

    def fixed_verdict(self, change: Change, now: Row | None) -> tuple[Verdict, str] | None:
        if (change.after or {}).get("incident_state") != IncidentState.CLOSED:
            return Verdict.NOTHING, "That somebody looks into it changes nothing."
        if (change.after or {}).get("resolution_type") not in TOLERATING:
            return Verdict.NOTHING, "Closing it hides nothing: the next check reports what still drifts."
        return None

    def changed_columns(self, change: Change) -> list[str]:
        return ["tolerates"]

    def facts(self, change: Change, now: Row | None) -> tuple[Fact, ...]:
        return (Fact("This drift is reported", "yes", "no", "no" if (now or {}).get("tolerates") else "yes"),)

    def note(self, change: Change) -> str:
        return "It stays closed; if the workflow still drifts like this, a new incident is opened."

    def read(self, change: Change, *, lock: bool = False) -> Row | None:
        rows = DriftIncident.objects.select_for_update() if lock else DriftIncident.objects.all()
        incident = rows.filter(pk=change.pk).first()
        return {"tolerates": incident.drift_snapshot.get("tolerates")} if incident else None

    def judge(self, change: Change, now: Row | None) -> Verdict:
        return Verdict.READY if (now or {}).get("tolerates") else Verdict.UNDONE

    def write_back(self, change: Change, now: Row | None, by: User) -> None:
        tolerate_no_more(uuid.UUID(change.pk))

    def revert(self, run: Run, item: Item, *, force: bool) -> dict[str, Any]:
        result = super().revert(run, item, force=force)
        with run.fenced():
            mapping = WorkflowEnvMap.objects.select_related("environment").get(drift_incidents=item.target["pk"])
        detect(run, environment=mapping.environment)
        return result


Approved = tuple[str | None, bool | None]
"""Content hash and active of an approved version; without a hash nothing is approved."""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a reconcile approved of one workflow: the approved version before it, after it, and now."""

    workflow: WrittenWorkflow
    before: Approved
    after: Approved
    now: Approved

    @classmethod
    def of(cls, incident: DriftIncident, row: Mapping[str, Any]) -> Approval:
        """``row`` is the workflow's row in the result of the reconcile."""
        mapping, seen = incident.workflow_env_map, incident.drift_snapshot
        before = (seen.get("git_content_hash"), seen.get("was_active"))
        after = (row["content_hash"], seen.get("is_active"))
        now = (mapping.git_content_hash, mapping.git_active)
        return cls(WrittenWorkflow(row["key"], row["name"], before[0], after[0], now[0]), before, after, now)

    @property
    def is_as_before(self) -> bool:
        return _same_approval(self.now, self.before)

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else approved something since."""
        return not self.is_as_before and not _same_approval(self.now, self.after)


def _same_approval(one: Approved, other: Approved) -> bool:
    return one == other or (one[0] is None and other[0] is None)


class Reconciled(JobReverter):
    """What a reconcile approved is approved no more; what it accepted is reported again. n8n is left as it is."""

    name, kind = "drift.reconcile", "reconcile"

    def judge(self, job: Operation, writes: SessionWrites) -> Judged:
        if job.is_open:
            return Judged(Verdict.IMPOSSIBLE, "It still runs: look again once it has ended.")
        rows = {str(row["incident_id"]): row for row in (job.result or {}).get("reconciled") or ()}
        if not rows:
            return Judged(Verdict.NOTHING, "It approved nothing.")
        incidents = list(DriftIncident.objects.filter(pk__in=list(rows)).select_related("workflow_env_map"))
        if not (job.result or {}).get("commit_sha"):
            tolerated = any("tolerates" in incident.drift_snapshot for incident in incidents)
            return Judged(Verdict.READY if tolerated else Verdict.UNDONE, "What was accepted is reported again.")
        return self._by_approval(rows, incidents)

    def _by_approval(self, rows: Mapping[str, Mapping[str, Any]], incidents: list[DriftIncident]) -> Judged:
        approvals = [Approval.of(incident, rows[str(incident.pk)]) for incident in incidents]
        workflows = tuple(approval.workflow for approval in approvals)
        if all(approval.is_as_before for approval in approvals):
            return Judged(Verdict.UNDONE, workflows=workflows)
        if foreign := [a.workflow.name for a in approvals if a.is_foreign]:
            return Judged(Verdict.CONFLICT, f"Something else was approved since: {quoted(foreign)}.", workflows)
        return Judged(Verdict.READY, "n8n stays as it is: what was approved by this is drift again.", workflows)

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        return revert_reconcile(
            tenant_id=run.tenant_id,
            job_id=uuid.UUID(item.target["job"]),
            requested_by=person_of(run),
            force=force,
            idempotency_key=key_of(run, item),
        )

    def result(self, job: Operation) -> dict[str, Any]:
        result = job.result or {}
        conflicts = result.get("conflicts") or []
        if conflicts and job.status == OperationStatus.COMPLETED:
            names = quoted(row["name"] or row["key"] for row in conflicts)
            return outcome("conflict", f"Something else was approved since, left as it is: {names}.", job=str(job.pk))
        return super().result(job)


ROW_REVERTERS = (
    DriftRules(),
    DriftChecks(),
    Incidents(),
    NothingToRevert("incident_comments", "A comment changes nothing that runs; its author may delete it."),
)
STABILIZATION = RestoredWorkflows("drift.stabilize", "stabilization", "stabilize")
RECONCILE = Reconciled()
UNDONE_RECONCILE = FixedVerdict(
    "drift.take_back", "reconcile taken back", Verdict.NOTHING, "Reconcile again what should be approved."
)
CHECK = FixedVerdict("drift.check", "drift check", Verdict.NOTHING, "It only reads.")
