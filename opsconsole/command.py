"""What Ctrl-K finds: tenants, environments, workflows, promotions, incidents, jobs, records, pages and actions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_safe

from core.errors import NotFound
from drift.models import ACTIVE, DriftIncident
from operations.models import Operation
from promotions.models import Promotion
from tenants.models import Grants, PlatformRole, Tenant, User
from tenants.pages import Visit, open_visit
from tenants.permissions import is_platform_admin
from tenants.requests import person_of
from tenants.scope import platform_scope, tenant_scope
from workflows.models import CanonicalWorkflow, Environment

from .command_records import Shelf, find_records

EACH = 6
LONGEST_QUERY = 80
Row = dict[str, Any]

#: (URL name, title|more words it is found by, icon, grant needed) of a tenant's places and actions.
TENANT_PLACES = (
    ("tenant-home", "Matrix|workflows", "table-cells", Grants.VIEW),
    ("environments", "Environments", "server-stack", Grants.VIEW),
    ("environment-create", "Add an environment", "plus", Grants.MANAGE_ENVIRONMENTS),
    ("snapshots", "Snapshots", "camera", Grants.VIEW),
    ("promotions", "Promotions", "arrow-up-on-square-stack", Grants.VIEW),
    ("promotion-new", "New promotion|promote", "arrow-up-on-square-stack", Grants.OPERATE),
    ("promotion-create", "New promotion|promote", "arrow-up-on-square-stack", Grants.OPERATE),
    ("drift", "Drift|incidents", "arrows-right-left", Grants.VIEW),
    ("jobs", "Jobs", "queue-list", Grants.VIEW),
    ("trail", "Trail|audit", "clipboard-document-list", Grants.VIEW_TRAIL),
    ("trail-export", "Export the trail|audit CSV OCSF", "document-arrow-down", Grants.VIEW_TRAIL),
    ("support-access", "Support access|sessions", "lifebuoy", Grants.VIEW_TRAIL),
    ("reports", "Reports|compliance", "document-chart-bar", Grants.VIEW_TRAIL),
    ("members", "Members|people", "users", Grants.VIEW),
    ("tokens", "Tokens|API keys", "key", Grants.MANAGE_TOKENS),
    ("credentials", "Credentials|stand-ins", "key", Grants.VIEW),
    ("tenant-settings", "Settings", "cog-6-tooth", Grants.VIEW),
    ("tenant-emergency", "Emergency|revoke tokens sign out reset credentials", "shield-exclamation", Grants.ADMINISTER),
)
#: The same of the platform; the last says for whom: all, staff (admins), trail (admins and compliance), sessions
#: (those and support) or support (who may begin a session).
PLATFORM_PLACES = (
    ("estate", "Estate all tenants", "squares-2x2", "all"),
    ("user_sessions", "Where you are signed in, sessions", "computer-desktop", "all"),
    ("mfa_index", "Two-factor sign-in, passkeys", "finger-print", "all"),
    ("account_change_password", "Change password", "lock-closed", "all"),
    ("api-docs", "API reference", "book-open", "all"),
    ("tenants", "Tenants, new tenant", "building-office-2", "sessions"),
    ("people", "People, platform roles", "users", "staff"),
    ("support-sessions", "Support sessions", "lifebuoy", "sessions"),
    ("support-start", "Start a support session", "lifebuoy", "support"),
    ("incidents", "Incidents", "fire", "staff"),
    ("platform-jobs", "Jobs of every tenant", "queue-list", "staff"),
    ("platform-health", "Health of the platform", "signal", "staff"),
    ("platform-trail", "Trail of the platform", "clipboard-document-list", "trail"),
    ("platform-trail-export", "Export the trail of the platform", "document-arrow-down", "trail"),
    ("platform-reports", "Reports of the platform, compliance", "document-chart-bar", "trail"),
)


def _url(name: str, **kwargs: Any) -> str:
    try:
        return reverse(name, kwargs=kwargs)
    except NoReverseMatch:
        return ""


def _matches(words: str, q: str) -> bool:
    return all(part in words.lower() for part in q.lower().split())


def _may(visit: Visit, grant: str) -> bool:
    """A platform admin reaches what is done for a tenant in an emergency without a role in it."""
    return visit.may(grant) or (grant == Grants.ADMINISTER and visit.is_platform_admin)


def _places(q: str, visit: Visit | None, roles: frozenset[str]) -> list[Row]:
    rows = []
    if visit is not None:
        for name, words, symbol, grant in TENANT_PLACES:
            if _may(visit, grant) and _matches(words, q) and (url := _url(name, tenant_slug=visit.tenant.slug)):
                rows.append({"title": words.partition("|")[0], "hint": visit.tenant.name, "url": url, "symbol": symbol})
    for name, words, symbol, whom in PLATFORM_PLACES:
        if whom in roles and _matches(words, q) and (url := _url(name)):
            rows.append({"title": words.partition("|")[0], "hint": "", "url": url, "symbol": symbol})
    return rows if q else rows[:8]


def _tenants(q: str, user: User, everything: bool) -> list[Row]:
    with platform_scope():
        rows = Tenant.objects.filter(Q(name__icontains=q) | Q(slug__icontains=q))
        if not everything:
            rows = rows.filter(pk__in=user.memberships.values("tenant_id"))
        found = list(rows.only("name", "slug").order_by("name")[:EACH])
    return [
        {
            "title": t.name,
            "hint": "tenant",
            "url": _url("tenant-home", tenant_slug=t.slug),
            "symbol": "building-office-2",
        }
        for t in found
    ]


def _environments(q: str, slugs: dict[uuid.UUID, tuple[str, str]]) -> list[Row]:
    rows = Environment.objects.filter(tenant_id__in=list(slugs), is_archived=False)
    rows = rows.filter(Q(name__icontains=q) | Q(slug__icontains=q)).order_by("position", "name")
    return [
        _row(slugs, e.tenant_id, e.name, e.get_kind_display().lower(), "environment", {"pk": e.pk}, "server-stack")
        for e in rows.only("id", "tenant_id", "name", "kind")[:EACH]
    ]


def _workflows(q: str, slugs: dict[uuid.UUID, tuple[str, str]]) -> list[Row]:
    rows = CanonicalWorkflow.objects.filter(tenant_id__in=list(slugs))
    rows = rows.filter(Q(name__icontains=q) | Q(key__icontains=q)).order_by("name")
    return [
        _row(slugs, w.tenant_id, w.name or w.key, w.key, "workflow", {"key": w.key}, "share")
        for w in rows.only("id", "tenant_id", "name", "key")[:EACH]
    ]


def _promotions(q: str, slugs: dict[uuid.UUID, tuple[str, str]]) -> list[Row]:
    rows = Promotion.objects.filter(tenant_id__in=list(slugs), name__icontains=q).order_by("-created_at", "-pk")
    return [
        _row(slugs, p.tenant_id, p.name, p.get_status_display().lower(), "promotion", {"pk": p.pk}, "", p.status)
        for p in rows.only("id", "tenant_id", "name", "status")[:EACH]
    ]


def _incidents(q: str, slugs: dict[uuid.UUID, tuple[str, str]]) -> list[Row]:
    rows = DriftIncident.objects.filter(tenant_id__in=list(slugs), incident_state__in=ACTIVE)
    rows = rows.filter(
        Q(workflow_env_map__env_name__icontains=q) | Q(workflow_env_map__canonical_workflow__key__icontains=q)
    )
    rows = rows.select_related("workflow_env_map").defer("drift_snapshot").order_by("-created_at", "-pk")
    return [
        _row(
            slugs,
            i.tenant_id,
            i.workflow_env_map.env_name,
            f"{i.severity} drift",
            "drift-incident",
            {"pk": i.pk},
            "",
            "drifted",
        )
        for i in rows[:EACH]
    ]


def _jobs(q: str, slugs: dict[uuid.UUID, tuple[str, str]]) -> list[Row]:
    rows = Operation.objects.filter(tenant_id__in=list(slugs), title__icontains=q).order_by("-created_at", "-pk")
    return [
        _row(slugs, o.tenant_id, o.title, o.get_status_display().lower(), "job", {"pk": o.pk}, "", o.status)
        for o in rows.only("id", "tenant_id", "title", "status")[:EACH]
    ]


def _jobs_of_all(q: str) -> list[Row]:
    """Jobs of any tenant by title or id: what the platform's page of jobs shows its admins."""
    try:
        rows = Operation.objects.filter(pk=uuid.UUID(q))
    except ValueError:
        rows = Operation.objects.filter(title__icontains=q)
    rows = rows.select_related("tenant").only("id", "title", "status", "tenant__slug", "tenant__name")
    return [
        {
            "title": o.title,
            "hint": f"{o.get_status_display().lower()} · {o.tenant.name}",
            "url": _url("job", tenant_slug=o.tenant.slug, pk=o.pk),
            "state": o.status,
        }
        for o in rows.order_by("-created_at", "-pk")[:EACH]
    ]


