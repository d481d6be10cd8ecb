"""Executions as environments reported them, how far they have been read, and which version ran when."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from tenants.base import TenantModel

from .environments import Environment
from .mapping import CanonicalWorkflow


class Execution(TenantModel):
    """One run of a workflow, as its environment reported it; kept for a week (``EXECUTION_DAYS``).

    An observation of n8n's, not a write of ours: the trail does not hold it. ``number`` is n8n's own id, which rises
    with each run. ``sorted_at`` is when it began, or was first seen where it waits in n8n's queue.
    """

    # The database checks the environment with the tenant, and finds rows by the indexes below.
    environment = models.ForeignKey(
        Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    canonical_workflow = models.ForeignKey(
        CanonicalWorkflow, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    env_execution_id = models.CharField(max_length=64)
    number = models.BigIntegerField()
    env_workflow_id = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=24)
    mode = models.CharField(max_length=24, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    duration_ms = models.IntegerField(null=True, blank=True)
    retry_of = models.BigIntegerField(null=True, blank=True, help_text="The number of the execution that it repeats.")
    version_id = models.CharField(max_length=64, blank=True, help_text="Of the workflow that ran, where n8n tells it.")
    sorted_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "executions"
        constraints = [
            models.UniqueConstraint(fields=["environment", "number"], name="executions_once"),
        ]
        indexes = [
            models.Index(fields=["tenant", "environment", "-sorted_at", "-id"], name="executions_env"),
            models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-sorted_at"],
                include=["status", "mode", "duration_ms"],
                name="executions_workflow",
            ),
            models.Index(
                fields=["environment", "-sorted_at", "-id"],
                condition=Q(status__in=["error", "crashed"]),
                name="executions_failed",
            ),
            models.Index(
                fields=["environment", "seen_at"],
                condition=Q(status__in=["new", "running", "waiting"]),
                name="executions_open",
            ),
            models.Index(
                fields=["environment", "retry_of"], condition=Q(retry_of__isnull=False), name="executions_retries"
            ),
            models.Index(
                fields=["environment", "env_workflow_id"],
                condition=Q(canonical_workflow__isnull=True),
                name="executions_unlinked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.env_execution_id} ({self.status})"


class ExecutionFeed(TenantModel):
    """How far an environment's executions have been read, and who is reading them now.

    All up to ``settled`` has been seen; above it one that ran while it was looked for may still be missing. ``gaps``
    (``executions.feeds.Gap``, the newest first) are left for later, because one round takes only so many.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    newest = models.BigIntegerField(null=True, blank=True)
    settled = models.BigIntegerField(null=True, blank=True)
    gaps = models.JSONField(default=list)
    can_retry = models.BooleanField(null=True, blank=True, help_text="Whether this n8n can retry executions.")
    trouble = models.JSONField(null=True, blank=True)
    failures = models.IntegerField(default=0, help_text="Rounds in a row that failed.")
    read_at = models.DateTimeField(null=True, blank=True, help_text="When a round last came to its end.")
    answer_ms = models.IntegerField(
        null=True, blank=True, help_text="How long n8n took for the newest page, last time."
    )
    versions_at = models.DateTimeField(null=True, blank=True, help_text="The capture whose versions were noted last.")
    next_at = models.DateTimeField()
    fence = models.BigIntegerField(default=0)
    leased_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "execution_feeds"
        constraints = [models.UniqueConstraint(fields=["environment"], name="execution_feeds_once")]
        indexes = [
            models.Index(fields=["tenant", "environment"], name="execution_feeds_tenant"),
            models.Index(fields=["next_at"], name="execution_feeds_due"),
        ]

    def __str__(self) -> str:
        return f"executions of {self.environment_id}"


class LiveSpan(TenantModel):
    """What ran as a workflow of an environment from one moment to another, as far as captures tell.

    ``live_until`` is when it was last seen so; None while it still is. Between two rows it is unknown what ran.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    env_workflow_id = models.CharField(max_length=64)
    content_hash = models.CharField(max_length=64)
    version_id = models.CharField(max_length=64, blank=True)
    live_from = models.DateTimeField()
    live_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_live_versions"
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "env_workflow_id"],
                condition=Q(live_until__isnull=True),
                name="workflow_live_versions_now",
            )
        ]
        indexes = [
            models.Index(
                fields=["tenant", "environment", "env_workflow_id", "-live_from"], name="workflow_live_versions_of"
            )
        ]

    def __str__(self) -> str:
        return f"{self.env_workflow_id} {self.content_hash[:10]}"
