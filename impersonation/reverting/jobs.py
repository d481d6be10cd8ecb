"""Jobs: what a session had the console do. Each is undone as a whole, by a job of its own that is carried through here.

A promotion goes back by the promotions' own rollback; what a restore or a stabilization wrote goes back to the snapshot
that it took before, by the restore path (``handlers.PutBack``). Both judge by content hash, and leave alone what is
neither as it was before nor as the session left it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from django.urls import reverse

from impersonation.models import ImpersonationSession
from operations import engine
from operations import services as operations
from operations.effects import Looked
from operations.engine import Run
from operations.models import Operation, OperationStatus, OperationStep, StepState
from promotions import services as promotions
from promotions.models import Promotion, PromotionStatus
from snapshots.models import Snapshot
from workflows.models import Environment, MapStatus, WorkflowEnvMap
from workflows.writes import Written

from .changes import ABSENT
from .items import Fact, Item, Verdict, outcome, person_of

PUT_BACK = "impersonation.put_back"
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
        return Fact(self.name or self.key, _short(self.before), _short(self.after), _short(self.now))


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


def _short(value: Hash) -> str:
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

    def look(self, run: Run, item: Item) -> Looked:
        """Starting it again finds the job that was started, however far that is."""
        return Looked.not_done()

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


def _seen(environment_id: uuid.UUID | None, keys: list[str]) -> dict[str, tuple[Hash, bool | None]]:
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


class Promoted(JobReverter):
    name, kind = "promotions.execute", "promotion"

    def places(self, job: Operation) -> list[Place]:
        promotion = promotion_of(job)
        plan = (promotion.plan if promotion else None) or {}
        items = [i for i in plan.get("items", ()) if i["action"] != "unchanged"]
        seen = _seen(job.environment_id, [i["key"] for i in items])
        return [
            Place(i["key"], i["name"], i["expected_hash"], i["wanted_hash"], seen.get(i["key"], (None, None))[0])
            for i in items
        ]

    def judge(self, job: Operation, traces: Traces) -> Judged:
        promotion = promotion_of(job)
        if promotion is None:
            return Judged(Verdict.IMPOSSIBLE, "The promotion is gone; restore the snapshot taken before it.")
        if job.is_open or promotion.status == PromotionStatus.RUNNING:
            return Judged(Verdict.IMPOSSIBLE, "It still runs: look again once it has ended.")
        if promotion.status == PromotionStatus.ROLLED_BACK:
            return Judged(Verdict.UNDONE, "It was rolled back.")
        if promotion.status not in promotions.CAN_ROLL_BACK or promotions.can_try_again(promotion):
            return Judged(Verdict.NOTHING, "It left the target as it was.")
        found = by_places(job.environment_id, self.places(job), traces)
        if found.verdict == Verdict.UNDONE:
            return replace(found, verdict=Verdict.READY, why="The content is as before; what is approved is not yet.")
        return found

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        return promotions.rollback(
            tenant_id=run.tenant_id,
            promotion_id=uuid.UUID(item.target["subject"]),
            by=person_of(run),
            force=force,
            reason=f"Revert of the support session {run.params['session_id']}",
            idempotency_key=key_of(run, item),
        )

    def ending(self, job: Operation) -> dict[str, Any]:
        if job.error_code == "PROMO_013":
            return outcome("conflict", f"{job.error_message} Left as it is.", code=job.error_code, job=str(job.pk))
        return super().ending(job)


class WroteBack(JobReverter):
    """What a job wrote through the restore path goes back to the snapshot that it took before."""

    def __init__(self, name: str, kind: str, prefix: str) -> None:
        self.name, self.kind, self.prefix = name, kind, prefix

    def places(self, job: Operation) -> list[Place]:
        before = Snapshot.objects.filter(pk=before_id(job.pk)).first()
        wrote = written_by(job.pk, self.prefix)
        if before is None or not wrote:
            return []
        entries = {str(entry["key"]): entry for entry in before.workflows}
        seen = _seen(job.environment_id, list(wrote))
        return [
            Place(
                key,
                w.name,
                entries.get(key, {}).get("content_hash"),
                None if w.outcome == "deleted" else w.content_hash,
                seen.get(key, (None, None))[0],
                entries.get(key, {}).get("active"),
                seen.get(key, (None, None))[1],
            )
            for key, w in wrote.items()
        ]

    def judge(self, job: Operation, traces: Traces) -> Judged:
        if job.is_open:
            return Judged(Verdict.IMPOSSIBLE, "It still runs: look again once it has ended.")
        details = (job.error_details or {}).get("details") or {}
        if job.params.get("dry_run") or details.get("status") == "put_back":
            return Judged(Verdict.NOTHING, "It left the environment as it was.")
        places = self.places(job)
        if not places and written_by(job.pk, self.prefix):
            return Judged(Verdict.IMPOSSIBLE, "The snapshot taken before it is gone: restore an older one.")
        if not places:
            return Judged(Verdict.NOTHING, "It wrote nothing.")
        return by_places(job.environment_id, places, traces)

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        with run.fenced():
            environment = Environment.objects.get(pk=item.target["environment"])
        return operations.start(
            tenant_id=run.tenant_id,
            kind=PUT_BACK,
            title=f"Put back what “{item.name}” wrote"[:200],
            params={
                "session_id": run.params["session_id"],
                "job_id": item.target["job"],
                "environment_id": str(environment.pk),
                "prefix": self.prefix,
                "force": force,
            },
            requested_by=run.operation.requested_by,
            idempotency_key=key_of(run, item),
            exclusive_key=environment.write_lock,
            environment_id=environment.pk,
            subject_type="snapshot",
            subject_id=before_id(uuid.UUID(item.target["job"])),
        )

    def ending(self, job: Operation) -> dict[str, Any]:
        result = job.result or {}
        conflicts = result.get("conflicts") or []
        if conflicts and job.status == OperationStatus.COMPLETED:
            names = ", ".join(f"“{row['name'] or row['key']}”" for row in conflicts[:3])
            message = f"Edited in n8n since, left as it is: {names}; {len(result['put_back'])} put back."
            return outcome("conflict", message, job=str(job.pk))
        return super().ending(job)


class Said(JobReverter):
    """Jobs that need no undoing, or that cannot be undone here, with the reason."""

    def __init__(self, name: str, kind: str, verdict: Verdict, why: str) -> None:
        self.name, self.kind, self._judged = name, kind, Judged(verdict, why)

    def judge(self, job: Operation, traces: Traces) -> Judged:
        return self._judged


JOBS: dict[str, JobReverter] = {
    reverter.name: reverter
    for reverter in (
        Promoted(),
        WroteBack("snapshots.restore", "restore", "restore"),
        WroteBack("drift.stabilize", "stabilization", "stabilize"),
        Said(
            "drift.reconcile",
            "reconcile",
            Verdict.IMPOSSIBLE,
            "What was approved stays in Git's history. Put the workflow right (promote it, restore a snapshot from"
            " before, or edit it in n8n), then reconcile again.",
        ),
        Said(
            "promotions.rollback",
            "rollback",
            Verdict.IMPOSSIBLE,
            "Plan the promotion again and execute it, or restore the snapshot taken before the rollback.",
        ),
        Said("snapshots.capture", "capture", Verdict.NOTHING, "A snapshot changes nothing."),
        Said("snapshots.verify", "check of a snapshot", Verdict.NOTHING, "It only reads."),
        Said("drift.check", "drift check", Verdict.NOTHING, "It only reads."),
        Said("environments.test", "connection test", Verdict.NOTHING, "It only reads."),
    )
}
UNKNOWN = "The console does not undo this kind of job: its page says what it did."


def job_items(session: ImpersonationSession, slug: str) -> list[Item]:
    """Every job that the session started. Needs the tenant's scope; asks neither n8n nor Git."""
    jobs = jobs_of(session)
    known = [(job, JOBS.get(job.kind) or Said(job.kind, "job", Verdict.IMPOSSIBLE, UNKNOWN)) for job in jobs]
    traces = Traces()
    for job, reverter in known:
        traces.take(job.environment_id, reverter.places(job))
    return [reverter.item(job, slug, traces) for job, reverter in known]


def before_id(job_id: uuid.UUID) -> uuid.UUID:
    """The id of the snapshot that a restore or a stabilization takes before it writes."""
    return uuid.uuid5(job_id, "before")


def written_by(job_id: uuid.UUID, prefix: str) -> dict[str, Written]:
    """What a job wrote, by key, from its steps. Needs the tenant's scope."""
    rows = OperationStep.objects.filter(
        operation_id=job_id, name__startswith=f"{prefix}:write:", state=StepState.DONE
    ).values_list("result", flat=True)
    found = (Written.from_dict(row) for row in rows if isinstance(row, dict) and row.get("outcome"))
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