def _row(
    slugs: dict[uuid.UUID, tuple[str, str]], tenant_id: uuid.UUID, title: str, hint: str, name: str,
    key: dict[str, Any], symbol: str, state: str = "",
) -> Row:  # fmt: skip
    slug, tenant_name = slugs[tenant_id]
    where = f"{hint} · {tenant_name}" if len(slugs) > 1 else hint
    return {"title": title, "hint": where, "url": _url(name, tenant_slug=slug, **key), "symbol": symbol, "state": state}


FINDERS: tuple[tuple[str, Callable[[str, dict[uuid.UUID, tuple[str, str]]], list[Row]]], ...] = (
    ("Environments", _environments),
    ("Workflows", _workflows),
    ("Drift", _incidents),
    ("Promotions", _promotions),
    ("Jobs", _jobs),
)


def _by_id(q: str, slugs: dict[uuid.UUID, tuple[str, str]]) -> list[Row]:
    """What a pasted id belongs to."""
    try:
        wanted = uuid.UUID(q)
    except ValueError:
        return []
    rows = []
    for model, name, word in (
        (Environment, "environment", "environment"),
        (Promotion, "promotion", "promotion"),
        (DriftIncident, "drift-incident", "drift incident"),
        (Operation, "job", "job"),
    ):
        tenant_id = (
            model._default_manager.filter(pk=wanted, tenant_id__in=list(slugs))
            .values_list("tenant_id", flat=True)
            .first()
        )
        if tenant_id:
            rows.append(
                _row(slugs, tenant_id, f"{word.capitalize()} {q[:8]}…", word, name, {"pk": wanted}, "arrow-right")
            )
    return rows


