"""What both kinds of settling share: the items, how they end, and what becomes of those that fail.

A job begins from what the person saw: an edit made after that is never overwritten or approved by accident. It ends by
proof: what is there is read back and recorded, and the two hashes must be equal before an incident counts as settled.
What fails is listed with its cause and stays for a person; the rest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

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
from .documents import DriftDetails, Failure, KeptPublished, SettlingFailure, SettlingItem
from .errors import DecidedBefore, Overdue, SeenMeanwhile
from .models import ACTIVE, DriftAspect, DriftIncident, IncidentState, aspect_of

FAILURES_LISTED = 100


class Item(SettlingItem, frozen=True, kw_only=True):
    """One incident to be settled."""

    @property
    def aspect(self) -> str:
        """What of the workflow is to be settled."""
        return str(aspect_of(self.kind))

    def was_switched(self, active: bool) -> bool:
        """Whether somebody has published or unpublished it since it was looked at."""
        return self.expected_active is not None and self.expected_active != active

    def moved(self, present: Facts | None, environment: Environment) -> list[FactChange]:
        """Where the facts that are to be settled are no longer those that were looked at."""
        return facts_apart(loaded_facts(self.expected_facts), present, self.aspect, environment)

    def failure(self, error: OpsError) -> Failure:
        """A line of the list of failures."""
        return Failure(
            incident_id=self.id,
            key=self.key,
            name=self.name,
            code=error.code,
            message=error.message,
            recovery=error.recovery,
            details=error.details,
        )

    def failure_from(self, error: Mapping[str, Any]) -> Failure:
        """The same of an error as a write has recorded it."""
        known = {name: error[name] for name in ("code", "message", "recovery", "details") if error.get(name)}
        return Failure(incident_id=self.id, key=self.key, name=self.name, **known)

    def because_of(self, other: Failure) -> Failure:
        """The failure of another incident of the same workflow, which stops this one as well."""
        return msgspec.structs.replace(other, incident_id=self.id, key=self.key, name=self.name)

    def seen_meanwhile(self, found: str | None, *, switched: bool, moved: Sequence[FactChange]) -> Failure:
        """The failure of what was edited after it was looked at."""
        details: dict[str, Any] = {"expected": self.expected_hash, "found": found, "switched": switched}
        if moved:
            details["moved"] = [change.name for change in moved]
        return self.failure(SeenMeanwhile(details=details))


def failures_from(stored: Sequence[Mapping[str, Any]]) -> list[Failure]:
    """Failures as the result of a step keeps them."""
    return msgspec.convert(stored, list[Failure], strict=False)


def stored(failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Failures for the result of a step, of a job or of an error."""
    found: list[dict[str, Any]] = msgspec.to_builtins(failures)
    return found


@dataclass(slots=True)
class Job:
    """What both kinds of job keep while they run."""

    run: Run
    environment: Environment
    items: list[Item]
    comment: str
    failed: list[Failure] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, environment: Environment) -> Job:
        items = msgspec.convert(run.params["incidents"], list[Item], strict=False)
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
        failed = {failure.incident_id for failure in self.failed}
        return [item for item in self.items if item.id not in failed]


def what(items: Sequence[Item]) -> str:
    """The items in a title."""
    return items[0].name or items[0].key if len(items) == 1 else f"{len(items)} workflows"


def mappings_of(items: Sequence[Item]) -> dict[str, WorkflowEnvMap]:
    """The mappings of the items, by their id. Needs the tenant's scope."""
    rows = WorkflowEnvMap.objects.filter(pk__in=[item.map_id for item in items])
    rows = rows.select_related("canonical_workflow").defer("fingerprint", "git_fingerprint")
    return {str(mapping.pk): mapping for mapping in rows}


def mappings_by_key(items: Sequence[Item]) -> dict[str, WorkflowEnvMap]:
    """The same, by the key of the workflow."""
    return {mapping.canonical_workflow.key: mapping for mapping in mappings_of(items).values()}


def aspects_by_key(items: Sequence[Item]) -> dict[str, set[str]]:
    """Of each workflow, what is to be settled: there may be several incidents of one."""
    found: dict[str, set[str]] = {}
    for item in items:
        found.setdefault(item.key, set()).add(item.aspect)
    return found


def standing_facts(mapping: WorkflowEnvMap, aspect: str, environment: Environment) -> list[FactChange]:
    """What of an aspect still differs from what is approved, though it was settled; for archive and details only."""
    return facts_apart(loaded_facts(mapping.git_facts), loaded_facts(mapping.env_facts), aspect, environment)


def facts_apart(first: Facts | None, second: Facts | None, aspect: str, environment: Environment) -> list[FactChange]:
    """Where two lots of facts differ in what an aspect is about; nothing for contents and drafts."""
    if first is None or second is None or aspect not in (DriftAspect.ARCHIVE, DriftAspect.DETAILS):
        return []
    found = changes(first, second, defaults=environment.learnt_settings)
    return [change for change in found if (change.kind == "archived") == (aspect == DriftAspect.ARCHIVE)]


