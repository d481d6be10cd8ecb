"""Stabilize: put workflows back to what is approved, never over an edit that nobody has looked at."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from core.errors import OpsError
from operations.engine import Run
from operations.errors import UnknownOutcome
from snapshots.canonical import canonical_references
from snapshots.capture import capture_into
from snapshots.models import Snapshot, SnapshotType
from snapshots.restore import RestoreReport, restore_into
from snapshots.services import canonical_content, entries_of, moved_hashes
from workflows.calling import can_be_active, kept_published
from workflows.facts import loaded_facts
from workflows.gateway import client_for
from workflows.identity import key_by_workflow_id
from workflows.models import Environment, MapStatus, WorkflowEnvMap
from workflows.n8n.errors import RemoteNotFound
from workflows.references import called_workflows
from workflows.writes import Release

from . import contents
from .describing import signature
from .errors import CalledByOthers, MoreHasDrifted, NothingApproved, SeenMeanwhile, StabilizeFailed, WrongState
from .keeping import ABOUT_RUNNING, as_approved, by_key, kept_for
from .models import DriftAspect, DriftKind, IncidentState
from .status_sync import (
    Item,
    Job,
    aspects_by_key,
    conclude,
    leave_standing,
    places_of,
    refused,
    settle,
    standing_facts,
    standing_ids,
    take_down,
    what,
)

LISTED = 50


def stabilize(run: Run, environment: Environment) -> dict[str, Any]:
    """Put workflows back to what is approved; see ``services.stabilize``."""
    job = Job.of(run, environment)
    if job.is_outdated and "plan" not in run.done_steps():
        raise job.refuse_outdated(StabilizeFailed)
    try:
        before = capture_into(
            run,
            environment=environment,
            snapshot_type=SnapshotType.PRE_STABILIZE,
            description=f"Before stabilizing {what(job.items)}",
            step="before",
            snapshot_id=uuid.uuid5(run.operation.pk, "before"),
        )
    except UnknownOutcome:
        raise
    except OpsError as error:
        job.failed = [item.failure(error) for item in job.items]
        raise refused(job, StabilizeFailed, "No safety snapshot could be taken, so nothing was changed.") from error
    planned = run.step("plan", "Compare with what was looked at", lambda: _plan(job, before))
    job.failed += planned["failed"]
    actions = _with_todays_hashes(planned["actions"], before)
    report = _write(job, actions, before.pk)
    by_key = {item.key: item for item in job.items}
    for written in report.failed:
        if written.key in by_key:
            job.failed.append(by_key[written.key].failure(written.error or {"message": "The write failed."}))
    proved = run.step("prove", "Read back and compare the hashes", lambda: _prove(job, actions, report))
    job.failed += proved["failed"]
    settled = run.step(
        "settle", "Close the incidents", lambda: _settle_stabilized(job, actions, proved["hashes"], str(before.pk))
    )
    kept = kept_published({"key": key, "name": by_key[key].name, **action} for key, action in actions.items())
    result = {"stabilized": settled, "failed": job.failed, "kept_published": kept, "safety_snapshot_id": str(before.pk)}
    return conclude(job, result, bool(settled), StabilizeFailed)


def _plan(job: Job, before: Snapshot) -> dict[str, Any]:
    """What to do with each workflow, from how it is after the safety snapshot."""
    force, added = bool(job.run.params.get("force")), str(job.run.params.get("added") or "deactivate")
    approved = contents.approved(job.environment, [i.key for i in job.items if i.kind != DriftKind.ADDED])
    with job.run.fenced():
        rows = {str(row.pk): row for row in places_of(job.items)}
        standing = standing_ids(job.items)
    chosen = aspects_by_key(job.items)
    failed: list[dict[str, Any]] = []
    actions: dict[str, dict[str, Any]] = {}
    for item in job.items:
        row = rows.get(item.map_id)
        if row is None or item.id not in standing:
            failed.append(item.failure(WrongState()))
            continue
        gone = row.status in (MapStatus.MISSING, MapStatus.DELETED)
        found = None if gone else row.env_content_hash
        action: dict[str, Any] = {"map_id": item.map_id, "env_workflow_id": row.env_workflow_id, "expected": found}
        if item.kind == DriftKind.ADDED:
            if row.git_content_hash is not None or gone:
                actions[item.key] = {**action, "do": "nothing"}
                continue
            action["do"] = added
        elif item.key not in approved:
            failed.append(item.failure(NothingApproved()))
            continue
        else:
            action["do"] = "restore"
        as_approved = found is not None and found == row.git_content_hash
        if not as_approved and DriftAspect.WORKFLOW not in chosen[item.key] and not gone:
            failed.append(item.failure(MoreHasDrifted()))
            continue
        if not force and (refusal := _draft_refusal(item, row, chosen[item.key])) is not None:
            failed.append(item.failure(refusal))
            continue
        action["draft"] = row.env_draft_hash
        switched = not gone and item.was_switched(bool(row.env_active)) and bool(row.env_active) != bool(row.git_active)
        moved = item.moved(loaded_facts(row.env_facts), job.environment) if not gone else []
        moved = moved if standing_facts(row, item.aspect, job.environment) else []  # put back by hand: nothing to lose
        if (switched or moved or (found != item.expected_hash and not as_approved)) and not force:
            details: dict[str, Any] = {"expected": item.expected_hash, "found": found, "switched": switched}
            details |= {"moved": [change.name for change in moved]} if moved else {}
            failed.append(item.failure(SeenMeanwhile(details=details)))
            continue
        actions[item.key] = action
    # A workflow is written whole: where one of its incidents is refused, the others wait as well.
    causes = {str(failure["key"]): failure for failure in failed}
    refused_ids = {str(failure["incident_id"]) for failure in failed}
    for item in job.items:
        if item.key in causes and item.id not in refused_ids:
            cause = {k: v for k, v in causes[item.key].items() if k not in ("incident_id", "key", "name")}
            failed.append(item.failure(cause))
    actions = {key: action for key, action in actions.items() if key not in causes}
    failed += _keep_called(job, actions, approved, before)
    return {"failed": failed, "actions": actions}


def _keep_called(
    job: Job, actions: dict[str, dict[str, Any]], approved: Mapping[str, Mapping[str, Any]], before: Snapshot
) -> list[dict[str, Any]]:
    """Keep published what something that runs on calls; ``actions`` are changed in place.

    Returned are the failures of those that n8n would not run as they are approved: they are left alone.
    """
    force, failed = bool(job.run.params.get("force")), list[dict[str, Any]]()
    entries = entries_of(before)
    with job.run.fenced():
        rows = {row.canonical_workflow.key: row for row in places_of(job.items)}
        keys = key_by_workflow_id(job.environment.pk)
    while True:
        then = {
            key: as_approved(rows[key], by_key(called_workflows(approved[key]), keys)) if key in approved else None
            for key, action in actions.items()
            if action["do"] != "nothing"
        }
        kept = kept_for(job.environment, entries, then, keys, despite={i.key for i in job.items if i.by_upgrade})
        lost = {k: n for k, n in kept.items() if k in approved and not can_be_active(approved[k], called_count=True)}
        if not lost or force:
            break
        for key, names in lost.items():
            del actions[key]
            error = CalledByOthers(details={"callers": names[:LISTED]})
            failed += [item.failure(error) for item in job.items if item.key == key]
    for key, names in kept.items():
        if key not in lost:
            actions[key]["kept_for"] = names[:LISTED]
            actions[key]["do"] = "restore" if key in approved else "keep"
    return failed


def _with_todays_hashes(actions: Mapping[str, Mapping[str, Any]], before: Snapshot) -> dict[str, dict[str, Any]]:
    """The plan as it is compared now: the console may have been upgraded since the safety snapshot was taken."""
    moved = moved_hashes(before)
    return {
        key: {
            **action,
            "expected": moved.contents.get(action["expected"], action["expected"]),
            **({"draft": moved.drafts.get(action["draft"], action["draft"])} if "draft" in action else {}),
        }
        for key, action in actions.items()
    }


def _draft_refusal(item: Item, row: WorkflowEnvMap, chosen: Collection[str]) -> OpsError | None:
    """A draft that nobody chose to put back is somebody's work; so is one that was edited since it was looked at."""
    if row.env_draft_hash in (None, row.git_draft_hash):
        return None
    if DriftAspect.DRAFT not in chosen:
        return MoreHasDrifted(
            "Its editor holds a draft that would be lost.",
            recovery="Choose the incident about the draft as well, or publish or discard the draft in n8n first.",
        )
    if item.kind == DriftKind.DRAFT and row.env_draft_hash != item.expected_draft:
        draft = {"expected_draft": item.expected_draft, "draft": row.env_draft_hash}
        return SeenMeanwhile("Its draft in n8n is not the one that was looked at.", details=draft)
    return None


