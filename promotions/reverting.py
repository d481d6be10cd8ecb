"""Rolls a finished (or half-finished) promotion back: only the workflows that it touched.

Steps, in order (stable): ``rollback:look``, ``safety:…`` (a snapshot of how it is now), ``rollback:write:<key>`` …
(``snapshots.restore``; ``rollback:rest:…`` where the first pass met an edit or a refusal), ``rollback:prove``,
``rollback:canonical``, ``after:…``, ``rollback:finish``.

From the first write on trouble with n8n is met as ``undoing`` meets it: tried again later, and after the last try the
promotion says that its target is half-way, and holds it.

Without ``force`` a workflow that somebody has changed since stops it before anything is written, and so does one that
calls what would be deleted. What others call keeps running, with its old content, though it was not published before:
the look and the proof name it. With ``force`` what is there at the look may be overwritten; an edit made after the look
still is not.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.db.models import Q

from core import clock
from core.errors import OpsError
from operations.engine import Run
from operations.errors import Interrupted, TryAgain, UnknownOutcome
from operations.models import OperationStep
from snapshots.canonical import in_git
from snapshots.models import Snapshot, SnapshotType
from snapshots.services import entries_of
from workflows import identity
from workflows.calling import can_be_active, names_by_key, stays_published, told_kept
from workflows.content import NORMALIZATION_VERSION
from workflows.gateway import client_for
from workflows.models import Environment
from workflows.n8n.client import N8nClient
from workflows.writes import Release, Resolver

from . import attention, snapshot_contents
from .domain_events import publish_state
from .errors import RollbackFailed, RollbackRefused, WrongState
from .models import Promotion
from .outdated import is_outdated
from .results import broken_off, rolled_back
from .running import as_before, kept_for
from .status_sync import snapshot_id_for, wrote_back
from .target import Reading, differences, draft_hash_in, read_target

LISTED = 200


class Reverting:
    """One run of one rollback."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.promotion_id = uuid.UUID(str(run.params["promotion_id"]))
        self.force = bool(run.params.get("force"))
        with run.fenced():
            self.promotion = Promotion.objects.select_related("target_environment").get(pk=self.promotion_id)
            self.pre = Snapshot.objects.filter(
                pk=run.params["snapshot_id"], environment_id=self.promotion.target_environment_id
            ).first()
        self.target: Environment = self.promotion.target_environment
        self.items = {i["key"]: i for i in (self.promotion.plan or {}).get("items", []) if i["action"] != "unchanged"}
        self.safety_id = snapshot_id_for(run.operation.pk, "safety")
        self.after_id = snapshot_id_for(run.operation.pk, "after")

    @cached_property
    def entries(self) -> list[dict[str, Any]]:
        """What was there before, hashed as today. Outside any scope."""
        return entries_of(self.pre) if self.pre is not None else []

    def carry_out(self) -> dict[str, Any]:
        """Put back, prove, move the approved branch back, record. Raises ``RollbackRefused`` or ``RollbackFailed``."""
        if self.pre is None:
            raise WrongState("The snapshot to roll back to is not one of the target environment.")
        pre = self.pre
        with client_for(self.target) as client:
            looked = self._looked(client)
            rows: list[dict[str, Any]] = looked["rows"]
            self._capture(
                SnapshotType.PRE_RESTORE, f"Before rolling back “{self.promotion.name}”", "safety", self.safety_id
            )
            # From the first write on it is carried through: a rollback broken off half-way helps nobody.
            with self.run.shielded(finishing=True):
                try:
                    return self._carried_through(client, pre, rows)
                except (Interrupted, UnknownOutcome, RollbackFailed):
                    raise
                except OpsError as error:
                    self._broken_off(rows, error)
                    raise

    def _carried_through(self, client: N8nClient, pre: Snapshot, rows: list[dict[str, Any]]) -> dict[str, Any]:
        proof = self._proven(client, pre, rows)
        if proof["not_as_before"]:
            return self._fail(rows, proof)
        commit = self._approve_old(pre, rows)
        after = self._after()
        return self._finish(rows, proof, commit, after)

    def _proven(self, client: N8nClient, pre: Snapshot, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Write, and prove. Raises ``TryAgain`` over trouble; over that of the last try what a person must know."""
        try:
            self._restore(client, pre, rows)
            return self.run.step("rollback:prove", "Prove it by hash", lambda: self._prove(client, pre, rows))  # type: ignore[no-any-return]
        except Interrupted:
            raise
        except Exception as trouble:
            if not self.run.is_last_attempt:
                raise TryAgain(
                    f"Rolling back did not come to its end ({trouble}); it will be tried again."
                ) from trouble
            raise self._half_way(rows, trouble) from trouble

    def _half_way(self, rows: list[dict[str, Any]], trouble: Exception) -> RollbackFailed:
        """Nobody knows how much of it was put back: put on record that a person must look."""
        told = trouble.message if isinstance(trouble, OpsError) else f"{type(trouble).__name__}: {trouble}"
        error = RollbackFailed(f"That everything is as before could not be proven: {told}")
        proof = {"snapshot_id": str(self.run.params["snapshot_id"]), "equal": 0, "deleted": 0, "not_as_before": []}
        record = self._record("failed", rows, proof)
        record["error"] = error.to_dict() | {"details": {}}
        self.run.step("rollback:finish", "Record the result", lambda: self._conclude(record))
        return error

    def _resolver(self) -> Resolver:
        with self.run.fenced():
            return Resolver(identity.key_by_former_id(self.target.pk))

    def _looked(self, client: N8nClient) -> dict[str, Any]:
        """What is there now; looked at again where the console compares in another way since."""
        name = "rollback:look"
        before = self.run.done_steps().get(name)
        if (
            before is not None
            and (before.result or {}).get("normalization", NORMALIZATION_VERSION) != NORMALIZATION_VERSION
        ):
            name = f"{name}:{NORMALIZATION_VERSION}"
        return self.run.step(  # type: ignore[no-any-return]
            name, "See what is there now", lambda: self._look(client, self._resolver())
        )

    def _left(self) -> dict[str, str]:
        """By key, the hash of what the promotion has left. An outdated plan does not tell; the snapshot after does."""
        plan = self.promotion.plan or {}
        if not is_outdated(plan):
            return {key: item["wanted_hash"] for key, item in self.items.items()}
        with self.run.fenced():
            ident = ((self.promotion.execution_result or {}).get("snapshot_ids") or {}).get("post_promotion")
            post = Snapshot.objects.filter(pk=ident, environment_id=self.target.pk).first() if ident else None
        if post is None and not self.force:
            raise RollbackRefused(
                "The console compares workflows in another way since, and no snapshot tells what this promotion left.",
                recovery="Look at the workflows in n8n; roll back with force, or restore them from the snapshot.",
            )
        return {str(e["key"]): str(e["content_hash"]) for e in entries_of(post)} if post is not None else {}

    def _look(self, client: N8nClient, resolver: Resolver) -> dict[str, Any]:
        reading = read_target(self.run, client)
        entries, left = self.entries, self._left()
        before = {str(e["key"]): str(e["content_hash"]) for e in entries}
        created = self._created_ids()
        created |= self._created_unanswered(reading, resolver, left, created)
        drafts = {str(e["key"]): draft_hash_in(e) for e in entries}
        rows, edited = [], []
        for key, item in self.items.items():
            there = created.get(key) if item["action"] == "create" else item["target"]["env_workflow_id"]
            found = reading.hash_of(there, resolver) if there else None
            allowed = {left.get(key), before.get(key)}
            if item["action"] != "create" and not is_outdated(self.promotion.plan or {}):
                allowed.add(item["expected_hash"])
            row = {
                "key": key,
                "name": item["name"],
                "action": item["action"],
                "env_workflow_id": there or "",
                "found_hash": found,
                "draft_hash": reading.draft_hash_of(there, resolver) if there else None,
            }
            rows.append(row)
            has_draft = row["draft_hash"] not in (None, drafts.get(key))
            if has_draft or (found not in allowed and not (found is None and item["action"] == "create")):
                edited.append(row | {"wanted_hash": left.get(key)})
        if edited and not self.force:
            names = ", ".join(f"“{row['name']}”" for row in edited[:3])
            raise RollbackRefused(f"Changed since the promotion: {names}.", details={"edited": edited[:LISTED]})
        callers = self._callers_left_behind(reading, rows, before)
        if callers and not self.force:
            first = callers[0]
            raise RollbackRefused(
                f"“{first['name']}” calls “{first['calls']}”, which would be deleted.", details={"callers": callers}
            )
        kept = self._keep_called(reading, rows)
        return {
            "rows": rows,
            "overwritten_edits": edited[:LISTED],
            "kept_published": kept,
            "normalization": NORMALIZATION_VERSION,
        }

    def _keep_called(self, reading: Reading, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows of what would be switched off while others call it: it is kept published. Raises where it cannot be."""
        assert self.pre is not None  # noqa: S101 - looked at before
        before = {str(e["key"]): e for e in self.entries}
        ending = {
            row["env_workflow_id"]: row
            for row in rows
            if (entry := before.get(row["key"])) is not None
            and (live := reading.workflows.get(row["env_workflow_id"])) is not None
            and live.active
            and not entry.get("active")
        }
        old = {there: as_before(before[row["key"]]) for there, row in ending.items()}
        callers = kept_for(self.target, reading, old, {row["env_workflow_id"] for row in rows})
        contents = snapshot_contents.load(self.pre, [ending[there]["key"] for there in callers])
        for there, names in callers.items():
            row = ending[there]
            if can_be_active(contents[row["key"]][1], called_count=True):
                row["kept_for"] = names[:LISTED]
            elif not self.force:
                raise RollbackRefused(
                    f"“{names[0]}” calls “{row['name']}”, which n8n would not run as it was before.",
                    details={"callers": [{"name": name, "calls": row["name"]} for name in names[:LISTED]]},
                )
        return told_kept(rows)

    def _callers_left_behind(
        self, reading: Reading, rows: list[dict[str, Any]], before: Mapping[str, str]
    ) -> list[dict[str, str]]:
        """Workflows that are not rolled back and call one that would be deleted: promoted later, or made by hand."""
        going = {row["env_workflow_id"]: row["name"] for row in rows if row["found_hash"] and row["key"] not in before}
        touched = {row["env_workflow_id"] for row in rows}
        return [
            {"env_workflow_id": there, "name": live.name, "calls": going[ref]}
            for there, live in reading.workflows.items()
            if there not in touched
            for ref in live.calls
            if ref in going
        ][:LISTED]

    def _created_ids(self) -> dict[str, str]:
        """n8n ids of what the promotion created: from its result, or from its steps where it was ended by hand."""
        result = self.promotion.execution_result or {}
        found = {
            row["key"]: row["env_workflow_id"]
            for row in result.get("workflows") or ()
            if row.get("outcome") == "created"
        }
        if self.promotion.operation_id is None:
            return found
        with self.run.fenced():
            steps = OperationStep.objects.filter(
                operation_id=self.promotion.operation_id, name__startswith="promote:write:"
            ).values_list("result", flat=True)
            for written in steps:
                if written and written.get("outcome") == "created":
                    found.setdefault(written["key"], written["env_workflow_id"])
        return found

    def _created_unanswered(
        self, reading: Reading, resolver: Resolver, left: Mapping[str, str], created: Mapping[str, str]
    ) -> dict[str, str]:
        """n8n ids of creations that were begun and of which nobody knows the outcome, by key.

        Each is a workflow that nobody knew before the writes, of that name and with that very content.
        """
        if self.promotion.operation_id is None:
            return {}
        with self.run.fenced():
            steps = dict(
                OperationStep.objects.filter(operation_id=self.promotion.operation_id)
                .filter(Q(name="promotion:places") | Q(name__startswith="promote:write:"))
                .values_list("name", "result")
            )
        taken = {*((steps.get("promotion:places") or {}).get("keys") or {}), *created.values()}
        found: dict[str, str] = {}
        for key, item in self.items.items():
            name = f"promote:write:{key}"
            if item["action"] != "create" or key in created or steps.get(name, True):
                continue
            for there, live in reading.workflows.items():
                if there not in taken and live.name == item["name"] and resolver.hash_of(live.mark) == left.get(key):
                    taken.add(there)
                    found[key] = there
                    break
        return found

    def _restore(self, client: N8nClient, pre: Snapshot, rows: list[dict[str, Any]]) -> None:
        """Strictly first, so that what an n8n that is away refused is tried again; then as much as can be put back."""
        try:
            self._restore_rows(client, pre, rows, prefix="rollback", tolerant=False)
        except Interrupted:
            raise
        except OpsError as error:
            passing = getattr(error, "transient", False) or getattr(error, "ambiguous", False)
            if passing and not self.run.is_last_attempt:
                raise
            self._restore_rows(client, pre, rows, prefix="rollback:rest", tolerant=True)

    def _restore_rows(
        self, client: N8nClient, pre: Snapshot, rows: list[dict[str, Any]], *, prefix: str, tolerant: bool
    ) -> None:
        from snapshots.restore import restore_into

        in_snapshot = {str(entry["key"]) for entry in self.entries}
        restore_into(
            self.run,
            environment=self.target,
            snapshot=pre,
            keys=[row["key"] for row in rows if row["key"] in in_snapshot],
            delete={
                row["key"]: row["env_workflow_id"]
                for row in rows
                if row["key"] not in in_snapshot and row["env_workflow_id"] and row["found_hash"]
            },
            prefix=prefix,
            expected={row["key"]: row["found_hash"] for row in rows if row["found_hash"]},
            expected_drafts={row["key"]: {row["draft_hash"]} for row in rows if "draft_hash" in row},
            keep_published=names_by_key(rows),
            release=Release(f"Before {self.promotion.name}", "Rolled back."),
            tolerant=tolerant,
            client=client,
        )

    def _prove(self, client: N8nClient, pre: Snapshot, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The touched workflows against the snapshot, by hash and by being active. The others are not our concern."""
        resolver = self._resolver()
        ids = resolver.key_map()
        reading = read_target(self.run, client)
        keys, kept = {row["key"] for row in rows}, names_by_key(rows)
        entries = []
        for entry in self.entries:
            if entry["key"] in keys:
                entry = stays_published(entry) if entry["key"] in kept else entry
                now = next((t for t, key in ids.items() if key == entry["key"] and t in reading.workflows), None)
                entries.append({**entry, "env_workflow_id": now or entry["env_workflow_id"]})
        concerned = {str(e["env_workflow_id"]) for e in entries} | {row["env_workflow_id"] for row in rows}
        others = set(reading.workflows) - concerned
        equal, wrong = differences(reading, entries, resolver, leave_out=others)
        held = {str(e["key"]) for e in self.entries}
        deleted = [row for row in rows if row["key"] not in held and row["found_hash"]]
        return {
            "snapshot_id": str(pre.pk),
            "equal": equal,
            "deleted": sum(row["env_workflow_id"] not in reading.workflows for row in deleted),
            "not_as_before": [d.to_dict() for d in wrong[:LISTED]],
            "kept_published": told_kept(rows),
            "proven_at": clock.now().isoformat(),
        }

    def _approve_old(self, pre: Snapshot, rows: list[dict[str, Any]]) -> str | None:
        """The approved branch holds again what it holds in the snapshot, for the touched workflows."""
        from snapshots.services import set_baseline

        def commit() -> dict[str, Any]:
            sha = set_baseline(
                self.run,
                environment=self.target,
                snapshot=pre,
                keys=list(self.items),
                published=names_by_key(rows),
                message=f"Roll back {self.promotion.name}",
                trailers={"Promotion-Id": str(self.promotion.pk), "Operation-Id": str(self.run.operation.pk)},
            )
            return {"commit": str(sha)}

        found = self.run.step(
            "rollback:canonical", "Record the old content as approved again", commit, external_call=in_git(self.target)
        )
        return found["commit"]  # type: ignore[no-any-return]

    def _after(self) -> str | None:
        try:
            self._capture(
                SnapshotType.POST_RESTORE, f"After rolling back “{self.promotion.name}”", "after", self.after_id
            )
        except Interrupted:
            raise
        except OpsError:
            return None
        return str(self.after_id)

    def _capture(self, kind: str, description: str, step: str, snapshot_id: uuid.UUID) -> None:
        from snapshots.services import capture_into

        capture_into(
            self.run,
            environment=self.target,
            snapshot_type=kind,
            description=description[:500],
            step=step,
            snapshot_id=snapshot_id,
        )

    def _record(self, status: str, rows: list[dict[str, Any]], proof: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "status": status,
            "rolled_back_at": clock.now().isoformat(),
            "rolled_back_by": str(self.run.operation.requested_by_id or ""),
            "reason": self.run.params.get("reason") or "",
            "force": self.force,
            "operation_id": str(self.run.operation.pk),
            "snapshot_id": str(self.run.params["snapshot_id"]),
            "safety_snapshot_id": str(self.safety_id),
            "workflows": [{k: row[k] for k in ("key", "name", "action", "env_workflow_id")} for row in rows],
            "proof": proof,
        }

    def _conclude(self, record: dict[str, Any]) -> dict[str, Any]:
        with self.run.fenced():
            row = Promotion.objects.select_for_update().get(pk=self.promotion_id)
            row.status, result = rolled_back(row.execution_result or {}, record)
            # What was told is of an earlier try: people have to know of this one, too.
            row.execution_result = {name: value for name, value in result.items() if name != "told"}
            row.attention_since = attention.since(row.execution_result, clock.now())
            row.save()
            publish_state(row)
        return {"status": record["status"]}

    def _finish(
        self, rows: list[dict[str, Any]], proof: dict[str, Any], commit: str | None, after: str | None
    ) -> dict[str, Any]:
        record = self._record("success", rows, proof) | {"commit": commit, "after_snapshot_id": after}
        self.run.step("rollback:finish", "Record the result", lambda: self._conclude(record))
        return {"status": "success", "workflows": len(rows), "commit": commit}

    def _fail(self, rows: list[dict[str, Any]], proof: dict[str, Any]) -> dict[str, Any]:
        names = ", ".join(f"“{row['name']}”" for row in proof["not_as_before"][:3])
        failure = RollbackFailed(f"Not as before the promotion: {names}.", details={"proof": proof})
        record = self._record("partial" if proof["equal"] or proof["deleted"] else "failed", rows, proof)
        record["error"] = failure.to_dict() | {"details": {}}
        self.run.step("rollback:finish", "Record the result", lambda: self._conclude(record))
        raise failure

    def _broken_off(self, rows: list[dict[str, Any]], error: OpsError) -> None:
        """It ended between two writes, or before the old content was approved: the promotion must not look whole."""
        with self.run.fenced():
            if not wrote_back(self.run.operation.pk):
                return
        proven = self.run.done_steps().get("rollback:prove")
        proof: dict[str, Any] | None = proven.result if proven is not None else None
        record = self._record("partial" if proof else "failed", rows, proof)
        record["error"] = broken_off(error.message) | {"cause": error.to_dict()}
        self._conclude(record)
