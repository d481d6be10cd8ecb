"""The trail over REST, with the filters of its page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from opsconsole.core.errors import Forbidden
from opsconsole.core.paging import clamp
from tenants.api import caller, only_tenant, visit_for
from tenants.models import Grants
from tenants.scope import platform_scope, tenant_scope

from . import selectors
from .selectors import TrailFilter
from .views import may_read_platform_trail

router = Router()


@router.get("/audit-logs", summary="The trail, newest first")
def list_audit_logs(
    request: HttpRequest,
    tenant: str = "",
    person: str = "",
    action: str = "",
    resource_type: str = "",
    resource_id: str = "",
    source: str = "",
    operation: str = "",
    session: str = "",
    request_id: str = "",
    since: str = "",
    until: str = "",
    limit: int = 50,
    cursor: str = "",
) -> dict[str, Any]:
    """Of one tenant, or (without ``tenant``, for platform admins and compliance officers) of the whole platform."""
    wanted = TrailFilter(
        person=person, action=action, resource_type=resource_type, resource_id=resource_id, source=source,
        operation=operation, session=session, request=request_id, since=since, until=until,
    )  # fmt: skip
    bound = only_tenant(request)
    if tenant or bound:
        visit = visit_for(request, tenant_id=tenant or bound.pk, grant=Grants.VIEW_TRAIL)  # type: ignore[union-attr]
        scope = tenant_scope(visit.tenant.pk)
    else:
        narrowed = request.auth.permissions  # type: ignore[attr-defined]
        if not may_read_platform_trail(caller(request)) or (narrowed and Grants.VIEW_TRAIL not in narrowed):
            raise Forbidden("Name the tenant whose trail you want.", recovery="Add ?tenant=<short name>.")
        scope = platform_scope()
    with scope:
        page = selectors.list_trail(wanted, cursor=cursor, limit=clamp(limit))
        people = selectors.people_of(page.rows)
    return {
        "audit_logs": [selectors.audit_row(row, people) for row in page.rows],
        "next_cursor": page.next_cursor or None,
    }
