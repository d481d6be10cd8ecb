"""The estate: a tile per tenant, ordered by trouble. A fixed number of queries however many tenants there are."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core import clock
from core.errors import NotFound
from core.htmx import is_partial
from core.paging import BadCursor, Page, decode, encode
from core.registry import registry
from core.support_rules import LEAVES, in_support_session
from drift.models import ACTIVE, DriftIncident, Severity
from operations.models import OPEN, Operation, OperationStatus
from promotions.models import Promotion, PromotionStatus
from tenants.audiences import audiences_of
from tenants.models import PlatformRole, Tenant, TenantStatus, User
from tenants.pages import platform_page
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.selectors import MEMBERSHIPS_SHOWN
from workflows.models import ConnectionStatus, Environment

from . import health

TILES = 48
MANY = 100
DAYS = 14
OLD_CAPTURE = timedelta(hours=26)
FAILED_WITHIN = timedelta(hours=24)
#: How much each trouble weighs when tiles are put in order.
WEIGHTS = {"critical": 1000, "high": 200, "medium": 20, "low": 5, "failed": 120, "parked": 150, "unreachable": 400}
VIEWS = (("", "All"), ("trouble", "In trouble"), ("busy", "Busy"))


@dataclass
class Tile:
    """What one tenant looks like from above.

    ``last_capture`` is the oldest of the environments' last captures, None while one was never captured: a tile is as
    fresh as its stalest part.
    """

    tenant: Tenant
    severities: dict[str, int] = field(default_factory=dict)
    running: int = 0
    failed: int = 0
    parked: int = 0
    environments: list[Environment] = field(default_factory=list)
    environment_count: int = 0
    unreachable: int = 0
    last_capture: datetime | None = None
    approvals: int = 0
    drift: list[int] = field(default_factory=list)

    @property
    def incidents(self) -> int:
        return sum(self.severities.values())

    @property
    def score(self) -> int:
        weights = {**self.severities, "failed": self.failed, "parked": self.parked, "unreachable": self.unreachable}
        return sum(WEIGHTS.get(name, 0) * count for name, count in weights.items())

    @property
    def health(self) -> tuple[str, str]:
        """State and word; what is not known is never drawn as good."""
        if self.tenant.status == TenantStatus.SUSPENDED:
            return "inactive", "Suspended"
        if self.unreachable:
            return "failed", "Not reachable"
        if self.severities.get(Severity.CRITICAL) or self.severities.get(Severity.HIGH):
            return "drifted", "Drifted"
        if self.parked:
            return "parked", "Waits for a person"
        if self.failed:
            return "failed", "Jobs failed"
        if self.incidents:
            return "drifted", "Drifted"
        if not self.environment_count:
            return "unknown", "Not set up"
        if self.last_capture is None:
            return "unknown", "Not captured"
        if clock.now() - self.last_capture > OLD_CAPTURE:
            return "unknown", "Not seen lately"
        return "in_sync", "In sync"

    @property
    def is_seen(self) -> bool:
        """Whether anybody can know what drifts there now."""
        return not self.unreachable and self.health[0] != "unknown"

    @property
    def severity_rows(self) -> list[tuple[str, str, int]]:
        """(value, word, count) of the severities that occur, gravest first."""
        return [
            (value, label, self.severities[value]) for value, label in Severity.choices if self.severities.get(value)
        ]


def visible_tenants(user: User, q: str = "", *, admin: bool) -> QuerySet[Tenant]:
    """The tenants on the estate of a person, platform admin or not. Platform scope."""
    rows = Tenant.objects.all()
    if not (user.role == PlatformRole.COMPLIANCE_OFFICER or admin):
        rows = rows.filter(pk__in=user.memberships.values("tenant_id"))
    if q:
        rows = rows.filter(Q(name__icontains=q) | Q(slug__icontains=q))
    return rows.only("id", "name", "slug", "status")


def tiles(tenants: Iterable[Tenant], *, view: str = "", cursor: str = "", limit: int = TILES) -> Page:
    """One page of tiles in order of trouble. Seven queries, however many tenants."""
    by_id = {tenant.pk: Tile(tenant) for tenant in tenants}
    # A long list of ids costs more than counting for everybody.
    few = Q() if len(by_id) > MANY else Q(tenant_id__in=list(by_id))
    since = clock.now() - FAILED_WITHIN
    for tenant_id, severity, count in (
        DriftIncident.objects.filter(few, incident_state__in=ACTIVE)
        .order_by()
        .values_list("tenant_id", "severity")
        .annotate(n=Count("pk"))
    ):
        if tenant_id in by_id:
            by_id[tenant_id].severities[severity] = count
    at_work = (OperationStatus.PENDING, OperationStatus.RUNNING, OperationStatus.RETRY_PENDING)
    for row in (
        Operation.objects.filter(few)
        .filter(Q(status__in=OPEN) | Q(status=OperationStatus.FAILED, ended_at__gte=since))
        .order_by()
        .values("tenant_id")
        .annotate(
            running=Count("pk", filter=Q(status__in=at_work)),
            parked=Count("pk", filter=Q(status=OperationStatus.PARKED)),
            failed=Count("pk", filter=Q(status=OperationStatus.FAILED)),
        )
    ):
        if tile := by_id.get(row["tenant_id"]):
            tile.running, tile.parked, tile.failed = row["running"], row["parked"], row["failed"]
    for place in (
        Environment.objects.filter(few, is_archived=False)
        .order_by()
        .values("tenant_id")
        .annotate(
            n=Count("pk"),
            failing=Count("pk", filter=Q(connection_status=ConnectionStatus.FAILED)),
            seen=Count("last_captured_at"),
            oldest=Min("last_captured_at"),
        )
    ):
        if tile := by_id.get(place["tenant_id"]):
            tile.environment_count, tile.unreachable = place["n"], place["failing"]
            tile.last_capture = place["oldest"] if place["seen"] == place["n"] else None
    for tenant_id, count in (
        Promotion.objects.filter(few, status=PromotionStatus.PENDING_APPROVAL)
        .order_by()
        .values_list("tenant_id")
        .annotate(n=Count("pk"))
    ):
        if tenant_id in by_id:
            by_id[tenant_id].approvals = count
    chosen = [tile for tile in by_id.values() if _belongs(tile, view)]
    page = _cut(chosen, cursor, limit)
    shown = [tile.tenant.pk for tile in page.rows]
    lines = drift_lines(shown)
    for tile in page.rows:
        tile.drift = lines[tile.tenant.pk]
    fields = ("id", "tenant_id", "name", "slug", "kind", "position")
    rows = Environment.objects.filter(tenant_id__in=shown, is_archived=False).only(*fields)
    for environment in rows.order_by("position", "name"):
        by_id[environment.tenant_id].environments.append(environment)
    return page


def _belongs(tile: Tile, view: str) -> bool:
    if view == "trouble":
        return tile.score > 0
    return bool(tile.running) if view == "busy" else True


def _order(tile: Tile) -> tuple[int, str, str]:
    return (-tile.score, tile.tenant.name.casefold(), str(tile.tenant.pk))


def _cut(chosen: list[Tile], cursor: str, limit: int) -> Page:
    """The tiles after the cursor's key: trouble moves tiles, so the key is their place, not their number."""
    ordered = sorted(chosen, key=_order)
    if cursor:
        score, name, ident = decode(cursor, 3)
        if not isinstance(score, int):
            raise BadCursor
        ordered = [tile for tile in ordered if _order(tile) > (score, str(name), str(ident))]
    rows = ordered[:limit]
    return Page(rows, encode(list(_order(rows[-1]))) if len(ordered) > limit else "")


