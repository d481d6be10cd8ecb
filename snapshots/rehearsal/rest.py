"""Rehearsals over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from ninja import Router

from core.errors import Conflict
from core.paging import clamp
from core.support_rules import NEVER, READS, WRITES, in_support_session
from operations.rest import http_status, refuse_failed, wait_for
from operations.selectors import operation_row
from snapshots.models import Rehearsal
from tenants.api import caller, visit_for_object
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.permissions import require_operate

from . import selectors, services
from .documents import report_from
from .schemas import RehearsalAnswer, RehearsalIn, RehearsalList, RehearseAnswer

router = Router()
CSV = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@in_support_session(WRITES)
@router.post(
    "/environments/{environment_id}/rehearsals",
    response={200: RehearseAnswer, 202: RehearseAnswer},
    exclude_unset=True,
    summary="Rehearse an upgrade of n8n",
)
def rehearse(
    request: HttpRequest, environment_id: uuid.UUID, wait: float = 0, payload: RehearsalIn | None = None
) -> tuple[int, dict[str, Any]]:
    """The environment itself is not touched."""
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        environment = Environment.objects.get(pk=environment_id)
    require_operate(visit, environment)
    asked = payload or RehearsalIn()
    rehearsal, operation = services.start_rehearsal(
        tenant_id=visit.tenant.pk,
        environment_id=environment_id,
        version=asked.version,
        fresh=asked.fresh,
        requested_by=caller(request),
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    operation = wait_for(operation, wait) if wait else operation
    row = selectors.rehearsal_row(services.rehearsal_by_id(visit.tenant.pk, rehearsal.pk), whole=True)
    refuse_failed(operation, beside={"rehearsal": row})
    return http_status(operation), {"rehearsal": row, "operation": operation_row(operation)}


@in_support_session(READS)
@router.get(
    "/environments/{environment_id}/rehearsals",
    response=RehearsalList,
    exclude_unset=True,
    summary="Rehearsals of an environment, newest first",
)
def list_rehearsals(
    request: HttpRequest, environment_id: uuid.UUID, limit: int = 50, cursor: str = ""
) -> dict[str, Any]:
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        page = selectors.page(environment_id, cursor=cursor, limit=clamp(limit))
        rows = [selectors.rehearsal_row(row) for row in page.rows]
    return {"rehearsals": rows, "next_cursor": page.next_cursor or None}


@in_support_session(READS)
@router.get(
    "/rehearsals/{rehearsal_id}",
    response=RehearsalAnswer,
    exclude_unset=True,
    summary="One rehearsal with its report",
)
def get_rehearsal(request: HttpRequest, rehearsal_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, Rehearsal, rehearsal_id)
    return {"rehearsal": selectors.rehearsal_row(services.rehearsal_by_id(visit.tenant.pk, rehearsal_id), whole=True)}


@in_support_session(NEVER)
@router.get("/rehearsals/{rehearsal_id}/csv", openapi_extra={"responses": CSV}, summary="A rehearsal's report as CSV")
def get_csv(request: HttpRequest, rehearsal_id: uuid.UUID) -> StreamingHttpResponse:
    visit = visit_for_object(request, Rehearsal, rehearsal_id)
    report = report_from(services.rehearsal_by_id(visit.tenant.pk, rehearsal_id).report)
    if report is None:
        raise Conflict("The rehearsal has no report yet.", recovery="Wait for its job to end.")
    return StreamingHttpResponse(selectors.as_csv(report), content_type="text/csv; charset=utf-8")
