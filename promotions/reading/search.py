"""Promotions by name or id, for the command bar."""

from __future__ import annotations

from core.declarations import SearchRow, SearchScope
from core.search import EACH, record_row, row_by_id
from promotions.models import Promotion


def promotions(q: str, scope: SearchScope) -> list[SearchRow]:
    rows = Promotion.objects.filter(tenant_id__in=scope.tenant_ids, name__icontains=q).order_by("-created_at", "-pk")
    return [
        record_row(
            scope, found.tenant_id, "promotion",
            title=found.name, hint=found.status_word.lower(), state=found.status, pk=found.pk,
        )
        for found in rows.only("id", "tenant_id", "name", "status", "decided_at")[:EACH]
    ]  # fmt: skip


def promotion_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    return row_by_id(scope, Promotion, q, url_name="promotion", noun="promotion")
