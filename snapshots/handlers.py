"""Long work about snapshots: capture, verify, restore, and the care of their store."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any, ClassVar, NoReturn

import msgspec

from core.errors import OpsError
from operations.engine import Run
from operations.errors import Cancelled, Interrupted, TryAgain, UnknownOutcome
from operations.handlers import register
from workflows.calling import can_be_active, kept_published, needs_published_callees, stays_published
from workflows.gateway import client_for, environment_by_id
from workflows.models import Environment
from workflows.references import CredentialRef
from workflows.stubs import Stub, make_stub
from workflows.writes import Release, failures

from . import maintenance, preview, pushing, restore, services
from .capture import capture_into
from .errors import PutBackFailed, RestoreFailed, RestoreRefused, WorkflowNotRestored
from .keeping import called_meanwhile
from .models import Snapshot, SnapshotType
from .planning import Current, Options, Plan
from .proving import prove, residues
from .restore import RestoreReport

TURNED_BACK = "restore:turned-back"
_TOOK_TOO_LONG = frozenset({"N8N_002", "N8N_003", "N8N_005", "N8N_006", "N8N_014", "N8N_018", "N8N_020"})


@register
class Capture:
    """Take a snapshot of an environment."""

    kind: ClassVar[str] = "snapshots.capture"

    def run(self, run: Run) -> dict[str, Any]:
        params = run.params
        environment = environment_by_id(run.tenant_id, params["environment_id"])
        # A schedule's parameters hold no id: there the operation lends its own.
        snapshot = capture_into(
            run,
            environment=environment,
            snapshot_type=params.get("snapshot_type", "scheduled"),
            description=params.get("description", ""),
            step="capture",
            snapshot_id=uuid.UUID(params.get("snapshot_id") or str(run.operation.pk)),
        )
        return {
            "snapshot_id": str(snapshot.pk),
            "workflow_count": snapshot.workflow_count,
            "git_commit_sha": snapshot.git_commit_sha,
            "findings": len((snapshot.verification or {}).get("findings") or ()),
        }


@register
class Verify:
    """Read a snapshot back from Git and compare every hash."""

    kind: ClassVar[str] = "snapshots.verify"

    def run(self, run: Run) -> dict[str, Any]:
        snapshot = services.snapshot_by_id(run.tenant_id, run.params["snapshot_id"])
        result: dict[str, Any] = run.step(
            "verify", "Read every workflow back from Git", lambda: services.verify_snapshot(snapshot, run=run)
        )
        return result


@register
class Maintain:
    """Pack the tenant's Git store; with ``full`` anew, and without what no branch leads to."""

    kind: ClassVar[str] = maintenance.KIND

    def run(self, run: Run) -> dict[str, Any]:
        full = bool(run.params.get("full"))
        result: dict[str, Any] = run.step("pack", "Pack it", lambda: maintenance.look_after(run.tenant_id, full=full))
        return result


@register
class Push:
    """Copy the tenant's Git store to its remote."""

    kind: ClassVar[str] = pushing.KIND

    def run(self, run: Run) -> dict[str, Any]:
        return pushing.push(run)


