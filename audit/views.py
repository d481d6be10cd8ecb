"""The trail: a tenant's for those who may read it, the platform's for platform admins and compliance officers."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from core import clock
from core.downloads import Download
from core.errors import Invalid, NotFound
from core.paging import Page
from core.support_rules import LEAVES, NEVER, READS, in_support_session
from tenants.models import Grants, PlatformRole, Tenant, User
from tenants.pages import Visit, platform_page, tenant_page
from tenants.permissions import is_platform_admin
from tenants.requests import person_of

from . import act_lines, acts, presenters, selectors
from .errors import AuditAccessRefused
from .export import COUNTED, FORMATS, count_matching, export_trail
from .models import AuditLog
from .sealing import seal_of
from .selectors import TrailFilter

#: What is searched by id, under "More filters".
BY_ID = (
    ("resource_id", "Object's id"),
    ("session", "Support session's id"),
    ("request", "Request's id"),
    ("operation", "Job's id"),
)
ENDINGS = {"csv": "csv", "jsonl": "jsonl", "ocsf": "ocsf.jsonl"}
CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson", "ocsf": "application/x-ndjson"}


def may_read_platform_trail(user: User) -> bool:
    """Whether the person may read every tenant's trail and the sign-ins."""
    return user.role == PlatformRole.COMPLIANCE_OFFICER or is_platform_admin(user)


def _wanted(request: HttpRequest, *, everywhere: bool) -> TrailFilter:
    """The filter of the address or the form. A tenant's own page knows no other tenant."""
    wanted = TrailFilter.from_query(request.POST if request.method == "POST" else request.GET)
    return wanted if everywhere else replace(wanted, tenant="")


ENTRIES = "entries"  #: the view that shows each entry; else they are gathered into acts


def _list(request: HttpRequest, wanted: TrailFilter, *, slug: str = "") -> tuple[dict[str, Any], str]:
    """What the page lists, and what is wrong with the filter (then it is empty)."""
    cursor = request.GET.get("cursor", "")
    try:
        if request.GET.get("view") != ENTRIES:
            page = acts.list_acts(wanted, cursor=cursor)
            lines = act_lines.act_lines(page.rows, slug=slug)
            return {"page": page, "acts": lines, "entry_base": _entry_base(slug)}, ""
        page = selectors.list_trail(wanted, cursor=cursor)
    except Invalid as error:
        return {"page": Page([])}, error.message
    people, tenants = selectors.people_of(page.rows), {} if slug else selectors.tenants_named(page.rows)
    rows = presenters.present(page.rows, people=people, tenants=tenants, slug=slug)
    return {"page": page, "rows": rows, "entry_base": _entry_base(slug)}, ""


def _entry_base(slug: str) -> str:
    """The address of an entry, up to its number."""
    first = (
        reverse("trail-entry", kwargs={"tenant_slug": slug, "pk": 0})
        if slug
        else reverse("platform-trail-entry", args=[0])
    )
    return first.removesuffix("0/")


def _tabs(wanted: TrailFilter, view: dict[str, str]) -> list[tuple[str, str, bool]]:
    rest = replace(wanted, by="").asked() | view
    return [
        (label, f"?{urlencode({'by': value, **rest} if value else rest)}", wanted.by == value)
        for value, label in (("", "Everything"), *presenters.BY.items())
    ]


def _show(request: HttpRequest, context: dict[str, Any], wanted: TrailFilter, problem: str) -> HttpResponse:
    by_entry = request.GET.get("view") == ENTRIES
    view = {"view": ENTRIES} if by_entry else {}
    context |= {
        "wanted": wanted,
        "tabs": _tabs(wanted, view),
        "by_entry": by_entry,
        "other_view": f"?{urlencode(wanted.asked() | ({} if by_entry else {'view': ENTRIES}))}",
        "export_query": wanted.query(),
        "problem": problem,
        "actions": presenters.action_choices(),
        "resources": presenters.resource_choices(),
        "sources": presenters.SOURCE_CHOICES,
        "ids": [(name, label, getattr(wanted, name)) for name, label in BY_ID],
    }
    return render(request, "audit/trail.html", context, status=422 if problem else 200)


