"""The job that undoes a session's writes, and the one that puts workflows back for it.

``impersonation.revert``: ``plan`` (the chosen items as they were judged when the job began), then ``undo:<item>``, the
newest write first. Each step ends with how undoing went, a failure included: one that cannot be undone does not stop
the others. ``impersonation.put_back``: ``before:…`` (a snapshot of how it is now), ``judge``, ``back:…`` (the restore
path), ``after:…``.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from core.errors import OpsError
from impersonation import selectors
from operations.effects import Effect, ProbeResult
from operations.engine import Run
from operations.errors import Interrupted, UnknownOutcome
from operations.handlers import register
from snapshots import services as snapshots
from snapshots.capture import capture_into
from snapshots.keeping import kept_on_the_way_back
from snapshots.manifest import ManifestEntry, key_map
from snapshots.models import Snapshot, SnapshotType
from snapshots.proving import prove, residues
from snapshots.restore import RestoreRequest, restore_into
from snapshots.restore_documents import KeptPublished
from tenants.scope import platform_scope
from workflows.calling import can_be_active, needs_published_callees, told_kept
from workflows.gateway import environment_by_id
from workflows.identity import key_by_workflow_id
from workflows.models import Environment

from .items import Item, outcome
from .jobbase import before_id, written_by
from .jobs import PUT_BACK
from .planning import plan_of, reverter_of
from .services import REVERT


@register
class Revert:
    """Parameters: ``session_id, items, force`` (ids of items)."""

    kind: ClassVar[str] = REVERT

    def run(self, run: Run) -> dict[str, Any]:
        planned = run.step("plan", "See what is there now", lambda: self._plan(run))
        items = [Item.from_dict(row) for row in planned["items"]]
        results = []
        for number, item in enumerate(items):
            run.progress(number, len(items), f"Undoing: {item.name}")
            results.append({"id": item.id, "name": item.name, "kind": item.kind, **self._undo(run, item)})
        run.progress(len(items), len(items), "Done")
        counts = Counter(row["outcome"] for row in results)
        whole = not counts["failed"] and not counts["conflict"]
        return {
            "session_id": run.params["session_id"],
            "status": "undone" if whole else "partly_undone",
            "counts": dict(counts),
            "items": results,
        }

    def _plan(self, run: Run) -> dict[str, Any]:
        with platform_scope():
            session = selectors.session_by_id(uuid.UUID(run.params["session_id"]))
        if session is None or session.impersonated_tenant_id != run.tenant_id:
            raise OpsError("The session is gone.")
        chosen = set(run.params["items"])
        return {"items": [item.to_dict() for item in plan_of(session).items if item.id in chosen]}

    def _undo(self, run: Run, item: Item) -> dict[str, Any]:
        reverter, force = reverter_of(item), item.id in run.params["force"]

        def act() -> dict[str, Any]:
            if not item.may_be_undone:
                return outcome("already" if item.verdict == "undone" else "nothing", item.why)
            try:
                return reverter.undo(run, item, force=force)
            except (Interrupted, UnknownOutcome):
                raise
            except OpsError as error:
                return outcome("failed", f"{error.message} {error.recovery}", code=error.code)

        def look(_intent: dict[str, Any]) -> ProbeResult:
            return reverter.look(run, item)

        title = f"Undo: {item.kind} {item.name}"
        intent = {"item": item.id, "did": item.did, "verdict": str(item.verdict), "force": force}
        result: dict[str, Any] = run.effect(Effect(f"undo:{item.id}"[:160], title, intent, act, look))
        return result


@register
class PutBack:
    """What a job wrote, back to the snapshot before it. Parameters: ``job_id, environment_id, prefix, force``.

    A workflow that is neither as before nor as the job left it is left alone and named, unless ``force``; what is
    edited while this runs is left alone in any case. What something that runs on calls stays published, and is named.
    """

    kind: ClassVar[str] = PUT_BACK

    def run(self, run: Run) -> dict[str, Any]:
        params = run.params
        job_id = uuid.UUID(params["job_id"])
        environment = environment_by_id(run.tenant_id, params["environment_id"])
        target = snapshots.snapshot_by_id(run.tenant_id, before_id(job_id))
        safety = capture_into(
            run,
            environment=environment,
            snapshot_type=SnapshotType.PRE_RESTORE,
            description="Before undoing what a support session wrote",
            step="before",
            snapshot_id=uuid.uuid5(run.operation.pk, "before"),
        )
        old = {entry.key: entry for entry in snapshots.entries(target)}
        was = {key: entry.content_hash for key, entry in old.items()}
        found = {entry.key: entry for entry in snapshots.entries(safety)}

        def judge() -> dict[str, Any]:
            judged = self._judge(run, job_id, was, found)
            if needs_published_callees(environment):
                self._keep_called(run, environment, target, judged, old, found)
            return judged

        judged = run.step("judge", "See whose is what stands there", judge)
        keys = [key for key, row in judged["back"].items() if row["do"] == "restore"]
        delete = {key: row["id"] for key, row in judged["back"].items() if row["do"] == "delete"}
        with run.shielded():
            request = RestoreRequest(
                environment=environment,
                prefix="back",
                snapshot=target,
                keys=keys,
                delete=delete,
                expected={key: row["found"] for key, row in judged["back"].items() if row["found"]},
                keep_published={key for key in keys if judged["back"][key].get("kept_for")},
                tolerant=True,
            )
            report = restore_into(run, request)
            after = capture_into(
                run,
                environment=environment,
                snapshot_type=SnapshotType.POST_RESTORE,
                description="After undoing what a support session wrote",
                step="after",
                snapshot_id=uuid.uuid5(run.operation.pk, "after"),
            )
        failed = [w.to_dict() for w in report.failed]
        edited = [row for row in failed if (row.get("error") or {}).get("code") == "WRITE_001"]
        broken = [row for row in failed if row not in edited]
        if broken:
            raise OpsError(
                f"“{broken[0]['name'] or broken[0]['key']}” could not be put back.", details={"failed": broken[:50]}
            )
        ours = judged["back"].keys() - {row["key"] for row in edited}
        kept = msgspec.convert(judged.get("kept_published", []), list[KeptPublished])
        staying = {row.key for row in kept}
        entries = [e.as_published() if key in staying else e for key, e in old.items() if key in ours]
        hashes = {key: was.get(key) for key in ours}
        proof = prove(after, hashes, entries, report.results, learnt=environment.learnt_settings)
        proof.left += residues(kept)
        return {
            "kept_published": msgspec.to_builtins(kept),
            "put_back": sorted({*keys, *delete} - {row["key"] for row in edited}),
            "conflicts": [*judged["conflicts"], *edited],
            "proof": proof.report().to_json(),
            "snapshot_id": str(target.pk),
            "pre_snapshot_id": str(safety.pk),
            "post_snapshot_id": str(after.pk),
        }

    def _judge(
        self, run: Run, job_id: uuid.UUID, was: dict[str, str], found: Mapping[str, ManifestEntry]
    ) -> dict[str, Any]:
        """By content hash: what may be written back, and what is somebody else's edit."""
        with run.fenced():
            wrote = written_by(job_id, run.params["prefix"])
        back: dict[str, dict[str, Any]] = {}
        conflicts = []
        for key, written in sorted(wrote.items()):
            entry = found.get(key)
            value = entry.content_hash if entry is not None else None
            left = None if written.outcome == "deleted" else written.content_hash
            if value not in (left, was.get(key)) and not run.params.get("force"):
                row = {"key": key, "name": written.name, "before": was.get(key), "left": left, "found": value}
                conflicts.append(row)
            elif key in was:
                back[key] = {"do": "restore", "found": value}
            elif entry is not None:
                back[key] = {"do": "delete", "found": value, "id": entry.env_workflow_id}
        return {"back": back, "conflicts": conflicts}

    def _keep_called(
        self,
        run: Run,
        environment: Environment,
        target: Snapshot,
        judged: dict[str, Any],
        old: Mapping[str, ManifestEntry],
        found: Mapping[str, ManifestEntry],
    ) -> None:
        """What something that runs on calls stays published, or there; ``judged`` is changed in place.

        Where n8n would not run it as it was, it is a conflict, unless forced.
        """
        back = judged["back"]
        with run.fenced():
            keys = {**key_map(old.values()), **key_by_workflow_id(environment.pk)}
        then = {key: old[key] if row["do"] == "restore" else None for key, row in back.items()}
        kept = kept_on_the_way_back(found.values(), then, keys)
        contents = {e.key: content for e, content in snapshots.contents(target, kept.keys() & old.keys())}
        rows = []
        for key, names in kept.items():
            name = found[key].label
            if key not in old:
                del back[key]
            elif can_be_active(contents[key], called_count=True):
                back[key]["kept_for"] = names
            elif run.params.get("force"):
                continue
            else:
                del back[key]
                judged["conflicts"].append({"key": key, "name": name, "called_by": names})
                continue
            rows.append({"key": key, "name": name, "kept_for": names})
        judged["kept_published"] = told_kept(rows)
