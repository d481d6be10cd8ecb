"""Rolls back a promotion that failed or was cancelled half-way, and proves it by hash of every workflow.

Steps, in order: ``undo:decide`` (the decision is durable: a crash resumes here and never goes forward again),
``undo:look`` (whose is what is there now), ``undo:write:<key>`` … (``snapshots.restore``: old contents restored, what
the promotion had created deleted; ``undo:rest:…`` where the first pass met an edit), ``undo:places``,
``undo:prove``, ``undo:canonical`` (only where that had been begun), ``undo:finish``.

What somebody else has edited meanwhile is not touched: it is named, and the outcome is *partial*. What others have
come to call meanwhile keeps running, with its old content: the look and the proof name it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from core import clock
from core.errors import OpsError
from core.wording import quoted
from operations.errors import Cancelled, Interrupted, TryAgain
from operations.models import OperationStep
from promotions.errors import RollbackFailed
from promotions.models import PromotionStatus
from promotions.planning import snapshot_contents
from snapshots import services as snapshots
from snapshots.canonical import in_git
from snapshots.models import Snapshot
from workflows import identity
from workflows.calling import can_be_active, stays_published
from workflows.gateway import client_for
from workflows.models import MapStatus, WorkflowEnvMap
from workflows.n8n.client import N8nClient
from workflows.writes import Release, Resolver, failures

from . import steps
from .documents import (
    RESULT_VERSION,
    Difference,
    EditedWorkflow,
    ErrorRecord,
    ExecutionResult,
    RollbackLook,
    RollbackProof,
    RollbackResult,
    RollbackRow,
    SnapshotIds,
    callers_by_key,
    kept_published,
)
from .inspection import Inspection
from .job import PromotionJob
from .kept_published import as_before, calls_of_running, kept_for
from .ownership import FOREIGN, GONE, OLD, OURS
from .restoring import RowsToRestore, restore_rows
from .results import error_of, error_record
from .steps import LISTED
from .target import Reading, differences, read_back, read_target

Rows = tuple[RollbackRow, ...]


class AutomaticRollback:
    """The way back of one promotion. ``error`` is what ended it; None where that is recorded already."""

    def __init__(self, job: PromotionJob, error: Exception | None = None) -> None:
        self.job = job
        self.run = job.run
        self.error = error

    def carry_out(self) -> dict[str, Any]:
        """Roll back, prove, record; always ends by raising what ended the promotion (or ``Cancelled``)."""
        with self.run.shielded():
            result = self._roll_back(self._decide())
        error = result.error or ErrorRecord()
        if result.is_rolled_back and error.code == "CANCELLED":
            raise Cancelled
        raise error_of(error)

    def _decide(self) -> ErrorRecord:
        error = error_record(self.error).to_json() if self.error is not None else {}
        decided = self.run.step(steps.UNDO_DECIDE, "Decide to roll back", lambda: {"error": error})
        return ErrorRecord.from_json(decided["error"])

    def _roll_back(self, error: ErrorRecord) -> ExecutionResult:
        try:
            return self._restore_and_prove(error)
        except Interrupted:
            raise
        except Exception as trouble:  # noqa: BLE001 -- a person must learn of it whatever it is
            return self._not_now(error, trouble)

    def _not_now(self, error: ErrorRecord, trouble: Exception) -> ExecutionResult:
        """Trouble while rolling back often passes: try again later; at the last attempt record what is known."""
        if not self.run.is_last_attempt:
            raise TryAgain(f"The rollback did not come to its end ({trouble}); it will be tried again.") from trouble
        outcome = RollbackResult(
            status="failed",
            snapshot_id=str(self.job.pre_id),
            cause=ErrorRecord.of(trouble),
            not_restored=tuple(self._names_touched()[:LISTED]),
        )
        return self._finish(error, outcome)

    def _names_touched(self) -> list[str]:
        look = self.run.done_steps().get(steps.UNDO_LOOK)
        if look is not None and look.result:
            return [row.name for row in RollbackLook.from_json(look.result).rows]
        return [item.name for item in self.job.items.values()]

    def _restore_and_prove(self, error: ErrorRecord) -> ExecutionResult:
        job, pre = self.job, self.job.snapshot_before()
        self.run.progress(0, len(job.items), "Rolling back")
        with client_for(job.target) as client:
            resolver = job.resolver()
            rows = self._look(client, resolver)
            for row in rows:
                if row.is_created and row.env_workflow_id and row.verdict == OURS:
                    resolver.learn(row.key, row.env_workflow_id)
            self._restore(client, pre, rows)
            self.run.step(steps.UNDO_PLACES, "Restore the workflow mapping", lambda: self._restore_mappings(rows))
            found = self.run.step(
                steps.UNDO_PROVE,
                "Prove that the target is as before",
                lambda: self._prove(client, resolver, pre, rows).to_json(),
            )
        self._move_branch_back(pre, rows)
        return self._finish(error, _outcome(rows, RollbackProof.from_json(found)))

    def _move_branch_back(self, pre: Snapshot, rows: Rows) -> None:
        """Move the approved branch back where it may have moved; a broken Git store does not undo the proof."""
        job = self.job
        with self.run.fenced():
            begun = OperationStep.objects.filter(operation_id=self.run.operation.pk, name=steps.CANONICAL).exists()
        if not begun:
            return

        def move() -> dict[str, Any]:
            try:
                sha = snapshots.set_baseline(
                    self.run,
                    environment=job.target,
                    snapshot=pre,
                    keys=list(job.items),
                    published=callers_by_key(rows),
                    message=f"Roll back {job.promotion.name}",
                    trailers=job.trailers(),
                )
            except OpsError as error:
                return {"error": error.to_dict()}
            return {"commit": str(sha)}

        self.run.step(
            steps.UNDO_CANONICAL, "Record the old content as approved again", move, external_call=in_git(job.target)
        )

    # -- looking ------------------------------------------------------------------------------------------------

    def _look(self, client: N8nClient, resolver: Resolver) -> Rows:
        found = self.run.step(
            steps.UNDO_LOOK, "See what the promotion has left", lambda: self._look_now(client, resolver).to_json()
        )
        return RollbackLook.from_json(found).rows

    def _look_now(self, client: N8nClient, resolver: Resolver) -> RollbackLook:
        """One row for each workflow of the plan: whose is what is there, and by which hash it may be overwritten."""
        known = set(resolver.key_map())
        ids = {item.target.env_workflow_id for item in self.job.items.values() if item.target}
        reading = read_target(self.run, client, keep=ids, keep_new=known)
        rows = self._keep_called(reading, Inspection(self.job, reading, resolver, known).rows())
        return RollbackLook(rows=rows, kept_published=kept_published(rows), looked_at=clock.now().isoformat())

    def _keep_called(self, reading: Reading, rows: Rows) -> Rows:
        """What others have come to call since, and the rollback would unpublish, is kept published."""
        ending = {row.env_workflow_id: row for row in rows if self._would_be_unpublished(row, reading)}
        if not ending:
            return rows
        pre = self.job.snapshot_before()
        touched, before = {row.env_workflow_id for row in rows}, calls_of_running(pre.workflows)
        old = {str(e["env_workflow_id"]): as_before(e) for e in pre.workflows if str(e["env_workflow_id"]) in ending}
        callers = kept_for(self.job.target, reading, old, touched, before=before)
        contents = snapshot_contents.load(pre, [ending[there].key for there in callers])
        kept = {
            ending[there].key: names
            for there, names in callers.items()
            if can_be_active(contents[ending[there].key][1], called_count=True)
        }
        return tuple(
            msgspec.structs.replace(row, kept_for=tuple(kept[row.key][:LISTED])) if row.key in kept else row
            for row in rows
        )

    def _would_be_unpublished(self, row: RollbackRow, reading: Reading) -> bool:
        there = self.job.items[row.key].target
        if row.verdict != OURS or there is None or there.active:
            return False
        return reading.workflows[row.env_workflow_id].active

    # -- restoring ----------------------------------------------------------------------------------------------

    def _restore(self, client: N8nClient, pre: Snapshot, rows: Rows) -> None:
        """Old contents restored, creations deleted."""
        ours = tuple(row for row in rows if row.verdict == OURS)
        if not ours:
            return
        wanted = RowsToRestore(
            rows=ours,
            keys=tuple(row.key for row in ours if row.action == "update"),
            delete={row.key: row.env_workflow_id for row in ours if row.is_created},
            release=Release(f"Before {self.job.promotion.name}", "Restored after a promotion that failed."),
        )
        restore_rows(self.run, client, wanted, target=self.job.target, snapshot=pre, prefixes=("undo", "undo:rest"))

    def _restore_mappings(self, rows: Rows) -> dict[str, Any]:
        """What the promotion created is gone: its mapping is as it was before."""
        before, gone = self.job.mappings_before().before, self._keys_gone(rows)
        environment_id = self.job.target.pk
        with self.run.fenced():
            fresh = [key for key in gone if key not in before]
            identity.mark_deleted(tenant_id=self.run.tenant_id, environment_id=environment_id, keys=fresh)
            for key in gone:
                if key in before:
                    status, workflow_id = before[key]
                    WorkflowEnvMap.objects.filter(environment_id=environment_id, canonical_workflow__key=key).exclude(
                        status=MapStatus.IGNORED
                    ).update(status=status, env_workflow_id=workflow_id, updated_at=clock.now())
        return {"gone": gone[:LISTED]}

    def _keys_gone(self, rows: Rows) -> list[str]:
        """Keys of created workflows that are not there. What n8n would not delete keeps its mapping: others may call
        it."""
        deleted = self._keys_deleted()
        created = [row for row in rows if row.is_created]
        return [row.key for row in created if row.verdict == OLD or (row.verdict == OURS and row.key in deleted)]

    def _keys_deleted(self) -> set[str]:
        prefixes = ("undo:write:", "undo:rest:write:")
        results = [s.result or {} for name, s in self.run.done_steps().items() if name.startswith(prefixes)]
        return {str(result["key"]) for result in results if result.get("outcome") == "deleted"}

    def _prove(self, client: N8nClient, resolver: Resolver, pre: Snapshot, rows: Rows) -> RollbackProof:
        """Every workflow of the target against the snapshot before, by hash and by being published."""
        touched, kept = self._ids_touched(rows), callers_by_key(rows)
        recreated = {there for there, key in resolver.key_map().items() if key in self.job.items}
        reading = read_back(self.run, client, self.job.target, touched | recreated)
        wanted = [stays_published(entry) if entry["key"] in kept else entry for entry in snapshots.entries_of(pre)]
        equal, found = differences(reading, wanted, resolver)
        is_ours = [one.env_workflow_id in touched or one.key in self.job.items or self._was_made(one) for one in found]
        return RollbackProof(
            snapshot_id=str(pre.pk),
            workflows_in_snapshot=len(pre.workflows),
            equal=equal,
            not_as_before=tuple(one for one, ours in zip(found, is_ours, strict=True) if ours)[:LISTED],
            changed_elsewhere=tuple(one for one, ours in zip(found, is_ours, strict=True) if not ours)[:LISTED],
            kept_published=kept_published(rows),
            proven_at=clock.now().isoformat(),
        )

    def _was_made(self, one: Difference) -> bool:
        """Whether it looks like what the promotion was to create: n8n may have said that it did not, and lied."""
        return one.what == "extra" and any(
            item.is_created and (item.name, item.wanted_hash) == (one.name, one.found)
            for item in self.job.items.values()
        )

    def _ids_touched(self, rows: Rows) -> set[str]:
        planned = {item.target.env_workflow_id for item in self.job.items.values() if item.target}
        return planned | {row.env_workflow_id for row in rows if row.env_workflow_id}

    # -- ending -------------------------------------------------------------------------------------------------

    def _finish(self, error: ErrorRecord, outcome: RollbackResult) -> ExecutionResult:
        ending = error if outcome.status == "success" else _half_way(error, outcome)
        result = ExecutionResult(
            version=RESULT_VERSION,
            error=ending,
            rollback_result=outcome,
            needs_attention=outcome.status != "success",
            snapshot_ids=SnapshotIds(pre_promotion=str(self.job.pre_id)),
            workflows=self.job.outcomes_of_failure(self._failed(error)),
        )
        status = PromotionStatus.CANCELLED if ending.code == "CANCELLED" else PromotionStatus.FAILED
        self.run.step(steps.UNDO_FINISH, "Record the result", lambda: self.job.conclude(status, result))
        return result

    def _failed(self, error: ErrorRecord) -> dict[str, ErrorRecord]:
        """Which workflows it failed over, by key: those whose writes failed, or the one that the failure names."""
        found = {key: one for key, one in failures(self.run, prefix="promote").items() if key in self.job.items}
        cause = (error.details or {}).get("cause") or {}
        key = (cause.get("details") or {}).get("key")
        told = found if found or key is None else {str(key): cause}
        return {
            key: msgspec.structs.replace(ErrorRecord.from_json(one), details=UNSET, cause=UNSET)
            for key, one in told.items()
        }


def _outcome(rows: Rows, proof: RollbackProof) -> RollbackResult:
    foreign = [row for row in rows if row.verdict in (FOREIGN, GONE)]
    odd = proof.keys_not_as_before
    restored = sum(row.verdict == OURS and odd.isdisjoint((row.key, row.env_workflow_id)) for row in rows)
    return RollbackResult(
        status="partial" if proof.not_as_before else "success",
        workflows_rolled_back=restored,
        snapshot_id=proof.snapshot_id,
        proof=proof,
        edited_by_others=tuple(
            EditedWorkflow(key=row.key, name=row.name, found_hash=row.found_hash, gone=row.verdict == GONE)
            for row in foreign
        ),
        not_restored=tuple(found.name for found in proof.not_as_before),
    )


def _half_way(error: ErrorRecord, outcome: RollbackResult) -> ErrorRecord:
    message = f"Not as before the promotion: {quoted(outcome.not_restored or ()) or 'some workflows'}."
    recovery = RollbackFailed.recovery
    if outcome.edited_by_others:
        message += " Somebody else has edited what is there, so it was not overwritten."
    if outcome.cause:
        message += f" The rollback could not be finished: {outcome.cause.message}"
        recovery = f"{outcome.cause.recovery or 'Remove the cause.'} Then roll back on this page."
    return ErrorRecord(code=RollbackFailed.code, message=message, recovery=recovery, details={"cause": error.to_json()})
