"""What Ctrl-K finds: pages and actions, and the records that the apps find (``core.registry``)."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from core.declarations import SearchRow, SearchScope
from core.errors import NotFound
from core.registry import Audience, Destination, registry
from core.support_rules import LEAVES, in_support_session
from tenants.audiences import audiences_of
from tenants.models import Grants, Tenant, User
from tenants.pages import Visit, open_visit
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.scope import platform_scope, tenant_scope

LONGEST_QUERY = 80
SHOWN_UNASKED = 8
LEAST_LETTERS = 2
TENANTS_LOOKED_THROUGH = 200

Group = tuple[str, list[SearchRow]]


def _matches(entry: Destination, q: str) -> bool:
    words = f"{entry.title} {entry.search_words}".lower()
    return all(part in words for part in q.lower().split())


def _may(visit: Visit, grant: str) -> bool:
    """A platform admin reaches what is done for a tenant in an emergency without a role in it."""
    return visit.may(grant) or (grant == Grants.ADMINISTER and visit.is_platform_admin)


def _destinations(q: str, visit: Visit | None, audiences: frozenset[Audience]) -> list[SearchRow]:
    rows = _destinations_in(visit, q) if visit is not None else []
    for entry in registry.destinations(of_platform=True):
        if entry.in_command_bar and entry.audience in audiences and _matches(entry, q):
            rows.append({"title": entry.title, "hint": "", "url": reverse(entry.url_name), "symbol": entry.icon})
    return rows if q else rows[:SHOWN_UNASKED]


def _destinations_in(visit: Visit, q: str) -> list[SearchRow]:
    rows: list[SearchRow] = []
    for entry in registry.destinations(of_platform=False):
        if entry.in_command_bar and _may(visit, entry.grant) and _matches(entry, q):
            url = reverse(entry.url_name, kwargs={"tenant_slug": visit.tenant.slug})
            rows.append({"title": entry.title, "hint": visit.tenant.name, "url": url, "symbol": entry.icon})
    return rows


def find(*, user: User, q: str, slug: str = "") -> list[dict[str, Any]]:
    """Groups of rows for ``components/command_results.html``; only what the person may see."""
    with platform_scope():
        audiences = audiences_of(user, is_admin=is_platform_admin(user))
    visit = _visit(user, slug)
    groups: list[Group] = [("Go to", _destinations(q, visit, audiences))]
    if len(q) >= LEAST_LETTERS:
        groups += _records(q, user, visit, audiences)
    return [{"label": label, "rows": rows} for label, rows in groups if rows]


def _visit(user: User, slug: str) -> Visit | None:
    try:
        return open_visit(user=user, slug=slug) if slug else None
    except NotFound:
        return None


def _records(q: str, user: User, visit: Visit | None, audiences: frozenset[Audience]) -> list[Group]:
    everywhere = Audience.TRAIL_READERS in audiences
    if visit is not None:
        sees_trail = visit.may(Grants.VIEW_TRAIL)
        scope = SearchScope(
            user_id=user.pk,
            tenants={visit.tenant.pk: (visit.tenant.slug, visit.tenant.name)},
            tenant_slug=visit.tenant.slug,
            sees_all_tenants=everywhere,
            sees_trail=sees_trail,
            sees_sessions=sees_trail,
            grants=visit.grants,
        )
        with tenant_scope(visit.tenant.pk):
            found = _by_id(q, scope) or _by_words(q, scope, of_platform=False)
        with platform_scope():
            return found + _by_words(q, scope, of_platform=True)
    with platform_scope():
        scope = SearchScope(
            user_id=user.pk,
            tenants=_own_tenants(user),
            sees_all_tenants=everywhere,
            sees_trail=everywhere,
            sees_sessions=Audience.SESSION_READERS in audiences,
            sees_all_jobs=Audience.ADMINS in audiences,
        )
        found = _by_id(q, scope) or _by_words(q, scope, of_platform=False)
        return found + _by_words(q, scope, of_platform=True)


def _own_tenants(user: User) -> dict[uuid.UUID, tuple[str, str]]:
    rows = Tenant.objects.filter(pk__in=user.memberships.values("tenant_id")).only("id", "slug", "name")
    return {t.pk: (t.slug, t.name) for t in rows[:TENANTS_LOOKED_THROUGH]}


def _by_id(q: str, scope: SearchScope) -> list[Group]:
    """What a pasted id or number belongs to."""
    finders = registry.record_finders()
    rows = [row for finder in finders if finder.by_id is not None for row in finder.by_id(q, scope)]
    return [("By id", rows)] if rows else []


def _by_words(q: str, scope: SearchScope, *, of_platform: bool) -> list[Group]:
    finders = [finder for finder in registry.record_finders() if finder.is_of_platform is of_platform]
    return [(finder.label, finder.find(q, scope)) for finder in finders]


@in_support_session(LEAVES)
@require_safe
@login_required
def command(request: HttpRequest) -> HttpResponse:
    """The bar's answer to HTMX; a plain page without JavaScript."""
    q = request.GET.get("q", "").strip()[:LONGEST_QUERY]
    groups = find(user=person_of(request), q=q, slug=request.GET.get("tenant", ""))
    context = {"groups": groups, "query": q}
    partial = getattr(request, "htmx", False)
    return render(request, "components/command_results.html" if partial else "estate/command.html", context)