def drift_lines(tenant_ids: list[uuid.UUID]) -> dict[uuid.UUID, list[int]]:
    """For each tenant, how many incidents stood open at the end of each of the last 14 days. One query."""
    today = clock.now().date()
    first = today - timedelta(days=DAYS - 1)
    changes: dict[uuid.UUID, list[int]] = defaultdict(lambda: [0] * (DAYS + 1))
    if tenant_ids:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tenant_id, greatest(0, (created_at AT TIME ZONE 'UTC')::date - %s::date),"
                " CASE WHEN incident_state IN ('OPEN', 'ACKNOWLEDGED') THEN NULL"
                " ELSE greatest(0, (coalesce(resolved_at, updated_at) AT TIME ZONE 'UTC')::date - %s::date) END,"
                " count(*)"
                " FROM drift_incidents WHERE tenant_id = ANY(%s) AND (incident_state IN ('OPEN', 'ACKNOWLEDGED')"
                " OR coalesce(resolved_at, updated_at) >= %s) GROUP BY 1, 2, 3",
                [first, first, tenant_ids, first],
            )
            for tenant_id, opened, closed, count in cursor.fetchall():
                changes[tenant_id][min(opened, DAYS)] += count
                if closed is not None:
                    changes[tenant_id][min(closed, DAYS)] -= count
    lines = {}
    for tenant_id in tenant_ids:
        standing, line = 0, []
        for change in changes[tenant_id][:DAYS]:
            standing += change
            line.append(standing)
        lines[tenant_id] = line
    return lines