def _write(job: Job, actions: Mapping[str, Mapping[str, Any]], snapshot_id: uuid.UUID) -> RestoreReport:
    restoring = [key for key, action in actions.items() if action["do"] == "restore"]
    resting = [key for key, action in actions.items() if action["do"] == "deactivate"]
    deleting = {k: str(a["env_workflow_id"]) for k, a in actions.items() if a["do"] == "delete"}
    if not restoring and not resting and not deleting:
        return RestoreReport()
    wanted = canonical_content(job.environment, restoring) if restoring else {}
    with job.run.fenced():
        active = dict(
            WorkflowEnvMap.objects.filter(
                environment_id=job.environment.pk, canonical_workflow__key__in=restoring
            ).values_list("canonical_workflow__key", "git_active")
        )
    chosen = {
        key: {**content, "active": content.get("active") if active.get(key) is None else active[key]}
        for key, content in wanted.items()
    }
    chosen |= {key: {**c, "active": False} for key, c in contents.seen(job.environment, snapshot_id, resting).items()}
    drafts = canonical_content(job.environment, restoring, drafts=True) if restoring else {}
    drafts |= contents.seen_drafts(job.environment, snapshot_id, resting)
    return restore_into(
        job.run,
        environment=job.environment,
        prefix="stabilize",
        contents=chosen,
        drafts=drafts,
        expected={key: action["expected"] for key, action in actions.items()},
        expected_drafts={key: {action["draft"]} for key, action in actions.items() if "draft" in action},
        release=Release("As approved", "Stabilized: put back to what is approved."),
        delete=deleting,
        keep_published={key for key in restoring if actions[key].get("kept_for")},
        origin=canonical_references(job.environment),
        tolerant=True,
    )


