"""The estate: a tile per tenant, ordered by trouble. A fixed number of queries however many tenants there are.

What a tile shows beside the tenant's name, the apps declare (``core.tiles``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core import clock
from core.errors import NotFound
from core.htmx import is_partial
from core.paging import BadCursor, Page, decode, encode
from core.registry import registry
from core.support_rules import LEAVES, in_support_session
from core.tiles import TileArea, TileFacts, TilePart, TileTrouble
from tenants.audiences import audiences_of
from tenants.models import PlatformRole, Tenant, TenantStatus, User
from tenants.pages import platform_page
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.selectors import MEMBERSHIPS_SHOWN

from . import health

TILES = 48
#: From here on a list of ids costs more than counting for everybody.
MANY = 100
VIEWS = (("", "All"), ("trouble", "In trouble"), ("busy", "Busy"))
SUSPENDED = TileTrouble(rank=0, state="inactive", word="Suspended")
IN_SYNC = TileTrouble(rank=1000, state="in_sync", word="In sync")


@dataclass(slots=True)
class Tile:
    """What one tenant looks like from above: the facts of each part, by the part's name."""

    tenant: Tenant
    facts: dict[str, TileFacts] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def score(self) -> int:
        return sum(facts.score for facts in self.facts.values())

    @property
    def is_busy(self) -> bool:
        return any(facts.is_busy for facts in self.facts.values())

    @property
    def troubles(self) -> list[TileTrouble]:
        """The gravest first."""
        found = [trouble for facts in self.facts.values() for trouble in facts.troubles]
        if self.tenant.status == TenantStatus.SUSPENDED:
            found.append(SUSPENDED)
        return sorted(found, key=lambda trouble: trouble.rank)

    @property
    def health(self) -> tuple[str, str]:
        """State and word; what is not known is never drawn as good."""
        gravest = next(iter(self.troubles), IN_SYNC)
        return gravest.state, gravest.word

    @property
    def is_seen(self) -> bool:
        """Whether anybody can know what drifts there now."""
        return self.health[0] != "unknown" and not any(trouble.is_blinding for trouble in self.troubles)

    def parts(self, area: TileArea) -> list[tuple[TilePart, dict[str, Any]]]:
        """The parts of an area with their values, in the order in which they are drawn."""
        found = [part for part in registry.tile_parts() if part.area == area]
        return [(part, {**self.facts[part.name].values, **self.details.get(part.name, {})}) for part in found]

    @property
    def middle(self) -> list[tuple[TilePart, dict[str, Any]]]:
        return self.parts(TileArea.MIDDLE)

    @property
    def line(self) -> list[tuple[TilePart, dict[str, Any]]]:
        return self.parts(TileArea.LINE)

    @property
    def foot(self) -> list[tuple[TilePart, dict[str, Any]]]:
        return self.parts(TileArea.FOOT)


def visible_tenants(user: User, q: str = "", *, admin: bool) -> QuerySet[Tenant]:
    """The tenants on the estate of a person, platform admin or not. Platform scope."""
    rows = Tenant.objects.all()
    if not (user.role == PlatformRole.COMPLIANCE_OFFICER or admin):
        rows = rows.filter(pk__in=user.memberships.values("tenant_id"))
    if q:
        rows = rows.filter(Q(name__icontains=q) | Q(slug__icontains=q))
    return rows.only("id", "name", "slug", "status")


def tiles(tenants: Iterable[Tenant], *, view: str = "", cursor: str = "", limit: int = TILES) -> Page:
    """One page of tiles in order of trouble. A query or two for each part, however many tenants."""
    by_id = {tenant.pk: Tile(tenant) for tenant in tenants}
    tenant_ids = None if len(by_id) > MANY else list(by_id)
    for part in registry.tile_parts():
        found = part.facts(tenant_ids)
        for tenant_id, tile in by_id.items():
            tile.facts[part.name] = found.get(tenant_id, part.without)
    page = _cut([tile for tile in by_id.values() if _belongs(tile, view)], cursor, limit)
    _add_details(page.rows)
    return page


def _add_details(shown: list[Tile]) -> None:
    tenant_ids = [tile.tenant.pk for tile in shown]
    for part in registry.tile_parts():
        found = part.details(tenant_ids) if part.details is not None else {}
        for tile in shown:
            tile.details[part.name] = dict(found.get(tile.tenant.pk, {}))


def _belongs(tile: Tile, view: str) -> bool:
    return {"trouble": tile.score > 0, "busy": tile.is_busy}.get(view, True)


def _order(tile: Tile) -> tuple[int, str, str]:
    return (-tile.score, tile.tenant.name.casefold(), str(tile.tenant.pk))


def _cut(chosen: list[Tile], cursor: str, limit: int) -> Page:
    """The tiles after the cursor's key: trouble moves tiles, so the key is their place, not their number."""
    ordered = sorted(chosen, key=_order)
    if cursor:
        score, name, tenant_id = decode(cursor, 3)
        if not isinstance(score, int):
            raise BadCursor
        ordered = [tile for tile in ordered if _order(tile) > (score, str(name), str(tenant_id))]
    rows = ordered[:limit]
    return Page(rows, encode(list(_order(rows[-1]))) if len(ordered) > limit else "")


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
    context = {"page": page, "q": q, "view": view, "views": VIEWS, "nav_section": "estate"}
    name = "estate/estate.html#tiles" if is_partial(request, target="tiles") else "estate/estate.html"
    return render(request, name, {**shell, **context, "may_create": admin})


#: What the health page counts of jobs, and the filter of the jobs' page that lists them.
_JOB_FILTERS = {"parked": "parked", "running": "running", "stuck": "running", "failed_last_24_hours": "failed"}
_NOT_COUNTS = {"status", "latency_ms", "message", "queues", "last_seen_at", "free_bytes", "age_seconds"}


def _job_counts(found: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """Words, number and filter of each count."""
    counts = ((name, count) for name, count in found.items() if name not in _NOT_COUNTS)
    return [(name.replace("_", " "), count, _JOB_FILTERS.get(name, "open")) for name, count in counts]


@in_support_session(LEAVES)
@platform_page(scope=False)
def platform_health(request: HttpRequest) -> HttpResponse:
    """Each part of the platform, asked now. For platform admins and support."""
    user = person_of(request)
    if not (is_platform_admin(user) or user.role == PlatformRole.SUPPORT):
        raise NotFound
    parts = []
    answers = health.probe_all(registry.health_components())
    for name, part in registry.health_components().items():
        found = answers[name]
        parts.append(
            {
                "name": part.title,
                "state": {"ok": "in_sync"}.get(found["status"], found["status"]),
                "word": {"ok": "Works", "failed": "Failing"}.get(found["status"], "Unknown"),
                "found": found,
                "counts": _job_counts(found) if name == "jobs" else [],
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
