"""Drift: what changed outside the console, how grave it is, and by when it must be settled."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from tenants.base import TenantModel
from tenants.models import User
from workflows.models import Comment, Environment, WorkflowEnvMap

from .documents import DriftDetails, details_from


class Severity(models.TextChoices):
    CRITICAL = "critical", "Critical"
    HIGH = "high", "High"
    MEDIUM = "medium", "Medium"
    LOW = "low", "Low"


class DriftKind(models.TextChoices):
    MODIFIED = "modified", "Content changed"
    ADDED = "added", "Appeared"
    REMOVED = "removed", "Disappeared"
    ACTIVATION = "activation", "Published or unpublished"
    ARCHIVED = "archived", "Archived or unarchived"
    DRAFT = "draft", "Draft changed"
    DETAILS = "details", "Tags, folder or settings changed"


class DriftAspect(models.TextChoices):
    """What of a workflow drifts: each is an incident of its own."""

    WORKFLOW = "workflow", "What runs"
    ARCHIVE = "archive", "Archive"
    DRAFT = "draft", "Draft"
    DETAILS = "details", "Details"


ASPECT_OF: dict[str, DriftAspect] = {
    DriftKind.ARCHIVED: DriftAspect.ARCHIVE,
    DriftKind.DRAFT: DriftAspect.DRAFT,
    DriftKind.DETAILS: DriftAspect.DETAILS,
}


def aspect_of(kind: str) -> DriftAspect:
    """The aspect that a kind of drift belongs to."""
    return ASPECT_OF.get(kind, DriftAspect.WORKFLOW)


class IncidentState(models.TextChoices):
    OPEN = "OPEN", "Open"
    ACKNOWLEDGED = "ACKNOWLEDGED", "Acknowledged"
    STABILIZED = "STABILIZED", "Stabilized"
    RECONCILED = "RECONCILED", "Reconciled"
    CLOSED = "CLOSED", "Closed"


#: States in which the drift is still there.
ACTIVE = (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)


class DriftIncident(TenantModel):
    """One aspect of a workflow in one environment that is not as approved.

    ``drift_snapshot`` is a ``documents.DriftDetails``: read it as ``details``.
    """

    workflow_env_map = models.ForeignKey(WorkflowEnvMap, on_delete=models.CASCADE, related_name="drift_incidents")
    kind = models.CharField(max_length=12, choices=DriftKind.choices, default=DriftKind.MODIFIED)
    aspect = models.CharField(max_length=12, choices=DriftAspect.choices, default=DriftAspect.WORKFLOW)
    severity = models.CharField(max_length=12, choices=Severity.choices)
    incident_state = models.CharField(max_length=16, choices=IncidentState.choices, default=IncidentState.OPEN)
    drift_snapshot = models.JSONField(default=dict)
    drifted_hash = models.CharField(max_length=64, blank=True)
    snapshot_id = models.UUIDField(null=True, blank=True)
    ttl_expires_at = models.DateTimeField(null=True, blank=True)
    assigned_to = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    comment = models.TextField(blank=True)
    resolution_type = models.CharField(max_length=24, blank=True)
    resolved_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    resolved_at = models.DateTimeField(null=True, blank=True)
    operation_id = models.UUIDField(null=True, blank=True)
    upgrade = models.ForeignKey(
        "drift.N8nUpgrade",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="incidents",
        db_constraint=False,
        help_text="The upgrade of n8n that made this change, where n8n did.",
    )
    last_detected_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "drift_incidents"
        constraints = [
            models.UniqueConstraint(
                fields=["workflow_env_map", "aspect"],
                condition=Q(incident_state__in=["OPEN", "ACKNOWLEDGED"]),
                name="drift_incidents_one_active",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "incident_state", "-created_at"], name="drift_incidents_state"),
            models.Index(fields=["tenant", "workflow_env_map"], name="drift_incidents_place"),
            models.Index(fields=["tenant", "ttl_expires_at"], name="drift_incidents_ttl"),
        ]

    def __str__(self) -> str:
        return f"{self.get_severity_display()} drift: {self.workflow_env_map}"

    @property
    def is_active(self) -> bool:
        return self.incident_state in ACTIVE

    @property
    def details(self) -> DriftDetails:
        """What changed, why it matters, and how it was settled."""
        return details_from(self.drift_snapshot)


class IncidentComment(Comment):
    """What somebody says of an incident; it stays after the incident is settled."""

    incident = models.ForeignKey(DriftIncident, on_delete=models.CASCADE, related_name="+", db_index=False)

    class Meta(Comment.Meta):
        db_table = "incident_comments"
        indexes = [models.Index(fields=["tenant", "incident", "created_at", "id"], name="incident_comments_incident")]


class N8nInstance(TenantModel):
    """What the n8n of an environment was when it was last looked at. ``mark`` is an ``InstanceMark``."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    mark = models.JSONField(default=dict)
    snapshot_id = models.UUIDField(null=True, blank=True, help_text="The last snapshot that was taken of this n8n.")
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "n8n_instances"
        constraints = [models.UniqueConstraint(fields=["environment"], name="n8n_instances_one")]
        indexes = [models.Index(fields=["tenant", "environment"], name="n8n_instances_tenant")]


