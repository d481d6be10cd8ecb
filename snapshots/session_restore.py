"""The job that restores, for the revert of a support session, what another job wrote through the restore path.

``impersonation.put_back``: ``before:…`` (a snapshot of how it is now), ``judge``, ``back:…`` (the restore path),
``after:…``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from core.errors import OpsError
from operations.engine import Run
from operations.handlers import register
from workflows.calling import can_be_active, kept_published, needs_published_callees
from workflows.gateway import environment_by_id
from workflows.identity import key_by_workflow_id
from workflows.models import Environment
from workflows.session_revert import written_by

from . import services as snapshots
from .capture import capture_into
from .keeping import kept_on_the_way_back
from .manifest import ManifestEntry, key_map
from .models import Snapshot, SnapshotType
from .proving import prove, residues
from .restore import RestoreRequest, restore_into
from .restore_documents import KeptPublished
from .session_revert import SESSION_RESTORE, before_id


@register
class SessionRestore:
    """What a job wrote, back to the snapshot before it. Parameters: ``job_id, environment_id, prefix, force``.

    A workflow that is neither as before nor as the job left it is left alone and named, unless ``force``; what is
    edited while this runs is left alone in any case. What something that runs on calls stays published, and is named.
    """

    kind: ClassVar[str] = SESSION_RESTORE

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
        failed = [w.to_json() for w in report.failed]
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
        judged["kept_published"] = kept_published(rows)
