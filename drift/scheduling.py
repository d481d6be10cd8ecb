"""Checks that run unattended: one scheduler per tenant, one schedule per environment, one switch for all."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef

from core import clock
from core.errors import Invalid
from operations import services as operations
from operations.models import Operation, Schedule
from tenants.models import Tenant, User
from tenants.scope import platform_scope, tenant_scope
from workflows.models import Environment

from . import policies
from .models import DriftScheduler

KIND = "drift.check"
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 86_400


def scheduler_of(tenant_id: uuid.UUID) -> DriftScheduler:
    """The tenant's scheduler, made running where there is none yet."""
    with tenant_scope(tenant_id):
        return DriftScheduler.objects.get_or_create(tenant_id=tenant_id)[0]


def is_running(tenant_id: uuid.UUID) -> bool:
    """Whether the tenant's environments are checked by themselves."""
    with tenant_scope(tenant_id):
        found = DriftScheduler.objects.filter(tenant_id=tenant_id).values_list("is_running", flat=True).first()
    return True if found is None else found


def ensure_schedule(environment: Environment) -> Schedule | None:
    """See that an environment is checked regularly (or no longer, once archived). Safe to call at any time.

    Call it when an environment is made or changed; the beat catches what was missed.
    """
    with tenant_scope(environment.tenant_id):
        policies.policy_of(environment.tenant_id)
        scheduler = scheduler_of(environment.tenant_id)
        known = Schedule.objects.filter(kind=KIND, environment_id=environment.pk).first()
        wanted = scheduler.is_running and not environment.is_archived
        name = f"Check {environment.name} for drift ({environment.slug})"[:120]
        if known is None:
            if environment.is_archived:
                return None
            return operations.set_schedule(
                tenant_id=environment.tenant_id,
                name=name,
                kind=KIND,
                params={"environment_id": str(environment.pk)},
                every_seconds=scheduler.every_seconds,
                environment_id=environment.pk,
                is_enabled=wanted,
            )
        changes: dict[str, Any] = {"name": name, "every_seconds": scheduler.every_seconds, "is_enabled": wanted}
        if any(getattr(known, field) != value for field, value in changes.items()):
            if changes["every_seconds"] < known.every_seconds:
                soon = clock.now() + timedelta(seconds=changes["every_seconds"])
                changes["next_run_at"] = min(known.next_run_at, soon)
            Schedule.objects.filter(pk=known.pk).update(**changes, updated_at=clock.now())
            known.refresh_from_db()
        return known


def keep_schedules() -> int:
    """The beat's round: environments without a schedule get one, switches thrown by hand take effect. How many."""
    with platform_scope():
        schedules = Schedule.objects.filter(kind=KIND, environment_id=OuterRef("pk"))
        lacking = list(Environment.objects.filter(~Exists(schedules), is_archived=False)[:500])
        stopped = DriftScheduler.objects.filter(is_running=False).values("tenant_id")
        archived = Environment.objects.filter(is_archived=True).values("pk")
        mine = Schedule.objects.filter(kind=KIND)
        off = set(mine.filter(is_enabled=True, tenant_id__in=stopped).values_list("environment_id", flat=True))
        off |= set(mine.filter(is_enabled=True, environment_id__in=archived).values_list("environment_id", flat=True))
        on = mine.filter(is_enabled=False).exclude(tenant_id__in=stopped).exclude(environment_id__in=archived)
        wrong = {pk for pk in (*off, *on.values_list("environment_id", flat=True)) if pk}
        lacking += list(Environment.objects.filter(pk__in=wrong))
    for environment in lacking:
        ensure_schedule(environment)
    return len(lacking)


