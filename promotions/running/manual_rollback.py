"""Rolls a finished (or half-finished) promotion back: only the workflows that it touched.

Steps, in order (stable): ``rollback:look``, ``safety:…`` (a snapshot of how it is now), ``rollback:write:<key>`` …
(``snapshots.restore``; ``rollback:rest:…`` where the first pass met an edit or a refusal), ``rollback:prove``,
``rollback:canonical``, ``after:…``, ``rollback:finish``.

From the first write on trouble with n8n is met as ``automatic_rollback`` meets it: tried again later, and after the
last try the promotion says that its target is half-way, and holds it.

Without ``force`` a workflow that somebody has changed since stops it before anything is written, and so does one that
calls what would be deleted. What others call keeps running, with its old content, though it was not published before:
the look and the proof name it. With ``force`` what is there at the look may be overwritten; an edit made after the look
still is not.
"""

from __future__ import annotations

import uuid
from functools import cached_property
from typing import Any

import msgspec
from msgspec import UNSET

from core import clock
from core.errors import OpsError
from core.wording import quoted
from operations.engine import Run
from operations.errors import Interrupted, TryAgain, UnknownOutcome
from promotions.domain_events import publish_state
from promotions.errors import RollbackFailed, WrongState
from promotions.models import Promotion
from promotions.planning.documents import PlanItem, read_plan
from snapshots import services as snapshots
from snapshots.canonical import in_git
from snapshots.models import Snapshot, SnapshotType
from workflows import identity
from workflows.calling import stays_published
from workflows.content import NORMALIZATION_VERSION
from workflows.gateway import client_for
from workflows.models import Environment
from workflows.n8n.client import N8nClient
from workflows.writes import Release, Resolver

from . import steps
from .documents import (
    ErrorRecord,
    ManualRollbackRecord,
    RollbackLook,
    RollbackProof,
    RollbackRow,
    RollbackStatus,
    RolledBackWorkflow,
    callers_by_key,
    kept_published,
    read_result,
)
from .restoring import RowsToRestore, restore_rows
from .results import attention_since, broken_off, stored, with_rollback
from .rollback_look import PromotionToRollBack, look_at
from .steps import LISTED, snapshot_id_for, wrote_back
from .target import Reading, differences, read_back, read_target

Rows = tuple[RollbackRow, ...]


