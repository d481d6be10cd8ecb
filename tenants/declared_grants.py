"""Grants that apps declare, put into the database when it is migrated."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connections

from core.registry import registry

from .models import Tenant, TenantRole

_GIVE = """
    INSERT INTO tenant_grants (user_id, content_object_id, permission_id)
    SELECT user_id, tenant_id, %s FROM memberships WHERE role = ANY(%s) ON CONFLICT DO NOTHING
"""


def make_declared_grants(using: str, **kwargs: Any) -> None:
    """Make the permission of each declared grant; a new one is given to the members whose role holds it.

    Receives ``post_migrate``, as the owner of the tables.
    """
    if not registry.grants():
        return
    content_type = ContentType.objects.db_manager(using).get_for_model(Tenant)
    for grant in registry.grants():
        permission, is_new = Permission.objects.using(using).get_or_create(
            content_type=content_type, codename=grant.name, defaults={"name": grant.words}
        )
        if is_new:
            with connections[using].cursor() as cursor:
                cursor.execute(_GIVE, [permission.pk, [TenantRole.OWNER.value, *grant.roles]])
