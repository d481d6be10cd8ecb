"""The job that restores, for the revert of a support session, what another job wrote through the restore path.

``impersonation.put_back``: ``before:…`` (a snapshot of how it is now), ``judge``, ``back:…`` (the restore path),
``after:…``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

import msgspec

from core.errors import OpsError
from core.whose import Whose, whose
from operations.engine import Run
from operations.handlers import register
from workflows.calling import can_be_active, kept_published, needs_published_callees
from workflows.gateway import environment_by_id
from workflows.identity import key_by_workflow_id
from workflows.models import Environment
from workflows.session_revert import written_by

from . import job_summaries
from . import services as snapshots
from .capture import capture_into
from .keeping import kept_on_the_way_back
from .manifest import ManifestEntry, key_map
from .models import Snapshot, SnapshotType
from .proving import Proof, prove, residues
from .restore import RestoreReport, RestoreRequest, restore_into
from .restore_documents import KeptPublished
from .session_revert import SESSION_RESTORE, before_id


@register
class SessionRestore:
    """What a job wrote, back to the snapshot before it. Parameters: ``job_id, environment_id, prefix, force``.

    A workflow that is neither as before nor as the job left it is left alone and named, unless ``force``; what is
    edited while this runs is left alone in any case. What something that runs on calls stays published, and is named.
    """

    kind: ClassVar[str] = SESSION_RESTORE
    summary = staticmethod(job_summaries.put_back)

    def run(self, run: Run) -> dict[str, Any]:
        return Restoring(run).carry_out()


class Restoring:
    """One run of it. ``before`` is the snapshot that the job took, ``found`` how the environment is now."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.job_id = uuid.UUID(run.params["job_id"])
        self.is_forced = bool(run.params.get("force"))
        self.environment: Environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        self.target: Snapshot = snapshots.snapshot_by_id(run.tenant_id, before_id(self.job_id))
        self.safety = self._capture("before", SnapshotType.PRE_RESTORE, "Before undoing what a support session wrote")
        self.before = _by_key(self.target)
        self.found = _by_key(self.safety)

    def carry_out(self) -> dict[str, Any]:
        """The job's result. Raises ``OpsError`` where a workflow could not be written."""
        judged = self.run.step("judge", "See whose is what stands there", self._judge)
        back: dict[str, dict[str, Any]] = judged["back"]
        with self.run.shielded():
            report = self._write(back)
            after = self._capture("after", SnapshotType.POST_RESTORE, "After undoing what a support session wrote")
        edited = _edited_meanwhile(report)
        edited_keys = {row["key"] for row in edited}
        kept = msgspec.convert(judged.get("kept_published", []), list[KeptPublished])
        proof = self._prove(after, report, back.keys() - edited_keys, {row.key for row in kept})
        proof.left += residues(kept)
        return {
            "kept_published": msgspec.to_builtins(kept),
            "put_back": sorted(back.keys() - edited_keys),
            "conflicts": [*judged["conflicts"], *edited],
            "proof": proof.report().to_json(),
            "snapshot_id": str(self.target.pk),
            "pre_snapshot_id": str(self.safety.pk),
            "post_snapshot_id": str(after.pk),
        }

    def _capture(self, step: str, snapshot_type: SnapshotType, description: str) -> Snapshot:
        return capture_into(
            self.run,
            environment=self.environment,
            snapshot_type=snapshot_type,
            description=description,
            step=step,
            snapshot_id=uuid.uuid5(self.run.operation.pk, step),
        )

    def _write(self, back: Mapping[str, Mapping[str, Any]]) -> RestoreReport:
        keys = [key for key, row in back.items() if row["do"] == "restore"]
        request = RestoreRequest(
            environment=self.environment,
            prefix="back",
            snapshot=self.target,
            keys=keys,
            delete={key: row["id"] for key, row in back.items() if row["do"] == "delete"},
            expected={key: row["found"] for key, row in back.items() if row["found"]},
            keep_published={key for key in keys if back[key].get("kept_for")},
            tolerant=True,
        )
        return restore_into(self.run, request)

    def _prove(
        self, after: Snapshot, report: RestoreReport, keys: AbstractSet[str], published: AbstractSet[str]
    ) -> Proof:
        """That these keys are as before; what stays ``published`` may be."""
        entries = [e.as_published() if key in published else e for key, e in self.before.items() if key in keys]
        hashes = {key: _hash(self.before.get(key)) for key in keys}
        return prove(after, hashes, entries, report.results, learnt=self.environment.learnt_settings)

    # -- judging ----------------------------------------------------------------------------------------------------

    def _judge(self) -> dict[str, Any]:
        judged = self._judge_by_hash()
        if needs_published_callees(self.environment):
            self._keep_called(judged)
        return judged

    def _judge_by_hash(self) -> dict[str, Any]:
        """What may be written back, and what is somebody else's edit."""
        with self.run.fenced():
            wrote = written_by(self.job_id, self.run.params["prefix"])
        back: dict[str, dict[str, Any]] = {}
        conflicts = []
        for key, written in sorted(wrote.items()):
            entry, before = self.found.get(key), _hash(self.before.get(key))
            now, left = _hash(entry), None if written.outcome == "deleted" else written.content_hash
            owner = whose(now, before=before, ours=(left,))
            if owner == Whose.FOREIGN and not self.is_forced:
                conflicts.append({"key": key, "name": written.name, "before": before, "left": left, "found": now})
            elif key in self.before:
                back[key] = {"do": "restore", "found": now}
            elif entry is not None:
                back[key] = {"do": "delete", "found": now, "id": entry.env_workflow_id}
        return {"back": back, "conflicts": conflicts}

    def _keep_called(self, judged: dict[str, Any]) -> None:
        """What something that runs on calls stays published, or there; ``judged`` is changed in place.

        Where n8n would not run it as it was, it is a conflict, unless forced.
        """
        back = judged["back"]
        kept = self._called_by_others(back)
        staying = self._staying(kept)
        for key, names in kept.items():
            if key in staying and key in self.before:
                back[key]["kept_for"] = names
            elif key in staying:
                del back[key]
            elif not self.is_forced:
                del back[key]
                judged["conflicts"].append({"key": key, "name": self.found[key].label, "called_by": names})
        judged["kept_published"] = kept_published(
            [{"key": key, "name": self.found[key].label, "kept_for": kept[key]} for key in staying]
        )

    def _staying(self, keys: Iterable[str]) -> list[str]:
        """Of these keys, those that can stay published as they were before, or that were not there."""
        contents = self._contents(set(keys) & self.before.keys())
        return [key for key in keys if key not in contents or can_be_active(contents[key], called_count=True)]

    def _called_by_others(self, back: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
        """Keys of what would go back, with the names of what runs on and calls it."""
        with self.run.fenced():
            keys = {**key_map(self.before.values()), **key_by_workflow_id(self.environment.pk)}
        then = {key: self.before[key] if row["do"] == "restore" else None for key, row in back.items()}
        return kept_on_the_way_back(self.found.values(), then, keys)

    def _contents(self, keys: AbstractSet[str]) -> dict[str, Any]:
        return {entry.key: content for entry, content in snapshots.contents(self.target, keys)}


def _by_key(snapshot: Snapshot) -> dict[str, ManifestEntry]:
    return {entry.key: entry for entry in snapshots.entries(snapshot)}


def _hash(entry: ManifestEntry | None) -> str | None:
    return entry.content_hash if entry is not None else None


def _edited_meanwhile(report: RestoreReport) -> list[dict[str, Any]]:
    """What somebody edited while it was written, and is left alone. Raises ``OpsError`` for any other failure."""
    failed = [written.to_json() for written in report.failed]
    edited = [row for row in failed if (row.get("error") or {}).get("code") == "WRITE_001"]
    if broken := [row for row in failed if row not in edited]:
        name = broken[0]["name"] or broken[0]["key"]
        raise OpsError(f"“{name}” could not be put back.", details={"failed": broken[:50]})
    return edited
