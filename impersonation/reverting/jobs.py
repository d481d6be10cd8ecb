"""Jobs: what a session had the console do. Each is undone as a whole, by a job of its own that is carried through here.

A promotion goes back by the promotions' own rollback; what a restore or a stabilization wrote goes back to the snapshot
that it took before, by the restore path (``handlers.PutBack``). Both judge by content hash, and leave alone what is
neither as it was before nor as the session left it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drift.models import DriftIncident
from drift.undo_reconcile import revert_reconcile
from impersonation.models import ImpersonationSession
from operations import services as operations
from operations.engine import Run
from operations.models import Operation, OperationStatus
from promotions import services as promotions
from promotions.models import PromotionStatus
from snapshots.models import Snapshot
from workflows.calling import because_called
from workflows.models import Environment

from .items import Item, Verdict, outcome, person_of
from .jobbase import (
    JobReverter,
    Judged,
    Place,
    Traces,
    before_id,
    by_places,
    jobs_of,
    key_of,
    promotion_of,
    seen_now,
    written_by,
)

PUT_BACK = "impersonation.put_back"


class Promoted(JobReverter):
    name, kind = "promotions.execute", "promotion"

    def places(self, job: Operation) -> list[Place]:
        promotion = promotion_of(job)
        plan = (promotion.plan if promotion else None) or {}
        items = [i for i in plan.get("items", ()) if i["action"] != "unchanged"]
        seen = seen_now(job.environment_id, [i["key"] for i in items])
        return [
            Place(i["key"], i["name"], i["expected_hash"], i["wanted_hash"], seen.get(i["key"], (None, None))[0])
            for i in items
        ]

    def judge(self, job: Operation, traces: Traces) -> Judged:
        promotion = promotion_of(job)
        if promotion is None:
            return Judged(Verdict.IMPOSSIBLE, "The promotion is gone; restore the snapshot taken before it.")
        if job.is_open or promotion.status == PromotionStatus.RUNNING:
            return Judged(Verdict.IMPOSSIBLE, "It still runs: look again once it has ended.")
        if promotion.status == PromotionStatus.ROLLED_BACK:
            return Judged(Verdict.UNDONE, "It was rolled back.")
        if promotion.status not in promotions.CAN_ROLL_BACK or promotions.can_try_again(promotion):
            return Judged(Verdict.NOTHING, "It left the target as it was.")
        found = by_places(job.environment_id, self.places(job), traces)
        if found.verdict == Verdict.UNDONE:
            return replace(found, verdict=Verdict.READY, why="The content is as before; what is approved is not yet.")
        return found

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        return promotions.rollback(
            tenant_id=run.tenant_id,
            promotion_id=uuid.UUID(item.target["subject"]),
            by=person_of(run),
            force=force,
            reason=f"Revert of the support session {run.params['session_id']}",
            idempotency_key=key_of(run, item),
        )

    def ending(self, job: Operation) -> dict[str, Any]:
        if job.error_code == "PROMO_013":
            return outcome("conflict", f"{job.error_message} Left as it is.", code=job.error_code, job=str(job.pk))
        return super().ending(job)


class WroteBack(JobReverter):
    """What a job wrote through the restore path goes back to the snapshot that it took before."""

    def __init__(self, name: str, kind: str, prefix: str) -> None:
        self.name, self.kind, self.prefix = name, kind, prefix

    def places(self, job: Operation) -> list[Place]:
        before = Snapshot.objects.filter(pk=before_id(job.pk)).first()
        wrote = written_by(job.pk, self.prefix)
        if before is None or not wrote:
            return []
        entries = {str(entry["key"]): entry for entry in before.workflows}
        seen = seen_now(job.environment_id, list(wrote))
        return [
            Place(
                key,
                w.name,
                entries.get(key, {}).get("content_hash"),
                None if w.outcome == "deleted" else w.content_hash,
                seen.get(key, (None, None))[0],
                entries.get(key, {}).get("active"),
                seen.get(key, (None, None))[1],
            )
            for key, w in wrote.items()
        ]

    def judge(self, job: Operation, traces: Traces) -> Judged:
        if job.is_open:
            return Judged(Verdict.IMPOSSIBLE, "It still runs: look again once it has ended.")
        details = (job.error_details or {}).get("details") or {}
        if job.params.get("dry_run") or details.get("status") == "put_back":
            return Judged(Verdict.NOTHING, "It left the environment as it was.")
        places = self.places(job)
        if not places and written_by(job.pk, self.prefix):
            return Judged(Verdict.IMPOSSIBLE, "The snapshot taken before it is gone: restore an older one.")
        if not places:
            return Judged(Verdict.NOTHING, "It wrote nothing.")
        return by_places(job.environment_id, places, traces)

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        with run.fenced():
            environment = Environment.objects.get(pk=item.target["environment"])
        return operations.start(
            tenant_id=run.tenant_id,
            kind=PUT_BACK,
            title=f"Put back what “{item.name}” wrote"[:200],
            params={
                "session_id": run.params["session_id"],
                "job_id": item.target["job"],
                "environment_id": str(environment.pk),
                "prefix": self.prefix,
                "force": force,
            },
            requested_by=run.operation.requested_by,
            idempotency_key=key_of(run, item),
            exclusive_key=environment.write_lock,
            environment_id=environment.pk,
            subject_type="snapshot",
            subject_id=before_id(uuid.UUID(item.target["job"])),
        )

    def ending(self, job: Operation) -> dict[str, Any]:
        result = job.result or {}
        conflicts = result.get("conflicts") or []
        if job.status != OperationStatus.COMPLETED:
            return super().ending(job)
        if conflicts:
            names = ", ".join(f"“{row['name'] or row['key']}”" for row in conflicts[:3])
            why = "Others call it" if all("called_by" in row for row in conflicts) else "Edited in n8n since"
            message = f"{why}, left as it is: {names}; {len(result['put_back'])} put back."
            return outcome("conflict", message, job=str(job.pk))
        kept = " ".join(
            f"“{row['name']}” stays published, {because_called(row['called_by'])}." for row in _kept(result)
        )
        return {**super().ending(job), **({"message": kept} if kept else {})}


def _kept(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(result.get("kept_published") or ())[:3]


class Reconciled(JobReverter):
    """What a reconcile approved is approved no more; what it accepted is reported again. n8n is left as it is."""

    name, kind = "drift.reconcile", "reconcile"

    def judge(self, job: Operation, traces: Traces) -> Judged:
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
        places, back, foreign = [], [], []
        for incident in incidents:
            row, now, was = rows[str(incident.pk)], incident.workflow_env_map, incident.drift_snapshot
            before = (was.get("git_content_hash"), was.get("was_active"))
            after = (row["content_hash"], was.get("is_active"))
            found = (now.git_content_hash, now.git_active)
            places.append(Place(row["key"], row["name"], before[0], after[0], found[0]))
            if found == before or (found[0] is None and before[0] is None):
                back.append(row["name"])
            elif found != after and not (found[0] is None and after[0] is None):
                foreign.append(row["name"])
        if len(back) == len(incidents):
            return Judged(Verdict.UNDONE, places=tuple(places))
        if foreign:
            names = ", ".join(f"“{name}”" for name in foreign[:3])
            return Judged(Verdict.CONFLICT, f"Something else was approved since: {names}.", tuple(places))
        return Judged(Verdict.READY, "n8n stays as it is: what was approved by this is drift again.", tuple(places))

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        return revert_reconcile(
            tenant_id=run.tenant_id,
            job_id=uuid.UUID(item.target["job"]),
            requested_by=person_of(run),
            force=force,
            idempotency_key=key_of(run, item),
        )

    def ending(self, job: Operation) -> dict[str, Any]:
        result = job.result or {}
        conflicts = result.get("conflicts") or []
        if conflicts and job.status == OperationStatus.COMPLETED:
            names = ", ".join(f"“{row['name'] or row['key']}”" for row in conflicts[:3])
            return outcome("conflict", f"Something else was approved since, left as it is: {names}.", job=str(job.pk))
        return super().ending(job)


class RolledBack(JobReverter):
    """A rollback is not undone for anybody: what it took away needs its people's approval again."""

    name, kind = "promotions.rollback", "rollback"

    def judge(self, job: Operation, traces: Traces) -> Judged:
        promotion = promotion_of(job)
        called = f"“{promotion.name}”" if promotion else "the promotion"
        return Judged(
            Verdict.IMPOSSIBLE,
            f"What it took back was approved by people, and only they approve it again: plan {called} anew and execute"
            " it, or restore the snapshot taken before the rollback.",
        )


