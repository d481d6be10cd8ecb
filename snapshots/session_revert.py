"""How what a support session had restored is reverted: from the snapshot taken before, by the restore path."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from impersonation.reverting.items import Item, Verdict, outcome
from impersonation.reverting.jobbase import (
    FixedVerdict,
    Hash,
    JobReverter,
    Judged,
    SessionWrites,
    WrittenWorkflow,
    judge_by_hash,
    key_of,
    quoted,
)
from impersonation.reverting.rowbase import NothingToRevert
from operations import services as operations
from operations.engine import Run
from operations.models import Operation, OperationStatus
from workflows.calling import because_called
from workflows.models import Environment
from workflows.session_revert import seen_now, written_by
from workflows.writes import Written

from .models import Snapshot

#: The kind of the job that restores what another job wrote over. Stored; ``session_restore`` carries it out.
SESSION_RESTORE = "impersonation.put_back"
#: How many workflows that stay published a sentence names.
NAMED = 3


def before_id(job_id: uuid.UUID) -> uuid.UUID:
    """The id of the snapshot that a restore or a stabilization takes before it writes."""
    return uuid.uuid5(job_id, "before")


class RestoredWorkflows(JobReverter):
    """What a job wrote through the restore path is restored from the snapshot that it took before."""

    def __init__(self, name: str, kind: str, prefix: str) -> None:
        self.name, self.kind, self.prefix = name, kind, prefix

    def written_workflows(self, job: Operation) -> list[WrittenWorkflow]:
        before = Snapshot.objects.filter(pk=before_id(job.pk)).first()
        wrote = written_by(job.pk, self.prefix)
        if before is None or not wrote:
            return []
        entries = {str(entry["key"]): entry for entry in before.workflows}
        seen = seen_now(job.environment_id, list(wrote))
        return [_written(w, entries.get(w.key, {}), *seen.get(w.key, (None, None))) for w in wrote.values()]

    def judge(self, job: Operation, writes: SessionWrites) -> Judged:
        if job.is_open:
            return Judged(Verdict.IMPOSSIBLE, "It still runs: look again once it has ended.")
        details = (job.error_details or {}).get("details") or {}
        if job.params.get("dry_run") or details.get("status") == "put_back":
            return Judged(Verdict.NOTHING, "It left the environment as it was.")
        workflows = self.written_workflows(job)
        if not workflows and written_by(job.pk, self.prefix):
            return Judged(Verdict.IMPOSSIBLE, "The snapshot taken before it is gone: restore an older one.")
        if not workflows:
            return Judged(Verdict.NOTHING, "It wrote nothing.")
        return judge_by_hash(job.environment_id, workflows, writes)

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        with run.fenced():
            environment = Environment.objects.get(pk=item.target["environment"])
        return operations.start(
            tenant_id=run.tenant_id,
            kind=SESSION_RESTORE,
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

    def result(self, job: Operation) -> dict[str, Any]:
        if job.status != OperationStatus.COMPLETED:
            return super().result(job)
        result = job.result or {}
        if conflicts := result.get("conflicts"):
            message = f"{_why_left(conflicts)}; {len(result['put_back'])} put back."
            return outcome("conflict", message, job=str(job.pk))
        kept = result.get("kept_published") or []
        message = " ".join(
            f"“{row['name']}” stays published, {because_called(row['called_by'])}." for row in kept[:NAMED]
        )
        return {**super().result(job), **({"message": message} if message else {})}


def _why_left(conflicts: list[dict[str, Any]]) -> str:
    reason = "Others call it" if all("called_by" in row for row in conflicts) else "Edited in n8n since"
    return f"{reason}, left as it is: {quoted(row['name'] or row['key'] for row in conflicts)}"


def _written(written: Written, entry: Mapping[str, Any], hash_now: Hash, active_now: bool | None) -> WrittenWorkflow:
    """``entry`` is the workflow's in the snapshot before the job, empty where it was not there."""
    return WrittenWorkflow(
        key=written.key,
        name=written.name,
        before=entry.get("content_hash"),
        after=None if written.outcome == "deleted" else written.content_hash,
        now=hash_now,
        before_active=entry.get("active"),
        now_active=active_now,
    )


ROW_REVERTERS = (NothingToRevert("snapshots", "A snapshot is a record of how it was; it changes nothing."),)
RESTORE = RestoredWorkflows("snapshots.restore", "restore", "restore")
CAPTURE = FixedVerdict("snapshots.capture", "capture", Verdict.NOTHING, "A snapshot changes nothing.")
VERIFY = FixedVerdict("snapshots.verify", "check of a snapshot", Verdict.NOTHING, "It only reads.")
