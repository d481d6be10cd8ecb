"""Maintenance of Git stores: packed each day where that pays, packed from scratch each week.

A capture writes packs without deltas, which is quick and takes room; packing from scratch finds the deltas and drops
what no branch leads to. Every tenant with a capture gets both as schedules, at an hour of its own.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q

from core import clock
from operations import services as operations
from operations.models import Schedule
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope
from workflows.models import Environment

from . import repository, sql_contents
from .models import Snapshot

KIND = "snapshots.maintain"
DAY_SECONDS = 86_400
ROUNDS = (
    ("Pack the Git store", {"full": False}, DAY_SECONDS),
    ("Pack the Git store anew", {"full": True}, 7 * DAY_SECONDS),
)


def keep_schedules() -> int:
    """The beat's round: tenants with captures and without schedules of their store get them. How many."""
    captured = Environment.objects.filter(tenant_id=OuterRef("pk"), last_snapshot_id__isnull=False)
    with platform_scope():
        known = Schedule.objects.filter(kind=KIND).values("tenant_id").annotate(rounds=Count("pk"))
        whole = known.filter(rounds__gte=len(ROUNDS)).values("tenant_id")
        lacking = list(Tenant.objects.filter(Exists(captured), ~Q(pk__in=whole)).values_list("pk", flat=True)[:500])
    for tenant_id in lacking:
        _schedule(tenant_id)
    return len(lacking)


def _schedule(tenant_id: uuid.UUID) -> None:
    with tenant_scope(tenant_id):
        known = set(Schedule.objects.filter(kind=KIND).values_list("name", flat=True))
        for name, params, every in ROUNDS:
            if name in known:
                continue
            made = operations.set_schedule(
                tenant_id=tenant_id, name=name, kind=KIND, params=params, every_seconds=every
            )
            # Each round at an hour of its own, so that not all stores are packed at once, nor one twice.
            first = clock.now() + timedelta(seconds=made.pk.int % every)
            Schedule.objects.filter(pk=made.pk).update(next_run_at=first)


def look_after(tenant_id: uuid.UUID, *, full: bool) -> dict[str, Any]:
    """Pack the tenant's store; call outside any scope. ``{repacked, pruned, cleared_locks, before, after, kept}``.

    A branch that somebody has moved by force leads no longer to the snapshots before: ``kept`` is how many commits
    were saved from being dropped for that. Raises ``CaptureFailed``'s kinds (SNAP_001) where Git cannot.
    """
    commits = _commits_of_rows(tenant_id) if full else []
    store = repository.store_for(tenant_id)
    with repository.failures_named():
        kept = store.keep(commits) if full else 0
        packed = asdict(store.gc(full=full))
    return {**packed, "kept": kept, **sql_contents.look_after(tenant_id)}


def _commits_of_rows(tenant_id: uuid.UUID) -> list[str]:
    """What snapshots and approved states point to."""
    with tenant_scope(tenant_id):
        seen = Snapshot.objects.values_list("git_commit_sha", flat=True)
        approved = Environment.objects.values_list("baseline_commit_sha", flat=True)
        return sorted({sha for sha in (*seen, *approved) if sha})