class Said(JobReverter):
    """Jobs that need no undoing, or that cannot be undone here, with the reason."""

    def __init__(self, name: str, kind: str, verdict: Verdict, why: str) -> None:
        self.name, self.kind, self._judged = name, kind, Judged(verdict, why)

    def judge(self, job: Operation, traces: Traces) -> Judged:
        return self._judged


JOBS: dict[str, JobReverter] = {
    reverter.name: reverter
    for reverter in (
        Promoted(),
        WroteBack("snapshots.restore", "restore", "restore"),
        WroteBack("drift.stabilize", "stabilization", "stabilize"),
        Reconciled(),
        RolledBack(),
        Said("drift.take_back", "reconcile taken back", Verdict.NOTHING, "Reconcile again what should be approved."),
        Said("snapshots.capture", "capture", Verdict.NOTHING, "A snapshot changes nothing."),
        Said("snapshots.verify", "check of a snapshot", Verdict.NOTHING, "It only reads."),
        Said("drift.check", "drift check", Verdict.NOTHING, "It only reads."),
        Said("environments.test", "connection test", Verdict.NOTHING, "It only reads."),
    )
}
UNKNOWN = "The console does not undo this kind of job: its page says what it did."


def job_items(session: ImpersonationSession, slug: str) -> list[Item]:
    """Every job that the session started. Needs the tenant's scope; asks neither n8n nor Git."""
    jobs = jobs_of(session)
    known = [(job, JOBS.get(job.kind) or Said(job.kind, "job", Verdict.IMPOSSIBLE, UNKNOWN)) for job in jobs]
    traces = Traces()
    for job, reverter in known:
        traces.take(job.environment_id, reverter.places(job))
    return [reverter.item(job, slug, traces) for job, reverter in known]
