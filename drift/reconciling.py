"""Reconcile: take what is seen as approved, if it is still what the person looked at."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

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
from workflows.facts import FactChange, facts_of, only, with_details, without
from workflows.gateway import client_for
from workflows.identity import key_by_workflow_id
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n.client import N8nClient
from workflows.n8n.errors import RemoteNotFound

from .documents import Failure, Proof
from .errors import ReconcileFailed, SeenMeanwhile, WrongState
from .models import DriftAspect, DriftIncident, DriftKind, IncidentState
from .notices import Reconciled
from .status_sync import (
    Item,
    Job,
    aspects_by_key,
    conclude,
    failures_from,
    mappings_of,
    record_as_seen,
    refused,
    settle,
    standing_facts,
    standing_ids,
    stored,
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
    job.failed += failures_from(found["failed"])
    commit = _approve(job, read) if update_git and job.remaining() else ""
    settled = run.step("settle", "Close the incidents", lambda: _settle_reconciled(job, commit))
    result: dict[str, Any] = {"reconciled": settled, "failed": stored(job.failed), "commit_sha": commit or None}
    if settled and update_git and run.params.get("create_promotion_record"):
        result["records"] = _tell(job, settled, commit)
    return conclude(job, result, bool(settled), ReconcileFailed)


def _approve(job: Job, read: dict[str, WithDraft]) -> str:
    """Commit what was read and prove it; the commit's sha."""
    commit: str = job.run.step(
        "commit", "Approve in Git", lambda: _commit(job, read), external_call=in_git(job.environment)
    )["commit"]
    proved = job.run.step("prove", "Compare the hashes", lambda: _equal(job))
    job.failed += failures_from(proved["failed"])
    return commit


# -- reading ----------------------------------------------------------------------------------------------------------


def _read(job: Job, into: dict[str, WithDraft]) -> dict[str, Any]:
    """Fetch what is there; contents go into ``into`` by key, what is not as it was seen is refused."""
    failed: list[Failure] = []
    raws: dict[str, dict[str, Any]] = {}
    with job.run.fenced():
        mappings = mappings_of(job.items)
        keys = key_by_workflow_id(job.environment.pk)
        standing = standing_ids(job.items)
    with client_for(job.environment) as client:
        for item in job.items:
            job.run.check()
            mapping = mappings.get(item.map_id)
            if mapping is None or item.id not in standing:
                failed.append(item.failure(WrongState()))
                continue
            try:
                present = _Present.of(_fetch(client, mapping.env_workflow_id), keys)
            except OpsError as error:
                failed.append(item.failure(error))
                continue
            if (refusal := present.refusal(item, job.environment)) is not None:
                failed.append(refusal)
            elif present.raw is not None:
                raws[item.key] = present.raw
    record_as_seen(job, raws)
    into.update({key: WithDraft(portable(raw), draft_of(raw)) for key, raw in raws.items()})
    hashes = {item.key: item.expected_hash for item in job.items if item.key in raws}
    return {"failed": stored(failed), "hashes": hashes}


def _fetch(client: N8nClient, env_workflow_id: str) -> dict[str, Any] | None:
    if not env_workflow_id:
        return None
    try:
        raw = client.get_workflow(env_workflow_id)
    except RemoteNotFound:
        return None
    return raw


@dataclass(frozen=True, slots=True)
class _Present:
    """A workflow as n8n holds it now; all None where it is not there."""

    raw: dict[str, Any] | None
    content_hash: str | None
    draft_hash: str | None

    @classmethod
    def of(cls, raw: dict[str, Any] | None, keys: Mapping[str, str]) -> _Present:
        """Raises ``ContentError`` for what is no workflow."""
        if raw is None:
            return cls(None, None, None)
        content_hash = fingerprint(portable(raw)).content_hash(keys)
        draft = draft_of(raw)
        draft_hash = fingerprint(draft).content_hash(keys) if draft is not None else None
        return cls(raw, content_hash, draft_hash if draft_hash != content_hash else None)

    def refusal(self, item: Item, environment: Environment) -> Failure | None:
        """The failure of what is not as it was looked at."""
        switched, moved = False, list[FactChange]()
        if self.raw is not None:
            switched = item.was_switched(bool(self.raw.get("active")))
            switched |= item.kind == DriftKind.DRAFT and self.draft_hash != item.expected_draft
            moved = item.moved(facts_of(portable(self.raw)), environment)
        if not switched and not moved and self.content_hash == item.expected_hash:
            return None
        return item.seen_meanwhile(self.content_hash, switched=switched, moved=moved)