@register
class Restore:
    """Bring an environment back to a snapshot: capture, write, prove; or put everything back."""

    kind: ClassVar[str] = "snapshots.restore"
    result_template: ClassVar[str] = "snapshots/_restore_result.html"

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        target = services.snapshot_by_id(run.tenant_id, run.params["snapshot_id"])
        options = Options.from_params(run.params)
        if run.params.get("dry_run"):
            return self._dry_run(run, environment, target, options)
        before = capture_into(
            run,
            environment=environment,
            snapshot_type=SnapshotType.PRE_RESTORE,
            description=f"Before restoring {target}",
            step="before",
            snapshot_id=_derived(run, "before"),
        )
        plan = self._plan(run, environment, target, before, options)
        written = {item.key: str(item.entry.get("content_hash")) for item in plan.to_write}
        failed = run.failed_step("restore:write:")
        if failed is not None:
            # It may have created a workflow that cannot be told from others: it is not done again, but put back.
            self._turn_back(run, failed.error)
        if TURNED_BACK not in run.done_steps():
            try:
                stubs = self._make_stubs(run, environment, plan)
                report = restore.restore_into(
                    run,
                    environment=environment,
                    prefix="restore",
                    snapshot=target,
                    keys={item.key for item in plan.to_write},
                    expected={i.key: i.current.content_hash for i in plan.to_write if i.current is not None}
                    | {c.key: c.content_hash for c in plan.to_delete},
                    expected_drafts={i.key: {i.current.draft_hash} for i in plan.to_write if i.current is not None},
                    delete={c.key: c.env_workflow_id for c in plan.to_delete},
                    credentials=plan.credentials,
                    keep_published={i.key for i in plan.to_write if i.kept_for},
                    held=plan.held.keys(),
                    may_rest={i.key for i in plan.of("new")} if options.leave_out else (),
                    repair=options.repair,
                    release=Release(name=f"Restored from the snapshot of {target.created_at:%Y-%m-%d %H:%M} UTC"),
                )
                return self._prove(run, environment, target, before, plan, report, stubs)
            except UnknownOutcome:
                raise
            except (Cancelled, OpsError) as error:
                self._turn_back(run, error.to_dict() if isinstance(error, OpsError) else None)
            except Interrupted:
                raise
        return self._put_back(run, environment, before, plan, written)

    # -- forward --------------------------------------------------------------------------------------------------

    def _dry_run(self, run: Run, environment: Environment, target: Snapshot, options: Options) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            return preview.preview(
                tenant_id=run.tenant_id,
                environment_id=environment.pk,
                snapshot_id=target.pk,
                keys=options.keys,
                overwrite_existing=options.overwrite_existing,
                delete_extra=options.delete_extra,
                stubs=options.stubs,
                repair=options.repair,
                leave_out=options.leave_out,
            ).to_dict()

        found = run.step("preview", f"Compare the snapshot with {environment.name}", look)
        return {
            "dry_run": True,
            "status": "would_restore" if found["can_restore"] or options.skip_validation else "would_be_refused",
            "created": [{**w, "outcome": "would_be_created"} for w in found["new_workflows"]],
            "updated": [{**w, "outcome": "would_be_updated"} for w in found["updated_workflows"]],
            "skipped": [
                {**w, "outcome": "skipped"} for w in [*found["unchanged_workflows"], *found["skipped_workflows"]]
            ],
            "failed": [],
            "left_out": found["left_out_workflows"],
            "kept_published": found["kept_published"],
            "stubs": found["stubs"],
            "deleted": [w for w in found["extra_workflows"] if w["effect"] == "deleted"],
            "problems": found["problems"],
            "warnings": found["warnings"],
            "counts": found["counts"],
            "snapshot_id": str(target.pk),
        }

    def _plan(self, run: Run, environment: Environment, target: Snapshot, before: Snapshot, options: Options) -> Plan:
        """From two snapshots, so that it is the same after a crash; the verdict is a step, so that it is given once."""
        current = {str(e["key"]): Current.from_entry(e) for e in services.entries_of(before)}
        asked = run.step("credentials", "Ask n8n for its credentials", lambda: _asked(environment))

        def lacks(kinds: Collection[str]) -> list[str]:
            title = "Ask n8n which types of credential it has"
            found: list[str] = run.step("types", title, lambda: _lacking(environment, kinds)) if kinds else []
            return found

        instance = msgspec.convert(asked, preview.Instance)
        plan = preview.plan_against(environment, target, current, options, instance=instance, lacks=lacks)
        verdict = run.step(
            "plan",
            "Decide what to write",
            lambda: {
                "counts": plan.to_dict()["counts"],
                "problems": plan.problems[:200],
                "concerned": len({problem.get("key") for problem in plan.problems}),
                "warnings": plan.warnings[:200],
                "left_out": [item.to_dict() for item in plan.of("left_out")],
                "ignored": bool(plan.problems and options.skip_validation),
            },
        )
        if verdict["problems"] and not options.skip_validation:
            told = {name: verdict.get(name) for name in ("problems", "concerned", "warnings")}
            raise RestoreRefused(details=told)
        return plan

    def _make_stubs(self, run: Run, environment: Environment, plan: Plan) -> list[Stub]:
        """Credentials without their secrets for those that are missing; the contents point to them from here on."""
        made = []
        if plan.stubs:
            with client_for(environment) as client:
                for lost in plan.stubs:
                    ident = lost.known_by if lost.keeps_id else ""
                    stub = make_stub(run, client, environment, kind=lost.type, name=lost.name, credential_id=ident)
                    made.append(stub)
                    meant = lost.also if lost.keeps_id else (lost.known_by, *lost.also)
                    plan.credentials |= {(lost.type, known): CredentialRef(stub.id, stub.name) for known in meant}
        return made

    def _prove(
        self,
        run: Run,
        environment: Environment,
        target: Snapshot,
        before: Snapshot,
        plan: Plan,
        report: RestoreReport,
        stubs: list[Stub],
    ) -> dict[str, Any]:
        with run.shielded(finishing=True):
            after = capture_into(
                run,
                environment=environment,
                snapshot_type=SnapshotType.POST_RESTORE,
                description=f"After restoring {target}",
                step="after",
                snapshot_id=_derived(run, "after"),
            )
        wanted: dict[str, str | None] = {k: report.wanted[k] for k, w in report.results.items() if w.content_hash}
        wanted |= dict.fromkeys((c.key for c in plan.to_delete), None)
        entries = [item.wanted for item in plan.to_write]
        proof = prove(after, wanted, entries, report.results, learnt=environment.learnt_settings)
        proof.left += residues(plan.kept)
        told = report.to_dict()
        told["skipped"] += [
            {"key": i.key, "name": i.name, "outcome": "skipped", "reason": i.action}
            for i in plan.of("unchanged", "skipped")
        ]
        told["counts"]["skipped"] = len(told["skipped"])
        return {
            "dry_run": False,
            "status": "restored" if proof.equal else "restored_and_edited_since",
            **told,
            "left_out": [item.to_dict() for item in plan.of("left_out")],
            "kept_published": plan.kept,
            "unpublished": [*_held(plan), *_resting(report)],
            "worklist": [{"needs_secret": True, **msgspec.to_builtins(stub)} for stub in dict.fromkeys(stubs)],
            "warnings": plan.warnings[:200],
            "proof": proof.to_dict(),
            "snapshot_id": str(target.pk),
            "pre_snapshot_id": str(before.pk),
            "post_snapshot_id": str(after.pk),
        }

    # -- back -----------------------------------------------------------------------------------------------------

    def _turn_back(self, run: Run, told: dict[str, Any] | None) -> None:
        """Put on record that this restore goes back: whoever continues it after a crash must not go forward again.

        ``told`` is the failure; None: it was cancelled.
        """
        with run.shielded():
            run.step(
                TURNED_BACK,
                "Stop, and put back what was changed",
                lambda: {"error": told, "cancelled": told is None, "failed": failures(run, prefix="restore")},
            )

    def _put_back(
        self, run: Run, environment: Environment, before: Snapshot, plan: Plan, written: dict[str, str]
    ) -> dict[str, Any]:
        cause: dict[str, Any] = run.done_steps()[TURNED_BACK].result or {}
        touched = {item.key for item in plan.to_write} | {c.key for c in plan.to_delete}
        try:
            with run.shielded():
                kept = self._called_meanwhile(run, environment, before, touched)
                report = self._write_back(run, environment, before, touched, written, {row["key"] for row in kept})
                after = capture_into(
                    run,
                    environment=environment,
                    snapshot_type=SnapshotType.POST_RESTORE,
                    description="After putting back a restore that failed",
                    step="after",
                    snapshot_id=_derived(run, "after"),
                )
        except UnknownOutcome:
            raise
        except OpsError as trouble:
            self._not_now(run, environment, before, trouble)
        hashes = {str(e["key"]): str(e["content_hash"]) for e in services.entries_of(before)}
        wanted = {key: hashes.get(key) for key in touched | report.rewired.keys()}
        staying = {row["key"] for row in kept}
        before_it = [e for e in services.entries_of(before) if str(e["key"]) in touched]
        before_it = [stays_published(e) if e["key"] in staying else e for e in before_it]
        proof = prove(after, wanted, before_it, report.results, learnt=environment.learnt_settings)
        proof.left += residues(kept)
        details = {
            "status": "put_back" if proof.equal else "partly_put_back",
            "failed": [
                {"key": key, "outcome": "failed", "error": error} for key, error in sorted(cause["failed"].items())
            ],
            "put_back": report.to_dict(),
            "kept_published": kept,
            "proof": proof.to_dict(),
            "cause": cause["error"],
            "pre_snapshot_id": str(before.pk),
            "post_snapshot_id": str(after.pk),
        }
        if not proof.equal or report.failed:
            raise PutBackFailed(details=details)
        if cause["cancelled"]:
            raise Cancelled
        code = str((cause["error"] or {}).get("code", ""))
        message = f"{(cause['error'] or {}).get('message', '')} Everything is as it was before.".strip()
        if code in _TOOK_TOO_LONG:
            raise RestoreFailed(message, details=details)
        raise WorkflowNotRestored(message, details=details)

    def _called_meanwhile(
        self, run: Run, environment: Environment, before: Snapshot, touched: set[str]
    ) -> list[dict[str, Any]]:
        """What others have come to call since, and the way back would switch off: it runs on with its old content."""
        entries = {str(entry["key"]): entry for entry in services.entries_of(before)}
        ending = {key for key in touched if key in entries and not entries[key].get("active")}
        if not ending or not needs_published_callees(environment):
            return []

        def find() -> list[dict[str, Any]]:
            with client_for(environment) as client:
                called = called_meanwhile(preview.look(environment, client), entries, touched)
            able = {
                str(entry["key"])
                for entry, content in services.load_content(before, called.keys())
                if can_be_active(content, called_count=True)
            }
            rows = [{"key": k, "name": str(entries[k].get("name") or ""), "kept_for": n} for k, n in called.items()]
            return kept_published(row for row in rows if row["key"] in able)

        found: list[dict[str, Any]] = run.step("called", "See who calls what goes back", find)
        return found

    def _write_back(
        self,
        run: Run,
        environment: Environment,
        before: Snapshot,
        keys: set[str],
        written: dict[str, str],
        kept: set[str],
    ) -> RestoreReport:
        """Strictly first, so that what an n8n that is away refused is tried again; else as much as can be put back."""
        facts: dict[str, Any] = {"environment": environment, "before": before, "keys": keys, "written": written}
        facts["keep_published"] = kept
        try:
            return restore.put_back(run, **facts, forward_prefix="restore", prefix="back", tolerant=False)
        except OpsError as error:
            passing = getattr(error, "transient", False) or getattr(error, "ambiguous", False)
            if passing and not run.is_last_attempt:
                raise
            return restore.put_back(run, **facts, forward_prefix="restore", prefix="back:rest", tolerant=True)

    def _not_now(self, run: Run, environment: Environment, before: Snapshot, trouble: OpsError) -> NoReturn:
        """n8n or Git is away on the way back: that often passes. After the last try a person must look."""
        if not run.is_last_attempt:
            raise TryAgain(
                f"Putting {environment.name} back did not come to its end ({trouble}); it will be tried again."
            ) from trouble
        details = {"status": "not_put_back", "cause": trouble.to_dict(), "pre_snapshot_id": str(before.pk)}
        raise PutBackFailed(
            f"That everything is as before could not be proven: {trouble.message}", details=details
        ) from trouble


def _asked(environment: Environment) -> dict[str, Any]:
    """What n8n says of itself, as the record of a step."""
    with client_for(environment) as client:
        return preview.Instance.ask(client).to_dict()


def _lacking(environment: Environment, kinds: Collection[str]) -> list[str]:
    with client_for(environment) as client:
        return preview.lacking_types(client, kinds)


def _held(plan: Plan) -> list[dict[str, str]]:
    return [{"key": item.key, "name": item.name, "why": item.held} for item in plan.items if item.key in plan.held]


def _resting(report: RestoreReport) -> list[dict[str, str]]:
    """What n8n itself refused to publish."""
    return [
        {"key": written.key, "name": written.name, "why": left["reason"]}
        for written in report.results.values()
        for left in written.left
        if left.get("path") == "published"
    ]


def _derived(run: Run, name: str) -> uuid.UUID:
    """The id of a snapshot that belongs to this job: the same however often the job is begun again."""
    return uuid.uuid5(run.operation.pk, name)
