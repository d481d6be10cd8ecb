"""What both kinds of settling share: the items, how they end, and what becomes of those that fail.

A job begins from what the person saw: an edit made after that is never overwritten or approved by accident. It ends by
proof: what is there is read back, taken down, and the two hashes must be equal before an incident counts as settled.
What fails is listed with its cause and stays for a person; the rest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core import clock
from core.errors import OpsError
from operations.engine import Run
from operations.errors import UnknownOutcome
from workflows.content import NORMALIZATION_VERSION
from workflows.facts import FactChange, Facts, changes, loaded_facts
from workflows.identity import seen_workflow
from workflows.models import Environment, WorkflowEnvMap
from workflows.recording import record_seen

from . import policies, states
from .errors import DecidedBefore, Overdue
from .models import ACTIVE, DriftAspect, DriftIncident, IncidentState, aspect_of


@dataclass(frozen=True, slots=True)
class Item:
    """One incident as the person saw it: with which content (``expected_hash``), whether it was published, with which
    facts, and, where the draft is what drifted, with which draft. ``by_upgrade``: n8n itself made the change, and a
    person wants it put back in spite of what that breaks."""

    id: str
    map_id: str
    key: str
    name: str
    kind: str
    expected_hash: str | None = None
    expected_active: bool | None = None
    expected_draft: str | None = None
    expected_facts: dict[str, Any] | None = None
    by_upgrade: bool = False

    @property
    def aspect(self) -> str:
        """What of the workflow is to be settled."""
        return str(aspect_of(self.kind))

    def was_switched(self, active: bool) -> bool:
        """Whether somebody has switched it since it was looked at."""
        return self.expected_active is not None and self.expected_active != active

    def moved(self, present: Facts | None, environment: Environment) -> list[FactChange]:
        """Where the facts that are to be settled are no longer those that were looked at."""
        return facts_apart(loaded_facts(self.expected_facts), present, self.aspect, environment)

    def failure(self, error: OpsError | Mapping[str, Any]) -> dict[str, Any]:
        """A line of the list of failures."""
        told = error.to_dict() if isinstance(error, OpsError) else dict(error)
        return {"incident_id": self.id, "key": self.key, "name": self.name, **told}


@dataclass(slots=True)
class Job:
    """What both kinds of job keep while they run."""

    run: Run
    environment: Environment
    items: list[Item]
    comment: str
    failed: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, environment: Environment) -> Job:
        names = set(Item.__slots__)
        items = [Item(**{k: v for k, v in given.items() if k in names}) for given in run.params["incidents"]]
        return cls(run, environment, items, str(run.params.get("comment") or ""))

    @property
    def is_outdated(self) -> bool:
        """Whether the hashes that were looked at cannot be compared with any that are made now."""
        found: bool = self.run.params.get("normalization_version", NORMALIZATION_VERSION) != NORMALIZATION_VERSION
        return found

    def refuse_outdated(self, failure: type[OpsError]) -> OpsError:
        """The error for a job that was decided before the console compared as it does now."""
        self.failed = [item.failure(DecidedBefore()) for item in self.items]
        return refused(self, failure)

    def remaining(self) -> list[Item]:
        """The items that have not failed."""
        failed = {failure["incident_id"] for failure in self.failed}
        return [item for item in self.items if item.id not in failed]


def what(items: Sequence[Item]) -> str:
    return items[0].name or items[0].key if len(items) == 1 else f"{len(items)} workflows"


def places_of(items: Sequence[Item]) -> list[WorkflowEnvMap]:
    rows = WorkflowEnvMap.objects.filter(pk__in=[item.map_id for item in items])
    return list(rows.select_related("canonical_workflow").defer("fingerprint", "git_fingerprint"))


def aspects_by_key(items: Sequence[Item]) -> dict[str, set[str]]:
    """Of each workflow, what is to be settled: several incidents may stand for one."""
    found: dict[str, set[str]] = {}
    for item in items:
        found.setdefault(item.key, set()).add(item.aspect)
    return found


def standing_facts(row: WorkflowEnvMap, aspect: str, environment: Environment) -> list[FactChange]:
    """What of an aspect still differs from what is approved, though it was settled; for archive and details only."""
    return facts_apart(loaded_facts(row.git_facts), loaded_facts(row.env_facts), aspect, environment)


def facts_apart(first: Facts | None, second: Facts | None, aspect: str, environment: Environment) -> list[FactChange]:
    """Where two lots of facts differ in what an aspect is about; nothing for contents and drafts."""
    if first is None or second is None or aspect not in (DriftAspect.ARCHIVE, DriftAspect.DETAILS):
        return []
    found = changes(first, second, defaults=environment.learnt_settings)
    return [change for change in found if (change.kind == "archived") == (aspect == DriftAspect.ARCHIVE)]


def standing_ids(items: Sequence[Item]) -> set[str]:
    rows = DriftIncident.objects.filter(pk__in=[item.id for item in items], incident_state__in=ACTIVE)
    return {str(pk) for pk in rows.values_list("pk", flat=True)}


def take_down(job: Job, raws: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Record what was read as seen; content hash by key."""
    if not raws:
        return {}
    with job.run.fenced():
        placed = record_seen(
            tenant_id=job.environment.tenant_id,
            environment_id=job.environment.pk,
            seen=[seen_workflow(raw) for raw in raws.values()],
            captured_at=clock.now(),
            complete=False,
        )
    return {place.key: place.content_hash for place in placed.values()}