class N8nUpgrade(TenantModel):
    """An upgrade of an environment's n8n, as one event: from what to what, noticed between which snapshots.

    ``changes`` are ``UpgradeChange`` documents: what differs between the two snapshots, and who made it. Those that
    n8n made are settled together; the incidents of them point here.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="upgrades")
    from_mark = models.JSONField(default=dict)
    to_mark = models.JSONField(default=dict)
    from_version = models.CharField(max_length=48)
    to_version = models.CharField(max_length=48)
    before_snapshot_id = models.UUIDField(null=True, blank=True)
    after_snapshot_id = models.UUIDField(null=True, blank=True)
    last_seen_before_at = models.DateTimeField(null=True, blank=True)
    noticed_at = models.DateTimeField()
    changes = models.JSONField(default=list)
    by_n8n = models.IntegerField(default=0)
    by_people = models.IntegerField(default=0)
    operation_id = models.UUIDField(null=True, blank=True, help_text="The job that approved what n8n changed.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "n8n_upgrades"
        ordering = ["-noticed_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "after_snapshot_id"],
                condition=Q(after_snapshot_id__isnull=False),
                name="n8n_upgrades_once",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "-noticed_at"], name="n8n_upgrades_tenant"),
            models.Index(fields=["tenant", "environment", "-noticed_at"], name="n8n_upgrades_env"),
        ]

    def __str__(self) -> str:
        return f"n8n {self.from_version} → {self.to_version}"


class DriftPolicy(TenantModel):
    """A tenant's rules: how long drift may stand, and whether it stops promotions."""

    enforce_ttl = models.BooleanField(default=True)
    block_on_active_drift = models.BooleanField(default=True)
    ttl_hours_critical = models.IntegerField(default=4)
    ttl_hours_high = models.IntegerField(default=24)
    ttl_hours_medium = models.IntegerField(default=72)
    ttl_hours_low = models.IntegerField(default=168)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "drift_policies"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="drift_policies_one")]


class DriftScheduler(TenantModel):
    """Whether and how often a tenant's environments are checked."""

    is_running = models.BooleanField(default=True)
    every_seconds = models.IntegerField(default=900)
    stopped_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    stopped_at = models.DateTimeField(null=True, blank=True)
    is_emergency_stop = models.BooleanField(
        default=False, db_default=False, help_text="Stopped with those of every tenant, and started with them."
    )
    last_run_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "drift_schedulers"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="drift_schedulers_one")]


class DriftMemory(TenantModel):
    """What the list of an environment looked like at the last check: ETags and digests, no content. Can be lost."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    pages = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "drift_memory"
        constraints = [models.UniqueConstraint(fields=["environment"], name="drift_memory_one")]
        indexes = [models.Index(fields=["tenant", "environment"], name="drift_memory_tenant")]
