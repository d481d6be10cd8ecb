"""Snapshots by words, id or commit, and captures to start, for the command bar."""

from __future__ import annotations

import re
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from core.declarations import SearchRow, SearchScope
from core.search import EACH, record_row, row_by_id
from tenants.models import Grants
from workflows.models import Environment

from .models import Snapshot

_COMMIT = re.compile(r"[0-9a-f]{7,64}", re.IGNORECASE)
CAPTURE = "capture"


def snapshots(q: str, scope: SearchScope) -> list[SearchRow]:
    """The newest by the name of their environment or their description."""
    rows = Snapshot.objects.filter(tenant_id__in=scope.tenant_ids)
    return _rows(rows.filter(Q(description__icontains=q) | Q(environment__name__icontains=q)), scope)


def snapshot_by_id(q: str, scope: SearchScope) -> list[SearchRow]:
    """By its id, or by the beginning of its commit."""
    if _COMMIT.fullmatch(q):
        commits = Snapshot.objects.filter(tenant_id__in=scope.tenant_ids, git_commit_sha__startswith=q.lower())
        if found := _rows(commits, scope):
            return found
    return row_by_id(scope, Snapshot, q, url_name="snapshot", noun="snapshot")


def _rows(rows: QuerySet[Snapshot], scope: SearchScope) -> list[SearchRow]:
    found = rows.select_related("environment").defer("workflows", "verification")
    return [
        record_row(
            scope, one.tenant_id, "snapshot",
            title=str(one), hint=f"{one.environment.name} · {(one.git_commit_sha or '')[:8]}",
            symbol="camera", pk=one.pk,
        )
        for one in found.order_by("-created_at", "-pk")[:EACH]
    ]  # fmt: skip


def captures(q: str, scope: SearchScope) -> list[SearchRow]:
    """“capture production”; without an environment, which one is asked by a row for each."""
    verb, _, place = q.lower().partition(" ")
    if verb != CAPTURE or Grants.OPERATE not in scope.grants:
        return []
    places = Environment.objects.filter(tenant_id__in=scope.tenant_ids, is_archived=False)
    places = places.filter(name__icontains=place.strip()).only("id", "tenant_id", "name", "slug")
    found = []
    for one in places.order_by("position", "name")[:EACH]:
        title = f"Capture {one.name}"
        row = record_row(scope, one.tenant_id, "snapshot-create", title=title, hint="act", symbol="camera")
        found.append(row | {"url": f"{row['url']}?{urlencode({'environment': one.slug})}"})
    return found
