"""Nodes that start published workflows by themselves, watched until they are proven to."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from tenants.base import TenantModel

from .environments import Environment


class StarterKind(models.TextChoices):
    SCHEDULE = "schedule", "Schedule"
    POLLER = "poller", "Poller"
    ADDRESS = "address", "Address"
    EVENT = "event", "Event from outside"


class WatchState(models.TextChoices):
    WATCHED = "watched", "Watched"
    PROVEN = "proven", "Proven"
    BAD = "bad", "Does not start"
    GIVEN_UP = "given_up", "Never seen to run"
    SUPERSEDED = "superseded", "No longer watched"


#: What is still checked: it may be proven late, or be repaired in n8n.
UNSETTLED = (WatchState.WATCHED, WatchState.BAD, WatchState.GIVEN_UP)


class Telling(models.TextChoices):
    """Whether people have been notified that a starter does not start."""

    NOBODY = "", "Nobody has to be told"
    WAITING = "waiting", "Waits to be told"
    SENDING = "sending", "Is being told"
    TOLD = "told", "Told"
    FAILED = "failed", "Could not be told"
    UNKNOWN = "unknown", "Told or not"


class StarterWatch(TenantModel):
    """A node that starts a workflow by itself, published and not proven to start it: watched after the operation.

    ``why`` it was not proven, ``fault`` why it never can start, where its rule says so. ``due_at`` is by when it
    should have run by its own rule (None: its silence says nothing), ``deadline`` when it is watched no more. ``note``
    is what was found, in a sentence; ``run_number`` the execution that proved it.
    """

    # The database checks the environment with the tenant, and finds rows by the indexes below.
    environment = models.ForeignKey(
        Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    operation_id = models.UUIDField()
    workflow_key = models.CharField(max_length=160)
    workflow_name = models.CharField(max_length=500, blank=True)
    env_workflow_id = models.CharField(max_length=64)
    version_id = models.CharField(max_length=64, blank=True, help_text="The version that was published.")
    node = models.CharField(max_length=300, blank=True)
    kind = models.CharField(max_length=16, choices=StarterKind.choices)
    address = models.CharField(max_length=1000, blank=True)
    is_alone = models.BooleanField(default=True, help_text="Whether an execution can be of no other starter.")
    why = models.CharField(max_length=300, blank=True)
    fault = models.CharField(max_length=300, blank=True)
    since = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    deadline = models.DateTimeField()
    state = models.CharField(max_length=16, choices=WatchState.choices, default=WatchState.WATCHED)
    note = models.CharField(max_length=500, blank=True)
    run_number = models.BigIntegerField(null=True, blank=True)
    run_status = models.CharField(max_length=24, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    asked_at = models.DateTimeField(null=True, blank=True, help_text="When n8n was last asked about it.")
    next_look_at = models.DateTimeField()
    telling = models.CharField(max_length=16, choices=Telling.choices, blank=True)
    tell_attempt = models.IntegerField(default=0)
    tell_at = models.DateTimeField(null=True, blank=True, help_text="Told then, or tried again or given up then.")
    told_note = models.CharField(max_length=1000, blank=True)

    class Meta:
        db_table = "starter_watches"
        constraints = [
            models.UniqueConstraint(
                fields=["operation_id", "env_workflow_id", "version_id", "node"], name="starter_watches_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-since"], name="starter_watches_workflow"
            ),
            models.Index(fields=["tenant", "operation_id"], name="starter_watches_operation"),
            models.Index(
                fields=["next_look_at"],
                condition=Q(state__in=["watched", "bad", "given_up"]),
                name="starter_watches_due",
            ),
            models.Index(
                fields=["tell_at"], condition=Q(telling__in=["waiting", "sending"]), name="starter_watches_telling"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow_name or self.workflow_key}: {self.node}"