# -- approving --------------------------------------------------------------------------------------------------------


def _commit(job: Job, read: dict[str, WithDraft]) -> dict[str, Any]:
    items = _read_again(job, read)
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
        cause = error if isinstance(error, OpsError) else ReconcileFailed(f"Git: {type(error).__name__}.")
        job.failed += [item.failure(cause) for item in items]
        raise refused(job, ReconcileFailed, "Git did not take the commit; nothing was approved.") from error
    return {"commit": sha}


def _read_again(job: Job, read: dict[str, WithDraft]) -> list[Item]:
    """The items to be approved. After a crash what was read is read again, and refused if it has changed since."""
    items = job.remaining()
    if all(item.kind == DriftKind.REMOVED or item.key in read for item in items):
        return items
    wanted = {item.id for item in items}
    job.failed += [f for f in failures_from(_read(job, read)["failed"]) if f.incident_id in wanted]
    return job.remaining()


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
        elif item.key not in contents:
            changes[item.key] = read[item.key]
        else:
            approved = WithDraft(contents[item.key], drafts.get(item.key))
            changes[item.key] = _merged(approved, read[item.key], chosen[item.key])
    return changes


def _merged(approved: WithDraft, seen: WithDraft, aspects: Collection[str]) -> WithDraft:
    """What is approved, with the chosen aspects of what was seen."""

    def source(aspect: str) -> WithDraft:
        return seen if aspect in aspects else approved

    content = with_details(dict(source(DriftAspect.WORKFLOW).content), source(DriftAspect.DETAILS).content)
    content = {**without(content, ("archived",)), **only(source(DriftAspect.ARCHIVE).content, ("archived",))}
    if DriftAspect.ARCHIVE in aspects:
        content |= only(seen.content, ("active",))
    return WithDraft(content, source(DriftAspect.DRAFT).draft)


def _equal(job: Job) -> dict[str, Any]:
    with job.run.fenced():
        mappings = mappings_of(job.items)
    failed = [
        item.failure(SeenMeanwhile(details={"approved": mapping.git_content_hash, "found": _seen(item, mapping)}))
        for item in job.remaining()
        for mapping in [mappings[item.map_id]]
        if not _is_approved(item, mapping, job.environment)
    ]
    return {"failed": stored(failed)}


def _seen(item: Item, mapping: WorkflowEnvMap) -> str | None:
    return None if item.kind == DriftKind.REMOVED else mapping.env_content_hash


def _is_approved(item: Item, mapping: WorkflowEnvMap, environment: Environment) -> bool:
    """Whether what was seen of an incident's aspect is what is approved."""
    if item.aspect == DriftAspect.WORKFLOW and mapping.git_content_hash != _seen(item, mapping):
        return False
    if item.kind == DriftKind.DRAFT and mapping.git_draft_hash != mapping.env_draft_hash:
        return False
    return not standing_facts(mapping, item.aspect, environment)


# -- settling ---------------------------------------------------------------------------------------------------------


def _settle_reconciled(job: Job, commit: str) -> list[dict[str, Any]]:
    settled = []
    with job.run.fenced():
        for item in job.remaining():
            proof = Proof(content_hash=item.expected_hash, commit=commit or None)
            if commit:
                settle(job, item, IncidentState.RECONCILED, "reconciled", proof=proof)
            else:
                tolerates = DriftIncident.objects.get(pk=item.id).details.signature
                settle(job, item, IncidentState.RECONCILED, "accepted", proof=proof, tolerates=tolerates)
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
                details = msgspec.structs.replace(row.details, promotion_id=str(made))
                DriftIncident.objects.filter(pk=row.pk).update(drift_snapshot=details.to_json(), updated_at=clock.now())
    return answers