def find(*, user: User, q: str, slug: str = "") -> list[dict[str, Any]]:
    """Groups of rows for ``components/command_results.html``; only what the person may see."""
    with platform_scope():
        admin = is_platform_admin(user)
    officer = user.role == PlatformRole.COMPLIANCE_OFFICER
    roles = _roles(admin=admin, officer=officer, support=user.role == PlatformRole.SUPPORT)
    visit: Visit | None = None
    if slug:
        try:
            visit = open_visit(user=user, slug=slug)
        except NotFound:
            visit = None
    groups = [("Go to", _places(q, visit, roles))]
    if len(q) >= 2:
        if visit is not None:
            here = {visit.tenant.pk: (visit.tenant.slug, visit.tenant.name)}
            trail = visit.may(Grants.VIEW_TRAIL)
            with tenant_scope(visit.tenant.pk):
                groups += _found(q, here) + find_records(q, Shelf(visit, trail, trail))
        else:
            with platform_scope():
                shelf = Shelf(None, sees_trail="trail" in roles, sees_sessions="sessions" in roles)
                found = dict(_found(q, _own_tenants(user)))
                if admin and "By id" not in found:
                    found["Jobs"] = _jobs_of_all(q)
                groups += [*found.items(), *find_records(q, shelf)]
        groups.append(("Tenants", _tenants(q, user, admin or officer)))
    return [{"label": label, "rows": kept} for label, rows in groups if (kept := [row for row in rows if row["url"]])]


def _roles(*, admin: bool, officer: bool, support: bool) -> frozenset[str]:
    """For whom the platform's places are, as far as the person is one of them."""
    of_admins = {"staff", "trail", "sessions", "support"} if admin else set()
    of_officers = {"trail", "sessions"} if officer else set()
    return frozenset({"all"} | of_admins | of_officers | ({"sessions", "support"} if support else set()))


def _own_tenants(user: User) -> dict[uuid.UUID, tuple[str, str]]:
    rows = Tenant.objects.filter(pk__in=user.memberships.values("tenant_id")).only("id", "slug", "name")
    return {t.pk: (t.slug, t.name) for t in rows[:200]}


def _found(q: str, slugs: dict[uuid.UUID, tuple[str, str]]) -> list[tuple[str, list[Row]]]:
    if not slugs:
        return []
    if rows := _by_id(q, slugs):
        return [("By id", rows)]
    return [(label, finder(q, slugs)) for label, finder in FINDERS]


@require_safe
@login_required
def command(request: HttpRequest) -> HttpResponse:
    """The bar's answer to HTMX; a plain page without JavaScript."""
    q = request.GET.get("q", "").strip()[:LONGEST_QUERY]
    groups = find(user=person_of(request), q=q, slug=request.GET.get("tenant", ""))
    context = {"groups": groups, "query": q}
    partial = getattr(request, "htmx", False)
    return render(request, "components/command_results.html" if partial else "estate/command.html", context)
