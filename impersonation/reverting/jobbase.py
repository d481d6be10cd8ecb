"""How a job that a session started is judged and undone: as a whole, by a job of its own, carried through here."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from impersonation.models import ImpersonationSession
from operations import engine
from operations import services as operations
from operations.effects import ProbeResult
from operations.engine import Run
from operations.models import Operation, OperationStatus, OperationStep, StepState
from promotions.models import Promotion
from workflows.models import MapStatus, WorkflowEnvMap
from workflows.writes import Written

from .changes import ABSENT
from .items import Fact, Item, Verdict, outcome

JOBS_READ = 500
SHOWN = 50
#: How long to wait between two looks at a job that another worker carries.
PATIENCE_SECONDS = 0.5
Hash = str | None


@dataclass(frozen=True, slots=True)
class Place:
    """One workflow that a job wrote: its hash before, as the job left it, and as last seen (None: not there)."""

    key: str
    name: str
    before: Hash
    after: Hash
    now: Hash
    before_active: bool | None = None
    now_active: bool | None = None

    @property
    def is_back(self) -> bool:
        switched = None not in (self.before_active, self.now_active) and self.before_active != self.now_active
        return self.now == self.before and not (self.now is not None and switched)

    def fact(self) -> Fact:
        return Fact(self.name or self.key, short_hash(self.before), short_hash(self.after), short_hash(self.now))


class Traces:
    """What all jobs of a session did to each workflow: one may have written over what another had left."""

    def __init__(self) -> None:
        self._places: dict[tuple[uuid.UUID | None, str], list[Place]] = {}

    def take(self, environment_id: uuid.UUID | None, places: Iterable[Place]) -> None:
        """The places of one job; the newest job first."""
        for place in places:
            self._places.setdefault((environment_id, place.key), []).append(place)

    def first(self, environment_id: uuid.UUID | None, place: Place) -> Place:
        """What the session's first job did to the workflow."""
        return self._places.get((environment_id, place.key), [place])[-1]

    def left(self, environment_id: uuid.UUID | None, place: Place) -> set[Hash]:
        """Every hash of the workflow that is the session's doing, or was there before it."""
        known = self._places.get((environment_id, place.key), [place])
        return {p.after for p in known} | {p.before for p in known}


def short_hash(value: Hash) -> str:
    return value[:10] if value else ABSENT


def jobs_of(session: ImpersonationSession) -> list[Operation]:
    """What the session started, newest first. Needs the tenant's scope."""
    rows = Operation.objects.filter(created_at__gte=session.started_at, context__session_id=str(session.pk))
    return list(rows.order_by("-created_at")[:JOBS_READ])


class JobReverter:
    """Jobs of one kind."""

    name: str
    kind: str

    def judge(self, job: Operation, traces: Traces) -> Judged:
        raise NotImplementedError

    def places(self, job: Operation) -> list[Place]:
        """The workflows that the job wrote. Needs the tenant's scope."""
        return []

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        """The job that undoes it; asking twice starts one."""
        raise NotImplementedError

    def item(self, job: Operation, slug: str, traces: Traces) -> Item:
        judged = self.judge(job, traces)
        return Item(
            id=f"{self.name}:{job.pk}",
            kind=self.kind,
            name=job.title,
            did=job.get_status_display(),
            verdict=judged.verdict,
            why=judged.why,
            url=reverse("job", kwargs={"tenant_slug": slug, "pk": job.pk}),
            facts=tuple(place.fact() for place in judged.places[:SHOWN]),
            order=job.created_at.isoformat(),
            target={
                "job": str(job.pk),
                "subject": str(job.subject_id or ""),
                "environment": str(job.environment_id or ""),
            },
        )

    def undo(self, run: Run, item: Item, *, force: bool) -> dict[str, Any]:
        return self.ending(carry_through(run, self.start(run, item, force=force)))

    def look(self, run: Run, item: Item) -> ProbeResult:
        """Starting it again finds the job that was started, however far that is."""
        return ProbeResult.not_done()

    def ending(self, job: Operation) -> dict[str, Any]:
        if job.status == OperationStatus.COMPLETED:
            return outcome("undone", job=str(job.pk))
        code, message = job.error_code, job.error_message or job.get_status_display()
        return outcome("failed", message, code=code, job=str(job.pk))


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: Verdict
    why: str = ""
    places: tuple[Place, ...] = ()


def by_places(environment_id: uuid.UUID | None, places: list[Place], traces: Traces) -> Judged:
    """By what was last seen: what a job of the session left is its own, what was before the first is back."""
    back = {p.key for p in places if p.is_back or traces.first(environment_id, p).is_back}
    if len(back) == len(places):
        return Judged(Verdict.UNDONE, places=tuple(places))
    foreign = [p for p in places if p.key not in back and p.now not in traces.left(environment_id, p)]
    if foreign:
        names = ", ".join(f"“{p.name or p.key}”" for p in foreign[:3])
        return Judged(Verdict.CONFLICT, f"Edited in n8n since: {names}.", tuple(places))
    return Judged(Verdict.READY, places=tuple(places))


def seen_now(environment_id: uuid.UUID | None, keys: list[str]) -> dict[str, tuple[Hash, bool | None]]:
    """Content hash and active of workflows as last seen."""
    gone = (MapStatus.MISSING, MapStatus.DELETED)
    if environment_id is None:
        return {}
    rows = WorkflowEnvMap.objects.filter(environment_id=environment_id, canonical_workflow__key__in=keys)
    return {
        key: (None if status in gone else value, active)
        for key, value, active, status in rows.values_list(
            "canonical_workflow__key", "env_content_hash", "env_active", "status"
        )
    }


def promotion_of(job: Operation) -> Promotion | None:
    return Promotion.objects.filter(pk=job.subject_id).first() if job.subject_id else None


def before_id(job_id: uuid.UUID) -> uuid.UUID:
    """The id of the snapshot that a restore or a stabilization takes before it writes."""
    return uuid.uuid5(job_id, "before")


def written_by(job_id: uuid.UUID, prefix: str) -> dict[str, Written]:
    """What a job wrote, by key, from its steps. Needs the tenant's scope."""
    rows = OperationStep.objects.filter(
        operation_id=job_id, name__startswith=f"{prefix}:write:", state=StepState.DONE
    ).values_list("result", flat=True)
    found = (Written.read(row) for row in rows if isinstance(row, dict) and row.get("outcome"))
    return {w.key: w for w in found if w.outcome in ("created", "updated", "deleted")}


def key_of(run: Run, item: Item) -> str:
    """The idempotency key of the job behind an item: one for each run of a revert."""
    return f"revert-{run.operation.pk}-{item.target['job']}"


def carry_through(run: Run, job: Operation) -> Operation:
    """Carry another job to its end, in this process unless another worker has it already."""
    while True:
        run.check()
        engine.drive(operation_id=job.pk, tenant_id=run.tenant_id)
        found = operations.get_operation(tenant_id=run.tenant_id, operation_id=job.pk)
        if not found.is_open or found.status == OperationStatus.PARKED:
            return found
        engine.stopping.wait(PATIENCE_SECONDS)
