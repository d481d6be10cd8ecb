"""The job that brings an environment back to a snapshot: capture, write, prove; or roll everything back."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

import msgspec

from core.errors import OpsError
from operations.engine import Run
from operations.errors import Cancelled, TryAgain, UnknownOutcome
from operations.handlers import register
from workflows.calling import can_be_active, needs_published_callees
from workflows.gateway import client_for, environment_by_id
from workflows.models import Environment
from workflows.references import CredentialRef
from workflows.stubs import Stub, make_stub
from workflows.writes import Release, failures

from . import contents, job_summaries, preview
from .approving import ToApprove, approve_restored, foreseen, refuse_foreign
from .capture import capture_into, tell
from .errors import PutBackFailed, RestoreFailed, RestoreRefused, WorkflowNotRestored
from .keeping import called_meanwhile
from .manifest import set_aside, verification_from
from .models import Snapshot, SnapshotType
from .planning import CurrentWorkflow, RestoreOptions, RestorePlan
from .proving import Proof, prove, residues
from .restore import RestoreReport, RestoreRequest, restore_into
from .restore_documents import RESULT_FORMAT, KeptPublished
from .rollback import RollBack, roll_back

ROLLS_BACK = "restore:turned-back"
"""The step that says that a restore goes back: whoever continues it after a crash must not go forward again."""
LISTED = 200
_TOOK_TOO_LONG = frozenset({"N8N_002", "N8N_003", "N8N_005", "N8N_006", "N8N_014", "N8N_018", "N8N_020"})


@register
class Restore:
    """Bring an environment back to a snapshot."""

    kind: ClassVar[str] = "snapshots.restore"
    result_template: ClassVar[str] = "snapshots/_restore_result.html"
    summary = staticmethod(job_summaries.restored)

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        target = contents.snapshot_by_id(run.tenant_id, run.params["snapshot_id"])
        options = RestoreOptions.from_params(run.params)
        if run.params.get("dry_run"):
            return _dry_run(run, environment, target, options)
        if not run.done_steps():  # what has begun is finished or undone, whatever the environment has become
            refuse_foreign(environment, target, options)
        before = _capture(run, environment, SnapshotType.PRE_RESTORE, "before", f"Before restoring {target}")
        plan = _decide(run, environment, target, before, options)
        restore = _Restore(run, environment, target, before, plan)
        failed = run.failed_step("restore:write:")
        if failed is not None:
            # It may have created a workflow that looks like others: it is not done again, but rolled back.
            restore.note_failure(failed.error)
        if ROLLS_BACK not in run.done_steps():
            try:
                return restore.forward()
            except UnknownOutcome:
                raise
            except (Cancelled, OpsError) as error:
                restore.note_failure(error.to_dict() if isinstance(error, OpsError) else None)
        return restore.back()


def _dry_run(run: Run, environment: Environment, target: Snapshot, options: RestoreOptions) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        place = {"tenant_id": run.tenant_id, "environment_id": environment.pk, "snapshot_id": target.pk}
        plan = preview.preview(**place, options=options)
        keys = {item.key for item in plan.of("new", "updated", "unchanged")}
        return {**plan.preview().to_json(), "approval": foreseen(environment, target, keys, options.approves)}

    found = run.step("preview", f"Compare the snapshot with {environment.name}", look)
    return {
        "format": RESULT_FORMAT,
        "dry_run": True,
        "status": "would_restore" if found["can_restore"] or options.skip_validation else "would_be_refused",
        "created": [{**w, "outcome": "would_be_created"} for w in found["new_workflows"]],
        "updated": [{**w, "outcome": "would_be_updated"} for w in found["updated_workflows"]],
        "skipped": [{**w, "outcome": "skipped"} for w in [*found["unchanged_workflows"], *found["skipped_workflows"]]],
        "failed": [],
        "left_out": found["left_out_workflows"],
        "kept_published": found["kept_published"],
        "stubs": found["stubs"],
        "deleted": [w for w in found["extra_workflows"] if w["effect"] == "deleted"],
        "problems": found["problems"],
        "warnings": found["warnings"],
        "counts": found["counts"],
        "approval": found["approval"],
        "snapshot_id": str(target.pk),
    }


def _decide(
    run: Run, environment: Environment, target: Snapshot, before: Snapshot, options: RestoreOptions
) -> RestorePlan:
    """From two snapshots, so that it is the same after a crash; the verdict is a step, so that it is given once."""
    current = {entry.key: CurrentWorkflow.from_entry(entry) for entry in contents.entries(before)}
    instance = run.step("credentials", "Ask n8n for its credentials", lambda: _instance(environment))

    def lacks(kinds: Collection[str]) -> list[str]:
        title = "Ask n8n which types of credential it has"
        found: list[str] = run.step("types", title, lambda: _lacking(environment, kinds)) if kinds else []
        return found

    known = msgspec.convert(instance, preview.Instance)
    unread = frozenset(f.env_workflow_id for f in set_aside(verification_from(before.verification).findings))
    there = preview.Looked(current, unread)
    plan = preview.plan_against(environment, target, there, options, instance=known, lacks=lacks)
    verdict = run.step("plan", "Decide what to write", lambda: _verdict(plan))
    if verdict["problems"] and not options.skip_validation:
        raise RestoreRefused(details={name: verdict.get(name) for name in ("problems", "concerned", "warnings")})
    return plan


def _verdict(plan: RestorePlan) -> dict[str, Any]:
    return {
        "counts": plan.preview().counts,
        "problems": msgspec.to_builtins(plan.problems[:LISTED]),
        "concerned": len({problem.key for problem in plan.problems}),
        "warnings": msgspec.to_builtins(plan.warnings[:LISTED]),
        "left_out": _left_out(plan),
        "ignored": bool(plan.problems and plan.options.skip_validation),
    }


def _left_out(plan: RestorePlan) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.to_builtins([item.document() for item in plan.of("left_out")])
    return found


def _instance(environment: Environment) -> dict[str, Any]:
    """What n8n says of itself, as the record of a step."""
    with client_for(environment) as client:
        return preview.Instance.ask(client).to_json()


def _lacking(environment: Environment, kinds: Collection[str]) -> list[str]:
    with client_for(environment) as client:
        return preview.lacking_types(client, kinds)


def _capture(run: Run, environment: Environment, snapshot_type: str, step: str, description: str) -> Snapshot:
    """A snapshot that belongs to this job: its id is the same however often the job is begun again."""
    return capture_into(
        run,
        environment=environment,
        snapshot_type=snapshot_type,
        description=description,
        step=step,
        snapshot_id=uuid.uuid5(run.operation.pk, step),
    )


@dataclass(slots=True)
class _Restore:
    """One restore that is not a dry run. ``target`` is the snapshot to go to, ``before`` the one to go back to."""

    run: Run
    environment: Environment
    target: Snapshot
    before: Snapshot
    plan: RestorePlan

    # -- forward --------------------------------------------------------------------------------------------------

    def forward(self) -> dict[str, Any]:
        """Write and prove; the job's result."""
        stubs = self._make_stubs()
        report = restore_into(self.run, self._request())
        return self._result(report, stubs)

    def _request(self) -> RestoreRequest:
        plan, options = self.plan, self.plan.options
        existing = {item.key: item.current for item in plan.to_write if item.current is not None}
        expected = {key: current.content_hash for key, current in existing.items()}
        return RestoreRequest(
            environment=self.environment,
            prefix="restore",
            snapshot=self.target,
            keys={item.key for item in plan.to_write},
            expected=expected | {c.key: c.content_hash for c in plan.to_delete},
            expected_drafts={key: {current.draft_hash} for key, current in existing.items()},
            delete={c.key: c.env_workflow_id for c in plan.to_delete},
            credentials=plan.credentials,
            keep_published={item.key for item in plan.to_write if item.kept_for},
            held=plan.held.keys(),
            may_rest={item.key for item in plan.of("new")} if options.leave_out else (),
            repair=options.repair,
            release=Release(name=f"Restored from the snapshot of {self.target.created_at:%Y-%m-%d %H:%M} UTC"),
        )

    def _make_stubs(self) -> list[Stub]:
        """Credentials without their secrets for those that are missing; the contents point to them from here on."""
        made = []
        if self.plan.stubs:
            with client_for(self.environment) as client:
                for lost in self.plan.stubs:
                    lost_id = lost.known_by if lost.keeps_id else ""
                    stub = make_stub(
                        self.run, client, self.environment, kind=lost.type, name=lost.name, credential_id=lost_id
                    )
                    made.append(stub)
                    meant = lost.also if lost.keeps_id else (lost.known_by, *lost.also)
                    self.plan.credentials |= {(lost.type, name): CredentialRef(stub.id, stub.name) for name in meant}
        return made

    def _result(self, report: RestoreReport, stubs: list[Stub]) -> dict[str, Any]:
        plan = self.plan
        with self.run.shielded(finishing=True):
            after = self._capture_after(f"After restoring {self.target}")
        wanted: dict[str, str | None] = {k: report.wanted[k] for k, w in report.results.items() if w.content_hash}
        wanted |= dict.fromkeys((c.key for c in plan.to_delete), None)
        entries = [item.wanted for item in plan.to_write]
        proof = prove(after, wanted, entries, report.results, learnt=self.environment.learnt_settings)
        proof.left += residues(plan.kept)
        approval = self._approve(after, proof)
        return {
            "format": RESULT_FORMAT,
            "dry_run": False,
            "status": "restored" if proof.equal else "restored_and_edited_since",
            **_rows(report, plan),
            "left_out": _left_out(plan),
            "kept_published": msgspec.to_builtins(plan.kept),
            "unpublished": [*_held(plan), *_resting(report)],
            "worklist": [{"needs_secret": True, **msgspec.to_builtins(stub)} for stub in dict.fromkeys(stubs)],
            "warnings": msgspec.to_builtins(plan.warnings[:LISTED]),
            "proof": proof.report().to_json(),
            "approval": approval,
            "snapshot_id": str(self.target.pk),
            "pre_snapshot_id": str(self.before.pk),
            "post_snapshot_id": str(after.pk),
        }

    def _approve(self, after: Snapshot, proof: Proof) -> dict[str, Any] | None:
        """Make what was restored the approved version, where that was asked for, before anybody looks for drift."""
        keys = {item.key for item in self.plan.of("new", "updated", "unchanged")} | self.plan.touched
        edited = keys & {difference.key for difference in proof.differing}
        restored = ToApprove(
            environment=self.environment,
            snapshot=self.target,
            after=after,
            proven=keys - edited,
            edited=edited,
            reason=self.plan.options.reason,
        )
        with self.run.shielded(finishing=True):
            approval = approve_restored(self.run, restored, self.plan.options.approves)
            if approval is None:
                return None
            tell(self.run, self.environment, after, step="approved")
        told: dict[str, Any] = msgspec.to_builtins(approval)
        return told

    def _capture_after(self, description: str) -> Snapshot:
        return _capture(self.run, self.environment, SnapshotType.POST_RESTORE, "after", description)

    # -- back -----------------------------------------------------------------------------------------------------

    def note_failure(self, error: dict[str, Any] | None) -> None:
        """Put on record that this restore goes back, and why. None: it was cancelled."""
        with self.run.shielded():
            self.run.step(
                ROLLS_BACK,
                "Stop, and put back what was changed",
                lambda: {"error": error, "cancelled": error is None, "failed": failures(self.run, prefix="restore")},
            )

    def back(self) -> NoReturn:
        """Put back what was changed, prove it, and raise what the restore failed with."""
        try:
            with self.run.shielded():
                kept = self._called_meanwhile()
                report = self._write_back({row.key for row in kept})
                after = self._capture_after("After putting back a restore that failed")
        except UnknownOutcome:
            raise
        except OpsError as trouble:
            self._not_now(trouble)
        self._raise_proven(report, kept, after)

    def _raise_proven(self, report: RestoreReport, kept: list[KeptPublished], after: Snapshot) -> NoReturn:
        cause: dict[str, Any] = self.run.done_steps()[ROLLS_BACK].result or {}
        proof = self._prove_back(report, kept, after)
        details = {
            "status": "put_back" if proof.equal else "partly_put_back",
            "failed": [{"key": key, "outcome": "failed", "error": why} for key, why in sorted(cause["failed"].items())],
            "put_back": report.to_dict(),
            "kept_published": msgspec.to_builtins(kept),
            "proof": proof.report().to_json(),
            "cause": cause["error"],
            "pre_snapshot_id": str(self.before.pk),
            "post_snapshot_id": str(after.pk),
        }
        if not proof.equal or report.failed:
            raise PutBackFailed(details=details)
        if cause["cancelled"]:
            raise Cancelled
        error: dict[str, Any] = cause["error"] or {}
        message = f"{error.get('message', '')} Everything is as it was before.".strip()
        failure = RestoreFailed if str(error.get("code", "")) in _TOOK_TOO_LONG else WorkflowNotRestored
        raise failure(message, details=details)

    def _prove_back(self, report: RestoreReport, kept: list[KeptPublished], after: Snapshot) -> Proof:
        """The environment against the snapshot before: what was touched, and the callers that were rewired."""
        before = {entry.key: entry for entry in contents.entries(self.before)}
        hashes = {key: entry.content_hash for key, entry in before.items()}
        wanted = {key: hashes.get(key) for key in self.plan.touched | report.rewired.keys()}
        staying = {row.key for row in kept}
        entries = [before[key] for key in self.plan.touched if key in before]
        entries = [entry.as_published() if entry.key in staying else entry for entry in entries]
        proof = prove(after, wanted, entries, report.results, learnt=self.environment.learnt_settings)
        proof.left += residues(kept)
        return proof

    def _called_meanwhile(self) -> list[KeptPublished]:
        """What others have come to call since, and the way back would switch off: it runs on with its old content."""
        touched = self.plan.touched
        before = {entry.key: entry for entry in contents.entries(self.before)}
        ending = {key for key in touched if key in before and not before[key].active}
        if not ending or not needs_published_callees(self.environment):
            return []

        def find() -> list[dict[str, Any]]:
            with client_for(self.environment) as client:
                called = called_meanwhile(preview.look(self.environment, client).workflows, before, touched)
            able = {
                entry.key
                for entry, content in contents.contents(self.before, called.keys())
                if can_be_active(content, called_count=True)
            }
            rows = [KeptPublished(key, before[key].name, names) for key, names in called.items() if key in able]
            found: list[dict[str, Any]] = msgspec.to_builtins(rows)
            return found

        found = self.run.step("called", "See who calls what goes back", find)
        return msgspec.convert(found, list[KeptPublished])

    def _write_back(self, kept: Collection[str]) -> RestoreReport:
        """Strictly first, so that what an n8n that is away refused is tried again; else as much as can be put back."""
        back = RollBack(
            environment=self.environment,
            before=self.before,
            keys=self.plan.touched,
            written={item.key: item.entry.content_hash for item in self.plan.to_write},
            forward_prefix="restore",
            keep_published=kept,
        )
        try:
            return roll_back(self.run, back, prefix="back", tolerant=False)
        except OpsError as error:
            passing = getattr(error, "transient", False) or getattr(error, "ambiguous", False)
            if passing and not self.run.is_last_attempt:
                raise
            return roll_back(self.run, back, prefix="back:rest", tolerant=True)

    def _not_now(self, trouble: OpsError) -> NoReturn:
        """n8n or Git is away on the way back: that often passes. After the last try a person must look."""
        if not self.run.is_last_attempt:
            raise TryAgain(
                f"Putting {self.environment.name} back did not come to its end ({trouble}); it will be tried again."
            ) from trouble
        details = {"status": "not_put_back", "cause": trouble.to_dict(), "pre_snapshot_id": str(self.before.pk)}
        raise PutBackFailed(
            f"That everything is as before could not be proven: {trouble.message}", details=details
        ) from trouble


def _rows(report: RestoreReport, plan: RestorePlan) -> dict[str, Any]:
    """What became of each workflow, with those that were left alone."""
    rows = report.to_dict()
    rows["skipped"] += [
        {"key": item.key, "name": item.name, "outcome": "skipped", "reason": item.action}
        for item in plan.of("unchanged", "skipped")
    ]
    rows["counts"]["skipped"] = len(rows["skipped"])
    return rows


def _held(plan: RestorePlan) -> list[dict[str, str]]:
    held = plan.held
    return [{"key": item.key, "name": item.name, "why": item.held} for item in plan.items if item.key in held]


def _resting(report: RestoreReport) -> list[dict[str, str]]:
    """What n8n itself refused to publish."""
    return [
        {"key": written.key, "name": written.name, "why": left["reason"]}
        for written in report.results.values()
        for left in written.left
        if left.get("path") == "published"
    ]
