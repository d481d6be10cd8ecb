"""Reverting a reconcile: what it approved is approved no more, what a person accepted is reported again.

Neither touches n8n. What stands there is drift again, found at once, for people to settle.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from core import clock
from core.errors import NotFound
from operations import services as operations
from operations.engine import Run
from operations.models import Operation
from snapshots import repository
from snapshots.canonical import WithDraft
from snapshots.manifest import DRAFTS, FOLDER, draft_path, workflow_path
from snapshots.services import commit_canonical
from snapshots.store import GitStore
from tenants.models import User
from tenants.scope import tenant_scope
from workflows.content import parse
from workflows.models import Environment

from . import detection
from .models import DriftIncident

TAKE_BACK, RECONCILE = "drift.take_back", "drift.reconcile"


def revert_reconcile(
    *,
    tenant_id: uuid.UUID,
    job_id: uuid.UUID,
    requested_by: User | None,
    force: bool = False,
    idempotency_key: str | None = None,
) -> Operation:
    """Revert a reconcile (``job_id``), as one job and one commit.

    A workflow for which something else was approved since is left alone and named, unless ``force``.
    """
    with tenant_scope(tenant_id):
        job = Operation.objects.filter(pk=job_id, kind=RECONCILE).first()
        if job is None or job.environment_id is None:
            raise NotFound("There is no such reconcile.")
        environment = Environment.objects.get(pk=job.environment_id)
        return operations.start(
            tenant_id=tenant_id,
            kind=TAKE_BACK,
            title=f"Take back “{job.title}”"[:200],
            params={"environment_id": str(environment.pk), "job_id": str(job.pk), "force": force},
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            exclusive_key=environment.write_lock,
            environment_id=environment.pk,
            subject_type="environment",
            subject_id=environment.pk,
        )


def carry_out(run: Run, environment: Environment) -> dict[str, Any]:
    """The job: ``judge``, ``commit``, ``report``."""
    with run.fenced():
        result = Operation.objects.get(pk=run.params["job_id"]).result or {}
    settled: dict[str, dict[str, Any]] = {row["key"]: row for row in result.get("reconciled", ())}
    sha = str(result.get("commit_sha") or "")
    verdict: dict[str, Any] = {"back": {}, "conflicts": []}
    if sha:
        verdict = run.step("judge", "See what is approved now", lambda: _judge(run, environment, sha, settled))
    commit = _withdraw(run, environment, sha, verdict) if verdict["back"] else None
    conflicting = {row["key"] for row in verdict["conflicts"]}
    ids = [row["incident_id"] for key, row in settled.items() if key not in conflicting]
    run.step("report", "Let it be reported again", lambda: _report_again(run, ids))
    found = run.step("compare", "Compare with what is approved", lambda: detection.detect(run, environment=environment))
    return {
        "taken_back": sorted(verdict["back"] if sha else settled),
        "conflicts": verdict["conflicts"],
        "commit_sha": commit,
        "drift": found,
    }


def _withdraw(run: Run, environment: Environment, sha: str, verdict: Mapping[str, Any]) -> str | None:
    """Withdraw the approval in Git; the commit's sha."""
    made = run.step("commit", "Withdraw the approval in Git", lambda: _commit(run, environment, sha, verdict))
    return made["commit"] or None


def _approved(store: GitStore, commit: str | None) -> dict[str, str]:
    """Path to blob of every content and every draft."""
    return {**store.tree(commit, FOLDER), **store.tree(commit, DRAFTS)} if commit else {}


def _pair(tree: Mapping[str, str], key: str) -> list[str | None]:
    """The blobs of what runs and of the draft beside it."""
    return [tree.get(workflow_path(key)), tree.get(draft_path(key))]


def _judge(run: Run, environment: Environment, sha: str, settled: Mapping[str, Any]) -> dict[str, Any]:
    """By blob: what the reconcile approved and nobody has approved since goes back to what was before."""
    store = repository.store_for(environment.tenant_id)
    with repository.failures_named():
        parents = store.commit_info(sha).parents
        left, before = _approved(store, sha), _approved(store, parents[0] if parents else None)
        now = _approved(store, store.tip(environment.canonical_branch))
    back: dict[str, list[str | None]] = {}
    conflicts = []
    for key, row in sorted(settled.items()):
        # Switched on or off: the content holds it, so the blobs differ.
        present, earlier = _pair(now, key), _pair(before, key)
        if present not in (_pair(left, key), earlier) and not run.params.get("force"):
            conflicts.append({"key": key, "name": row["name"]})
        elif present != earlier:
            back[key] = earlier
    return {"back": back, "conflicts": conflicts}


def _commit(run: Run, environment: Environment, sha: str, verdict: Mapping[str, Any]) -> dict[str, Any]:
    # A job judged before drafts were kept has a single blob.
    back = {key: pair if isinstance(pair, list) else [pair, None] for key, pair in verdict["back"].items()}
    what = next(iter(back)) if len(back) == 1 else f"{len(back)} workflows"
    commit = commit_canonical(
        run,
        environment=environment,
        changes=_changes(environment, back),
        message=f"Take back the reconcile of {what} in {environment.name}",
        trailers={"Takes-Back": sha},
    )
    return {"commit": commit}


def _changes(environment: Environment, back: Mapping[str, list[str | None]]) -> dict[str, WithDraft | None]:
    """By key, the content and the draft that the blobs hold; None where nothing was approved."""
    blobs = list(dict.fromkeys(blob for pair in back.values() for blob in pair if blob))
    store = repository.store_for(environment.tenant_id)
    with repository.failures_named():
        contents = {blob: parse(data) for blob, (_, data) in zip(blobs, store.read_blobs(blobs), strict=True)}
    return {
        key: WithDraft(contents[blob], contents[draft] if draft else None) if blob else None
        for key, (blob, draft) in back.items()
    }


def _report_again(run: Run, incident_ids: Collection[str]) -> dict[str, Any]:
    with run.fenced():
        return {"incidents": [str(pk) for pk in incident_ids if tolerate_no_more(uuid.UUID(str(pk)))]}


def tolerate_no_more(incident_id: uuid.UUID) -> bool:
    """Let a drift that was accepted be reported again; whether it was tolerated. The incident keeps its end.

    Needs the tenant's scope.
    """
    incident = DriftIncident.objects.select_for_update().filter(pk=incident_id).first()
    if incident is None or incident.details.tolerates is None:
        return False
    details = msgspec.structs.replace(incident.details, tolerates=None, taken_back_at=clock.now().isoformat())
    DriftIncident.objects.filter(pk=incident_id).update(drift_snapshot=details.to_json(), updated_at=clock.now())
    return True
