"""Jobs that changed an environment: who had what done to it, and how that ended."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db.models import Q

from core.declarations import ChangeSource, EnvironmentChange
from core.registry import registry

from .acts import title_as_told
from .models import Operation
from .presenters import job_urls, subject_url
from .summaries import summary_of


def find(environment_id: uuid.UUID, tenant_slug: str, since: datetime, at_most: int) -> list[EnvironmentChange]:
    """In the tenant's scope; the newest first."""
    kinds = [kind.name for kind in registry.job_kinds().values() if kind.changes_environment]
    lately = Q(created_at__gte=since) | Q(ended_at__gte=since)
    rows = Operation.objects.filter(lately, environment_id=environment_id, kind__in=kinds)
    rows = rows.filter(Q(params__dry_run__isnull=True) | Q(params__dry_run=False))
    found = rows.select_related("requested_by").defer("params").order_by("-created_at", "-pk")[:at_most]
    return [_change(job, tenant_slug) for job in found]


def _change(job: Operation, tenant_slug: str) -> EnvironmentChange:
    summary = summary_of(job)
    return EnvironmentChange(
        at=job.ended_at or job.created_at,
        actor=str(job.requested_by) if job.requested_by else "By schedule",
        title=title_as_told(job),
        text=summary.sentence if summary else job.error_message,
        state=job.status.lower(),
        url=subject_url(job, tenant_slug) or job_urls(job, tenant_slug)["job"],
    )


SOURCE = ChangeSource(name="jobs", find=find)
