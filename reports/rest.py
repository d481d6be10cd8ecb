"""Reports over REST: what there is, make one, fetch its file."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from audit.views import may_read_platform_trail
from core import clock
from core.asked import Asked
from core.errors import NotFound
from core.paging import clamp, one_of
from core.support_rules import NEVER, in_support_session
from operations.waiting import wait_until
from tenants.api import caller, only_tenant, visit_for
from tenants.models import Grants, Tenant
from tenants.requests import token_of
from tenants.scope import platform_scope, tenant_or_platform_scope

from . import formats, selectors, services
from .definitions import all_reports, report_named, settle
from .errors import NotMade, PlatformOnly
from .models import Format, ReportRun, RunStatus
from .schemas import ReportList, ReportOut, ReportRunAnswer, ReportRunList, ReportRunOut, VerdictOut
from .views import file_response

router = Router()
#: The file in any of its formats; they are not JSON.
FILE = {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in formats.MEDIA_TYPES}}}


class ReportIn(Asked):
    """``tenant``: the tenant whose report it is; left out, the platform's, which ``about`` narrows to one tenant.

    ``since`` and ``until`` are ISO dates or moments; ``period`` is day, week, month or 90-days.
    """

    tenant: str = ""
    about: str = ""
    since: str = ""
    until: str = ""
    period: str = ""
    person: str = ""
    format: str = str(Format.CSV)


def _tenant(request: HttpRequest, tenant: str) -> Tenant | None:
    """The tenant whose reports are meant, or None for the platform's, which few may have."""
    bound = only_tenant(request)
    if tenant or bound:
        return visit_for(request, tenant_id=tenant or str(bound.pk), grant=Grants.VIEW_TRAIL).tenant  # type: ignore[union-attr]
    if not _may_platform(request):
        raise PlatformOnly(recovery="Name the tenant whose report you want: tenant=<short name>.")
    return None


def _may_platform(request: HttpRequest) -> bool:
    token = token_of(request)
    if token.tenant_id is not None or (token.permissions and Grants.VIEW_TRAIL not in token.permissions):
        return False
    with platform_scope():
        return may_read_platform_trail(caller(request))


def _run(request: HttpRequest, run_id: uuid.UUID) -> ReportRun:
    """The run, if the caller may read it. Raises ``NotFound`` otherwise, as for one that does not exist."""
    with platform_scope():
        found = ReportRun.objects.filter(pk=run_id).values_list("tenant_id", flat=True)[:1]
        tenant_id = next(iter(found), uuid.UUID(int=0))
    if tenant_id is not None:
        visit_for(request, tenant_id=tenant_id, grant=Grants.VIEW_TRAIL)
    elif not _may_platform(request):
        raise NotFound
    return services.get_run(tenant_id=tenant_id, run_id=run_id)


@in_support_session(NEVER)
@router.get("/reports", response=ReportList, summary="The reports that there are, and their columns")
def list_reports(request: HttpRequest) -> ReportList:
    return ReportList(reports=[ReportOut.of(report) for report in all_reports()])


@in_support_session(NEVER)
@router.get("/reports/runs", response=ReportRunList, summary="Reports that were made, newest first")
def list_runs(
    request: HttpRequest, tenant: str = "", report: str = "", limit: int = 50, cursor: str = ""
) -> ReportRunList:
    one_of("report", report, [known.name for known in all_reports()])
    owner = _tenant(request, tenant)
    tenant_id = owner.pk if owner else None
    with tenant_or_platform_scope(tenant_id):
        page = selectors.list_runs(tenant_id=tenant_id, report=report, cursor=cursor, limit=clamp(limit))
        runs = [ReportRunOut.of(run) for run in page.rows]
    return ReportRunList(runs=runs, next_cursor=page.next_cursor or None)


@in_support_session(NEVER)
@router.post("/reports/{name}", response={200: ReportRunAnswer, 202: ReportRunAnswer}, summary="Make a report")
def make_report(request: HttpRequest, name: str, payload: ReportIn, wait: float = 0) -> Status[ReportRunAnswer]:
    """202 while it is being made; with ``wait`` (seconds) 200 if it is ready by then, or the error that it met."""
    tenant, report = _tenant(request, payload.tenant), report_named(name)
    asked = settle(
        as_of=clock.now(),
        since=payload.since,
        until=payload.until,
        period=payload.period,
        person=payload.person,
        tenant="" if tenant else payload.about,
    )
    run = services.request_report(
        report=report, tenant=tenant, asked=asked, kind=payload.format, requested_by=caller(request)
    )
    run = _wait_for(run, wait)
    if run.status == RunStatus.FAILED:
        raise NotMade(run.error or None, beside=ReportRunAnswer.of(run).model_dump())
    return Status(202 if run.is_open else 200, ReportRunAnswer.of(run))


def _wait_for(run: ReportRun, seconds: float) -> ReportRun:
    current = run

    def is_over() -> bool:
        nonlocal current
        current = services.get_run(tenant_id=run.tenant_id, run_id=run.pk)
        return not current.is_open

    if run.is_open:
        wait_until(is_over, tenant_id=run.tenant_id, seconds=seconds)
    return current


@in_support_session(NEVER)
@router.get("/reports/runs/{run_id}", response=ReportRunAnswer, summary="One report with its manifest")
def get_report(request: HttpRequest, run_id: uuid.UUID, wait: float = 0) -> ReportRunAnswer:
    return ReportRunAnswer.of(_wait_for(_run(request, run_id), wait))


@in_support_session(NEVER)
@router.get("/reports/runs/{run_id}/download", openapi_extra={"responses": FILE}, summary="The report's file")
def download_report(request: HttpRequest, run_id: uuid.UUID) -> HttpResponse:
    return file_response(_run(request, run_id))


@in_support_session(NEVER)
@router.post(
    "/reports/runs/{run_id}/verify",
    response=VerdictOut,
    summary="Compare the file with its manifest and with the audit trail",
)
def verify_report(request: HttpRequest, run_id: uuid.UUID) -> VerdictOut:
    return VerdictOut.of(services.verify(_run(request, run_id)))
