"""Entries of the trail, for the command bar: by number, and by who acted."""

from __future__ import annotations

from django.db.models import Q

from core.declarations import SearchRow, SearchScope
from core.search import EACH, page_of_place
from tenants.models import User

from .models import AuditLog

SYMBOL = "clipboard-document-list"


def people(q: str, scope: SearchScope) -> list[SearchRow]:
    """What somebody did, by name or address."""
    if not scope.sees_trail:
        return []
    rows = User.objects.filter(Q(name__icontains=q) | Q(email__icontains=q))
    if scope.tenant_id is not None:
        rows = rows.filter(memberships__tenant_id=scope.tenant_id)
    trail = page_of_place(scope, "trail")
    return [
        {
            "title": f"What {person} did",
            "hint": person.email,
            "url": f"{trail}?person={person.pk}",
            "symbol": SYMBOL,
        }
        for person in rows.order_by("email")[: EACH // 2]
    ]


def entry_by_number(q: str, scope: SearchScope) -> list[SearchRow]:
    """The entry of this number."""
    if not (scope.sees_trail and q.isdecimal() and len(q) < 19 and AuditLog.objects.filter(pk=int(q)).exists()):
        return []
    url = page_of_place(scope, "trail-entry", pk=int(q))
    return [{"title": f"Entry {q}", "hint": "trail", "url": url, "symbol": SYMBOL}]
