"""The append-only trail. Rows come from a database trigger, so no path of writing goes around it."""

from __future__ import annotations

from django.db import models


class AuditAction(models.TextChoices):
    CREATE = "CREATE", "Create"
    UPDATE = "UPDATE", "Update"
    DELETE = "DELETE", "Delete"


class AuditLog(models.Model):
    """One write or event: who, as whom, what, before and after.

    ``details`` holds ``previous_value`` and ``new_value`` (objects by column; of an update, only what changed).
    """

    id = models.BigAutoField(primary_key=True)
    tenant_id = models.UUIDField(null=True, blank=True)
    actor_user_id = models.UUIDField(null=True, blank=True)
    impersonated_user_id = models.UUIDField(null=True, blank=True)
    session_id = models.UUIDField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    operation_id = models.UUIDField(null=True, blank=True)
    source = models.CharField(max_length=16)
    action = models.CharField(max_length=48)
    resource_type = models.CharField(max_length=64)
    resource_id = models.UUIDField(null=True, blank=True)
    details = models.JSONField(default=dict)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    transaction_id = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "audit_logs"
        indexes = [
            models.Index(fields=["tenant_id", "-id"], name="audit_logs_tenant"),
            models.Index(fields=["actor_user_id", "-created_at"], name="audit_logs_actor"),
            models.Index(fields=["resource_type", "resource_id", "-id"], name="audit_logs_resource"),
            models.Index(fields=["operation_id"], name="audit_logs_operation"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.resource_type} {self.resource_id or ''}"
