"""Environments and workflows, for the command bar."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from django.db.models import Q

from core.declarations import SearchRow, SearchScope
from core.search import EACH, record_row, row_by_id
from core.wording import counted

from . import uses
from .models import CanonicalWorkflow, Environment, KnownCredential
from .uses import CREDENTIAL, HOST, NODE

ASKED = "who uses"
#: Shorter words are part of most types of nodes, and of most hosts.
LEAST_OF_A_NAME = 3


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


def _asked(q: str) -> str:
    """What “who uses Shop database?” is about."""
    words = q.strip().rstrip("?").strip()
    return words[len(ASKED) :].strip() if words.lower().startswith(ASKED) else words


def credentials(q: str, scope: SearchScope) -> list[SearchRow]:
    """By name or type, each leading to the workflows that use it."""
    if not (asked := _asked(q)):
        return []
    rows = KnownCredential.objects.filter(tenant_id__in=scope.tenant_ids, environment__is_archived=False)
    rows = rows.filter(Q(name__icontains=asked) | Q(credential_type__icontains=asked)).select_related("environment")
    found = []
    for known in rows.order_by("name", "environment__position", "pk")[:EACH]:
        hint = f"who uses it in {known.environment.name}"
        row = record_row(scope, known.tenant_id, "tenant-home", title=known.name, hint=hint, symbol="key")
        found.append(row | {"url": f"{row['url']}?{urlencode({'uses': f'{CREDENTIAL}:{known.pk}'})}"})
    return found


def nodes(q: str, scope: SearchScope) -> list[SearchRow]:
    """Types of nodes, each leading to the workflows that have one. On a tenant's pages."""
    return _used(q, scope, kind=NODE, find=uses.node_types, noun="node", symbol="cube")


def hosts(q: str, scope: SearchScope) -> list[SearchRow]:
    """Hosts in addresses, each leading to the workflows that name it. On a tenant's pages."""
    return _used(q, scope, kind=HOST, find=uses.hosts, noun="host", symbol="globe-alt")


def _used(
    q: str, scope: SearchScope, *, kind: str, find: Callable[..., list[tuple[str, int]]], noun: str, symbol: str
) -> list[SearchRow]:
    if scope.tenant_id is None or len(asked := _asked(q)) < LEAST_OF_A_NAME:
        return []
    found = []
    for name, count in find(tenant_id=scope.tenant_id, q=asked, limit=EACH):
        hint = f"{noun} in {counted(count, 'workflow')}"
        row = record_row(scope, scope.tenant_id, "tenant-home", title=name, hint=hint, symbol=symbol)
        found.append(row | {"url": f"{row['url']}?{urlencode({'uses': f'{kind}:{name}'})}"})
    return found
