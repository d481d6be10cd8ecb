"""The audit trail over REST, with the filters of its page."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from core.paging import clamp
from core.support_rules import NEVER, READS, in_support_session
from tenants.api import caller, only_tenant, visit_for
from tenants.models import Grants
from tenants.requests import token_of
from tenants.scope import platform_scope, tenant_scope

from . import selectors
from .errors import AuditAccessRefused
from .ocsf import events_since
from .schemas import AuditLogList, OcsfEvents
from .selectors import TrailFilter
from .views import may_read_platform_trail

router = Router()


class TrailQuery(Schema):
    """What to look for, as in ``TrailFilter``."""

    person: str = ""
    acted_as: str = ""
    action: str = ""
    resource_type: str = ""
    resource_id: str = ""
    source: str = ""
    operation: str = ""
    session: str = ""
    request_id: str = ""
    since: str = ""
    until: str = ""


@in_support_session(READS)
@router.get("/audit-logs", response=AuditLogList, summary="The audit trail, newest first")
def list_audit_logs(
    request: HttpRequest, asked: Query[TrailQuery], tenant: str = "", limit: int = 50, cursor: str = ""
) -> dict[str, Any]:
    """Of one tenant, or (without ``tenant``, for platform admins and compliance officers) of the whole platform."""
    wanted = TrailFilter(**asked.dict(exclude={"request_id"}), request=asked.request_id)
    with _scope(request, tenant):
        page = selectors.list_trail(wanted, cursor=cursor, limit=clamp(limit))
        people = selectors.people_of(page.rows)
    return {
        "audit_logs": [selectors.audit_row(row, people) for row in page.rows],
        "next_cursor": page.next_cursor or None,
    }


@in_support_session(NEVER)
@router.get("/audit/events", response=OcsfEvents, summary="The audit trail as OCSF events, in order of commit")
def list_audit_events(request: HttpRequest, tenant: str = "", cursor: str = "", limit: int = 200) -> dict[str, Any]:
    """For a SIEM: go on with ``next_cursor`` for ever, and every entry comes at least once, with the same id.

    Of one tenant, or (without ``tenant``, for platform admins and compliance officers) of the whole platform.
    """
    size = clamp(limit)
    with _scope(request, tenant):
        page = events_since(cursor, limit=size)
    return {"events": page.events, "next_cursor": page.cursor}


def _scope(request: HttpRequest, tenant: str) -> AbstractContextManager[Any]:
    """Of the tenant asked for, or of the platform for those who read all; raises what the caller may not."""
    bound = only_tenant(request)
    if tenant or bound:
        visit = visit_for(request, tenant_id=tenant or bound.pk)  # type: ignore[union-attr]
        if not visit.may(Grants.VIEW_TRAIL):
            raise AuditAccessRefused
        return tenant_scope(visit.tenant.pk)
    narrowed = token_of(request).permissions
    if not may_read_platform_trail(caller(request)) or (narrowed and Grants.VIEW_TRAIL not in narrowed):
        raise AuditAccessRefused("Name the tenant whose audit trail you want.", recovery="Add ?tenant=<short name>.")
    return platform_scope()
