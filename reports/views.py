"""Pages of reports. One set of views serves a tenant (``visit`` given) and the platform (``visit`` None)."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

import orjson
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from audit.views import may_read_platform_trail
from core import clock
from core.downloads import Download
from core.errors import NotFound, OpsError
from core.reports import Report
from core.support_rules import LEAVES, NEVER, in_support_session
from tenants.models import Grants, Tenant
from tenants.pages import Visit, platform_page, tenant_page
from tenants.requests import person_of
from tenants.scope import platform_scope, tenant_or_platform_scope

from . import formats, mailing, scheduling, selectors, services
from .definitions import Asked, all_reports, report_named, settle
from .errors import PlatformOnly
from .forms import AskForm, ScheduleForm
from .models import Format, ReportRun

READS = ("GET", "HEAD")
MOST_TENANTS = 1000
View = Callable[..., HttpResponse]


class Place:
    """Where a page stands: a tenant, or the platform (``tenant`` None)."""

    def __init__(self, visit: Visit | None) -> None:
        self.tenant: Tenant | None = visit.tenant if visit else None
        self.tenant_id = self.tenant.pk if self.tenant else None
        self.slug = self.tenant.slug if self.tenant else ""

    def url(self, name: str, /, **kwargs: Any) -> str:
        if self.tenant:
            return reverse(name, kwargs={"tenant_slug": self.slug, **kwargs})
        return reverse(f"platform-{name}", kwargs=kwargs)

    def tenants(self) -> list[tuple[str, str]] | None:
        """What the platform's reports can be narrowed to; None in a tenant."""
        if self.tenant:
            return None
        with platform_scope():
            return list(Tenant.objects.order_by("name").values_list("slug", "name")[:MOST_TENANTS])

    def context(self) -> dict[str, Any]:
        return {
            "place_name": self.tenant.name if self.tenant else "the whole platform",
            "list_url": self.url("reports"),
            "nav_section": "reports" if self.tenant else "platform-reports",
        }


