"""What every table of a tenant has in common."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q


class TenantModel(models.Model):
    """A row that belongs to one tenant. Its migration must call ``tenants.rls.protect``; a test finds it if not."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.CASCADE, related_name="+", db_index=False)

    class Meta:
        abstract = True


class TenantOrPlatformModel(models.Model):
    """A row of one tenant, or of the platform (``tenant`` empty), which no tenant's role ever sees.

    Its migration calls ``tenants.rls.protect`` with ``nullable=True``, and ``tenants.rls.platform_parent`` for each
    reference to another table of this kind: a pair that holds a NULL is no key to PostgreSQL.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.CASCADE, null=True, blank=True, related_name="+", db_index=False
    )

    class Meta:
        abstract = True


def belongs_to(tenant_id: uuid.UUID | None) -> Q:
    """Rows of a tenant or, without one, of the platform: the platform's role sees the others' as well."""
    return Q(tenant_id=tenant_id) if tenant_id else Q(tenant=None)
