"""Tenants over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router

from opsconsole.core.errors import Forbidden
from opsconsole.core.paging import by_name, clamp

from . import people
from .api import caller
from .models import Tenant
from .permissions import is_platform_admin
from .scope import platform_scope

router = Router()


@router.get("/tenants", summary="The tenants the caller may see")
def list_tenants(request: HttpRequest, limit: int = 50, cursor: str = "") -> dict[str, Any]:
    user = caller(request)
    bound_to = request.auth.tenant_id  # type: ignore[attr-defined]
    with platform_scope():
        rows = Tenant.objects.all()
        if not is_platform_admin(user):
            rows = rows.filter(pk__in=user.memberships.values("tenant_id"))
        if bound_to is not None:
            rows = rows.filter(pk=bound_to)
        page = by_name(rows, cursor=cursor, limit=clamp(limit))
    return {
        "tenants": [
            {"id": str(t.pk), "name": t.name, "slug": t.slug, "status": t.status, "created_at": t.created_at}
            for t in page.rows
        ],
        "next_cursor": page.next_cursor or None,
    }


@router.delete("/platform/admins/{user_id}", summary="Take somebody off the platform admins")
def remove_platform_admin(request: HttpRequest, user_id: uuid.UUID) -> dict[str, Any]:
    """The person's sign-ins and tokens end with it. Needs an unbound token of another platform admin."""
    by = caller(request)
    token = request.auth  # type: ignore[attr-defined]
    if not is_platform_admin(by) or token.tenant_id is not None or token.permissions:
        raise Forbidden(
            "Only platform admins do this.", recovery="Use a token of a platform admin that is bound to no tenant."
        )
    person = people.get_person(user_id)
    people.remove_platform_admin(user=person, by=by)
    return {"removed": str(person.pk), "email": person.email}
