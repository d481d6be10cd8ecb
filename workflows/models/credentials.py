"""Credentials: which are known in each environment, and which replaces which in another."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from tenants.base import TenantModel
from tenants.models import User

from .environments import Environment


class CredentialMapping(TenantModel):
    """Which credential of the target replaces one of the source when workflows are promoted.

    One of the source is known by its id; ``source_name`` counts only where no id was given. A data table is in here
    as well, as type ``dataTable``.
    """

    source_environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    target_environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    credential_type = models.CharField(max_length=120)
    source_name = models.CharField(max_length=200)
    source_credential_id = models.CharField(max_length=64, blank=True)
    target_name = models.CharField(max_length=200)
    target_credential_id = models.CharField(max_length=64)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "credential_mappings"
        constraints = [
            models.UniqueConstraint(
                fields=["source_environment", "target_environment", "credential_type", "source_credential_id"],
                condition=~Q(source_credential_id=""),
                name="credential_mappings_once",
            ),
            models.UniqueConstraint(
                fields=["source_environment", "target_environment", "credential_type", "source_name"],
                condition=Q(source_credential_id=""),
                name="credential_mappings_by_name",
            ),
        ]
        indexes = [models.Index(fields=["tenant", "target_environment"], name="credential_mappings_target")]

    def __str__(self) -> str:
        return f"{self.credential_type}: {self.source_name} → {self.target_name}"


class KnownCredential(TenantModel):
    """A credential that workflows of an environment were seen to use, or that its list or a person named.

    ``name`` is what the instance's list says, else what most nodes call it; ``also_named`` are other names that nodes
    keep of it. ``is_gone``: used or entered once, and not on the instance's list. ``needs_secret``: made by the console
    without its secrets, which a person has to enter in n8n.
    """

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="credentials")
    credential_type = models.CharField(max_length=120)
    name = models.CharField(max_length=200)
    credential_id = models.CharField(max_length=64)
    source = models.CharField(max_length=16, default="seen", help_text="seen, listed or entered")
    uses = models.IntegerField(default=0)
    last_seen_at = models.DateTimeField(null=True, blank=True)
    also_named = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    is_gone = models.BooleanField(default=False)
    needs_secret = models.BooleanField(default=False)
    test_state = models.CharField(max_length=16, blank=True, help_text="proven, untestable, failing, or not tested")
    test_message = models.CharField(max_length=300, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "known_credentials"
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "credential_type", "credential_id"], name="known_credentials_once"
            )
        ]
        indexes = [models.Index(fields=["tenant", "environment", "credential_type"], name="known_credentials_env")]

    def __str__(self) -> str:
        return f"{self.name} ({self.credential_type})"
