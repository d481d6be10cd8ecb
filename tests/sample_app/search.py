"""Bottles, for the command bar."""

from __future__ import annotations

from core.declarations import SearchRow, SearchScope
from core.search import EACH, record_row, row_by_id

from .models import Bottle


def bottles(q: str, scope: SearchScope) -> list[SearchRow]:
    rows = Bottle.objects.filter(tenant_id__in=scope.tenant_ids, name__icontains=q)
    return [
        record_row(scope, row.tenant_id, "bottle", title=row.name, hint="bottle", symbol="beaker", pk=row.pk)
        for row in rows[:EACH]
    ]


def bottle_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    return row_by_id(scope, Bottle, q, url_name="bottle", noun="bottle")
