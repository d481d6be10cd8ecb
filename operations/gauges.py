"""Gauges of jobs for monitoring: how many stand where, who holds them, how long they wait."""

from __future__ import annotations

from celery import current_app
from django.db.models import Count, Max, Min, Q

from core import clock

from .models import OPEN, Heartbeat, Operation, OperationStatus, Schedule


def jobs_by_status() -> dict[str, float]:
    """Open jobs by their status, zeros included."""
    counted = dict(Operation.objects.filter(status__in=OPEN).values_list("status").annotate(Count("pk")))
    return {str(status): float(counted.get(status, 0)) for status in OPEN}


def leases_by_state() -> dict[str, float]:
    """``held``: a worker is at work; ``expired``: it is gone; ``settling``: stopped by hand, requests under way."""
    now = clock.now()
    running = Q(status=OperationStatus.RUNNING)
    counted = Operation.objects.filter(lease_expires_at__isnull=False).aggregate(
        held=Count("pk", filter=running & Q(lease_expires_at__gte=now)),
        expired=Count("pk", filter=running & Q(lease_expires_at__lt=now)),
        settling=Count("pk", filter=~Q(status__in=OPEN) & Q(lease_expires_at__gte=now)),
    )
    return {state: float(count) for state, count in counted.items()}


def longest_wait_seconds() -> float:
    """How long the job that is due longest has been waiting for a worker."""
    now = clock.now()
    due = Operation.objects.filter(status=OperationStatus.PENDING).filter(Q(run_after=None) | Q(run_after__lte=now))
    oldest = due.aggregate(oldest=Min("created_at"))["oldest"]
    return max(0.0, (now - oldest).total_seconds()) if oldest else 0.0


def schedules_overdue_seconds() -> float:
    """How late the latest schedule is."""
    now = clock.now()
    due = Schedule.objects.filter(is_enabled=True, next_run_at__lte=now).aggregate(first=Min("next_run_at"))["first"]
    return (now - due).total_seconds() if due else 0.0


def reaper_age_seconds() -> float:
    """How long ago beat and a worker left their last sign of life; -1 before the first."""
    seen = Heartbeat.objects.filter(name="reaper").aggregate(seen=Max("seen_at"))["seen"]
    return (clock.now() - seen).total_seconds() if seen else -1.0


def messages_by_queue() -> dict[str, float]:
    """Messages that no worker has taken yet. Raises where the broker does not answer."""
    with current_app.connection_for_read() as link:
        link.ensure_connection(max_retries=1, timeout=2)
        client = getattr(link.default_channel, "client", None)
        queues = current_app.conf.task_queues or ()
        return {queue.name: float(client.llen(queue.name)) for queue in queues} if client is not None else {}
