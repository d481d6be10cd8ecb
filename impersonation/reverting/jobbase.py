"""How a job that a session started is judged and reverted: as a whole, by a job of its own, carried through here.

The app whose kind of job it is subclasses ``JobReverter`` and declares an instance in its ``console.py``. What was
written to n8n is judged by content hash; what is neither as before nor as the session left it is a conflict.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.urls import reverse

from core.whose import Whose, whose
from impersonation.models import ImpersonationSession
from operations import engine
from operations import services as operations
from operations.effects import ProbeResult
from operations.engine import Run
from operations.models import Operation, OperationStatus

from .changes import ABSENT
from .items import Fact, Item, Verdict, outcome

JOBS_READ = 500
SHOWN = 50
#: How long to wait between two looks at a job that another worker carries.
PATIENCE_SECONDS = 0.5
Hash = str | None


@dataclass(frozen=True, slots=True)
class WrittenWorkflow:
    """One workflow that a job wrote: its hash before, as the job left it, and as last seen (None: not there)."""

    key: str
    name: str
    before: Hash
    after: Hash
    now: Hash
    before_active: bool | None = None
    now_active: bool | None = None

    @property
    def is_as_before(self) -> bool:
        switched = None not in (self.before_active, self.now_active) and self.before_active != self.now_active
        return self.now == self.before and not (self.now is not None and switched)

    def fact(self) -> Fact:
        return Fact(self.name or self.key, short_hash(self.before), short_hash(self.after), short_hash(self.now))


class SessionWrites:
    """What all jobs of a session did to each workflow: one may have overwritten what another had left."""

    def __init__(self) -> None:
        self._written: dict[tuple[uuid.UUID | None, str], list[WrittenWorkflow]] = {}

    def add(self, environment_id: uuid.UUID | None, workflows: Iterable[WrittenWorkflow]) -> None:
        """The workflows of one job; the newest job first."""
        for workflow in workflows:
            self._written.setdefault((environment_id, workflow.key), []).append(workflow)

    def first(self, environment_id: uuid.UUID | None, workflow: WrittenWorkflow) -> WrittenWorkflow:
        """What the session's first job did to the workflow."""
        return self._written.get((environment_id, workflow.key), [workflow])[-1]

    def hashes(self, environment_id: uuid.UUID | None, workflow: WrittenWorkflow) -> set[Hash]:
        """Every content hash of the workflow that the session made, or that was there before it."""
        known = self._written.get((environment_id, workflow.key), [workflow])
        return {w.after for w in known} | {w.before for w in known}


def short_hash(value: Hash) -> str:
    return value[:10] if value else ABSENT


def jobs_of(session: ImpersonationSession) -> list[Operation]:
    """What the session started, newest first. Needs the tenant's scope."""
    rows = Operation.objects.filter(created_at__gte=session.started_at, context__session_id=str(session.pk))
    return list(rows.order_by("-created_at")[:JOBS_READ])


@dataclass(frozen=True, slots=True)
class Judged:
    verdict: Verdict
    reason: str = ""
    workflows: tuple[WrittenWorkflow, ...] = ()


class JobReverter:
    """Jobs of the kind ``name``; ``kind`` is what one is called."""

    name: str
    kind: str

    def judge(self, job: Operation, writes: SessionWrites) -> Judged:
        raise NotImplementedError

    def written_workflows(self, job: Operation) -> list[WrittenWorkflow]:
        """The workflows that the job wrote. Needs the tenant's scope."""
        return []

    def start(self, run: Run, item: Item, *, force: bool) -> Operation:
        """Start the job that reverts it; asking twice starts one."""
        raise NotImplementedError

    def item(self, job: Operation, slug: str, writes: SessionWrites) -> Item:
        judged = self.judge(job, writes)
        return Item(
            id=f"{self.name}:{job.pk}",
            kind=self.kind,
            name=job.title,
            did=job.get_status_display(),
            verdict=judged.verdict,
            why=judged.reason,
            url=reverse("job", kwargs={"tenant_slug": slug, "pk": job.pk}),
            facts=tuple(workflow.fact() for workflow in judged.workflows[:SHOWN]),
            order=job.created_at.isoformat(),
            target={
                "job": str(job.pk),
                "subject": str(job.subject_id or ""),
                "environment": str(job.environment_id or ""),
            },
        )

    def revert(self, run: Run, item: Item, *, force: bool) -> dict[str, Any]:
        return self.result(carry_through(run, self.start(run, item, force=force)))

    def probe(self, run: Run, item: Item) -> ProbeResult:
        """Starting it again finds the job that was started, however far that is."""
        return ProbeResult.not_done()

    def result(self, job: Operation) -> dict[str, Any]:
        if job.status == OperationStatus.COMPLETED:
            return outcome("undone", job=str(job.pk))
        code, message = job.error_code, job.error_message or job.get_status_display()
        return outcome("failed", message, code=code, job=str(job.pk))


class FixedVerdict(JobReverter):
    """Jobs that need no reverting, or that cannot be reverted here, with the reason."""

    def __init__(self, name: str, kind: str, verdict: Verdict, reason: str) -> None:
        self.name, self.kind, self._judged = name, kind, Judged(verdict, reason)

    def judge(self, job: Operation, writes: SessionWrites) -> Judged:
        return self._judged


def judge_by_hash(environment_id: uuid.UUID | None, workflows: list[WrittenWorkflow], writes: SessionWrites) -> Judged:
    """By what was last seen: a hash that a job of the session left is its own, the one before the first is reverted."""

    def is_reverted(workflow: WrittenWorkflow) -> bool:
        return workflow.is_as_before or writes.first(environment_id, workflow).is_as_before

    standing = [workflow for workflow in workflows if not is_reverted(workflow)]
    if not standing:
        return Judged(Verdict.UNDONE, workflows=tuple(workflows))
    foreign = [
        workflow.name or workflow.key
        for workflow in standing
        if whose(workflow.now, before=workflow.before, ours=writes.hashes(environment_id, workflow)) == Whose.FOREIGN
    ]
    if foreign:
        return Judged(Verdict.CONFLICT, f"Edited in n8n since: {quoted(foreign)}.", tuple(workflows))
    return Judged(Verdict.READY, workflows=tuple(workflows))


def quoted(names: Iterable[str]) -> str:
    """The first three names, as a sentence tells them."""
    return ", ".join(f"“{name}”" for name in islice(names, 3))


def key_of(run: Run, item: Item) -> str:
    """The idempotency key of the job that reverts an item: one for each run of a revert."""
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