@in_support_session(READS)
@tenant_page(Grants.VIEW_TRAIL)
def trail(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What happened in the tenant, newest first."""
    wanted = _wanted(request, everywhere=False)
    listed, problem = _list(request, wanted, slug=visit.tenant.slug)
    return _show(request, {**listed, "nav_section": "trail"}, wanted, problem)


@in_support_session(READS)
@tenant_page(Grants.VIEW_TRAIL)
def trail_entry(request: HttpRequest, visit: Visit, pk: int) -> HttpResponse:
    """One row, before and after side by side."""
    return _entry(request, pk, slug=visit.tenant.slug, section="trail")


@in_support_session(LEAVES)
@platform_page()
def platform_trail(request: HttpRequest) -> HttpResponse:
    """What happened anywhere, sign-ins included."""
    _require(request)
    wanted = _wanted(request, everywhere=True)
    listed, problem = _list(request, wanted)
    return _show(request, {**listed, "everywhere": True, "nav_section": "platform-trail"}, wanted, problem)


@in_support_session(LEAVES)
@platform_page()
def platform_trail_entry(request: HttpRequest, pk: int) -> HttpResponse:
    _require(request)
    return _entry(request, pk, slug="", section="platform-trail")


def _require(request: HttpRequest) -> None:
    if not may_read_platform_trail(person_of(request)):
        raise AuditAccessRefused(
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


@in_support_session(NEVER)
@tenant_page(Grants.VIEW_TRAIL, methods=("GET", "HEAD", "POST"))
def trail_export(request: HttpRequest, visit: Visit) -> HttpResponse:
    """What an export of the tenant's trail would hold; a POST is the file."""
    return _export(request, tenant=visit.tenant)


@in_support_session(LEAVES)
@platform_page(methods=("GET", "HEAD", "POST"))
def platform_trail_export(request: HttpRequest) -> HttpResponse:
    """The same of every tenant's."""
    _require(request)
    return _export(request, tenant=None)


def _export(request: HttpRequest, *, tenant: Tenant | None) -> HttpResponse:
    wanted = _wanted(request, everywhere=tenant is None)
    if request.method == "POST":
        return _file(wanted, kind=request.POST.get("format", ""), tenant=tenant)
    problem, count = "", 0
    try:
        count = count_matching(wanted)
    except Invalid as error:
        problem = error.message
    made = selectors.exports()
    context = {
        "filters_in_words": presenters.in_words(wanted),
        "query": wanted.query(),
        "hidden": wanted.asked(),
        "count": count,
        "counted": COUNTED,
        "formats": FORMATS.items(),
        "problem": problem,
        "made": presenters.present(made, people=selectors.people_of(made)),
        "everywhere": tenant is None,
        "nav_section": "trail" if tenant else "platform-trail",
    }
    return render(request, "audit/export.html", context, status=422 if problem else 200)


def _file(wanted: TrailFilter, *, kind: str, tenant: Tenant | None) -> HttpResponse:
    """Written and on record before its first byte leaves: nobody has an export that the trail does not know."""
    held = tempfile.TemporaryFile()  # noqa: SIM115 -- the answer closes it
    try:
        manifest = export_trail(wanted, kind=kind, write=held.write, tenant_id=tenant.pk if tenant else None)
    except BaseException:
        held.close()
        raise
    held.seek(0)
    name = f"trail-{tenant.slug if tenant else 'platform'}-{clock.now():%Y%m%d-%H%M%S}.{ENDINGS[kind]}"
    response = Download(held, filename=name, content_type=CONTENT_TYPES[kind])
    response["X-Content-SHA256"] = manifest.sha256
    response["X-Row-Count"] = str(manifest.rows)
    return response  # type: ignore[return-value]