def standing_ids(items: Sequence[Item]) -> set[str]:
    """Ids of the incidents whose drift still stands. Needs the tenant's scope."""
    rows = DriftIncident.objects.filter(pk__in=[item.id for item in items], incident_state__in=ACTIVE)
    return {str(pk) for pk in rows.values_list("pk", flat=True)}


def record_as_seen(job: Job, raws: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Record what was read as seen; content hash by key."""
    if not raws:
        return {}
    with job.run.fenced():
        recorded = record_seen(
            tenant_id=job.environment.tenant_id,
            environment_id=job.environment.pk,
            seen=[seen_workflow(raw) for raw in raws.values()],
            captured_at=clock.now(),
            unread=None,
        )
    return {one.key: one.content_hash for one in recorded.values()}


def settle(job: Job, item: Item, state: str, resolution: str, **changes: Any) -> None:
    """Move one incident to its settled state, once; ``changes`` are fields of its details."""
    incident = DriftIncident.objects.select_for_update().get(pk=item.id)
    if incident.incident_state == state and incident.operation_id == job.run.operation.pk:
        return
    details = msgspec.structs.replace(incident.details, **changes, last_failure=None, kept=None)
    states.move(
        incident.pk,
        state,
        resolution_type=resolution,
        resolved_by_id=job.run.operation.requested_by_id,
        resolved_at=clock.now(),
        operation_id=job.run.operation.pk,
        drift_snapshot=details.to_json(),
        **({"comment": job.comment} if job.comment else {}),
    )


def leave_standing(job: Job, item: Item, callers: Sequence[str]) -> None:
    """Others call it, so it runs on: no failure, and not settled. It is acknowledged and says so."""
    incident = DriftIncident.objects.select_for_update().get(pk=item.id)
    kept = KeptPublished(callers=list(callers), at=clock.now().isoformat(), operation_id=str(job.run.operation.pk))
    _acknowledge(incident, msgspec.structs.replace(incident.details, last_failure=None, kept=kept))


def note_failures(job: Job) -> None:
    """What could not be settled is acknowledged and holds its cause: the runbook looks for it there."""
    now = clock.now().isoformat()
    with job.run.fenced():
        for failure in job.failed:
            incident = DriftIncident.objects.filter(pk=failure.incident_id, incident_state__in=ACTIVE).first()
            if incident is None:
                continue
            cause = SettlingFailure(
                code=failure.code or None,
                message=failure.message or None,
                recovery=failure.recovery or None,
                details=failure.details,
                at=now,
                operation_id=str(job.run.operation.pk),
            )
            _acknowledge(incident, msgspec.structs.replace(incident.details, last_failure=cause))


def _acknowledge(incident: DriftIncident, details: DriftDetails) -> None:
    states.move(incident.pk, IncidentState.ACKNOWLEDGED, drift_snapshot=details.to_json())


#: Failures of which an overdue incident cannot be settled by trying again.
_HOPELESS = ("DRIFT_008", "N8N_015", "REST_003", "SNAP_002", "SNAP_003")


def refused(job: Job, failure: type[OpsError], message: str | None = None) -> OpsError:
    """The error for a job of which nothing came; past its time it is DRIFT_004 with the cause inside."""
    note_failures(job)
    first = job.failed[0] if job.failed else None
    if message is None:
        message = f"“{first.name}”: {first.message}" if first is not None else failure.message
    if len(job.failed) > 1:
        message += f" The same or another cause stopped {len(job.failed) - 1} more."
    details = {
        "failed": stored(job.failed[:FAILURES_LISTED]),
        "cause": msgspec.to_builtins(first) if first is not None else {},
    }
    if first is not None and first.code in _HOPELESS and _is_overdue(job):
        return Overdue(message, details={**details, "code": failure.code})
    return failure(message, details=details, recovery=(first.recovery if first is not None else "") or None)


def _is_overdue(job: Job) -> bool:
    """Whether one of what failed is past its time, where the tenant enforces that."""
    with job.run.fenced():
        if not policies.read_policy(job.environment.tenant_id).enforce_ttl:
            return False
        failed = [failure.incident_id for failure in job.failed]
        late = DriftIncident.objects.filter(pk__in=failed, incident_state__in=ACTIVE, ttl_expires_at__lt=clock.now())
        return late.exists()


def conclude(job: Job, result: dict[str, Any], any_settled: bool, failure: type[OpsError]) -> dict[str, Any]:
    """The result of a job; raises where nothing was settled, or where nobody knows what became of a write."""
    unknown = next((f for f in job.failed if f.code == UnknownOutcome.code), None)
    if unknown is not None:
        raise UnknownOutcome(unknown.message, details={"failed": stored(job.failed[:FAILURES_LISTED])})
    if job.failed and not any_settled:
        raise refused(job, failure)
    if job.failed:
        note_failures(job)
    return result
