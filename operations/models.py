"""Long work as rows. What stands here is the truth; a message in Redis only wakes somebody up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models import Q

from core import clock
from tenants.base import TenantOrPlatformModel
from tenants.models import User


class OperationStatus(models.TextChoices):
    PENDING = "PENDING", "Waiting"
    RUNNING = "RUNNING", "Running"
    RETRY_PENDING = "RETRY_PENDING", "Waiting to retry"
    PARKED = "PARKED", "Parked for a person"
    COMPLETED = "COMPLETED", "Completed"
    FAILED = "FAILED", "Failed"
    CANCELLED = "CANCELLED", "Cancelled"


#: States in which an operation still owns what it works on.
OPEN = (
    OperationStatus.PENDING,
    OperationStatus.RUNNING,
    OperationStatus.RETRY_PENDING,
    OperationStatus.PARKED,
)
ENDED = (OperationStatus.COMPLETED, OperationStatus.FAILED, OperationStatus.CANCELLED)


def holding(states: Sequence[str] = OPEN) -> Q:
    """Operations that hold their ``exclusive_key``: those in ``states``, and those that are settling after a stop."""
    return Q(status__in=[str(state) for state in states]) | Q(lease_expires_at__gt=clock.now())


class Operation(TenantOrPlatformModel):
    """One piece of long work: what, for whom, how far, and who holds it. Without a tenant it is the platform's.

    ``fence`` rises with every claim; a worker that lost its lease carries an old one and can write nothing.
    ``exclusive_key`` names what no other operation of its tenant (or of the platform) may hold: an environment's
    writes. It is held while the operation is open and, where it was ended by hand while its worker had requests under
    way, until the worker knows what became of them and lets go of its lease.
    """

    kind = models.CharField(max_length=64)
    title = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=OperationStatus.choices, default=OperationStatus.PENDING)
    params = models.JSONField(default=dict)
    result = models.JSONField(null=True, blank=True)
    error_code = models.CharField(max_length=48, blank=True)
    error_message = models.TextField(blank=True)
    error_details = models.JSONField(null=True, blank=True)

    progress_done = models.IntegerField(default=0)
    progress_total = models.IntegerField(default=0, help_text="0: not known.")
    progress_note = models.CharField(max_length=200, blank=True)
    progress_since = models.DateTimeField(null=True, blank=True, help_text="When the phase that is under way began.")
    progress_from = models.IntegerField(default=0, help_text="What was done already when that phase began.")

    idempotency_key = models.CharField(max_length=120, null=True, blank=True)
    request_hash = models.CharField(max_length=64, blank=True)
    exclusive_key = models.CharField(max_length=120, null=True, blank=True)
    environment_id = models.UUIDField(null=True, blank=True)
    subject_type = models.CharField(max_length=48, blank=True)
    subject_id = models.UUIDField(null=True, blank=True)

    requested_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    context = models.JSONField(default=dict, help_text="Who asked, as whom, through which door.")

    fence = models.BigIntegerField(default=0)
    attempt = models.IntegerField(default=0)
    max_attempts = models.IntegerField(default=5)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    run_after = models.DateTimeField(null=True, blank=True)

    #: What a job that has not begun waits for, in a sentence, where ``admission`` has told.
    waits = ""

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "background_jobs"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "kind", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                nulls_distinct=False,
                name="background_jobs_idempotency",
            ),
            models.UniqueConstraint(
                fields=["tenant", "exclusive_key"],
                condition=Q(exclusive_key__isnull=False) & (Q(status__in=[str(s) for s in OPEN]) | ~Q(lease_owner="")),
                nulls_distinct=False,
                name="background_jobs_exclusive",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="background_jobs_tenant"),
            models.Index(fields=["tenant", "environment_id", "-created_at"], name="background_jobs_env"),
            models.Index(fields=["tenant", "subject_type", "subject_id"], name="background_jobs_subject"),
            models.Index(fields=["kind", "tenant", "-created_at"], name="background_jobs_kind"),
            models.Index(
                fields=["status", "lease_expires_at"],
                condition=Q(status__in=[str(s) for s in OPEN]),
                name="background_jobs_open",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_settling(self) -> bool:
        """Whether it has ended while its worker does not know yet what became of its last requests."""
        return not self.is_open and self.lease_expires_at is not None and self.lease_expires_at > clock.now()

    @property
    def seconds(self) -> float | None:
        """How long it took, or has been running."""
        if not self.started_at or not self.ended_at:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    @property
    def percent(self) -> int | None:
        """Progress from 0 to 100, or None where the total is not known."""
        if self.status == OperationStatus.COMPLETED:
            return 100
        if self.progress_total <= 0:
            return None
        return min(100, self.progress_done * 100 // self.progress_total)


class StepState(models.TextChoices):
    INTENT = "INTENT", "Under way"
    DONE = "DONE", "Done"
    FAILED = "FAILED", "Failed"
    UNKNOWN = "UNKNOWN", "Unknown"
    SKIPPED = "SKIPPED", "Skipped"


class OperationStep(TenantOrPlatformModel):
    """One step: what it is about to do, written before; what is there, written after."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    position = models.IntegerField()
    name = models.CharField(max_length=160)
    title = models.CharField(max_length=240)
    state = models.CharField(max_length=8, choices=StepState.choices)
    intent = models.JSONField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True)
    error = models.JSONField(null=True, blank=True)
    attempt = models.IntegerField(default=1)
    fence = models.BigIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "operation_steps"
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["operation", "name"], name="operation_steps_once"),
        ]
        indexes = [models.Index(fields=["tenant", "operation", "position"], name="operation_steps_order")]

    def __str__(self) -> str:
        return self.title

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state,
            "intent": self.intent,
            "result": self.result,
            "error": self.error,
            "attempt": self.attempt,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }


class Schedule(TenantOrPlatformModel):
    """Recurring work: every so many seconds, or by a cron expression in a time zone.

    A beat claims a due row by compare-and-set, so two beats start it once. ``params`` that hold ``due_at`` get
    the moment at which the work was due there.
    """

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=64)
    params = models.JSONField(default=dict)
    environment_id = models.UUIDField(null=True, blank=True)
    every_seconds = models.IntegerField(help_text="0: by the cron expression.")
    cron = models.CharField(max_length=100, blank=True, default="", help_text="Five fields; empty: by the period.")
    time_zone = models.CharField(max_length=64, default="UTC", help_text="Whose clocks the cron expression means.")
    jitter_seconds = models.IntegerField(default=0, help_text="Each run is late by up to this, to spread the load.")
    is_enabled = models.BooleanField(default=True)
    next_run_at = models.DateTimeField()
    last_run_at = models.DateTimeField(null=True, blank=True)
    last_operation_id = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "schedules"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="schedules_name", nulls_distinct=False),
            models.CheckConstraint(
                condition=Q(every_seconds__gt=0, cron="") | (Q(every_seconds=0) & ~Q(cron="")),
                name="schedules_timing",
            ),
        ]
        indexes = [
            models.Index(fields=["next_run_at"], condition=Q(is_enabled=True), name="schedules_due"),
            models.Index(fields=["tenant", "kind"], name="schedules_tenant"),
        ]

    def __str__(self) -> str:
        return self.name


class Heartbeat(models.Model):
    """The last sign of life of a part of the system (the reaper, a worker)."""

    name = models.CharField(max_length=120, primary_key=True)
    seen_at = models.DateTimeField()
    details = models.JSONField(default=dict)

    class Meta:
        db_table = "heartbeats"

    def __str__(self) -> str:
        return self.name
