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
from core.swaps import live_page
from tenants.models import Grants, Tenant, User
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


class ReportOwner:
    """Whose reports a page shows: a tenant's, or the platform's (``tenant`` None)."""

    def __init__(self, visit: Visit | None) -> None:
        self.tenant: Tenant | None = visit.tenant if visit else None
        self.tenant_id = self.tenant.pk if self.tenant else None
        self.slug = self.tenant.slug if self.tenant else ""

    def url(self, name: str, /, **kwargs: Any) -> str:
        if self.tenant:
            return reverse(name, kwargs={"tenant_slug": self.slug, **kwargs})
        return reverse(f"platform-{name}", kwargs=kwargs)

    def tenants(self) -> list[tuple[str, str]] | None:
        """Tenants to which the platform's reports can be narrowed (short name, name); None in a tenant."""
        if self.tenant:
            return None
        with platform_scope():
            return list(Tenant.objects.order_by("name").values_list("slug", "name")[:MOST_TENANTS])

    def context(self) -> dict[str, Any]:
        return {
            "place_name": self.tenant.name if self.tenant else "the platform",
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
            return view(request, ReportOwner(visit), **kwargs)

        @in_support_session(LEAVES)
        @platform_page(methods=methods, scope=False)
        @functools.wraps(view)
        def of_platform(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            with platform_scope():
                allowed = may_read_platform_trail(person_of(request))
            if not allowed:
                raise PlatformOnly
            return view(request, ReportOwner(None), **kwargs)

        return of_tenant, of_platform

    return decorate


def _listed(owner: ReportOwner, run: ReportRun) -> dict[str, Any]:
    report = report_named(run.report)
    return {"run": run, "title": report.title, "url": owner.url("report-run", pk=run.pk)}


def _reports(request: HttpRequest, owner: ReportOwner) -> HttpResponse:
    """The reports that there are, those that were made, and the schedules."""
    with tenant_or_platform_scope(owner.tenant_id):
        page = selectors.list_runs(tenant_id=owner.tenant_id, cursor=request.GET.get("cursor", ""))
        schedules = selectors.list_schedules(tenant_id=owner.tenant_id)
    context = {
        "reports": [{"report": r, "url": owner.url("report", name=r.name)} for r in all_reports()],
        "page": page,
        "rows": [_listed(owner, run) for run in page.rows],
        "schedules": [
            {
                "schedule": s,
                "title": report_named(s.report).title,
                "url": owner.url("report-schedule", pk=s.pk),
                "report_url": owner.url("report", name=s.report),
            }
            for s in schedules
        ],
    }
    return render(request, "reports/list.html", context | owner.context())


def _report(request: HttpRequest, owner: ReportOwner, name: str) -> HttpResponse:
    """One report: its parameters and first rows; POST makes it."""
    report, now = report_named(name), clock.now()
    given = request.POST if request.method == "POST" else request.GET
    form = AskForm(given or None, report=report, tenants=owner.tenants(), initial={"format": Format.CSV})
    asked: Asked | None = settle(as_of=now)
    if form.is_bound:
        asked = _asked(form)
    if request.method == "POST" and asked is not None:
        run = services.request_report(
            report=report,
            tenant=owner.tenant,
            asked=asked,
            kind=form.cleaned_data["format"] or Format.CSV,
            requested_by=person_of(request),
        )
        return redirect(owner.url("report-run", pk=run.pk))
    schedule = ScheduleForm(report=report, tenants=owner.tenants(), initial={"recipients": person_of(request).email})
    return _show_report(request, owner, report, form=form, asked=asked, schedule=schedule)


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
    request: HttpRequest,
    owner: ReportOwner,
    report: Report,
    *,
    form: AskForm,
    asked: Asked | None,
    schedule: ScheduleForm,
) -> HttpResponse:
    rows, too_slow = _preview(owner, report, asked)
    context = {
        "report": report,
        "form": form,
        "schedule_form": schedule,
        "schedule_url": owner.url("report-schedule-new", name=report.name),
        "columns": report.columns,
        "rows": rows,
        "asked": asked,
        "hidden": {k: v for k, v in form.parameters().items() if v} if form.is_bound and asked else {},
        "slow": too_slow,
        "limit": selectors.PREVIEW_ROWS,
    }
    status = 422 if form.errors or schedule.errors else 200
    return render(request, "reports/report.html", context | owner.context(), status=status)


def _preview(owner: ReportOwner, report: Report, asked: Asked | None) -> tuple[list[list[str]], OpsError | None]:
    """The first rows as text, and the failure where they take too long."""
    if asked is None:
        return [], None
    try:
        rows = selectors.preview(report, asked, tenant_id=owner.tenant_id, slug=owner.slug)
    except OpsError as error:
        return [], error
    return [[formats.shown(value) for value in row] for row in rows], None


def _schedule_new(request: HttpRequest, owner: ReportOwner, name: str) -> HttpResponse:
    """Schedule a report."""
    report = report_named(name)
    form = ScheduleForm(request.POST, report=report, tenants=owner.tenants())
    if form.is_valid() and _create_schedule(form, report, owner, by=person_of(request)):
        messages.success(request, "The report is scheduled.")
        return redirect(owner.url("reports"))
    asking = AskForm(report=report, tenants=owner.tenants())
    return _show_report(request, owner, report, form=asking, asked=settle(as_of=clock.now()), schedule=form)


def _create_schedule(form: ScheduleForm, report: Report, owner: ReportOwner, *, by: User) -> bool:
    """Whether it was created; otherwise the form says why not."""
    fields = form.cleaned_data
    new = scheduling.NewSchedule(
        report=report,
        kind=fields["format"],
        frequency=fields["frequency"],
        hour=fields["hour"],
        recipients=tuple(fields["recipients"]),
        period=fields.get("period", ""),
        person=fields["person"],
        about=fields.get("tenant", ""),
    )
    try:
        scheduling.create_schedule(new, tenant=owner.tenant, by=by)
    except OpsError as error:
        for field, message in error.details.items():
            form.add_error(field if field in form.fields else None, str(message))
        return False
    return True


def _schedule_change(request: HttpRequest, owner: ReportOwner, pk: uuid.UUID) -> HttpResponse:
    action = request.POST.get("action", "")
    scheduling.change_schedule(tenant_id=owner.tenant_id, schedule_id=pk, action=action)
    outcomes = {"pause": "is paused", "resume": "is resumed", "remove": "is removed; its reports are kept"}
    messages.success(request, f"The schedule {outcomes.get(action, '')}.")
    return redirect(owner.url("reports"))


def _run(request: HttpRequest, owner: ReportOwner, pk: uuid.UUID) -> HttpResponse:
    """One report: its progress, then its file and manifest."""
    found = services.get_run(tenant_id=owner.tenant_id, run_id=pk)
    report = report_named(found.report)
    context = {
        "run": found,
        "report": report,
        "report_url": owner.url("report", name=report.name),
        "run_url": owner.url("report-run", pk=pk),
        "download_url": owner.url("report-download", pk=pk),
        "manifest_url": owner.url("report-manifest", pk=pk),
        "verify_url": owner.url("report-act", pk=pk, what="verify"),
        "send_url": owner.url("report-act", pk=pk, what="send"),
        "retry_url": owner.url("report-act", pk=pk, what="retry"),
    }
    return live_page(request, "reports/run.html", context | owner.context(), goes_on=found.is_open)


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


def _download(request: HttpRequest, owner: ReportOwner, pk: uuid.UUID) -> HttpResponse:
    return file_response(services.get_run(tenant_id=owner.tenant_id, run_id=pk))


def _manifest(request: HttpRequest, owner: ReportOwner, pk: uuid.UUID) -> HttpResponse:
    found = services.get_run(tenant_id=owner.tenant_id, run_id=pk)
    if found.manifest is None:
        raise NotFound("This report has no manifest yet.")
    body = orjson.dumps(found.manifest, option=orjson.OPT_INDENT_2)
    name = f"{mailing.download_name(found)}.manifest.json"
    return HttpResponse(
        body,
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _act(request: HttpRequest, owner: ReportOwner, pk: uuid.UUID, what: str) -> HttpResponse:
    """Verify the file, send the mail again, or try a failed report again."""
    found = services.get_run(tenant_id=owner.tenant_id, run_id=pk)
    if what == "verify":
        verdict = services.verify(found)
        if verdict.holds:
            messages.success(request, "The file is unchanged: its hash matches the manifest and the audit trail.")
        else:
            messages.error(
                request, f"The file has been changed: its hash is {verdict.found[:16]}…, not {expected_hash(verdict)}."
            )
    elif what == "send":
        services.send_again(run=found)
        messages.success(request, "The mail is being sent again.")
    elif what == "retry":
        services.try_again(run=found)
        messages.success(request, "The report is being made again.")
    else:
        raise NotFound
    return redirect(owner.url("report-run", pk=pk))


def expected_hash(verdict: services.Verdict) -> str:
    """The hash that the file should have: the audit trail's, else the manifest's."""
    return f"{(verdict.trail or verdict.manifest)[:16]}… as in the {'audit trail' if verdict.trail else 'manifest'}"


reports, platform_reports = both()(_reports)
report, platform_report = both((*READS, "POST"))(_report)
schedule_new, platform_schedule_new = both(("POST",))(_schedule_new)
schedule_change, platform_schedule_change = both(("POST",))(_schedule_change)
run, platform_run = both()(_run)
download, platform_download = both()(_download)
manifest, platform_manifest = both()(_manifest)
act, platform_act = both(("POST",))(_act)
