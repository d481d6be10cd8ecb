"""Promotions: chosen workflows from one environment into the next, all or restored."""

from __future__ import annotations

from django.db import models

from tenants.base import TenantModel
from tenants.models import User
from workflows.models import Comment, Environment


class PromotionStatus(models.TextChoices):
    DRAFT = "DRAFT", "Draft"
    PENDING_APPROVAL = "PENDING_APPROVAL", "Waiting for approval"
    APPROVED = "APPROVED", "Approved"
    RUNNING = "RUNNING", "Running"
    COMPLETED = "COMPLETED", "Completed"
    FAILED = "FAILED", "Failed"
    REJECTED = "REJECTED", "Rejected"
    CANCELLED = "CANCELLED", "Cancelled"
    ROLLED_BACK = "ROLLED_BACK", "Rolled back"


class Promotion(TenantModel):
    """A plan and what became of it.

    ``workflow_keys`` is the choice; ``plan`` what was computed for it, locked when it is submitted (``plan_hash``; see
    ``planning.documents``). ``execution_result`` is how it ended, its rollbacks included (``running.documents``).
    ``attention_since``: since when its target has been neither wholly new nor proven to be as before, and is held:
    no other promotion writes into it.
    """

    name = models.CharField(max_length=200)
    status = models.CharField(max_length=20, choices=PromotionStatus.choices, default=PromotionStatus.DRAFT)
    source_environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    target_environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="+")
    description = models.TextField(blank=True)
    workflow_keys = models.JSONField(default=list)
    plan = models.JSONField(null=True, blank=True)
    plan_hash = models.CharField(max_length=64, blank=True)
    options = models.JSONField(default=dict)
    execution_result = models.JSONField(null=True, blank=True)
    operation_id = models.UUIDField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    decided_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_comment = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    attention_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "promotions"
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["tenant", "-created_at", "-id"], name="promotions_tenant"),
            models.Index(fields=["tenant", "target_environment", "-created_at"], name="promotions_target"),
            models.Index(fields=["tenant", "status", "-updated_at"], name="promotions_status"),
            models.Index(
                fields=["target_environment"],
                condition=models.Q(attention_since__isnull=False),
                name="promotions_attention",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def status_word(self) -> str:
        """What people call its status. *Approved* only where somebody approved it; else it is ready to run."""
        if self.status == PromotionStatus.APPROVED and self.decided_at is None:
            return "Ready"
        return str(self.get_status_display())


class ReviewComment(Comment):
    """What somebody says of a change while a promotion is looked at."""

    promotion = models.ForeignKey(Promotion, on_delete=models.CASCADE, related_name="+", db_index=False)
    workflow_key = models.CharField(max_length=200)

    class Meta(Comment.Meta):
        db_table = "review_comments"
        indexes = [models.Index(fields=["tenant", "promotion", "created_at", "id"], name="review_comments_promotion")]


class ReviewMark(TenantModel):
    """That somebody has viewed a workflow of a promotion: it holds for exactly these two contents."""

    promotion = models.ForeignKey(Promotion, on_delete=models.CASCADE, related_name="+", db_index=False)
    workflow_key = models.CharField(max_length=200)
    reviewer = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    before_hash = models.CharField(max_length=80, blank=True)
    after_hash = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "review_marks"
        ordering = ["created_at", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "promotion", "workflow_key", "reviewer"], name="review_marks_once"
            )
        ]
