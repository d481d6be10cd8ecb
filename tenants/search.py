"""Tenants by name, for the command bar."""

from __future__ import annotations

from urllib.parse import urlencode

from django.db.models import Q
from django.urls import reverse

from core.declarations import SearchRow, SearchScope
from core.search import EACH

from .models import Membership, Tenant


def tenants(q: str, scope: SearchScope) -> list[SearchRow]:
    """Tenants that the person may go to, by name or short name."""
    rows = Tenant.objects.filter(Q(name__icontains=q) | Q(slug__icontains=q))
    if not scope.sees_all_tenants:
        rows = rows.filter(pk__in=Membership.objects.filter(user_id=scope.user_id).values("tenant_id"))
    return [
        {
            "title": tenant.name,
            "hint": "tenant",
            "url": reverse("tenant-home", kwargs={"tenant_slug": tenant.slug}),
            "symbol": "building-office-2",
        }
        for tenant in rows.only("name", "slug").order_by("name")[:EACH]
    ]


def members(q: str, scope: SearchScope) -> list[SearchRow]:
    """People of the tenant by name or address, with their role. On a tenant's pages."""
    if scope.tenant_id is None:
        return []
    rows = Membership.objects.filter(tenant_id=scope.tenant_id).select_related("user")
    rows = rows.filter(Q(user__name__icontains=q) | Q(user__email__icontains=q)).order_by("user__email")
    page = reverse("members", kwargs={"tenant_slug": scope.tenant_slug})
    return [
        {
            "title": str(member.user),
            "hint": member.get_role_display().lower(),
            "url": f"{page}?{urlencode({'q': member.user.email})}",
            "symbol": "user",
        }
        for member in rows[:EACH]
    ]