@in_support_session(LEAVES)
@platform_page()
def estate(request: HttpRequest) -> HttpResponse:
    """The platform's home; somebody with one tenant goes straight into it."""
    user = person_of(request)
    admin = is_platform_admin(user)
    everything = user.role == PlatformRole.COMPLIANCE_OFFICER or admin
    if user.role == PlatformRole.SUPPORT and not admin and not user.memberships.exists():
        return redirect("tenants")
    q, view = request.GET.get("q", "").strip(), request.GET.get("view", "")
    visible = list(visible_tenants(user, q, admin=admin))
    shell: dict[str, Any] = {"is_platform": admin, "audiences": audiences_of(user, is_admin=admin)}
    if not everything and not q:
        if len(visible) == 1 and not view:
            return redirect("tenant-home", tenant_slug=visible[0].slug)
        # The switcher shows the same tenants: not asked for again.
        shell["memberships"] = sorted(visible, key=lambda tenant: tenant.name.casefold())[:MEMBERSHIPS_SHOWN]
    page = tiles(visible, view=view, cursor=request.GET.get("cursor", ""))
    context = {"page": page, "q": q, "view": view, "views": VIEWS, "days": DAYS, "nav_section": "estate"}
    name = "estate/estate.html#tiles" if is_partial(request, target="tiles") else "estate/estate.html"
    return render(request, name, {**shell, **context, "may_create": admin})


@in_support_session(LEAVES)
@platform_page(scope=False)
def platform_health(request: HttpRequest) -> HttpResponse:
    """Each part of the platform, asked now. For platform admins and support."""
    user = person_of(request)
    if not (is_platform_admin(user) or user.role == PlatformRole.SUPPORT):
        raise NotFound
    parts = []
    for name, part in registry.health_components().items():
        found = health.probe(name)
        known = {"status", "latency_ms", "message", "queues", "last_seen_at", "free_bytes", "age_seconds"}
        parts.append(
            {
                "name": part.title,
                "state": {"ok": "in_sync"}.get(found["status"], found["status"]),
                "word": {"ok": "Works", "failed": "Failing"}.get(found["status"], "Unknown"),
                "found": found,
                "counts": [(k.replace("_", " "), v) for k, v in found.items() if k not in known],
            }
        )
    context = {
        "parts": parts,
        "jobs_url": reverse("platform-jobs"),
        "now": clock.now(),
        "nav_section": "platform-health",
    }
    is_part = is_partial(request) and request.GET.get("part") == "live"
    return render(request, "estate/health.html#parts" if is_part else "estate/health.html", context)
