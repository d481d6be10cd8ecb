"""Comments on a change of a workflow, whatever the change belongs to."""

from __future__ import annotations

from django.db import models

from tenants.base import TenantModel
from tenants.models import User


class Comment(TenantModel):
    """What somebody says of a change. The app that has the change keeps a table of its own, with a key to its rows.

    ``node`` is '' for the whole workflow. The hashes are the two contents that were compared when it was said.
    """

    node = models.CharField(max_length=400, blank=True)
    text = models.TextField()
    before_hash = models.CharField(max_length=80, blank=True)
    after_hash = models.CharField(max_length=80, blank=True)
    author = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    resolved_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    resolved_at = models.DateTimeField(null=True, blank=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True
        ordering = ["created_at", "id"]
