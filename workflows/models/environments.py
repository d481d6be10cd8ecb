"""Environments: the n8n instances of a tenant, the grants on them, and what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from guardian.models import UserObjectPermissionBase

from tenants.base import TenantModel
from tenants.models import SLUG, Tenant

if TYPE_CHECKING:
    from workflows.n8n.spec import Capability


class EnvironmentKind(models.TextChoices):
    DEV = "dev", "Development"
    STAGING = "staging", "Staging"
    PRODUCTION = "production", "Production"


class ConnectionStatus(models.TextChoices):
    UNKNOWN = "unknown", "Not tested"
    OK = "ok", "Reachable"
    FAILED = "failed", "Failing"


class Environment(TenantModel):
    """One n8n instance of a tenant. ``position`` is its place in the pipeline, dev first."""

    name = models.CharField(max_length=120)
    slug = models.CharField(max_length=48, validators=[SLUG])
    kind = models.CharField(max_length=16, choices=EnvironmentKind.choices)
    position = models.PositiveSmallIntegerField(default=0)
    base_url = models.CharField(max_length=500)
    api_key_encrypted = models.TextField(blank=True)
    is_archived = models.BooleanField(default=False)

    n8n_version = models.CharField(max_length=32, blank=True)
    connection_status = models.CharField(
        max_length=8, choices=ConnectionStatus.choices, default=ConnectionStatus.UNKNOWN
    )
    connection_report = models.JSONField(null=True, blank=True)
    last_checked_at = models.DateTimeField(null=True, blank=True)
    last_captured_at = models.DateTimeField(null=True, blank=True)
    last_snapshot_id = models.UUIDField(null=True, blank=True)
    last_capture_error = models.JSONField(null=True, blank=True)
    capabilities = models.JSONField(null=True, blank=True, help_text="What its n8n offers, by meaning; null: unknown.")
    learnt_settings = models.JSONField(
        default=dict, blank=True, help_text="Settings that its n8n itself gives every workflow, with their values."
    )
    baseline_commit_sha = models.CharField(max_length=64, blank=True, help_text="Tip of env/<slug> as last approved.")

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "environments"
        ordering = ["position", "name"]
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="environments_slug")]
        indexes = [models.Index(fields=["tenant", "position"], name="environments_order")]
        permissions = [
            ("operate_environment", "Capture, promote into, settle drift in and restore this environment"),
            ("approve_environment", "Approve promotions into this environment"),
        ]

    def editor_url(self, workflow_id: str) -> str:
        """Where n8n's editor shows one of its workflows; '' for none."""
        return f"{self.base_url.rstrip('/')}/workflow/{workflow_id}" if workflow_id else ""

    def __str__(self) -> str:
        return self.name

    @property
    def is_production(self) -> bool:
        return self.kind == EnvironmentKind.PRODUCTION

    @property
    def is_guarded(self) -> bool:
        """Whether content from elsewhere enters it only after a second person's approval."""
        return self.is_production

    def offers(self, capability: Capability) -> bool:
        """Whether its n8n offered something when it was last asked; False where it never was."""
        return bool((self.capabilities or {}).get(capability))

    @property
    def canonical_branch(self) -> str:
        """The Git branch of what is approved here."""
        return f"env/{self.slug}"

    @property
    def seen_branch(self) -> str:
        """The Git branch of what was seen here."""
        return f"snapshots/{self.slug}"

    @property
    def approved_version(self) -> str:
        """What is approved now, as an address names it: it goes on meaning this when something else is approved."""
        commit = f"@{self.baseline_commit_sha}" if self.baseline_commit_sha else ""
        return f"git:{self.slug}{commit}"

    @property
    def seen_version(self) -> str:
        """What ran here when it was last seen, as an address names it; likewise."""
        return f"snapshot:{self.last_snapshot_id}" if self.last_snapshot_id else self.slug

    @property
    def draft_version(self) -> str:
        """What the editor held when it was last seen, as an address names it; likewise."""
        return f"snapshot-draft:{self.last_snapshot_id}" if self.last_snapshot_id else f"draft:{self.slug}"

    @property
    def write_lock(self) -> str:
        """The exclusive key of operations that write to this environment."""
        return f"environment:{self.pk}"


class EnvironmentUserObjectPermission(UserObjectPermissionBase):
    """guardian's grants on one environment, by direct foreign key."""

    id = models.BigAutoField(primary_key=True)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    content_object = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")

    class Meta:
        db_table = "environment_grants"
        constraints = [
            models.UniqueConstraint(fields=["user", "permission", "content_object"], name="environment_grants_once")
        ]
        indexes = [models.Index(fields=["tenant", "user"], name="environment_grants_tenant")]


class EnvironmentSurroundings(TenantModel):
    """What an environment's instance has around its workflows, as last seen: ``surroundings.Surroundings`` as JSON."""

    environment = models.OneToOneField(Environment, on_delete=models.CASCADE, related_name="surroundings")
    seen = models.JSONField(default=dict)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "environment_surroundings"