class ManualRollback:
    """One run of one rollback. Parameters of the job: ``promotion_id, force, snapshot_id, reason``."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.promotion_id = uuid.UUID(str(run.params["promotion_id"]))
        self.force = bool(run.params.get("force"))
        with run.fenced():
            self.promotion = Promotion.objects.select_related("target_environment").get(pk=self.promotion_id)
            self._snapshot = Snapshot.objects.filter(
                pk=run.params["snapshot_id"], environment_id=self.promotion.target_environment_id
            ).first()
        self.target: Environment = self.promotion.target_environment
        self.plan = read_plan(self.promotion.plan)
        self.items: dict[str, PlanItem] = self.plan.written_items
        self.safety_id = snapshot_id_for(run.operation.pk, "safety")
        self.after_id = snapshot_id_for(run.operation.pk, "after")

    @property
    def before(self) -> Snapshot:
        """The snapshot to roll back to. Raises ``WrongState`` where it is not one of the target."""
        if self._snapshot is None:
            raise WrongState("The snapshot to roll back to is not one of the target environment.")
        return self._snapshot

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """What was there before, hashed as today. Outside any scope."""
        return snapshots.entries_of(self.before)

    def carry_out(self) -> dict[str, Any]:
        """Restore, prove, move the approved branch back, record. Raises ``RollbackRefused`` or ``RollbackFailed``."""
        self.before  # noqa: B018 -- refuses before anything is read from n8n
        with client_for(self.target) as client:
            rows = self._look(client)
            description = f"Before rolling back “{self.promotion.name}”"
            self._capture(SnapshotType.PRE_RESTORE, description, "safety", self.safety_id)
            # From the first write on it is carried through: a rollback broken off half-way helps nobody.
            with self.run.shielded(finishing=True):
                try:
                    return self._carry_through(client, rows)
                except (Interrupted, UnknownOutcome, RollbackFailed):
                    raise
                except OpsError as error:
                    self._record_broken_off(rows, error)
                    raise

    def _carry_through(self, client: N8nClient, rows: Rows) -> dict[str, Any]:
        proof = self._restore_and_prove(client, rows)
        if proof.not_as_before:
            raise self._failure(rows, proof)
        commit = self._approve_old(rows)
        after = self._capture_after()
        record = msgspec.structs.replace(self._record("success", rows, proof), commit=commit, after_snapshot_id=after)
        self._finish(record)
        return {"status": "success", "workflows": len(rows), "commit": commit}

    def _restore_and_prove(self, client: N8nClient, rows: Rows) -> RollbackProof:
        """Write, and prove. Raises ``TryAgain`` over trouble; over that of the last try what a person must know."""
        try:
            self._restore(client, rows)
            found = self.run.step(steps.ROLLBACK_PROVE, "Prove it by hash", lambda: self._prove(client, rows).to_json())
        except Interrupted:
            raise
        except Exception as trouble:
            if not self.run.is_last_attempt:
                raise TryAgain(
                    f"The rollback did not come to its end ({trouble}); it will be tried again."
                ) from trouble
            raise self._half_way(rows, trouble) from trouble
        return RollbackProof.from_json(found)

    def _half_way(self, rows: Rows, trouble: Exception) -> RollbackFailed:
        """Nobody knows how much of it was restored: put on record that a person must look."""
        why = ErrorRecord.of(trouble).message
        error = RollbackFailed(f"That everything is as before could not be proven: {why}")
        self._finish(self._record("failed", rows, RollbackProof(snapshot_id=self.snapshot_id, deleted=0), error))
        return error

    # -- looking ------------------------------------------------------------------------------------------------

    def _look(self, client: N8nClient) -> Rows:
        """What is there now; looked at again where the console compares in another way since."""
        name = steps.ROLLBACK_LOOK
        before = self.run.done_steps().get(name)
        if before is not None and RollbackLook.from_json(before.result).is_outdated:
            name = f"{name}:{NORMALIZATION_VERSION}"
        found = self.run.step(name, "See what is there now", lambda: self._look_now(client).to_json())
        return RollbackLook.from_json(found).rows

    def _look_now(self, client: N8nClient) -> RollbackLook:
        reading = read_target(self.run, client)
        wanted = PromotionToRollBack(
            run=self.run, promotion=self.promotion, plan=self.plan, before=self.before, entries=self.entries
        )
        return look_at(wanted, reading, self._resolver(), force=self.force)

    def _resolver(self) -> Resolver:
        with self.run.fenced():
            return Resolver(identity.key_by_former_id(self.target.pk))

    # -- restoring ----------------------------------------------------------------------------------------------

    def _restore(self, client: N8nClient, rows: Rows) -> None:
        """Strictly first, so that what an n8n that is away refused is tried again; then as much as possible."""
        in_snapshot = {str(entry["key"]) for entry in self.entries}
        wanted = RowsToRestore(
            rows=rows,
            keys=tuple(row.key for row in rows if row.key in in_snapshot),
            delete={
                row.key: row.env_workflow_id
                for row in rows
                if row.key not in in_snapshot and row.env_workflow_id and row.found_hash
            },
            release=Release(f"Before {self.promotion.name}", "Rolled back."),
        )
        restore_rows(
            self.run,
            client,
            wanted,
            target=self.target,
            snapshot=self.before,
            prefixes=("rollback", "rollback:rest"),
        )

    def _prove(self, client: N8nClient, rows: Rows) -> RollbackProof:
        """The touched workflows against the snapshot, by hash and by being published. The others do not count."""
        resolver = self._resolver()
        reading = read_back(self.run, client, self.target, self._ids_touched(rows, resolver))
        entries = self._entries_to_prove(rows, resolver, reading)
        touched = {str(e["env_workflow_id"]) for e in entries} | {row.env_workflow_id for row in rows}
        equal, wrong = differences(reading, entries, resolver, leave_out=set(reading.workflows) - touched)
        in_snapshot = {str(entry["key"]) for entry in self.entries}
        to_delete = [row for row in rows if row.key not in in_snapshot and row.found_hash]
        return RollbackProof(
            snapshot_id=str(self.before.pk),
            equal=equal,
            deleted=sum(row.env_workflow_id not in reading.workflows for row in to_delete),
            not_as_before=tuple(wrong[:LISTED]),
            kept_published=kept_published(rows),
            proven_at=clock.now().isoformat(),
        )

    def _ids_touched(self, rows: Rows, resolver: Resolver) -> set[str]:
        keys = {row.key for row in rows}
        return {there for there, key in resolver.key_map().items() if key in keys} | {
            row.env_workflow_id for row in rows if row.env_workflow_id
        }

    def _entries_to_prove(self, rows: Rows, resolver: Resolver, reading: Reading) -> list[dict[str, Any]]:
        """The snapshot's entries of the touched workflows, with the ids that these have now."""
        keys, kept = {row.key for row in rows}, callers_by_key(rows)
        ids = {key: there for there, key in reversed(resolver.key_map().items()) if there in reading.workflows}
        touched = [entry for entry in self.entries if entry["key"] in keys]
        wanted = [stays_published(entry) if entry["key"] in kept else entry for entry in touched]
        return [{**entry, "env_workflow_id": ids.get(entry["key"]) or entry["env_workflow_id"]} for entry in wanted]

    def _approve_old(self, rows: Rows) -> str:
        """The approved branch holds again what it holds in the snapshot, for the touched workflows."""

        def commit() -> dict[str, Any]:
            sha = snapshots.set_baseline(
                self.run,
                environment=self.target,
                snapshot=self.before,
                keys=list(self.items),
                published=callers_by_key(rows),
                message=f"Roll back {self.promotion.name}",
                trailers={"Promotion-Id": str(self.promotion.pk), "Operation-Id": str(self.run.operation.pk)},
            )
            return {"commit": str(sha)}

        found = self.run.step(
            steps.ROLLBACK_CANONICAL,
            "Record the old content as approved again",
            commit,
            external_call=in_git(self.target),
        )
        return str(found["commit"])

    def _capture_after(self) -> str | None:
        """The id of the snapshot after; None where it could not be made, which changes nothing about the rollback."""
        description = f"After rolling back “{self.promotion.name}”"
        try:
            self._capture(SnapshotType.POST_RESTORE, description, "after", self.after_id)
        except Interrupted:
            raise
        except OpsError:
            return None
        return str(self.after_id)

    def _capture(self, kind: str, description: str, step: str, snapshot_id: uuid.UUID) -> None:
        snapshots.capture_into(
            self.run,
            environment=self.target,
            snapshot_type=kind,
            description=description[:500],
            step=step,
            snapshot_id=snapshot_id,
        )

    # -- recording ----------------------------------------------------------------------------------------------

    @property
    def snapshot_id(self) -> str:
        return str(self.run.params["snapshot_id"])

    def _record(
        self, status: RollbackStatus, rows: Rows, proof: RollbackProof | None, error: OpsError | None = None
    ) -> ManualRollbackRecord:
        return ManualRollbackRecord(
            status=status,
            rolled_back_at=clock.now().isoformat(),
            rolled_back_by=str(self.run.operation.requested_by_id or ""),
            reason=self.run.params.get("reason") or "",
            force=self.force,
            operation_id=str(self.run.operation.pk),
            snapshot_id=self.snapshot_id,
            safety_snapshot_id=str(self.safety_id),
            workflows=tuple(
                RolledBackWorkflow(key=row.key, name=row.name, action=row.action, env_workflow_id=row.env_workflow_id)
                for row in rows
            ),
            proof=proof,
            error=UNSET if error is None else msgspec.structs.replace(ErrorRecord.of(error), details={}),
        )

    def _finish(self, record: ManualRollbackRecord) -> None:
        self.run.step(steps.ROLLBACK_FINISH, "Record the result", lambda: self._conclude(record))

    def _conclude(self, record: ManualRollbackRecord) -> dict[str, Any]:
        with self.run.fenced():
            row = Promotion.objects.select_for_update().get(pk=self.promotion_id)
            row.status, result = with_rollback(read_result(row.execution_result), record)
            # The notice is of an earlier try: people have to know of this one, too.
            result = msgspec.structs.replace(result, told=UNSET)
            row.execution_result = stored(result, row.execution_result)
            row.attention_since = attention_since(result, clock.now())
            row.save()
            publish_state(row)
        return {"status": record.status}

    def _failure(self, rows: Rows, proof: RollbackProof) -> RollbackFailed:
        names = quoted([found.name for found in proof.not_as_before])
        error = RollbackFailed(f"Not as before the promotion: {names}.", details={"proof": proof.to_json()})
        self._finish(self._record("partial" if proof.equal or proof.deleted else "failed", rows, proof, error))
        return error

    def _record_broken_off(self, rows: Rows, error: OpsError) -> None:
        """It ended between two writes, or before the old content was approved: the promotion must not look whole."""
        with self.run.fenced():
            if not wrote_back(self.run.operation.pk):
                return
        proven = self.run.done_steps().get(steps.ROLLBACK_PROVE)
        proof = RollbackProof.from_json(proven.result) if proven is not None and proven.result else None
        record = self._record("partial" if proof else "failed", rows, proof)
        cause = msgspec.structs.replace(broken_off(error.message), cause=error.to_dict())
        self._conclude(msgspec.structs.replace(record, error=cause))