def _prove(job: Job, actions: Mapping[str, Mapping[str, Any]], report: RestoreReport) -> dict[str, Any]:
    """Read back what was written, take it down, and compare with what is approved."""
    to_read: dict[str, str] = {}
    for item in job.remaining():
        written = report.results.get(item.key)
        if actions[item.key]["do"] in ("restore", "deactivate") and written is not None:
            to_read[item.key] = written.env_workflow_id
    raws: dict[str, dict[str, Any]] = {}
    with client_for(job.environment) as client:
        for key, ident in to_read.items():
            job.run.check()
            try:
                raws[key] = client.get_workflow(ident)
            except RemoteNotFound:
                continue
    hashes = take_down(job, raws)
    failed = []
    with job.run.fenced():
        rows = {row.canonical_workflow.key: row for row in places_of(job.items)}
    for item in job.remaining():
        action, row = actions[item.key]["do"], rows.get(item.key)
        is_kept = bool(actions[item.key].get("kept_for")) and item.kind in ABOUT_RUNNING
        if action in ("nothing", "delete", "keep") or is_kept or row is None:
            continue
        written = report.results.get(item.key)
        residue = {left.get("path") for left in written.left} if written is not None else set()
        wrong_draft = "draft" not in residue and row.env_draft_hash != row.git_draft_hash
        wrong = item.key not in raws or row.env_content_hash != row.git_content_hash or wrong_draft
        if action == "restore" and wrong:
            details = {"approved": row.git_content_hash, "found": hashes.get(item.key)}
            failed.append(item.failure(SeenMeanwhile(details=details)))
        elif action == "restore" and (standing := standing_facts(row, item.aspect, job.environment)):
            names = ", ".join(change.name for change in standing)
            failed.append(item.failure(StabilizeFailed(f"n8n did not take back: {names}.")))
        elif action == "deactivate" and row.env_active:
            failed.append(item.failure(StabilizeFailed("The workflow is still active.")))
    return {"failed": failed, "hashes": hashes}


def _settle_stabilized(
    job: Job, actions: Mapping[str, Mapping[str, Any]], hashes: Mapping[str, str], safety_snapshot_id: str
) -> list[dict[str, Any]]:
    settled = []
    with job.run.fenced():
        rows = {str(row.pk): row for row in places_of(job.items)}
        for item in job.remaining():
            action = str(actions[item.key]["do"])
            kept_for = actions[item.key].get("kept_for")
            if kept_for and item.kind in ABOUT_RUNNING:
                leave_standing(job, item, kept_for)
                continue
            proof: dict[str, Any] = {"content_hash": hashes.get(item.key), "safety_snapshot_id": safety_snapshot_id}
            proof |= {"kept_for": kept_for} if kept_for else {}
            noted: dict[str, Any] = {"proof": proof}
            resolution = {"deactivate": "deactivated", "delete": "deleted"}.get(action, "stabilized")
            if action == "deactivate":
                row = rows[item.map_id]
                noted["tolerates"] = signature(item.kind, row.git_content_hash, row.env_content_hash, False)
            settle(job, item, IncidentState.STABILIZED, resolution, noted)
            settled.append({"incident_id": item.id, "key": item.key, "name": item.name, "action": action, **proof})
    return settled