def set_scheduler(
    *, tenant_id: uuid.UUID, is_running: bool, every_seconds: int | None = None, by: User
) -> DriftScheduler:
    """Start or stop the checks of a tenant, and say how often they run."""
    if every_seconds is not None and not SHORTEST_SECONDS <= every_seconds <= LONGEST_SECONDS:
        raise Invalid(details={"fields": {"every_minutes": "Between 1 minute and 1 day."}})
    with tenant_scope(tenant_id):
        scheduler = scheduler_of(tenant_id)
        if scheduler.is_running != is_running:
            scheduler.is_running, scheduler.is_emergency_stop = is_running, False
            scheduler.stopped_by = None if is_running else by
            scheduler.stopped_at = None if is_running else clock.now()
        if every_seconds is not None:
            scheduler.every_seconds = every_seconds
        scheduler.save()
        for environment in Environment.objects.all():
            ensure_schedule(environment)
        return scheduler


def stop_all(*, by: User | None) -> dict[str, int]:
    """Stop the checks of every tenant, also of those that have no scheduler yet. The platform's emergency switch.

    Returns ``{stopped, already_stopped, schedules}``. Checks under way end by themselves.
    """
    now = clock.now()
    with platform_scope():
        stopped = DriftScheduler.objects.filter(is_running=True).update(
            is_running=False, is_emergency_stop=True, stopped_by=by, stopped_at=now, updated_at=now
        )
        already = DriftScheduler.objects.count() - stopped
        bare = Tenant.objects.filter(~Exists(DriftScheduler.objects.filter(tenant_id=OuterRef("pk"))))
        made = DriftScheduler.objects.bulk_create(
            [
                DriftScheduler(tenant=tenant, is_running=False, is_emergency_stop=True, stopped_by=by, stopped_at=now)
                for tenant in bare
            ],
            ignore_conflicts=True,
        )
        schedules = Schedule.objects.filter(kind=KIND, is_enabled=True).update(is_enabled=False, updated_at=now)
    return {"stopped": stopped + len(made), "already_stopped": already, "schedules": schedules}


def start_all() -> dict[str, int]:
    """Start the checks that ``stop_all`` stopped. What a tenant's own people had stopped before stays stopped.

    Returns ``{started, left_stopped, schedules}``.
    """
    now = clock.now()
    with platform_scope():
        halted = DriftScheduler.objects.filter(is_running=False, is_emergency_stop=True)
        tenant_ids = list(halted.values_list("tenant_id", flat=True))
        halted.update(is_running=True, is_emergency_stop=False, stopped_by=None, stopped_at=None, updated_at=now)
        left = DriftScheduler.objects.filter(is_running=False).count()
        archived = Environment.objects.filter(is_archived=True).values("pk")
        schedules = Schedule.objects.filter(kind=KIND, is_enabled=False, tenant_id__in=tenant_ids)
        started = schedules.exclude(environment_id__in=archived).update(is_enabled=True, updated_at=now)
    return {"started": len(tenant_ids), "left_stopped": left, "schedules": started}


def note_run(tenant_id: uuid.UUID) -> None:
    """Take down that a check ran; at most once per interval, so that the trail is not filled with it."""
    now = clock.now()
    with tenant_scope(tenant_id):
        scheduler = scheduler_of(tenant_id)
        age = timedelta(seconds=scheduler.every_seconds * 0.9)
        if scheduler.last_run_at is None or scheduler.last_run_at < now - age:
            DriftScheduler.objects.filter(pk=scheduler.pk).update(last_run_at=now)


def status(tenant_id: uuid.UUID) -> list[dict[str, Any]]:
    """Per environment: its schedule and its last check. Needs no scope; three queries whatever the number."""
    with tenant_scope(tenant_id):
        environments = list(Environment.objects.filter(is_archived=False))
        schedules = {s.environment_id: s for s in Schedule.objects.filter(kind=KIND)}
        last = {
            o.environment_id: o
            for o in Operation.objects.filter(kind=KIND, environment_id__in=[e.pk for e in environments])
            .order_by("environment_id", "-created_at", "-id")
            .distinct("environment_id")
        }
    return [{"environment": e, "schedule": schedules.get(e.pk), "last": last.get(e.pk)} for e in environments]
