"""Environments and workflows, for the command bar."""

from __future__ import annotations

from django.db.models import Q

from core.declarations import SearchRow, SearchScope
from core.search import EACH, record_row, row_by_id

from .models import CanonicalWorkflow, Environment


def environments(q: str, scope: SearchScope) -> list[SearchRow]:
    """By name or short name."""
    rows = Environment.objects.filter(tenant_id__in=scope.tenant_ids, is_archived=False)
    rows = rows.filter(Q(name__icontains=q) | Q(slug__icontains=q)).order_by("position", "name")
    return [
        record_row(
            scope, found.tenant_id, "environment",
            title=found.name, hint=found.get_kind_display().lower(), symbol="server-stack", pk=found.pk,
        )
        for found in rows.only("id", "tenant_id", "name", "kind")[:EACH]
    ]  # fmt: skip


def environment_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    return row_by_id(scope, Environment, q, url_name="environment", noun="environment")


def workflows(q: str, scope: SearchScope) -> list[SearchRow]:
    """By name or key."""
    rows = CanonicalWorkflow.objects.filter(tenant_id__in=scope.tenant_ids)
    rows = rows.filter(Q(name__icontains=q) | Q(key__icontains=q)).order_by("name")
    return [
        record_row(
            scope, found.tenant_id, "workflow",
            title=found.name or found.key, hint=found.key, symbol="share", key=found.key,
        )
        for found in rows.only("id", "tenant_id", "name", "key")[:EACH]
    ]  # fmt: skip
