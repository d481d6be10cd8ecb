"""Events as they were published, how far each consumer has read, and what could not be handled.

See docs/adr/0015-outbox.md.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.expressions import RawSQL

from tenants.base import TenantOrPlatformModel


class OutboxEvent(TenantOrPlatformModel):
    """One event of a tenant, or of the platform.

    ``position`` is when it was published, ``sequence`` its place in the order in which consumers read. It gets that
    after its transaction has committed: until then nobody may read on past it.
    """

    name = models.CharField(max_length=64)
    version = models.SmallIntegerField()
    payload = models.JSONField(default=dict)
    caused_by = models.JSONField(default=dict, help_text="Who caused it, as whom, through which door.")
    occurred_at = models.DateTimeField()
    position = models.BigIntegerField(db_default=RawSQL("nextval('outbox_position')", []))
    sequence = models.BigIntegerField(null=True, blank=True)

    class Meta:
        db_table = "outbox_events"
        # What is published pays for the first alone.
        indexes = [models.Index(fields=["position"], condition=Q(sequence=None), name="outbox_events_unsequenced")]
        constraints = [
            models.UniqueConstraint(
                fields=["sequence"], condition=Q(sequence__isnull=False), name="outbox_events_sequence"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"


class OutboxOrder(models.Model):
    """One row: the last ``sequence`` that was given. Locked while more are given."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    last_sequence = models.BigIntegerField(default=0)

    class Meta:
        db_table = "outbox_order"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="outbox_order_one_row")]

    def __str__(self) -> str:
        return str(self.last_sequence)


class ConsumerCursor(models.Model):
    """How far a consumer has handled events; moved in the transaction of their effects.

    ``claim`` rises with every batch that is begun, ``batch_end`` is its end while it is under way: one that is still
    set when nobody works on it belongs to a worker that died.
    """

    name = models.CharField(max_length=80, primary_key=True)
    sequence = models.BigIntegerField(default=0)
    claim = models.BigIntegerField(default=0)
    batch_end = models.BigIntegerField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    handled = models.BigIntegerField(default=0, help_text="How many events it has handled.")
    handled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "outbox_cursors"

    def __str__(self) -> str:
        return self.name


class Delay(TenantOrPlatformModel):
    """A tenant's events (or the platform's) that one consumer handles apart, because it failed at one of them.

    All of this tenant's events after ``sequence`` wait their turn here, in order, while the consumer goes on with the
    others'. ``attempts`` counts tries at the first of them, each before it is made. Gone once it has caught up.
    """

    consumer = models.CharField(max_length=80)
    sequence = models.BigIntegerField()
    attempts = models.SmallIntegerField(default=0)
    next_try_at = models.DateTimeField()
    error = models.TextField(blank=True)
    since = models.DateTimeField()

    class Meta:
        db_table = "outbox_delays"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "consumer"], name="outbox_delays_once", nulls_distinct=False)
        ]
        indexes = [models.Index(fields=["consumer", "next_try_at"], name="outbox_delays_due")]

    def __str__(self) -> str:
        return f"{self.consumer} after {self.sequence}"


class ParkedEvent(TenantOrPlatformModel):
    """An event that a consumer failed at for the last time: a person must look. Nothing waits for it."""

    consumer = models.CharField(max_length=80)
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="+")
    attempts = models.SmallIntegerField(default=0)
    error = models.TextField(blank=True)
    parked_at = models.DateTimeField()
    retry_requested_at = models.DateTimeField(null=True, blank=True)
    tried_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "outbox_parked_events"
        constraints = [models.UniqueConstraint(fields=["event", "consumer"], name="outbox_parked_once")]
        indexes = [
            models.Index(fields=["tenant", "-parked_at", "-id"], name="outbox_parked_tenant"),
            models.Index(
                fields=["consumer"], condition=Q(retry_requested_at__isnull=False), name="outbox_parked_requested"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} at {self.event_id}"
