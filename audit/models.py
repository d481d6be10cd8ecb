"""The append-only trail. Entries come from database functions, so no path of writing goes around them.

``LogEntry`` is the record, in monthly partitions; ``AuditLog`` is the view of it that runbooks and our pages read.
"""

from __future__ import annotations

import uuid
from typing import Any

from auditlog.models import AbstractLogEntry, LogEntryManager
from django.conf import settings
from django.contrib.contenttypes.models import ContentType
from django.db import models

from .fields import TransactionIdField


class AuditAction(models.TextChoices):
    CREATE = "CREATE", "Create"
    UPDATE = "UPDATE", "Update"
    DELETE = "DELETE", "Delete"


class EntryManager(LogEntryManager):
    """auditlog's ways of asking, by table and key instead of by content type. It creates nothing."""

    def get_for_object(self, instance: models.Model) -> models.QuerySet[Any]:
        """The entries about one row."""
        return self.get_for_objects_of(type(instance), [instance.pk])

    def get_for_objects(self, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        """The entries about the rows of a query."""
        return self.get_for_objects_of(queryset.model, list(queryset.values_list("pk", flat=True)))

    def get_for_objects_of(self, model: type[models.Model], keys: list[Any]) -> models.QuerySet[Any]:
        """The entries about the rows of ``model`` with these keys."""
        entries: models.QuerySet[Any] = self.filter(resource_type=model._meta.db_table)
        if all(isinstance(key, uuid.UUID) for key in keys):
            return entries.filter(resource_id__in=keys)
        return entries.filter(object_pk__in=[str(key) for key in keys])

    def get_for_model(self, model: type[models.Model]) -> models.QuerySet[Any]:
        """The entries about any row of ``model``."""
        found: models.QuerySet[Any] = self.filter(resource_type=model._meta.db_table)
        return found

    def log_create(self, instance: Any, force_log: bool = False, **kwargs: Any) -> None:
        """Nothing: the database has written the entry by the time anybody could ask for one."""

    def log_m2m_changes(self, *args: Any, **kwargs: Any) -> None:
        """Nothing; see ``log_create``."""


class LogEntry(AbstractLogEntry):
    """One write or event: who, as whom, through which door, what, before and after.

    ``details`` holds ``previous_value`` and ``new_value`` (objects by column; of an update, only what changed); of an
    event (``action`` ACCESS) whatever it says.
    """

    id = models.BigAutoField(primary_key=True)
    object_pk = models.CharField("object pk", max_length=255, default="")
    object_repr = models.TextField("object representation", default="")
    action = models.PositiveSmallIntegerField("action", choices=AbstractLogEntry.Action.choices)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name="actor",
    )
    cid = models.CharField("Correlation ID", max_length=255, default="")
    timestamp = models.DateTimeField("timestamp")
    tenant_id = models.UUIDField(null=True)
    acting_as_id = models.UUIDField(null=True)
    session_id = models.UUIDField(null=True)
    operation_id = models.UUIDField(null=True)
    source = models.CharField(max_length=16)
    action_name = models.CharField(max_length=48)
    resource_type = models.CharField(max_length=64)
    resource_id = models.UUIDField(null=True)
    details = models.JSONField(default=dict)
    database_role = models.CharField(max_length=64)
    epoch = models.IntegerField()
    transaction_id = TransactionIdField()

    # What auditlog keeps in columns and this trail has in others.
    object_id = None
    serialized_data = None
    changes_text = None
    remote_port = None
    additional_data = None
    actor_email = None

    objects = EntryManager()

    class Meta(AbstractLogEntry.Meta):
        abstract = False
        db_table = "audit_logentry"
        ordering = ("-timestamp", "-id")

    def __str__(self) -> str:
        return f"{self.action_name} {self.resource_type} {self.object_repr or self.object_pk}".strip()

    @property
    def content_type(self) -> ContentType:
        """The kind of the object; a content type without model where the table is none of ours."""
        for model in _models_by_table().get(self.resource_type, ()):
            return ContentType.objects.get_for_model(model)
        return ContentType(app_label="", model=self.resource_type)

    @property
    def changes(self) -> dict[str, list[Any]]:
        """auditlog's shape: column to [before, after]."""
        before, after = self.details.get("previous_value") or {}, self.details.get("new_value") or {}
        if not isinstance(before, dict) or not isinstance(after, dict):
            return {}
        return {c: [before.get(c), after.get(c)] for c in sorted(set(before) | set(after))}

    @property
    def changes_dict(self) -> dict[str, list[Any]]:
        return self.changes

    @property
    def changes_display_dict(self) -> dict[str, list[str]]:
        return {column: [_shown(side) for side in sides] for column, sides in self.changes.items()}


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 140 else text[:140] + "…"


