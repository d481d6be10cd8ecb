"""What stands between an environment and what one person alone could do to it, and changes that would lower it."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenants.base import TenantModel
from tenants.models import User

from .environments import Environment

#: How long a change waits for the second person.
CHANGE_LIFE = timedelta(days=7)


class ApprovalPolicy(TenantModel):
    """A tenant's rules about approvals; the defaults where it has no row.

    ``allows_jumps``: a promotion may leave out environments on its way. ``approving_accounts``: service accounts whose
    approval counts.
    """

    allows_jumps = models.BooleanField(default=False)
    approving_accounts = ArrayField(models.UUIDField(), default=list, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "approval_policies"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="approval_policies_one")]


class GuardKind(models.TextChoices):
    """What a change would lower."""

    ENVIRONMENT = "environment", "Kind, place or archive of an environment"
    JUMPS = "jumps", "Promotions may jump over environments"
    ACCOUNT = "account", "A service account may approve"


class GuardChange(TenantModel):
    """A change that waits for a second person. ``wanted``: the environment's fields; ``approved`` None: unanswered."""

    kind = models.CharField(max_length=16, choices=GuardKind.choices)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    account = models.ForeignKey(User, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    wanted = models.JSONField(default=dict, blank=True)
    requested_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    approved = models.BooleanField(null=True, blank=True)
    decided_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "guard_changes"
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["tenant", "-created_at"], name="guard_changes_tenant")]

    def __str__(self) -> str:
        return self.sentence

    @property
    def sentence(self) -> str:
        """What would become of what."""
        if self.environment is None:
            return f"{self.account} may approve promotions" if self.account else str(GuardKind.JUMPS.label)
        words = {"kind": "kind", "position": "place", "is_archived": "archived"}
        told = ", ".join(f"{words[name]} {_told(value)}" for name, value in sorted(self.wanted.items()))
        return f"{self.environment.name}: {told}"


def _told(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