def settle(job: Job, item: Item, state: str, resolution: str, noted: Mapping[str, Any]) -> None:
    """Move one incident to its settled state, once."""
    incident = DriftIncident.objects.select_for_update().get(pk=item.id)
    if incident.incident_state == state and incident.operation_id == job.run.operation.pk:
        return
    snapshot = {**incident.drift_snapshot, **noted}
    if snapshot.pop("accept", False):
        snapshot["tolerates"] = incident.drift_snapshot.get("signature")
    snapshot.pop("last_failure", None)
    snapshot.pop("kept", None)
    changes: dict[str, Any] = {"comment": job.comment} if job.comment else {}
    states.move(
        incident.pk,
        state,
        resolution_type=resolution,
        resolved_by_id=job.run.operation.requested_by_id,
        resolved_at=clock.now(),
        operation_id=job.run.operation.pk,
        drift_snapshot=snapshot,
        **changes,
    )


def leave_standing(job: Job, item: Item, callers: Sequence[str]) -> None:
    """Others call it, so it runs on: no failure, and not settled. It is acknowledged and says so."""
    incident = DriftIncident.objects.select_for_update().get(pk=item.id)
    kept = {"callers": list(callers), "at": clock.now().isoformat(), "operation_id": str(job.run.operation.pk)}
    noted = {name: value for name, value in incident.drift_snapshot.items() if name != "last_failure"}
    states.move(incident.pk, IncidentState.ACKNOWLEDGED, drift_snapshot={**noted, "kept": kept})


def note_failures(job: Job) -> None:
    """What could not be settled is acknowledged and holds its cause: the runbook looks for it there."""
    now = clock.now()
    with job.run.fenced():
        for failure in job.failed:
            incident = DriftIncident.objects.filter(pk=failure["incident_id"], incident_state__in=ACTIVE).first()
            if incident is None:
                continue
            cause = {k: failure.get(k) for k in ("code", "message", "recovery", "details")}
            cause |= {"at": now.isoformat(), "operation_id": str(job.run.operation.pk)}
            noted = {**incident.drift_snapshot, "last_failure": cause}
            states.move(incident.pk, IncidentState.ACKNOWLEDGED, drift_snapshot=noted)


def refused(job: Job, failure: type[OpsError], message: str | None = None) -> OpsError:
    """The error for a job of which nothing came; past its time it is DRIFT_004 with the cause inside."""
    note_failures(job)
    first = job.failed[0] if job.failed else {}
    message = message or f"“{first.get('name')}”: {first.get('message')}"
    if len(job.failed) > 1:
        message += f" The same or another cause stopped {len(job.failed) - 1} more."
    details = {"failed": job.failed[:100], "cause": first}
    with job.run.fenced():
        policy = policies.read_policy(job.environment.tenant_id)
        late = DriftIncident.objects.filter(
            pk__in=[f["incident_id"] for f in job.failed], incident_state__in=ACTIVE, ttl_expires_at__lt=clock.now()
        ).exists()
    if policy.enforce_ttl and late and first.get("code") in ("DRIFT_008", "REST_003", "SNAP_002", "SNAP_003"):
        return Overdue(message, details={**details, "code": failure.code})
    return failure(message, details=details, recovery=first.get("recovery") or None)


def conclude(job: Job, result: dict[str, Any], any_settled: bool, failure: type[OpsError]) -> dict[str, Any]:
    unknown = next((f for f in job.failed if f.get("code") == UnknownOutcome.code), None)
    if unknown is not None:
        raise UnknownOutcome(str(unknown.get("message")), details={"failed": job.failed[:100]})
    if job.failed and not any_settled:
        raise refused(job, failure)
    if job.failed:
        note_failures(job)
    return result