def both(methods: tuple[str, ...] = READS) -> Callable[[View], tuple[View, View]]:
    """The page of a tenant and the page of the platform, each behind its own guard, from one view."""

    def decorate(view: View) -> tuple[View, View]:
        @in_support_session(NEVER)
        @tenant_page(Grants.VIEW_TRAIL, methods=methods, scope=False)
        @functools.wraps(view)
        def of_tenant(request: HttpRequest, visit: Visit, **kwargs: Any) -> HttpResponse:
            return view(request, Place(visit), **kwargs)

        @in_support_session(LEAVES)
        @platform_page(methods=methods, scope=False)
        @functools.wraps(view)
        def of_platform(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            with platform_scope():
                allowed = may_read_platform_trail(person_of(request))
            if not allowed:
                raise PlatformOnly
            return view(request, Place(None), **kwargs)

        return of_tenant, of_platform

    return decorate


def _listed(place: Place, run: ReportRun) -> dict[str, Any]:
    report = report_named(run.report)
    return {"run": run, "title": report.title, "url": place.url("report-run", pk=run.pk)}


def _reports(request: HttpRequest, place: Place) -> HttpResponse:
    """What can be asked, what was made, what is sent by itself."""
    with tenant_or_platform_scope(place.tenant_id):
        page = selectors.list_runs(tenant_id=place.tenant_id, cursor=request.GET.get("cursor", ""))
        schedules = selectors.list_schedules(tenant_id=place.tenant_id)
    context = {
        "reports": [{"report": r, "url": place.url("report", name=r.name)} for r in all_reports()],
        "page": page,
        "rows": [_listed(place, run) for run in page.rows],
        "schedules": [
            {
                "schedule": s,
                "title": report_named(s.report).title,
                "url": place.url("report-schedule", pk=s.pk),
                "report_url": place.url("report", name=s.report),
            }
            for s in schedules
        ],
    }
    return render(request, "reports/list.html", context | place.context())


def _report(request: HttpRequest, place: Place, name: str) -> HttpResponse:
    """One report: its parameters and first rows; POST makes it."""
    report, now = report_named(name), clock.now()
    given = request.POST if request.method == "POST" else request.GET
    form = AskForm(given or None, report=report, tenants=place.tenants(), initial={"format": Format.CSV})
    asked: Asked | None = settle(as_of=now)
    if form.is_bound:
        asked = _asked(form)
    if request.method == "POST" and asked is not None:
        run = services.request_report(
            report=report,
            tenant=place.tenant,
            asked=asked,
            kind=form.cleaned_data["format"] or Format.CSV,
            requested_by=person_of(request),
        )
        return redirect(place.url("report-run", pk=run.pk))
    schedule = ScheduleForm(report=report, tenants=place.tenants(), initial={"recipients": person_of(request).email})
    return _show_report(request, place, report, form=form, asked=asked, schedule=schedule)


def _asked(form: AskForm) -> Asked | None:
    """The settled parameters; None (and the form says why) where they cannot be used."""
    if not form.is_valid():
        return None
    try:
        return settle(as_of=clock.now(), **form.parameters())
    except OpsError as error:
        form.add_error(None, error.message)
        return None


def _show_report(
    request: HttpRequest, place: Place, report: Report, *, form: AskForm, asked: Asked | None, schedule: ScheduleForm
) -> HttpResponse:
    rows: list[tuple[Any, ...]] = []
    slow: OpsError | None = None
    if asked is not None:
        try:
            rows = selectors.preview(report, asked, tenant_id=place.tenant_id, slug=place.slug)
        except OpsError as error:
            slow = error
    context = {
        "report": report,
        "form": form,
        "schedule_form": schedule,
        "schedule_url": place.url("report-schedule-new", name=report.name),
        "columns": report.columns,
        "rows": [[formats.shown(value) for value in row] for row in rows],
        "asked": asked,
        "hidden": {k: v for k, v in form.parameters().items() if v} if form.is_bound and asked else {},
        "slow": slow,
        "limit": selectors.PREVIEW_ROWS,
    }
    status = 422 if form.errors or schedule.errors else 200
    return render(request, "reports/report.html", context | place.context(), status=status)


def _schedule_new(request: HttpRequest, place: Place, name: str) -> HttpResponse:
    """A report that is sent by itself from now on."""
    report = report_named(name)
    form = ScheduleForm(request.POST, report=report, tenants=place.tenants())
    user = person_of(request)
    if form.is_valid():
        given = form.cleaned_data
        try:
            scheduling.create_schedule(
                report=report,
                tenant=place.tenant,
                kind=given["format"],
                frequency=given["frequency"],
                hour=given["hour"],
                period=given.get("period", ""),
                person=given["person"],
                about=given.get("tenant", ""),
                recipients=given["recipients"],
                by=user,
            )
        except OpsError as error:
            for field, told in error.details.items():
                form.add_error(field if field in form.fields else None, str(told))
        else:
            messages.success(request, "The report is sent by itself from now on.")
            return redirect(place.url("reports"))
    asking = AskForm(report=report, tenants=place.tenants())
    return _show_report(request, place, report, form=asking, asked=settle(as_of=clock.now()), schedule=form)


def _schedule_change(request: HttpRequest, place: Place, pk: uuid.UUID) -> HttpResponse:
    action = request.POST.get("action", "")
    scheduling.change_schedule(tenant_id=place.tenant_id, schedule_id=pk, action=action)
    said = {"pause": "is paused", "resume": "runs again", "remove": "is gone; what it made stays"}
    messages.success(request, f"The schedule {said.get(action, '')}.")
    return redirect(place.url("reports"))


def _run(request: HttpRequest, place: Place, pk: uuid.UUID) -> HttpResponse:
    """One report: how far it is; then its manifest, its file and the proof."""
    found = services.get_run(tenant_id=place.tenant_id, run_id=pk)
    report = report_named(found.report)
    context = {
        "run": found,
        "report": report,
        "report_url": place.url("report", name=report.name),
        "run_url": place.url("report-run", pk=pk),
        "download_url": place.url("report-download", pk=pk),
        "manifest_url": place.url("report-manifest", pk=pk),
        "verify_url": place.url("report-act", pk=pk, what="verify"),
        "send_url": place.url("report-act", pk=pk, what="send"),
        "retry_url": place.url("report-act", pk=pk, what="retry"),
    }
    name = "reports/run.html#live" if request.GET.get("part") == "live" else "reports/run.html"
    return render(request, name, context | place.context())


def file_response(run: ReportRun) -> HttpResponse:
    """The file as a download, on record."""
    path = services.file_of(run)
    services.record_download(run)
    response = Download(
        path.open("rb"),
        filename=mailing.download_name(run),
        content_type=formats.CONTENT_TYPES[Format(run.format)],
    )
    response["X-Content-SHA256"] = run.sha256
    return response  # type: ignore[return-value]


def _download(request: HttpRequest, place: Place, pk: uuid.UUID) -> HttpResponse:
    return file_response(services.get_run(tenant_id=place.tenant_id, run_id=pk))


def _manifest(request: HttpRequest, place: Place, pk: uuid.UUID) -> HttpResponse:
    found = services.get_run(tenant_id=place.tenant_id, run_id=pk)
    if found.manifest is None:
        raise NotFound("This report has no manifest yet.")
    body = orjson.dumps(found.manifest, option=orjson.OPT_INDENT_2)
    name = f"{mailing.download_name(found)}.manifest.json"
    return HttpResponse(
        body,
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _act(request: HttpRequest, place: Place, pk: uuid.UUID, what: str) -> HttpResponse:
    """Verify the file, send the mail again, or try a failed report again."""
    found = services.get_run(tenant_id=place.tenant_id, run_id=pk)
    if what == "verify":
        verdict = services.verify(found)
        if verdict.holds:
            messages.success(request, "The file is what was made: its hash is the manifest's and the trail's.")
        else:
            messages.error(request, f"The file is NOT what was made: {verdict.found[:16]}…, not {told(verdict)}.")
    elif what == "send":
        services.send_again(run=found)
        messages.success(request, "The mail is sent again.")
    elif what == "retry":
        services.try_again(run=found)
        messages.success(request, "The report is tried again.")
    else:
        raise NotFound
    return redirect(place.url("report-run", pk=pk))


def told(verdict: services.Verdict) -> str:
    """Which hash the file ought to have, by the trail first."""
    return f"{(verdict.trail or verdict.manifest)[:16]}… as the {'trail' if verdict.trail else 'manifest'} says"


reports, platform_reports = both()(_reports)
report, platform_report = both((*READS, "POST"))(_report)
schedule_new, platform_schedule_new = both(("POST",))(_schedule_new)
schedule_change, platform_schedule_change = both(("POST",))(_schedule_change)
run, platform_run = both()(_run)
download, platform_download = both()(_download)
manifest, platform_manifest = both()(_manifest)
act, platform_act = both(("POST",))(_act)
