"""What every table of a tenant has in common."""

from __future__ import annotations

import uuid

from django.db import models


class TenantModel(models.Model):
    """A row that belongs to one tenant. Its migration must call ``tenants.rls.protect``; a test finds it if not."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+", db_index=False)

    class Meta:
        abstract = True
