"""Workflows as the tenant knows them, and the mapping of each to the environments."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from tenants.base import TenantModel

from .environments import Environment


class CanonicalWorkflow(TenantModel):
    """A workflow as the tenant knows it, whatever id it has in each environment. ``key`` is its name in Git."""

    key = models.CharField(max_length=120)
    name = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "canonical_workflows"
        constraints = [models.UniqueConstraint(fields=["tenant", "key"], name="canonical_workflows_key")]
        indexes = [models.Index(fields=["tenant", "name", "id"], name="canonical_workflows_name")]

    def __str__(self) -> str:
        return self.name or self.key


class MapStatus(models.TextChoices):
    LINKED = "linked", "Linked"
    UNMAPPED = "unmapped", "Not confirmed"
    IGNORED = "ignored", "Ignored"
    MISSING = "missing", "Missing"
    DELETED = "deleted", "Deleted"


class WorkflowEnvMap(TenantModel):
    """A canonical workflow in one environment.

    ``git_…`` is what is approved (branch ``env/<slug>``), ``env_…`` what was last seen; they differ where somebody
    changed the workflow in n8n. The content is what runs: the published version where there is one, else the
    draft. ``…_draft_hash`` is set where the draft is another content than what runs; ``…_facts`` are ``facts.Facts``.
    ``missing``: approved, but not seen at the last capture; ``deleted``: removed on purpose; ``unmapped``: seen, its
    identity not confirmed by a person yet.
    """

    # The database checks both with the tenant, and finds rows by the indexes below: once is enough for thousands.
    canonical_workflow = models.ForeignKey(
        CanonicalWorkflow, on_delete=models.CASCADE, related_name="places", db_constraint=False, db_index=False
    )
    environment = models.ForeignKey(
        Environment, on_delete=models.CASCADE, related_name="places", db_constraint=False, db_index=False
    )
    env_workflow_id = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=16, choices=MapStatus.choices, default=MapStatus.LINKED)
    git_content_hash = models.CharField(max_length=64, null=True, blank=True)
    env_content_hash = models.CharField(max_length=64, null=True, blank=True)
    git_draft_hash = models.CharField(max_length=64, null=True, blank=True)
    env_draft_hash = models.CharField(max_length=64, null=True, blank=True)
    git_facts = models.JSONField(null=True, blank=True)
    env_facts = models.JSONField(null=True, blank=True)
    live_version = models.JSONField(null=True, blank=True, help_text="Which version runs, and whose it is.")
    draft_version = models.JSONField(
        null=True, blank=True, help_text="Which version the draft is, and whose, where n8n told it."
    )
    comparable_hash = models.CharField(
        max_length=64, null=True, blank=True, help_text="Of what was seen, credentials by type only."
    )
    normalization_version = models.SmallIntegerField(default=1)
    fingerprint = models.JSONField(
        null=True, blank=True, help_text="Of what was seen: body, references, credential names, node types."
    )
    git_fingerprint = models.JSONField(null=True, blank=True, help_text="Of what is approved, as far as known.")
    env_name = models.CharField(max_length=500, blank=True)
    env_active = models.BooleanField(null=True, blank=True)
    git_active = models.BooleanField(null=True, blank=True)
    env_tags = ArrayField(models.CharField(max_length=120), default=list, blank=True)
    env_version_id = models.CharField(max_length=64, blank=True)
    node_count = models.IntegerField(default=0)
    content_changed_at = models.DateTimeField(null=True, blank=True, help_text="When n8n says it was last changed.")
    last_seen_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_env_map"
        constraints = [
            models.UniqueConstraint(fields=["environment", "canonical_workflow"], name="workflow_env_map_once"),
            models.UniqueConstraint(
                fields=["environment", "env_workflow_id"],
                condition=~Q(env_workflow_id="") & ~Q(status="deleted"),
                name="workflow_env_map_env_id",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "environment", "status"], name="workflow_env_map_env"),
            models.Index(fields=["tenant", "canonical_workflow"], name="workflow_env_map_canonical"),
        ]

    def __str__(self) -> str:
        return f"{self.env_name} ({self.env_workflow_id})"

    @property
    def seen_at(self) -> datetime | None:
        """When it was last seen: what is there is seen by every capture, and only written when it changes."""
        moments = [self.last_seen_at]
        if self.status not in (MapStatus.MISSING, MapStatus.DELETED) and self.env_content_hash:
            moments.append(self.environment.last_captured_at)
        return max((moment for moment in moments if moment), default=None)

    @property
    def has_draft(self) -> bool:
        """Whether the editor holds something else than what runs."""
        return bool(self.env_draft_hash)

    @property
    def draft_authors(self) -> str:
        """Who saved the draft, by n8n's word; '' where there is none or n8n does not say."""
        version = self.draft_version or {}
        is_of_this = self.has_draft and version.get("version_id") == self.env_version_id
        return str(version.get("authors") or "") if is_of_this else ""

    @property
    def is_archived(self) -> bool:
        """Whether it is archived in n8n."""
        return bool((self.env_facts or {}).get("archived"))

    @property
    def is_drifted(self) -> bool:
        return bool(self.git_content_hash and self.env_content_hash and self.git_content_hash != self.env_content_hash)

    @property
    def is_switched(self) -> bool:
        """Whether it is published though it was approved as unpublished, or the other way round."""
        return None not in (self.git_active, self.env_active) and self.git_active != self.env_active
