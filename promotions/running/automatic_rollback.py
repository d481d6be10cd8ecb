"""Puts the target back after a promotion failed or was cancelled half-way, and proves it by hash of every workflow.

Steps, in order: ``undo:decide`` (the decision is durable: a crash resumes here and never goes forward again),
``undo:look`` (whose is what stands there now), ``undo:write:<key>`` … (``snapshots.restore``: old contents back, what
the promotion had created deleted; ``undo:rest:…`` where the first pass met an edit), ``undo:places``,
``undo:prove``, ``undo:canonical`` (only where that had been begun), ``undo:finish``.

What somebody else has edited meanwhile is not touched: it is named, and the outcome is *partial*. What others have
come to call meanwhile keeps running, with its old content: the look and the proof name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core import clock
from core.errors import OpsError
from operations.errors import Cancelled, Interrupted, TryAgain
from operations.models import OperationStep, StepState
from promotions.errors import RollbackFailed
from promotions.models import PromotionStatus
from promotions.planning import snapshot_contents
from promotions.planning.called_workflows import as_before, calls_of_running, kept_for
from snapshots.canonical import in_git
from snapshots.models import Snapshot
from snapshots.services import entries_of
from workflows import identity
from workflows.calling import can_be_active, names_by_key, stays_published, told_kept
from workflows.gateway import client_for
from workflows.models import MapStatus, WorkflowEnvMap
from workflows.n8n.client import N8nClient
from workflows.references import rewrite
from workflows.writes import Release, Resolver, pending

from .ownership import FOREIGN, GONE, OLD, OURS, is_mixture, judge
from .results import error_again, told_error
from .target import Live, Reading, differences, read_target

if TYPE_CHECKING:
    from .execution import Execution

LISTED = 200


class AutomaticRollback:
    """The way back of one execution."""

    def __init__(self, execution: Execution, error: Exception | None = None) -> None:
        self.execution = execution
        self.run = execution.run
        self.error = error

    def carry_out(self) -> dict[str, Any]:
        """Put back, prove, record; always ends by raising what ended the promotion (or ``Cancelled``)."""
        with self.run.shielded():
            told = told_error(self.error) if self.error is not None else {}
            decided = self.run.step("undo:decide", "Decide to put the target back", lambda: {"error": told})
            result = self._put_back(decided["error"])
        error = result["error"]
        status = result["rollback_result"]["status"]
        if status == "success" and error["code"] == "CANCELLED":
            raise Cancelled
        raise error_again(error)

    def _put_back(self, error: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._restore_and_prove(error)
        except Interrupted:
            raise
        except Exception as trouble:  # noqa: BLE001 -- a person must learn of it whatever it is
            return self._not_now(error, trouble)

    def _not_now(self, error: dict[str, Any], trouble: Exception) -> dict[str, Any]:
        """Trouble while putting back often passes: try again later; at the last attempt say what is known."""
        if not self.run.is_last_attempt:
            raise TryAgain(
                f"Putting the target back did not come to its end ({trouble}); it will be tried again."
            ) from trouble
        cause = (
            trouble.to_dict() if isinstance(trouble, OpsError) else {"message": f"{type(trouble).__name__}: {trouble}"}
        )
        looked = self.run.done_steps().get("undo:look")
        touched = (
            [row["name"] for row in looked.result["rows"]]
            if looked and looked.result
            else [i["name"] for i in self.execution.items.values()]
        )
        outcome = {
            "status": "failed",
            "workflows_rolled_back": 0,
            "snapshot_id": str(self.execution.pre_id),
            "proof": None,
            "cause": cause,
            "not_restored": touched[:LISTED],
        }
        return self._finish(error, outcome)

    def _restore_and_prove(self, error: dict[str, Any]) -> dict[str, Any]:
        execution = self.execution
        with self.run.fenced():
            pre = Snapshot.objects.get(pk=execution.pre_id)
        with client_for(execution.target) as client:
            resolver = execution.resolver()
            looked = self.run.step("undo:look", "See what the promotion has left", lambda: self._look(client, resolver))
            rows: list[dict[str, Any]] = looked["rows"]
            for row in rows:
                if row["action"] == "create" and row["env_workflow_id"] and row["verdict"] == OURS:
                    resolver.learn(row["key"], row["env_workflow_id"])
            self._restore(client, pre, rows)
            self.run.step("undo:places", "Record what is gone again", lambda: self._put_places_back(rows))
            proof = self.run.step(
                "undo:prove", "Prove that the target is as before", lambda: self._prove(client, resolver, pre, rows)
            )
        self._disapprove(pre, rows)
        return self._finish(error, self._outcome(rows, proof))

    def _disapprove(self, pre: Snapshot, rows: list[dict[str, Any]]) -> None:
        """Move the approved branch back where it may have moved; a broken Git store does not undo the proof."""
        with self.run.fenced():
            begun = OperationStep.objects.filter(
                operation_id=self.run.operation.pk, name="promotion:canonical"
            ).exists()
        if not begun:
            return

        def move() -> dict[str, Any]:
            from snapshots.services import set_baseline

            try:
                sha = set_baseline(
                    self.run,
                    environment=self.execution.target,
                    snapshot=pre,
                    keys=list(self.execution.items),
                    published=names_by_key(rows),
                    message=f"Take back {self.execution.promotion.name}",
                    trailers=self.execution.trailers(),
                )
            except OpsError as error:
                return {"error": error.to_dict()}
            return {"commit": str(sha)}

        self.run.step(
            "undo:canonical",
            "Take back what was recorded as approved",
            move,
            external_call=in_git(self.execution.target),
        )

    # -- looking ------------------------------------------------------------------------------------------------

    def _look(self, client: N8nClient, resolver: Resolver) -> dict[str, Any]:
        """One row for each workflow of the plan: whose is what is there, and by which hash it may be overwritten."""
        execution = self.execution
        known = set(resolver.key_map())
        ids = {i["target"]["env_workflow_id"] for i in execution.items.values() if i["target"]}
        reading = read_target(self.run, client, keep=ids, keep_new=known)
        steps = self._steps()
        for key, written in steps.items():
            if written["id"] and execution.items.get(key, {}).get("action") == "create":
                resolver.learn(key, written["id"])
        contents = _Contents(execution)
        rows = [
            self._look_at(item, reading, resolver, steps.get(key, _UNTOUCHED), contents, known)
            for key, item in execution.items.items()
        ]
        self._keep_called(reading, rows)
        return {"rows": rows, "kept_published": told_kept(rows), "looked_at": clock.now().isoformat()}

    def _keep_called(self, reading: Reading, rows: list[dict[str, Any]]) -> None:
        """What others have come to call since, and the way back would switch off, is kept published."""
        ending = {
            row["env_workflow_id"]: row
            for row in rows
            if row["verdict"] == OURS
            and (there := self.execution.items[row["key"]]["target"])
            and not there["active"]
            and reading.workflows[row["env_workflow_id"]].active
        }
        if not ending:
            return
        with self.run.fenced():
            pre = Snapshot.objects.get(pk=self.execution.pre_id)
        touched, before = {row["env_workflow_id"] for row in rows}, calls_of_running(pre.workflows)
        old = {str(e["env_workflow_id"]): as_before(e) for e in pre.workflows if str(e["env_workflow_id"]) in ending}
        callers = kept_for(self.execution.target, reading, old, touched, before=before)
        contents = snapshot_contents.load(pre, [ending[there]["key"] for there in callers])
        for there, names in callers.items():
            if can_be_active(contents[ending[there]["key"]][1], called_count=True):
                ending[there]["kept_for"] = names[:LISTED]

    def _look_at(
        self,
        item: Mapping[str, Any],
        reading: Reading,
        resolver: Resolver,
        step: Mapping[str, Any],
        contents: _Contents,
        known: set[str],
    ) -> dict[str, Any]:
        if item["action"] == "create":
            there = step["id"] or self._find_created(item, reading, resolver, step, contents, known)
        else:
            there = item["target"]["env_workflow_id"]
        live = reading.workflows.get(there) if there else None
        found = resolver.hash_of(live.mark) if live else None
        verdict = judge(
            found_hash=found,
            old_hash=item["expected_hash"],
            wanted_hash=item["wanted_hash"],
            begun=step["begun"],
            done=step["done"],
            read_back=step["read_back"],
        )
        if verdict is None:
            verdict = OURS if live and contents.is_mixture(item, live, resolver) else FOREIGN
        if verdict == OLD and live and item["target"] and live.active != item["target"]["active"]:
            # The content is as it was; only the switch is not, and it was ours to turn.
            verdict = OURS if step["begun"] and not step["switched"] else FOREIGN
        draft = reading.draft_hash_of(there, resolver) if there else None
        is_ours = draft in (None, item.get("expected_draft_hash")) or (
            step["begun"] and live is not None and (draft in step["drafts"] or contents.is_ours(item, live, resolver))
        )
        if verdict == OLD and item["target"] and draft != item.get("expected_draft_hash"):
            # What runs is as before; only the draft is not.
            verdict = OURS if is_ours else FOREIGN
        return {
            "key": item["key"],
            "name": item["name"],
            "action": item["action"],
            "env_workflow_id": there or "",
            "verdict": verdict,
            "found_hash": found,
            "draft_hash": draft if is_ours else item.get("expected_draft_hash"),
        }

    def _find_created(
        self,
        item: Mapping[str, Any],
        reading: Reading,
        resolver: Resolver,
        step: Mapping[str, Any],
        contents: _Contents,
        known: set[str],
    ) -> str:
        """A creation without an answer: a workflow nobody knew, of that name, holding nothing but our content."""
        if not step["begun"]:
            return ""
        for there, live in reading.workflows.items():
            if there in known or live.name != item["name"]:
                continue
            if resolver.hash_of(live.mark) == item["wanted_hash"] or contents.is_mixture(item, live, resolver):
                known.add(there)
                return there
        return ""

    def _steps(self) -> dict[str, dict[str, Any]]:
        """What the steps of the writes say, by key."""
        with self.run.fenced():
            rows = list(
                OperationStep.objects.filter(
                    operation_id=self.run.operation.pk, name__regex=r"^promote:(link:)?(write|activate|rest|draft):"
                )
                .exclude(state=StepState.SKIPPED)
                .values_list("name", "state", "result", "error", "intent")
            )
        found: dict[str, dict[str, Any]] = {}
        for name, state, result, error, intent in rows:
            key = str((intent or {}).get("key") or name.partition("write:")[2])
            seen = found.setdefault(key, {**_UNTOUCHED, "begun": True, "done": True, "drafts": []})
            if ":write:" in name:  # a later step may have seen somebody else's
                seen["drafts"] += [(result or {}).get("draft_hash")]
            details = (error or {}).get("details") or {}
            seen["done"] &= state == StepState.DONE
            seen["id"] = seen["id"] or (result or {}).get("env_workflow_id") or details.get("env_workflow_id") or ""
            seen["switched"] |= bool(details.get("switched"))
            if (error or {}).get("code") == "WRITE_002":
                seen["read_back"] = details.get("found")
        return found

    # -- putting back -------------------------------------------------------------------------------------------

    def _restore(self, client: N8nClient, pre: Snapshot, rows: list[dict[str, Any]]) -> None:
        """Old contents back, creations deleted. Strictly first; where that meets an edit or a refusal, the rest."""
        ours = [row for row in rows if row["verdict"] == OURS]
        if not ours:
            return
        try:
            self._restore_rows(client, pre, ours, prefix="undo", tolerant=False)
        except Interrupted:
            raise
        except OpsError as error:
            passing = getattr(error, "transient", False) or getattr(error, "ambiguous", False)
            if passing and not self.run.is_last_attempt:
                raise
            self._restore_rows(client, pre, ours, prefix="undo:rest", tolerant=True)

    def _restore_rows(
        self, client: N8nClient, pre: Snapshot, rows: list[dict[str, Any]], *, prefix: str, tolerant: bool
    ) -> None:
        from snapshots.restore import restore_into

        restore_into(
            self.run,
            environment=self.execution.target,
            snapshot=pre,
            keys=[row["key"] for row in rows if row["action"] == "update"],
            delete={row["key"]: row["env_workflow_id"] for row in rows if row["action"] == "create"},
            prefix=prefix,
            expected={row["key"]: row["found_hash"] for row in rows},
            expected_drafts={row["key"]: {row["draft_hash"]} for row in rows if "draft_hash" in row},
            keep_published=names_by_key(rows),
            release=Release(f"Before {self.execution.promotion.name}", "Put back after a promotion that failed."),
            tolerant=tolerant,
            client=client,
        )

    def _put_places_back(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        before: dict[str, list[str]] = self.execution.noted()["before"]
        removed = self._removed()
        created = [row for row in rows if row["action"] == "create"]
        gone = [r["key"] for r in created if r["verdict"] == OLD or (r["verdict"] == OURS and r["key"] in removed)]
        environment_id = self.execution.target.pk
        with self.run.fenced():
            fresh = [key for key in gone if key not in before]
            identity.mark_deleted(tenant_id=self.run.tenant_id, environment_id=environment_id, keys=fresh)
            for key in gone:
                if key in before:
                    status, there = before[key]
                    WorkflowEnvMap.objects.filter(environment_id=environment_id, canonical_workflow__key=key).exclude(
                        status=MapStatus.IGNORED
                    ).update(status=status, env_workflow_id=there, updated_at=clock.now())
        return {"gone": gone[:LISTED]}

    def _removed(self) -> set[str]:
        """Keys of what putting back has deleted. What n8n would not delete keeps its place: others may call it."""
        done = self.run.done_steps()
        written = [s.result or {} for name, s in done.items() if name.startswith(("undo:write:", "undo:rest:write:"))]
        return {str(row["key"]) for row in written if row.get("outcome") == "deleted"}

    def _prove(
        self, client: N8nClient, resolver: Resolver, pre: Snapshot, rows: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Every workflow of the target against the snapshot before, by hash and by being active."""
        reading = read_target(self.run, client)
        kept = names_by_key(rows)
        wanted = [stays_published(entry) if entry["key"] in kept else entry for entry in entries_of(pre)]
        equal, found = differences(reading, wanted, resolver)
        ours = {i["target"]["env_workflow_id"] for i in self.execution.items.values() if i["target"]}
        ours |= {row["env_workflow_id"] for row in rows if row["env_workflow_id"]}
        concerned = [d.to_dict() for d in found if d.env_workflow_id in ours or d.key in self.execution.items]
        elsewhere = [d.to_dict() for d in found if d.to_dict() not in concerned]
        return {
            "snapshot_id": str(pre.pk),
            "workflows_in_snapshot": len(pre.workflows),
            "equal": equal,
            "not_as_before": concerned[:LISTED],
            "changed_elsewhere": elsewhere[:LISTED],
            "kept_published": told_kept(rows),
            "proven_at": clock.now().isoformat(),
        }

    # -- ending -------------------------------------------------------------------------------------------------

    def _outcome(self, rows: list[dict[str, Any]], proof: dict[str, Any]) -> dict[str, Any]:
        foreign = [row for row in rows if row["verdict"] in (FOREIGN, GONE)]
        whole = not proof["not_as_before"]
        odd = {found[name] for found in proof["not_as_before"] for name in ("key", "env_workflow_id")}
        put_back = sum(row["verdict"] == OURS and odd.isdisjoint((row["key"], row["env_workflow_id"])) for row in rows)
        return {
            "status": "success" if whole else "partial",
            "workflows_rolled_back": put_back,
            "snapshot_id": proof["snapshot_id"],
            "proof": proof,
            "edited_by_others": [
                {
                    "key": row["key"],
                    "name": row["name"],
                    "found_hash": row["found_hash"],
                    "gone": row["verdict"] == GONE,
                }
                for row in foreign
            ],
            "not_restored": [row["name"] for row in proof["not_as_before"]],
        }

    def _finish(self, error: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
        if outcome["status"] != "success":
            names = ", ".join(f"“{name}”" for name in outcome["not_restored"][:3]) or "some workflows"
            message = f"Not as before the promotion: {names}."
            if outcome.get("edited_by_others"):
                message += " Somebody else has edited what is there, so it was not overwritten."
            error = {
                "code": RollbackFailed.code,
                "message": message,
                "recovery": RollbackFailed.recovery,
                "details": {"cause": error},
            }
        result = {
            "error": error,
            "rollback_result": outcome,
            "needs_attention": outcome["status"] != "success",
            "snapshot_ids": {"pre_promotion": str(self.execution.pre_id), "post_promotion": None},
            "workflows": self.execution.told({}),
        }
        status = PromotionStatus.CANCELLED if error["code"] == "CANCELLED" else PromotionStatus.FAILED
        self.run.step("undo:finish", "Record the result", lambda: self.execution.conclude(status, result))
        return result


#: ``switched``: our write met that somebody had switched it, and left it alone.
_UNTOUCHED: Mapping[str, Any] = {
    "begun": False,
    "done": False,
    "id": "",
    "read_back": None,
    "switched": False,
    "drafts": [],
}


class _Contents:
    """Old and new contents of single workflows, read only where a hash does not tell."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def is_mixture(self, item: Mapping[str, Any], live: Live, resolver: Resolver) -> bool:
        """Whether what is there holds nothing but parts of the old and of the new content."""
        return live.content is not None and self._is_made_of_ours(item, live.content, resolver)

    def is_ours(self, item: Mapping[str, Any], live: Live, resolver: Resolver) -> bool:
        """Whether the draft holds nothing but parts of the old and of the new content."""
        return live.draft_content is not None and self._is_made_of_ours(item, live.draft_content, resolver)

    def _is_made_of_ours(self, item: Mapping[str, Any], there: dict[str, Any], resolver: Resolver) -> bool:
        execution = self._execution
        with execution.run.fenced():
            source = Snapshot.objects.defer("workflows").get(pk=execution.plan["source"]["snapshot_id"])
            pre = Snapshot.objects.defer("workflows").get(pk=execution.pre_id)
        with snapshot_contents.Reader(
            source, [item["key"]], version=item["source"].get("version", "published")
        ) as reader:
            new = execution.approved.content_for(item, reader)
        old = snapshot_contents.load(pre, [item["key"]]).get(item["key"]) if item["target"] else None
        made = {ident: pending(key) for key, ident in resolver.created.items()}
        # References are compared by what they mean: a created workflow has an id now where the plan had none.
        found = rewrite(there, workflow_ids=made, credentials={}).content if made else there
        return is_mixture(found, old[1] if old else None, new)
