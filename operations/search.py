"""Jobs by title or id, for the command bar."""

from __future__ import annotations

from core.declarations import SearchRow, SearchScope
from core.ids import uuid_or_none
from core.search import EACH, record_row, row_by_id

from .models import Operation
from .presenters import job_url


def jobs(q: str, scope: SearchScope) -> list[SearchRow]:
    """By title; of any tenant for platform admins."""
    if scope.sees_all_jobs:
        return _of_every_tenant(q)
    rows = Operation.objects.filter(tenant_id__in=scope.tenant_ids, title__icontains=q).order_by("-created_at", "-pk")
    return [
        record_row(
            scope, job.tenant_id, "job",
            title=job.title, hint=job.get_status_display().lower(), state=job.status, pk=job.pk,
        )
        for job in rows.only("id", "tenant_id", "title", "status")[:EACH]
        if job.tenant_id
    ]  # fmt: skip


def job_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    return row_by_id(scope, Operation, q, url_name="job", noun="job")


def _of_every_tenant(q: str) -> list[SearchRow]:
    """By title or id: what the platform's page of jobs shows its admins."""
    wanted = uuid_or_none(q)
    rows = Operation.objects.filter(pk=wanted) if wanted else Operation.objects.filter(title__icontains=q)
    rows = rows.select_related("tenant").only("id", "title", "status", "tenant__slug", "tenant__name")
    return [
        {
            "title": job.title,
            "hint": f"{job.get_status_display().lower()} · {job.tenant.name if job.tenant else 'the platform'}",
            "url": job_url(job),
            "state": job.status,
        }
        for job in rows.order_by("-created_at", "-pk")[:EACH]
    ]
