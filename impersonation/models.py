"""Support sessions: the table that runbooks read and end sessions in; the customer's policy; requests for consent."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q

from tenants.base import TenantModel
from tenants.models import Tenant, User

LONGEST_MINUTES = 60
LONGEST_IDLE_MINUTES = 15
#: How long a request can be answered, and then its approval used.
REQUEST_LIFE = timedelta(minutes=15)


class Mode(models.TextChoices):
    READ_ONLY = "READ_ONLY", "Read only"
    WRITE = "WRITE", "May write"


class ImpersonationSession(models.Model):
    """A member of staff working as a customer's user, from start to end.

    ``sign_in`` is the digest of the browser sign-in that the session belongs to; a session begun with a token has
    ``api_token_id`` instead. Whether a session is live is decided in the database (``impersonation.sql``).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    actor_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    impersonated_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    impersonated_tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    mode = models.CharField(max_length=12, choices=Mode.choices, default=Mode.READ_ONLY)
    reason = models.TextField()
    ticket = models.CharField(max_length=80, blank=True)
    break_glass = models.BooleanField(default=False)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    sign_in = models.CharField(max_length=64, blank=True)
    api_token_id = models.UUIDField(null=True, blank=True)
    started_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    idle_seconds = models.PositiveIntegerField(default=LONGEST_IDLE_MINUTES * 60)
    last_seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    end_reason = models.CharField(max_length=300, blank=True)
    end_recorded = models.BooleanField(default=False, help_text="The end stands in the trail as an event.")

    class Meta:
        db_table = "platform_impersonation_sessions"
        indexes = [
            models.Index(fields=["impersonated_tenant", "-started_at"], name="impersonation_tenant"),
            models.Index(fields=["actor_user", "-started_at"], name="impersonation_actor"),
            models.Index(fields=["started_at"], name="impersonation_open", condition=Q(end_recorded=False)),
        ]
        constraints = [
            models.UniqueConstraint(fields=["actor_user"], name="impersonation_one_each", condition=Q(ended_at=None)),
            models.CheckConstraint(
                condition=~Q(actor_user=models.F("impersonated_user")), name="impersonation_not_oneself"
            ),
            models.CheckConstraint(
                condition=Q(expires_at__lte=models.F("started_at") + timedelta(minutes=LONGEST_MINUTES * 4)),
                name="impersonation_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_user} as {self.impersonated_user}"

    def is_live(self, now: datetime) -> bool:
        """Whether it is within its time limits. People may have changed meanwhile: see ``impersonation.sql``."""
        idle = self.last_seen_at + timedelta(seconds=self.idle_seconds)
        return self.ended_at is None and now < self.expires_at and now < idle

    def over_at(self, now: datetime) -> datetime | None:
        """When it ended or, not recorded yet, reached a time limit; None while it is live."""
        if self.ended_at is not None:
            return self.ended_at
        limit = min(self.expires_at, self.last_seen_at + timedelta(seconds=self.idle_seconds))
        return limit if limit <= now else None


class Access(models.TextChoices):
    ALLOWED = "ALLOWED", "Support may start a session"
    APPROVAL = "APPROVAL", "An owner must approve each session"
    REFUSED = "REFUSED", "No support sessions at all"


class WriteConsent(models.TextChoices):
    EITHER = "EITHER", "A second person of support, or an owner"
    OWNER = "OWNER", "An owner"
    SECOND_STAFF = "SECOND_STAFF", "A second person of support"


class SupportPolicy(TenantModel):
    """What a customer lets support do. No row: the defaults."""

    access = models.CharField(max_length=12, choices=Access.choices, default=Access.ALLOWED)
    write_consent = models.CharField(max_length=16, choices=WriteConsent.choices, default=WriteConsent.EITHER)
    longest_minutes = models.PositiveSmallIntegerField(default=LONGEST_MINUTES)
    idle_minutes = models.PositiveSmallIntegerField(default=LONGEST_IDLE_MINUTES)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        db_table = "support_policies"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="support_policies_one")]

    def __str__(self) -> str:
        return self.access


class RequestKind(models.TextChoices):
    START = "START", "Start a session"
    WRITE = "WRITE", "Write in a session"


class SupportRequest(TenantModel):
    """A request that somebody else must approve: answered once and used once, each within ``REQUEST_LIFE``."""

    kind = models.CharField(max_length=8, choices=RequestKind.choices)
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    impersonated_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    session_id = models.UUIDField(null=True, blank=True)
    reason = models.TextField()
    ticket = models.CharField(max_length=80, blank=True)
    browser = models.CharField(max_length=64, blank=True, help_text="Digest of the requester's browser.")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    approved = models.BooleanField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "support_requests"
        indexes = [models.Index(fields=["tenant", "-created_at"], name="support_requests_tenant")]

    def __str__(self) -> str:
        return f"{self.kind} by {self.requested_by}"

    def state(self, now: datetime) -> str:
        """pending, approved, declined, used or expired."""
        if self.used_at is not None:
            return "used"
        if self.approved is False:
            return "declined"
        if now >= self.expires_at:
            return "expired"
        return "approved" if self.approved else "pending"


class SupportOptOut(models.Model):
    """A person whom support never impersonates."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "support_opt_outs"

    def __str__(self) -> str:
        return str(self.user)
