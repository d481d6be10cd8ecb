"""Snapshots: an environment as it was at one moment, kept in Git, with a row to find it by."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from tenants.base import TenantModel
from tenants.models import User
from workflows.models import Environment


class SnapshotType(models.TextChoices):
    MANUAL_BACKUP = "manual_backup", "Manual backup"
    SCHEDULED = "scheduled", "Scheduled"
    BASELINE = "baseline", "Baseline"
    PRE_PROMOTION = "pre_promotion", "Before a promotion"
    POST_PROMOTION = "post_promotion", "After a promotion"
    PRE_RESTORE = "pre_restore", "Before a restore"
    POST_RESTORE = "post_restore", "After a restore"
    PRE_STABILIZE = "pre_stabilize", "Before stabilizing"
    DRIFT_CHECK = "drift_check", "Drift check"


class SnapshotTypeField(models.CharField):  # type: ignore[type-arg] # not subscriptable at run time
    """A column of PostgreSQL's enum type ``snapshot_type``: runbooks cast to it by name."""

    def db_type(self, connection: Any) -> str:
        return "snapshot_type"

    def get_internal_type(self) -> str:
        return "SnapshotTypeField"


class Snapshot(TenantModel):
    """One capture. ``workflows`` is the manifest (key, name, path, content_hash, active, …); contents are in Git.

    Git holds the same manifest at ``snapshots/<environment_id>/<id>.json``, enough to make this row again.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="snapshots")
    snapshot_type = SnapshotTypeField(max_length=24, choices=SnapshotType.choices)
    description = models.CharField(max_length=500, blank=True, null=True)
    workflows = models.JSONField(default=list)
    workflow_count = models.IntegerField(default=0, null=True, blank=True)
    total_bytes = models.BigIntegerField(default=0, null=True, blank=True)
    git_commit_sha = models.CharField(max_length=64, null=True, blank=True)
    operation_id = models.UUIDField(null=True, blank=True)
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_column="created_by"
    )
    created_at = models.DateTimeField(db_index=False)
    verified_at = models.DateTimeField(null=True, blank=True)
    hash_version = models.SmallIntegerField(
        default=1, db_default=1, help_text="The normalisation of the hashes in the manifest."
    )
    verification = models.JSONField(null=True, blank=True, help_text="What the last check of the stored content found.")

    class Meta:
        db_table = "snapshots"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="snapshots_tenant"),
            models.Index(fields=["tenant", "environment", "-created_at", "-id"], name="snapshots_environment"),
            models.Index(fields=["-created_at"], condition=Q(git_commit_sha=None), name="snapshots_no_commit"),
        ]

    def __str__(self) -> str:
        return f"{self.get_snapshot_type_display()} of {self.created_at:%Y-%m-%d %H:%M:%S} UTC"


class WorkflowContent(TenantModel):
    """A content that snapshots hold, once per tenant, as Git has it: for SQL, and where Git has lost it.

    ``blob`` is its name in Git. The view ``runbook.snapshots`` puts contents into the manifests.
    """

    blob = models.CharField(max_length=64)
    content = models.TextField()

    class Meta:
        db_table = "workflow_contents"
        constraints = [models.UniqueConstraint(fields=["tenant", "blob"], name="workflow_contents_once")]

    def __str__(self) -> str:
        return self.blob


class Rehearsal(TenantModel):
    """What another version of n8n would make of an environment. ``report`` is a ``rehearsal.documents.Report``."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="rehearsals")
    version = models.CharField(max_length=32)
    snapshot_id = models.UUIDField(null=True, blank=True)
    operation_id = models.UUIDField(null=True, blank=True)
    report = models.JSONField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    finished_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "n8n_rehearsals"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="n8n_rehearsals_tenant"),
            models.Index(fields=["tenant", "environment", "-created_at"], name="n8n_rehearsals_env"),
        ]

    def __str__(self) -> str:
        return f"Rehearsal of n8n {self.version}"
