"""Support sessions in the command bar."""

from __future__ import annotations

from django.urls import reverse

from core import clock
from core.declarations import SearchRow, SearchScope
from core.ids import uuid_or_none
from core.search import EACH
from tenants.models import Tenant

from . import selectors
from .models import ImpersonationSession


def sessions(q: str, scope: SearchScope) -> list[SearchRow]:
    """Sessions by their people, customer, ticket or reason."""
    if not scope.sees_sessions:
        return []
    tenant = Tenant.objects.get(pk=scope.tenant_id) if scope.tenant_id else None
    return [_row(row, scope) for row in selectors.list_sessions(q=q, tenant=tenant, limit=EACH).rows]


def session_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    wanted = uuid_or_none(q)
    if wanted is None or not scope.sees_sessions:
        return []
    session = selectors.session_by_id(wanted)
    return [_row(session, scope)] if session else []


def _row(session: ImpersonationSession, scope: SearchScope) -> SearchRow:
    over = session.over_at(clock.now())
    if scope.tenant_slug:
        url = reverse("support-access-session", kwargs={"tenant_slug": scope.tenant_slug, "pk": session.pk})
    else:
        url = reverse("support-session", kwargs={"pk": session.pk})
    where = "" if scope.tenant_slug else f" · {session.impersonated_tenant.name}"
    return {
        "title": f"{session.actor_user} as {session.impersonated_user}",
        "hint": f"{'ended' if over else 'live'} support session{where}",
        "url": url,
        "state": "completed" if over else "running",
    }
