"""Reconcile: take what is seen as approved, if it is still what the person looked at."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from core import clock
from core.errors import OpsError
from core.events import StepHandler
from core.notices import step_handlers
from operations.engine import Run
from operations.errors import UnknownOutcome
from snapshots.canonical import WithDraft, canonical_content, in_git
from snapshots.rehashing import ensure_current
from snapshots.services import commit_canonical
from workflows.content import draft_of, fingerprint, portable
from workflows.facts import facts_of, only, with_details, without
from workflows.gateway import client_for
from workflows.identity import key_by_workflow_id
from workflows.models import Environment
from workflows.n8n.client import N8nClient
from workflows.n8n.errors import RemoteNotFound

from .errors import ReconcileFailed, SeenMeanwhile, WrongState
from .models import DriftAspect, DriftIncident, DriftKind, IncidentState
from .notices import Reconciled
from .status_sync import (
    Item,
    Job,
    aspects_by_key,
    conclude,
    places_of,
    refused,
    settle,
    standing_facts,
    standing_ids,
    take_down,
    what,
)


def reconcile(run: Run, environment: Environment) -> dict[str, Any]:
    """Take what is seen as approved; see ``services.reconcile``."""
    job = Job.of(run, environment)
    update_git = bool(run.params.get("update_git", True))
    read: dict[str, WithDraft] = {}
    ensure_current(run, environment, step="before")
    if job.is_outdated and ("commit" if update_git else "read") not in run.done_steps():
        raise job.refuse_outdated(ReconcileFailed)
    found = run.step("read", "Read the workflows and compare with what was looked at", lambda: _read(job, read))
    job.failed += found["failed"]
    commit = ""
    if update_git and job.remaining():
        commit = run.step(
            "commit", "Approve in Git", lambda: _commit(job, read), external_call=in_git(job.environment)
        )["commit"]
        proved = run.step("prove", "Compare the hashes", lambda: _equal(job))
        job.failed += proved["failed"]
    settled = run.step("settle", "Close the incidents", lambda: _settle_reconciled(job, commit))
    result: dict[str, Any] = {"reconciled": settled, "failed": job.failed, "commit_sha": commit or None}
    if settled and update_git and run.params.get("create_promotion_record"):
        result["records"] = _tell(job, settled, commit)
    return conclude(job, result, bool(settled), ReconcileFailed)


def _read(job: Job, into: dict[str, WithDraft]) -> dict[str, Any]:
    """Fetch what is there; contents go into ``into`` by key, what is not as it was seen is refused."""
    failed: list[dict[str, Any]] = []
    raws: dict[str, dict[str, Any]] = {}
    with job.run.fenced():
        rows = {str(row.pk): row for row in places_of(job.items)}
        keys = key_by_workflow_id(job.environment.pk)
        standing = standing_ids(job.items)
    with client_for(job.environment) as client:
        for item in job.items:
            job.run.check()
            row = rows.get(item.map_id)
            if row is None or item.id not in standing:
                failed.append(item.failure(WrongState()))
                continue
            try:
                raw = _fetch(client, row.env_workflow_id)
                value = None if raw is None else fingerprint(portable(raw)).content_hash(keys)
            except OpsError as error:
                failed.append(item.failure(error))
                continue
            switched = raw is not None and item.was_switched(bool(raw.get("active")))
            if item.kind == DriftKind.DRAFT and raw is not None:
                draft = draft_of(raw)
                draft_hash = fingerprint(draft).content_hash(keys) if draft is not None else None
                switched |= (draft_hash if draft_hash != value else None) != item.expected_draft
            moved = item.moved(facts_of(portable(raw)), job.environment) if raw is not None else []
            if switched or moved or value != item.expected_hash:
                details: dict[str, Any] = {"expected": item.expected_hash, "found": value, "switched": switched}
                details |= {"moved": [change.name for change in moved]} if moved else {}
                failed.append(item.failure(SeenMeanwhile(details=details)))
            elif raw is not None:
                raws[item.key] = raw
    take_down(job, raws)
    into.update({key: WithDraft(portable(raw), draft_of(raw)) for key, raw in raws.items()})
    return {"failed": failed, "hashes": {item.key: item.expected_hash for item in job.items if item.key in raws}}


def _fetch(client: N8nClient, env_workflow_id: str) -> dict[str, Any] | None:
    if not env_workflow_id:
        return None
    try:
        raw = client.get_workflow(env_workflow_id)
    except RemoteNotFound:
        return None
    return raw


def _commit(job: Job, read: dict[str, WithDraft]) -> dict[str, Any]:
    items = job.remaining()
    if any(item.kind != DriftKind.REMOVED and item.key not in read for item in items):
        # Begun again after a crash: what was read is read anew, and refused if it has changed since.
        again = _read(job, read)
        lost = {failure["incident_id"] for failure in again["failed"]}
        job.failed += [failure for failure in again["failed"] if failure["incident_id"] in {i.id for i in items}]
        items = [item for item in items if item.id not in lost]
    changes = _changes(job, items, read)
    if not changes:
        return {"commit": ""}
    subject = f"Reconcile {what(items)} in {job.environment.name}"
    try:
        sha = commit_canonical(
            job.run,
            environment=job.environment,
            changes=changes,
            message=f"{subject}\n\n{job.comment}" if job.comment else subject,
            trailers={"Drift-Incident": ", ".join(item.id for item in items[:20])},
        )
    except UnknownOutcome:
        raise
    except (OpsError, OSError) as error:
        told = error if isinstance(error, OpsError) else ReconcileFailed(f"Git: {type(error).__name__}.")
        job.failed += [item.failure(told) for item in items]
        raise refused(job, ReconcileFailed, "Git did not take the commit; nothing was approved.") from error
    return {"commit": sha}


def _changes(job: Job, items: Sequence[Item], read: Mapping[str, WithDraft]) -> dict[str, WithDraft | None]:
    """What becomes approved: of each workflow only the aspects that were chosen, the rest as it is approved now."""
    chosen = aspects_by_key(items)
    known = [item.key for item in items if item.kind not in (DriftKind.ADDED, DriftKind.REMOVED)]
    contents = canonical_content(job.environment, known) if known else {}
    drafts = canonical_content(job.environment, known, drafts=True) if known else {}
    changes: dict[str, WithDraft | None] = {}
    for item in items:
        if item.kind == DriftKind.REMOVED:
            changes[item.key] = None
            continue
        seen, approved, aspects = read[item.key], contents.get(item.key), chosen[item.key]
        if approved is None:
            changes[item.key] = seen
            continue
        content = dict(seen.content if DriftAspect.WORKFLOW in aspects else approved)
        content = with_details(content, seen.content if DriftAspect.DETAILS in aspects else approved)
        archive = seen.content if DriftAspect.ARCHIVE in aspects else approved
        content = {**without(content, ("archived",)), **only(archive, ("archived",))}
        if DriftAspect.ARCHIVE in aspects:
            content |= only(seen.content, ("active",))
        changes[item.key] = WithDraft(content, seen.draft if DriftAspect.DRAFT in aspects else drafts.get(item.key))
    return changes


def _equal(job: Job) -> dict[str, Any]:
    with job.run.fenced():
        rows = {str(row.pk): row for row in places_of(job.items)}
    failed = []
    for item in job.remaining():
        row = rows[item.map_id]
        seen = None if item.kind == DriftKind.REMOVED else row.env_content_hash
        wrong = item.aspect == DriftAspect.WORKFLOW and row.git_content_hash != seen
        wrong |= item.kind == DriftKind.DRAFT and row.git_draft_hash != row.env_draft_hash
        if wrong or standing_facts(row, item.aspect, job.environment):
            details = {"approved": row.git_content_hash, "found": seen}
            failed.append(item.failure(SeenMeanwhile(details=details)))
    return {"failed": failed}


def _settle_reconciled(job: Job, commit: str) -> list[dict[str, Any]]:
    settled = []
    with job.run.fenced():
        for item in job.remaining():
            noted: dict[str, Any] = {"proof": {"content_hash": item.expected_hash, "commit": commit or None}}
            if not commit:
                noted["accept"] = True
            settle(job, item, IncidentState.RECONCILED, "reconciled" if commit else "accepted", noted)
            settled.append(
                {"incident_id": item.id, "key": item.key, "name": item.name, "content_hash": item.expected_hash}
            )
    return settled


def _tell(job: Job, settled: Sequence[dict[str, Any]], commit: str) -> dict[str, Any]:
    """Let the layers above make their record; a failure there does not undo what is approved."""
    notice = Reconciled(
        run=job.run,
        tenant_id=job.environment.tenant_id,
        environment_id=job.environment.pk,
        incident_ids=tuple(uuid.UUID(row["incident_id"]) for row in settled),
        items=tuple(dict(row) for row in settled),
        commit_sha=commit,
        comment=job.comment,
        by_id=job.run.operation.requested_by_id,
        operation_id=job.run.operation.pk,
        create_promotion_record=True,
    )
    answers: dict[str, Any] = {}
    for handler in step_handlers(Reconciled):

        def act(handler: StepHandler = handler) -> Any:
            try:
                return handler.handle(notice)
            except OpsError as error:
                return {"error": error.to_dict()}

        answers[handler.name] = job.run.step(f"told:{handler.name}", "Make a record of it", act)
    made = next((a["promotion_id"] for a in answers.values() if isinstance(a, dict) and a.get("promotion_id")), None)
    if made:
        with job.run.fenced():
            for row in DriftIncident.objects.filter(pk__in=[r["incident_id"] for r in settled]):
                DriftIncident.objects.filter(pk=row.pk).update(
                    drift_snapshot={**row.drift_snapshot, "promotion_id": str(made)}, updated_at=clock.now()
                )
    return answers
