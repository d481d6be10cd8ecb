"""Carries a promotion out: all of it, or the target as it was before, and proof of which.

Every step is durable and may be begun again. Names, in order (stable: tests kill workers at them):

``promotion:gates``            the gates, once more, with the worker's eyes
``pre:…``                      the snapshot before, read back from Git (``snapshots.capture``)
``promotion:live``             gates again on what that snapshot saw: the live target is what the plan expects
``promotion:places``           where the workflows to be created are recorded now, to be put back on failure
``promote:write:<key>`` …      the writes (``workflows.writes``; also ``…:link:…``, ``…:activate:…``, ``…:rest:…``)
``promotion:verify``           every workflow of the target read back and compared
``promotion:canonical``        the approved branch moves: from here on there is no way back but a rollback
``post:…``                     the snapshot after
``promotion:finish``           the result on the promotion's row

and where anything fails, or a person cancels, before ``promotion:canonical``: the steps of ``undoing``.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.urls import reverse

from core import clock
from core.errors import OpsError
from operations.engine import Run
from operations.errors import Cancelled, Interrupted
from snapshots.canonical import Stored, in_git
from snapshots.capture import gathered_into_store
from snapshots.gathering import Gathered
from snapshots.models import Snapshot, SnapshotType
from snapshots.services import entries_of
from workflows import identity
from workflows.gateway import client_for
from workflows.identity import SeenWorkflow
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n.client import N8nClient
from workflows.watching.selectors import not_proven
from workflows.writes import EditedMeanwhile, Release, Resolver, Written, perform

from . import attention, gates
from .approved import Approved
from .domain_events import publish_state
from .errors import PlanStale, PreSnapshotFailed, WriteFailed
from .models import Promotion, PromotionStatus
from .outdated import is_outdated, refusal, with_todays_hashes
from .results import error_again, short, told_error
from .status_sync import snapshot_id_for
from .target import differences, draft_hash_in, reading_of

CONCURRENCY = 4
LISTED = 200


class Execution:
    """One run of one promotion. Made anew at every attempt; what is known comes from the rows."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.promotion_id = uuid.UUID(str(run.params["promotion_id"]))
        with run.fenced():
            self.promotion = Promotion.objects.select_related(
                "source_environment", "target_environment", "created_by", "tenant"
            ).get(pk=self.promotion_id)
        self.source: Environment = self.promotion.source_environment
        self.target: Environment = self.promotion.target_environment
        self.plan: dict[str, Any] = self.promotion.plan or dict(gates.EMPTY_PLAN)
        self._take(self.plan)
        self.pre_id = snapshot_id_for(run.operation.pk, "pre")
        self.post_id = snapshot_id_for(run.operation.pk, "post")
        self.gathered: Gathered | None = None
        self._kept = contextlib.ExitStack()

    def _take(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.items: dict[str, dict[str, Any]] = {i["key"]: i for i in plan["items"] if i["action"] != "unchanged"}
        self.approved = Approved(plan, self.items, self.source, self.target, self._release())

    def _release(self) -> Release:
        """How n8n's own history names what this promotion publishes."""
        asked = self.promotion.created_by
        by = f" by {asked.name or asked.email}" if asked is not None else ""
        origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), "").rstrip("/")
        path = reverse("promotion", kwargs={"tenant_slug": self.promotion.tenant.slug, "pk": self.promotion.pk})
        return Release(self.promotion.name, f"Promoted from {self.source.name}{by}. {origin}{path}")

    # -- forward ------------------------------------------------------------------------------------------------

    def carry_out(self) -> dict[str, Any]:
        """The whole promotion; returns its execution result. Failures end in ``undoing``."""
        with self._kept:
            return self._carry_out()

    def _carry_out(self) -> dict[str, Any]:
        from .undoing import Undoing

        ended = self._ended_before()
        if ended is not None:
            return ended
        done = self.run.done_steps()
        if "promotion:canonical" in done and "undo:decide" not in done:
            return self._go_on_from_canonical()
        if is_outdated(self.plan):
            self._go_on_after_upgrade()
        if "undo:decide" in done:
            return Undoing(self).carry_out()
        failed = self.run.failed_step("promote:write:")
        if failed is not None:
            # It may have created a workflow that cannot be told from others: it is not done again, but put back.
            told = failed.error or {}
            return Undoing(self, WriteFailed(told.get("message"), details={"cause": told})).carry_out()
        try:
            pre = self.prepare()
        except (OpsError, Cancelled) as error:
            if "promotion:places" in done:  # begun again: an earlier attempt may have written already
                return Undoing(self, error).carry_out()
            self.refuse(error)
            raise
        try:
            with client_for(self.target) as client:
                resolver = self.resolver()
                written = self.write(client, resolver)
                verification = self.verify(client, resolver, written, pre)
                # All is there and proven: a wish to cancel comes too late from here on.
                with self.run.shielded(finishing=True):
                    commit = self.approve_content(client, resolver, written)
        except Interrupted as error:
            if not isinstance(error, Cancelled):
                raise
            return Undoing(self, error).carry_out()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the target must not be left half-way
            return Undoing(self, error).carry_out()
        with self.run.shielded(finishing=True):
            return self.finish(written, verification, commit)

    def _go_on_after_upgrade(self) -> None:
        """The console compares in another way than when the plan was made; see ``outdated``."""
        if "promotion:places" not in self.run.done_steps():
            error = refusal(self.plan)
            self.refuse(error)
            raise error
        with self.run.fenced():
            pre = Snapshot.objects.get(pk=self.pre_id)
        self._take(with_todays_hashes(self.run, self.plan, self.approved, pre))

    def _go_on_from_canonical(self) -> dict[str, Any]:
        """A crash after the approved branch had moved: only the snapshot after and the result are missing."""
        done = self.run.done_steps()
        prefix = "promote:write:"
        written = {
            name.removeprefix(prefix): Written.from_dict(step.result)
            for name, step in done.items()
            if name.startswith(prefix) and step.result
        }
        verification = dict(done["promotion:verify"].result or {})
        commit = str((done["promotion:canonical"].result or {})["commit"])
        with self.run.shielded(finishing=True):
            return self.finish(written, verification, commit)

    def prepare(self) -> Snapshot:
        """Gates and the snapshot before. Nothing is written to the target yet. Raises the refusal."""
        self.run.step("promotion:gates", "Check the gates", self._check_gates)
        try:
            from snapshots.services import capture_into

            pre = capture_into(
                self.run,
                environment=self.target,
                snapshot_type=SnapshotType.PRE_PROMOTION,
                description=f"Before “{self.promotion.name}”"[:500],
                step="pre",
                snapshot_id=self.pre_id,
            )
        except Interrupted:
            raise
        except OpsError as error:
            message = f"The snapshot before the promotion could not be made: {error.message}"
            raise PreSnapshotFailed(message, details={"cause": error.to_dict()}) from error
        self.run.step("promotion:live", "Compare the live target with the plan", lambda: self._check_live(pre))
        self.run.step("promotion:places", "Note where things are recorded now", self._note_places)
        return pre

    def _check_gates(self) -> dict[str, Any]:
        found = gates.all_gates(self.promotion, self.source, self.target)
        refusal = gates.first_refusal(found)
        if refusal is not None:
            raise refusal
        return {"gates": [{"name": gate.name, "state": gate.state} for gate in found]}

    def _check_live(self, pre: Snapshot) -> dict[str, Any]:
        """The capture just made says what is there now; drift it found counts too."""
        there = {str(entry["key"]): entry for entry in pre.workflows}
        changed = []
        for item in self.plan["items"]:
            entry = there.get(item["key"]) or {}
            found = entry.get("content_hash")
            edited = bool(entry) and draft_hash_in(entry) != item.get("expected_draft_hash")
            switched = bool(entry) and gates.switched_since(item, bool(entry.get("active")))
            if found != item["expected_hash"] or edited or switched:
                changed.append(
                    {"key": item["key"], "name": item["name"], "expected": item["expected_hash"], "found": found}
                )
        if changed:
            names = ", ".join(f"“{c['name']}”" for c in changed[:3])
            raise PlanStale(
                f"Changed in {self.target.name} since the plan was made: {names}. Nothing was written.",
                details={"changed": changed[:LISTED]},
            )
        refusal = gates.first_refusal(
            [
                gates.drift_gate(self.promotion, self.target),
                gates.freshness_gate(self.promotion, self.source, self.target),
            ]
        )
        if refusal is not None:
            raise refusal
        return {"compared": len(self.plan["items"]), "workflows": len(there)}

    def _note_places(self) -> dict[str, Any]:
        creates = [key for key, item in self.items.items() if item["action"] == "create"]
        with self.run.fenced():
            rows = WorkflowEnvMap.objects.filter(
                environment_id=self.target.pk, canonical_workflow__key__in=creates
            ).values_list("canonical_workflow__key", "status", "env_workflow_id")
            before = {key: [status, there] for key, status, there in rows}
            return {"keys": identity.key_by_workflow_id(self.target.pk), "before": before}

    def resolver(self) -> Resolver:
        """Ids to keys as they were before the first write: the same at every attempt."""
        return Resolver(self.noted()["keys"])

    def noted(self) -> dict[str, Any]:
        """What ``promotion:places`` wrote down: ``keys`` (id to key) and ``before`` (key to status and id)."""
        return dict(self.run.done_steps()["promotion:places"].result or {})

    def write(self, client: N8nClient, resolver: Resolver) -> dict[str, Written]:
        """Every create and update, verified one by one; raises the first failure."""

        def bind(created: Mapping[str, str]) -> None:
            with self.run.fenced():
                identity.bind(tenant_id=self.run.tenant_id, environment_id=self.target.pk, ids=created)

        with self.approved.reader(self.run) as reader:
            items = self.approved.write_items(reader)
            return perform(
                self.run,
                client,
                items,
                environment=self.target,
                prefix="promote",
                resolver=resolver,
                concurrency=CONCURRENCY,
                on_created=bind,
            )

    def verify(
        self, client: N8nClient, resolver: Resolver, written: Mapping[str, Written], pre: Snapshot
    ) -> dict[str, Any]:
        """Read the whole target back: all that was promoted is as wanted, and what else has changed is named."""

        def look() -> dict[str, Any]:
            self.run.progress(len(self.items), len(self.items), "Reading the target back")
            ids = {key: written[key].env_workflow_id for key in self.items}
            reading = reading_of(self._look(client))
            rows = []
            for key, item in self.items.items():
                live = reading.workflows.get(ids[key])
                found = reading.hash_of(ids[key], resolver)
                rows.append(
                    {
                        "key": key,
                        "name": item["name"],
                        "env_workflow_id": ids[key],
                        "expected_hash": item["expected_hash"],
                        "wanted_hash": item["wanted_hash"],
                        "found_hash": found,
                        "active": live.active if live else None,
                        "listening": written[key].listening,
                        "ok": found == item["wanted_hash"] and bool(live and live.active == item["active"]),
                    }
                )
            wrong = [row for row in rows if not row["ok"]]
            if wrong:
                names = ", ".join(f"“{row['name']}”" for row in wrong[:3])
                raise EditedMeanwhile(
                    f"Not as it was written a moment ago: {names}.", details={"wrong": wrong[:LISTED]}
                )
            equal, elsewhere = differences(reading, entries_of(pre), resolver, leave_out=set(ids.values()))
            return {
                "workflows": rows,
                "not_proven": self._not_proven(),
                "promoted": len(rows),
                "others_unchanged": equal,
                "changed_elsewhere": [found.to_dict() for found in elsewhere[:LISTED]],
                "verified_at": clock.now().isoformat(),
            }

        return self.run.step("promotion:verify", "Read everything back and compare", look)  # type: ignore[no-any-return]

    def _not_proven(self) -> list[dict[str, Any]]:
        """What runs by n8n's word alone; it is watched from the end on."""
        with self.run.fenced():
            return not_proven(self.run.operation.pk)[:LISTED]

    def approve_content(self, client: N8nClient, resolver: Resolver, written: Mapping[str, Written]) -> str:
        """Move the approved branch to what was just proven to be there; its commit."""
        from snapshots.services import commit_canonical

        def commit() -> dict[str, str]:
            ids = {key: written[key].env_workflow_id for key in self.items}
            gathered = self.gathered or self._look(client)
            changes: dict[str, Any] = {}
            for key, item in self.items.items():
                seen = gathered.seen.get(ids[key])
                if seen is None or resolver.hash_of(seen.fingerprint) != item["wanted_hash"]:
                    raise EditedMeanwhile(f"“{item['name']}” was changed before it could be approved.")
                changes[key] = _stored(gathered, seen)
            sha = commit_canonical(
                self.run,
                environment=self.target,
                changes=changes,
                message=f"Promote {len(changes)} workflows from {self.source.name}: {self.promotion.name}",
                trailers=self.trailers(),
            )
            return {"commit": str(sha)}

        found = self.run.step(
            "promotion:canonical", "Record the new content as approved", commit, external_call=in_git(self.target)
        )
        return str(found["commit"])

    def _look(self, client: N8nClient) -> Gathered:
        """The whole target, its contents in Git: what is proven is also what is approved and captured afterwards."""
        self.gathered = self._kept.enter_context(gathered_into_store(self.run, self.target, client))
        return self.gathered

    def trailers(self) -> dict[str, str]:
        """What a commit says about where it comes from."""
        return {
            "Promotion-Id": str(self.promotion.pk),
            "Operation-Id": str(self.run.operation.pk),
            "Source-Commit": str(self.plan["source"]["commit"] or ""),
        }

    def finish(self, written: Mapping[str, Written], verification: dict[str, Any], commit: str) -> dict[str, Any]:
        """The snapshot after, and the result. The target is right already: a failure here undoes nothing."""
        note = self._post_snapshot()
        result: dict[str, Any] = {
            "snapshot_ids": {"pre_promotion": str(self.pre_id), "post_promotion": None if note else str(self.post_id)},
            "workflows": self.told(written),
            "verification": verification,
            "commit": commit,
            "rollback_result": None,
        }
        if note:
            result["warning"] = note
        self.run.step("promotion:finish", "Record the result", lambda: self.conclude(PromotionStatus.COMPLETED, result))
        return short(result)

    def _post_snapshot(self) -> dict[str, Any] | None:
        from snapshots.services import capture_into

        try:
            capture_into(
                self.run,
                environment=self.target,
                snapshot_type=SnapshotType.POST_PROMOTION,
                description=f"After “{self.promotion.name}”"[:500],
                step="post",
                snapshot_id=self.post_id,
                gathered=self.gathered,
            )
        except Interrupted:
            raise
        except OpsError as error:
            return {
                "code": error.code,
                "message": f"The promotion is complete; the snapshot after it could not be made: {error.message}",
                "recovery": "Capture the environment by hand.",
            }
        return None

    # -- endings ------------------------------------------------------------------------------------------------

    def told(self, written: Mapping[str, Written]) -> list[dict[str, Any]]:
        """What became of each workflow, for the row and the API."""
        rows = []
        for item in self.plan["items"]:
            done = written.get(item["key"])
            row = {"key": item["key"], "name": item["name"], "action": item["action"]}
            if done is not None:
                row |= {"outcome": done.outcome, "env_workflow_id": done.env_workflow_id, "left": done.left}
            rows.append(row | {"expected_hash": item["expected_hash"], "wanted_hash": item["wanted_hash"]})
        return rows

    def conclude(self, status: str, result: dict[str, Any]) -> dict[str, Any]:
        """Write the ending on the promotion's row, if this run still holds the operation."""
        now = clock.now()
        with self.run.fenced():
            mine = Promotion.objects.filter(pk=self.promotion_id, operation_id=self.run.operation.pk)
            concluded = mine.update(
                status=status,
                execution_result=result,
                ended_at=now,
                updated_at=now,
                attention_since=attention.since(result, now),
            )
            if concluded:
                publish_state(mine.get())
        return {"status": status}

    def refuse(self, error: Exception) -> None:
        """Nothing was written: say so and end."""
        result = {
            "error": told_error(error),
            "rollback_result": None,
            "target_untouched": True,
            "snapshot_ids": {
                "pre_promotion": str(self.pre_id) if "pre:row" in self.run.done_steps() else None,
                "post_promotion": None,
            },
            "workflows": self.told({}),
        }
        status = PromotionStatus.CANCELLED if isinstance(error, Cancelled) else PromotionStatus.FAILED
        with self.run.shielded():
            self.conclude(status, result)

    def _ended_before(self) -> dict[str, Any] | None:
        """A crash between the promotion's ending and the operation's: end the same way again."""
        if self.promotion.status == PromotionStatus.RUNNING:
            return None
        result = self.promotion.execution_result or {}
        if self.promotion.status == PromotionStatus.COMPLETED:
            return short(result)
        if self.promotion.status == PromotionStatus.CANCELLED:
            raise Cancelled
        raise error_again(result.get("error") or {})


def _stored(gathered: Gathered, seen: SeenWorkflow) -> Stored:
    """What was just proven to be there, as it lies in Git already."""
    extra = gathered.extras[seen.env_workflow_id]
    draft_blob = extra["draft"]["blob"] if "draft" in extra else ""
    return Stored(extra["blob"], seen.fingerprint, seen.active, seen.facts, draft_blob, seen.draft)
