"""The trail: a tenant's for those who may read it, the platform's for platform admins and compliance officers."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from opsconsole.core.errors import Forbidden, Invalid, NotFound
from opsconsole.core.paging import Page
from tenants.models import Grants, PlatformRole, User
from tenants.pages import Visit, platform_page, tenant_page
from tenants.permissions import is_platform_admin

from . import presenters, selectors
from .models import AuditLog
from .sealing import seal_of
from .selectors import TrailFilter


def may_read_platform_trail(user: User) -> bool:
    """Whether the person may read every tenant's trail and the sign-ins."""
    return user.role == PlatformRole.COMPLIANCE_OFFICER or is_platform_admin(user)


def _list(request: HttpRequest) -> tuple[TrailFilter, Page, str]:
    """The filter, the page, and what is wrong with the filter (then the page is empty)."""
    wanted = TrailFilter.from_query(request.GET)
    try:
        return wanted, selectors.list_trail(wanted, cursor=request.GET.get("cursor", "")), ""
    except Invalid as error:
        return wanted, Page([]), error.message


def _show(request: HttpRequest, context: dict[str, Any], wanted: TrailFilter, problem: str) -> HttpResponse:
    context |= {
        "wanted": wanted,
        "problem": problem,
        "actions": presenters.ACTION_CHOICES,
        "resources": presenters.RESOURCE_CHOICES,
        "sources": presenters.SOURCE_CHOICES,
    }
    return render(request, "audit/trail.html", context, status=422 if problem else 200)


@tenant_page(Grants.VIEW_TRAIL)
def trail(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What happened in the tenant, newest first."""
    wanted, page, problem = _list(request)
    people = selectors.people_of(page.rows)
    rows = presenters.present(page.rows, people=people, slug=visit.tenant.slug)
    return _show(request, {"rows": rows, "page": page, "nav_section": "trail"}, wanted, problem)


@tenant_page(Grants.VIEW_TRAIL)
def trail_entry(request: HttpRequest, visit: Visit, pk: int) -> HttpResponse:
    """One row, before and after side by side."""
    return _entry(request, pk, slug=visit.tenant.slug, section="trail")


@platform_page()
def platform_trail(request: HttpRequest) -> HttpResponse:
    """What happened anywhere, sign-ins included."""
    _require(request)
    wanted, page, problem = _list(request)
    people, tenants = selectors.people_of(page.rows), selectors.tenants_named(page.rows)
    rows = presenters.present(page.rows, people=people, tenants=tenants)
    context = {"rows": rows, "page": page, "everywhere": True, "nav_section": "platform-trail"}
    return _show(request, context, wanted, problem)


@platform_page()
def platform_trail_entry(request: HttpRequest, pk: int) -> HttpResponse:
    _require(request)
    return _entry(request, pk, slug="", section="platform-trail")


def _require(request: HttpRequest) -> None:
    if not may_read_platform_trail(request.user):  # type: ignore[arg-type]
        raise Forbidden(
            "Only platform admins and compliance officers read the platform's trail.",
            recovery="A tenant's own trail is on its Trail page.",
        )


def _entry(request: HttpRequest, pk: int, *, slug: str, section: str) -> HttpResponse:
    row = AuditLog.objects.filter(pk=pk).first()
    if row is None:
        raise NotFound
    tenants = selectors.tenants_named([row]) if not slug else {}
    entry = presenters.present([row], people=selectors.people_of([row]), tenants=tenants, slug=slug)[0]
    context = {
        "entry": entry,
        "sides": presenters.sides(row),
        "facts": presenters.facts(row),
        "seal": seal_of(epoch=row.epoch, transaction_id=row.transaction_id, entry_id=row.pk),
        "everywhere": not slug,
        "nav_section": section,
    }
    return render(request, "audit/entry.html", context)
