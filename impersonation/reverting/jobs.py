"""Jobs that a session had the console do. Each is reverted as a whole, by the reverter of the app whose kind it is."""

from __future__ import annotations

from core.registry import registry
from impersonation.models import ImpersonationSession

from .items import Item, Verdict
from .jobbase import FixedVerdict, JobReverter, SessionWrites, jobs_of

UNKNOWN = "The console cannot revert this kind of job: its page says what it did."


def job_reverter(kind: str) -> JobReverter:
    """Of the app that declares the kind; without one its jobs are shown with what to do instead."""
    found: JobReverter | None = registry.job_reverters().get(kind)
    return found or FixedVerdict(kind, "job", Verdict.IMPOSSIBLE, UNKNOWN)


def job_items(session: ImpersonationSession, slug: str) -> list[Item]:
    """Every job that the session started. Needs the tenant's scope; asks neither n8n nor Git."""
    known = [(job, job_reverter(job.kind)) for job in jobs_of(session)]
    writes = SessionWrites()
    for job, reverter in known:
        writes.add(job.environment_id, reverter.written_workflows(job))
    return [reverter.item(job, slug, writes) for job, reverter in known]