def _models_by_table() -> dict[str, list[type[models.Model]]]:
    from django.apps import apps

    found: dict[str, list[type[models.Model]]] = {}
    for model in apps.get_models():
        found.setdefault(model._meta.db_table, []).append(model)
    return found


class AuditLog(models.Model):
    """An entry under the runbook's names. A view: read it, and append with ``services.record_event``."""

    id = models.BigAutoField(primary_key=True)
    tenant_id = models.UUIDField(null=True, blank=True)
    actor_user_id = models.UUIDField(null=True, blank=True)
    impersonated_user_id = models.UUIDField(null=True, blank=True)
    session_id = models.UUIDField(null=True, blank=True)
    request_id = models.CharField(max_length=255, blank=True)
    operation_id = models.UUIDField(null=True, blank=True)
    source = models.CharField(max_length=16)
    action = models.CharField(max_length=48)
    resource_type = models.CharField(max_length=64)
    resource_id = models.UUIDField(null=True, blank=True)
    details = models.JSONField(default=dict)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    transaction_id = models.BigIntegerField()
    created_at = models.DateTimeField()
    database_role = models.CharField(max_length=64)
    object_repr = models.TextField()
    object_pk = models.CharField(max_length=255)
    epoch = models.IntegerField()

    class Meta:
        managed = False
        db_table = "audit_logs"

    def __str__(self) -> str:
        return f"{self.action} {self.resource_type} {self.resource_id or ''}"


class Epoch(models.Model):
    """A lineage of transaction numbers. A new one begins when the data were restored into another cluster.

    ``settled_xid``: once every transaction below it has ended, no entry of the epoch before can come any more.
    """

    epoch = models.IntegerField(primary_key=True)
    settled_xid = TransactionIdField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "audit_epoch"

    def __str__(self) -> str:
        return f"Epoch {self.epoch}"


class Seal(models.Model):
    """A signed batch of the chain: up to 1,000 entries of one month, in the order (epoch, transaction, id).

    ``root`` is the Merkle root of the entries, ``leaves`` their digests (32 bytes each), ``chain`` the digest of this
    seal's facts together with ``previous``, the chain value before it. Digests are SHA-256 in hexadecimal.
    """

    number = models.BigIntegerField(primary_key=True)
    epoch = models.IntegerField()
    first_xid = TransactionIdField()
    first_id = models.BigIntegerField()
    last_xid = TransactionIdField()
    last_id = models.BigIntegerField()
    entries = models.IntegerField()
    month = models.CharField(max_length=7)
    root = models.CharField(max_length=64)
    previous = models.CharField(max_length=64)
    chain = models.CharField(max_length=64)
    key_id = models.CharField(max_length=16)
    signature = models.CharField(max_length=88)
    leaves = models.BinaryField()
    sealed_at = models.DateTimeField()

    class Meta:
        db_table = "audit_seal"
        indexes = [
            models.Index(fields=["epoch", "last_xid", "last_id"], name="audit_seal_order"),
            models.Index(fields=["month"], name="audit_seal_month"),
        ]

    def __str__(self) -> str:
        return f"Seal {self.number}"


class LegalHold(models.Model):
    """While one is in force, no month with entries of the tenant leaves the trail."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", models.PROTECT, related_name="legal_holds")
    reason = models.TextField()
    placed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "legal_holds"
        indexes = [models.Index(fields=["tenant", "created_at"], name="legal_holds_tenant")]

    def __str__(self) -> str:
        return f"Hold on {self.tenant_id}"
