"""Carries a promotion out: all of it, or the target as it was before, and proof of which.

Every step is durable and may be begun again. Names, in order (stable: tests kill workers at them):

``promotion:gates``            the gates, once more, as the worker sees them
``pre:…``                      the snapshot before, read back from Git (``snapshots.capture``)
``promotion:live``             gates again on what that snapshot saw: the live target is what the plan expects
``promotion:places``           how the workflows to be created are mapped now, to be restored on failure
``promote:write:<key>`` …      the writes (``workflows.writes``; also ``…:link:…``, ``…:activate:…``, ``…:rest:…``)
``promotion:verify``           every workflow of the target read back and compared
``promotion:canonical``        the approved branch moves: from here on only a rollback leads back
``post:…``                     the snapshot after
``promotion:finish``           the result on the promotion's row

and where anything fails, or a person cancels, before ``promotion:canonical``: the steps of ``automatic_rollback``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from core import clock
from core.documents import convert
from core.errors import OpsError
from core.wording import counted
from operations.engine import Run
from operations.errors import Cancelled, Interrupted
from promotions.errors import PlanStale, PreSnapshotFailed, WriteFailed
from promotions.models import PromotionStatus
from promotions.planning import gates
from promotions.planning.documents import PlanItem
from promotions.planning.gate_facts import GateFacts, load_gate_facts
from snapshots import services as snapshots
from snapshots.canonical import Stored, in_git
from snapshots.capture import gathered_into_store
from snapshots.gathering import Gathered
from snapshots.models import Snapshot, SnapshotType
from workflows import identity
from workflows.gateway import client_for
from workflows.identity import SeenWorkflow
from workflows.n8n.client import N8nClient
from workflows.watching.selectors import not_proven
from workflows.writes import EditedMeanwhile, Resolver, WriteTarget, Written, perform

from . import steps
from .automatic_rollback import AutomaticRollback
from .documents import (
    RESULT_VERSION,
    ErrorRecord,
    ExecutionResult,
    SnapshotIds,
    UnprovenWorkflow,
    Verification,
    VerifiedWorkflow,
    read_result,
)
from .job import PromotionJob
from .outdated import refusal, with_todays_hashes
from .results import error_of, error_record, summary
from .steps import LISTED
from .target import Reading, differences, draft_hash_in, reading_of


class Execution:
    """One attempt at a promotion."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.job = PromotionJob(run)
        self.gathered: Gathered | None = None
        self._kept = contextlib.ExitStack()

    def carry_out(self) -> dict[str, Any]:
        """The whole promotion; returns the job's result. Failures end in ``automatic_rollback``."""
        with self._kept:
            self._raise_ended()
            if self.job.promotion.status == PromotionStatus.COMPLETED:
                return summary(read_result(self.job.promotion.execution_result))
            return self._go_on()

    def _raise_ended(self) -> None:
        """After a crash between the promotion's ending and the operation's: end in the same way again."""
        promotion = self.job.promotion
        if promotion.status in (PromotionStatus.RUNNING, PromotionStatus.COMPLETED):
            return
        if promotion.status == PromotionStatus.CANCELLED:
            raise Cancelled
        raise error_of(read_result(promotion.execution_result).error or ErrorRecord())

    def _go_on(self) -> dict[str, Any]:
        """From where the attempt before has come to."""
        done = self.run.done_steps()
        is_decided = steps.UNDO_DECIDE in done
        if steps.CANONICAL in done and not is_decided:
            return self._finish_after_canonical()
        if self.job.plan.is_outdated:
            self._go_on_after_upgrade()
        if is_decided:
            return self._roll_back(None)
        failed = self.run.failed_step(steps.WRITE)
        if failed is not None:
            # It may have created a workflow that cannot be told from others: it is not done again, but rolled back.
            error = failed.error or {}
            return self._roll_back(WriteFailed(error.get("message"), details={"cause": error}))
        return self._go_forward(has_begun=steps.PLACES in done)

    def _go_forward(self, *, has_begun: bool) -> dict[str, Any]:
        try:
            pre = self.prepare()
        except (OpsError, Cancelled) as error:
            if has_begun:  # an earlier attempt may have written already
                return self._roll_back(error)
            self.refuse(error)
            raise
        try:
            written, verification, commit = self._write_and_prove(pre)
        except Interrupted as error:
            if not isinstance(error, Cancelled):
                raise
            return self._roll_back(error)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the target must not be left half-way
            return self._roll_back(error)
        with self.run.shielded(finishing=True):
            return self.finish(written, verification, commit)

    def _roll_back(self, error: Exception | None) -> dict[str, Any]:
        return AutomaticRollback(self.job, error).carry_out()

    def _go_on_after_upgrade(self) -> None:
        """The console compares in another way than when the plan was made; see ``outdated``."""
        job = self.job
        if steps.PLACES not in self.run.done_steps():
            error = refusal(job.plan)
            self.refuse(error)
            raise error
        job.use(with_todays_hashes(self.run, job.plan, job.approved, job.snapshot_before()))

    def _finish_after_canonical(self) -> dict[str, Any]:
        """A crash after the approved branch had moved: only the snapshot after and the result are missing."""
        done = self.run.done_steps()
        written = {
            name.removeprefix(steps.WRITE): Written.read(step.result)
            for name, step in done.items()
            if name.startswith(steps.WRITE) and step.result
        }
        verification = Verification.from_json(done[steps.VERIFY].result)
        commit = str((done[steps.CANONICAL].result or {})["commit"])
        with self.run.shielded(finishing=True):
            return self.finish(written, verification, commit)

    # -- before the first write -------------------------------------------------------------------------------------

    def prepare(self) -> Snapshot:
        """Gates and the snapshot before. Nothing is written to the target yet. Raises the refusal."""
        self.run.step(steps.GATES, "Check the gates", self._check_gates)
        try:
            pre = snapshots.capture_into(
                self.run,
                environment=self.job.target,
                snapshot_type=SnapshotType.PRE_PROMOTION,
                description=f"Before “{self.job.promotion.name}”"[:500],
                step="pre",
                snapshot_id=self.job.pre_id,
            )
        except Interrupted:
            raise
        except OpsError as error:
            message = f"The snapshot before the promotion could not be made: {error.message}"
            raise PreSnapshotFailed(message, details={"cause": error.to_dict()}) from error
        self.run.step(steps.LIVE, "Compare the live target with the plan", lambda: self._check_live(pre))
        self.job.record_mappings()
        return pre

    def _gate_facts(self) -> GateFacts:
        return load_gate_facts(tenant_id=self.run.tenant_id, promotion_id=self.job.promotion_id)

    def _check_gates(self) -> dict[str, Any]:
        found = gates.all_gates(self._gate_facts())
        refused = gates.first_refusal(found)
        if refused is not None:
            raise refused
        return {"gates": [gates.GateVerdict(name=gate.name, state=gate.state).to_json() for gate in found]}

    def _check_live(self, pre: Snapshot) -> dict[str, Any]:
        """The capture just made says what is there now; drift it found counts too."""
        there = {str(entry["key"]): entry for entry in pre.workflows}
        items = self.job.plan.items
        changed = [
            {
                "key": item.key,
                "name": item.name,
                "expected": item.expected_hash,
                "found": (there.get(item.key) or {}).get("content_hash"),
            }
            for item in items
            if _is_changed(item, there.get(item.key))
        ]
        if changed:
            names = ", ".join(f"“{one['name']}”" for one in changed[:3])
            raise PlanStale(
                f"Changed in {self.job.target.name} since the plan was made: {names}. Nothing was written.",
                details={"changed": changed[:LISTED]},
            )
        facts = self._gate_facts()
        refused = gates.first_refusal(
            [gates.set_aside_gate(facts), gates.drift_gate(facts), gates.freshness_gate(facts)]
        )
        if refused is not None:
            raise refused
        return {"compared": len(items), "workflows": len(there)}

    # -- writing ----------------------------------------------------------------------------------------------------

    def _write_and_prove(self, pre: Snapshot) -> tuple[dict[str, Written], Verification, str]:
        with client_for(self.job.target) as client:
            resolver = self.job.resolver()
            written = self.write(client, resolver)
            verification = self.verify(client, resolver, written, pre)
            # All is there and proven: a wish to cancel comes too late from here on.
            with self.run.shielded(finishing=True):
                return written, verification, self.approve_content(client, resolver, written)

    def write(self, client: N8nClient, resolver: Resolver) -> dict[str, Written]:
        """Every create and update, verified one by one; raises the first failure."""
        target = self.job.target

        def bind(created: Mapping[str, str]) -> None:
            with self.run.fenced():
                identity.bind(tenant_id=self.run.tenant_id, environment_id=target.pk, ids=created)

        with self.job.approved.reader(self.run) as reader:
            where = WriteTarget(client=client, environment=target, resolver=resolver, prefix="promote")
            return perform(self.run, self.job.approved.write_items(reader), where, on_created=bind)

    def verify(
        self, client: N8nClient, resolver: Resolver, written: Mapping[str, Written], pre: Snapshot
    ) -> Verification:
        """Read the whole target back: all that was promoted is as wanted, and what else has changed is named.

        Raises ``EditedMeanwhile``.
        """

        def look() -> dict[str, Any]:
            count = len(self.job.items)
            self.run.progress(count, count, "Reading the target back")
            return self._verification(reading_of(self._look(client)), resolver, written, pre).to_json()

        found = self.run.step(steps.VERIFY, "Read everything back and compare", look)
        return Verification.from_json(found)

    def _verification(
        self, reading: Reading, resolver: Resolver, written: Mapping[str, Written], pre: Snapshot
    ) -> Verification:
        rows = tuple(_verified(item, written[key], reading, resolver) for key, item in self.job.items.items())
        wrong = [row for row in rows if not row.ok]
        if wrong:
            names = ", ".join(f"“{row.name}”" for row in wrong[:3])
            raise EditedMeanwhile(
                f"Not as it was written a moment ago: {names}.", details={"wrong": msgspec.to_builtins(wrong[:LISTED])}
            )
        promoted = {row.env_workflow_id for row in rows}
        equal, elsewhere = differences(reading, snapshots.entries_of(pre), resolver, leave_out=promoted)
        return Verification(
            workflows=rows,
            not_proven=self._not_proven(),
            promoted=len(rows),
            others_unchanged=equal,
            changed_elsewhere=tuple(elsewhere[:LISTED]),
            verified_at=clock.now().isoformat(),
        )

    def _not_proven(self) -> tuple[UnprovenWorkflow, ...]:
        """What runs by n8n's word alone; it is watched from the end on."""
        with self.run.fenced():
            found = not_proven(self.run.operation.pk)[:LISTED]
        return convert(msgspec.to_builtins(found), tuple[UnprovenWorkflow, ...])

    def approve_content(self, client: N8nClient, resolver: Resolver, written: Mapping[str, Written]) -> str:
        """Move the approved branch to what was just proven to be there; its commit."""
        job = self.job

        def commit() -> dict[str, str]:
            changes = self._proven_changes(self.gathered or self._look(client), resolver, written)
            sha = snapshots.commit_canonical(
                self.run,
                environment=job.target,
                changes=changes,
                message=f"Promote {counted(len(changes), 'workflow')} from {job.source.name}: {job.promotion.name}",
                trailers=job.trailers(),
            )
            return {"commit": str(sha)}

        found = self.run.step(
            steps.CANONICAL, "Record the new content as approved", commit, external_call=in_git(job.target)
        )
        return str(found["commit"])

    def _proven_changes(self, gathered: Gathered, resolver: Resolver, written: Mapping[str, Written]) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for key, item in self.job.items.items():
            seen = gathered.seen.get(written[key].env_workflow_id)
            if seen is None or resolver.hash_of(seen.fingerprint) != item.wanted_hash:
                raise EditedMeanwhile(f"“{item.name}” was changed before it could be approved.")
            changes[key] = _stored(gathered, seen)
        return changes

    def _look(self, client: N8nClient) -> Gathered:
        """The whole target, its contents in Git: what is proven is also what is approved and captured afterwards."""
        self.gathered = self._kept.enter_context(gathered_into_store(self.run, self.job.target, client))
        return self.gathered

    # -- ending -----------------------------------------------------------------------------------------------------

    def finish(self, written: Mapping[str, Written], verification: Verification, commit: str) -> dict[str, Any]:
        """The snapshot after, and the result. The target is right already: a failure here rolls nothing back."""
        job = self.job
        problem = self._post_snapshot()
        result = ExecutionResult(
            version=RESULT_VERSION,
            snapshot_ids=SnapshotIds(
                pre_promotion=str(job.pre_id), post_promotion=None if problem else str(job.post_id)
            ),
            workflows=job.outcomes(written),
            verification=verification,
            commit=commit,
            rollback_result=None,
            warning=problem or msgspec.UNSET,
        )
        self.run.step(steps.FINISH, "Record the result", lambda: job.conclude(PromotionStatus.COMPLETED, result))
        return summary(result)

    def _post_snapshot(self) -> ErrorRecord | None:
        try:
            snapshots.capture_into(
                self.run,
                environment=self.job.target,
                snapshot_type=SnapshotType.POST_PROMOTION,
                description=f"After “{self.job.promotion.name}”"[:500],
                step="post",
                snapshot_id=self.job.post_id,
                gathered=self.gathered,
            )
        except Interrupted:
            raise
        except OpsError as error:
            return ErrorRecord(
                code=error.code,
                message=f"The promotion is complete; the snapshot after it could not be made: {error.message}",
                recovery="Capture the environment by hand.",
            )
        return None

    def refuse(self, error: Exception) -> None:
        """Nothing was written: say so and end."""
        has_snapshot = "pre:row" in self.run.done_steps()
        result = ExecutionResult(
            version=RESULT_VERSION,
            error=error_record(error),
            rollback_result=None,
            target_untouched=True,
            snapshot_ids=SnapshotIds(pre_promotion=str(self.job.pre_id) if has_snapshot else None),
            workflows=self.job.outcomes(),
        )
        status = PromotionStatus.CANCELLED if isinstance(error, Cancelled) else PromotionStatus.FAILED
        with self.run.shielded():
            self.job.conclude(status, result)


