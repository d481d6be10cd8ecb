"""Support sessions: the table that runbooks read and end sessions in."""

from __future__ import annotations

import uuid

from django.db import models

from tenants.models import Tenant, User


class ImpersonationSession(models.Model):
    """A member of staff working as a customer's user, from start to end."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    actor_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    impersonated_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    impersonated_tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "platform_impersonation_sessions"
        indexes = [
            models.Index(fields=["impersonated_tenant", "-started_at"], name="impersonation_tenant"),
            models.Index(fields=["actor_user", "-started_at"], name="impersonation_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.actor_user} as {self.impersonated_user}"
