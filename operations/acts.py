"""What the audit trail says of a job in a line: what it did and to how much, or how it ended instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.acts import ActName, ActTeller, ActWords, TrailRow
from core.registry import registry

from .models import Operation, OperationStatus
from .summaries import small_summary_of, with_small_results


def tell(rows: Sequence[TrailRow]) -> Mapping[int, ActName]:
    """By what jobs have come to until now; of one whose start alone is told, that it was due."""
    ids = {row.resource_id for row in rows if row.resource_id}
    found = {job.pk: job for job in with_small_results(Operation.objects.filter(pk__in=ids))}
    return {row.pk: _name(row, found[row.resource_id]) for row in rows if row.resource_id in found}


def _name(row: TrailRow, job: Operation) -> ActName:
    became = row.details.get("new_value") or {}
    if not row.request_id and not row.operation_id:
        return _beside_the_work(row, job, str(became.get("status", "")))
    if row.action == "UPDATE" and became.get("cancel_requested_at") and "status" not in became:
        return ActName(name=f"Asked to stop “{job.title}”", state="cancelled")
    summary = small_summary_of(job)
    return ActName(name=title_as_told(job), more=summary.brief if summary else "", state=job.status.lower())


def _beside_the_work(row: TrailRow, job: Operation, status: str) -> ActName:
    """Of a start by a schedule or a program, and of changes by workers: the work itself is an act of its own."""
    if row.action == "CREATE":
        how = "asked for" if row.actor_user_id else "due by its schedule"
        return ActName(name=f"{job.title}: {how}", state="pending")
    if status == OperationStatus.RUNNING:
        return ActName(name=f"{job.title}: taken up by a worker", state="running")
    known = status in OperationStatus.values
    words = OperationStatus(status).label.lower() if known else "changed"
    return ActName(name=f"{job.title}: {words}", state=status.lower() if known else "moved")


def title_as_told(job: Operation) -> str:
    """The title of a job in the words for how it stands: “Captured Production”, “Capture Production: failed”."""
    if job.status != OperationStatus.COMPLETED:
        return f"{job.title}: {job.get_status_display().lower()}"
    told, kind = job.title, registry.job_kinds().get(job.kind)
    for words, past in kind.past if kind else ():
        told = told.replace(words, past, 1)
    return told


#: Jobs that a request started, and jobs that run by a schedule: each says how it stands.
WORDS = (
    ActWords(table="background_jobs", action="UPDATE", words="{name}", position=80),
    ActWords(table="background_jobs", action="CREATE", words="{name}", position=90),
)
TELLER = ActTeller(table="background_jobs", tell=tell)