def _is_changed(item: PlanItem, entry: Mapping[str, Any] | None) -> bool:
    """Whether the target's copy is not as the plan expects it; ``entry`` is the manifest's (None: it is not there)."""
    if not entry:
        return item.expected_hash is not None
    edited = draft_hash_in(entry) != item.expected_draft_hash
    switched = gates.was_switched(item, bool(entry.get("active")))
    return entry.get("content_hash") != item.expected_hash or edited or switched


def _verified(item: PlanItem, written: Written, reading: Reading, resolver: Resolver) -> VerifiedWorkflow:
    live = reading.workflows.get(written.env_workflow_id)
    found = reading.hash_of(written.env_workflow_id, resolver)
    return VerifiedWorkflow(
        key=item.key,
        name=item.name,
        env_workflow_id=written.env_workflow_id,
        expected_hash=item.expected_hash,
        wanted_hash=item.wanted_hash,
        found_hash=found,
        active=live.active if live else None,
        listening=written.listening,
        ok=found == item.wanted_hash and live is not None and live.active == item.active,
    )


def _stored(gathered: Gathered, seen: SeenWorkflow) -> Stored:
    """What was just proven to be there, as it lies in Git already."""
    stored = gathered.stored[seen.env_workflow_id]
    return Stored(stored.blob, seen.fingerprint, seen.active, seen.facts, stored.draft_blob, seen.draft)
