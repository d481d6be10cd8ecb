"""Drift incidents over REST, in the shape that the operators' runbook reads."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from core import connections, pacing
from core.errors import Forbidden, Invalid, OpsError
from core.paging import clamp
from core.support_rules import NEVER, READS, WRITES, in_support_session
from operations.errors import Busy
from operations.models import Operation
from operations.rest import http_status, refuse_failed, wait_for
from operations.selectors import operation_row
from tenants.api import caller, only_tenant, visit_for, visit_for_object
from tenants.models import Grants, User
from tenants.pages import Visit
from tenants.permissions import is_platform_admin
from tenants.requests import token_of
from tenants.scope import platform_scope, tenant_scope
from workflows import emergency
from workflows.models import Environment
from workflows.permissions import require_operate

from . import scheduling, selectors, services
from .errors import Overdue, ReconcileFailed, StabilizeFailed
from .models import DriftIncident, IncidentState
from .schemas import (
    AcknowledgeIn,
    CloseIn,
    IncidentAnswer,
    IncidentList,
    IncidentQuery,
    JobAnswer,
    ReconcileIn,
    SettlingAnswer,
    StabilizeIn,
    StartedSchedulers,
    StoppedSchedulers,
)

router = Router()

#: A runbook's next call expects the incident in its new state, so these calls wait by themselves.
DEFAULT_WAIT_SECONDS = 20.0

#: 200 once the job has ended, 202 while there is more to come.
SETTLING = {200: SettlingAnswer, 202: SettlingAnswer}


@in_support_session(READS)
@router.get("/incidents", response=IncidentList, exclude_unset=True, summary="Drift incidents, newest first")
def list_incidents(
    request: HttpRequest, query: Query[IncidentQuery], tenant: str = "", limit: int = 50, cursor: str = ""
) -> dict[str, Any]:
    """``tenant`` may be left out with ``environment_id`` or a token that is bound to one tenant."""
    visit = _visit(request, tenant, query.environment_id)
    asked = query.to_filter()
    with tenant_scope(visit.tenant.pk):
        page = selectors.page(asked, cursor=cursor, limit=clamp(limit))
        return {
            "incidents": [selectors.incident_row(row) for row in page.rows],
            "next_cursor": page.next_cursor or None,
        }


def _visit(request: HttpRequest, tenant: str, environment_id: uuid.UUID | None) -> Visit:
    if tenant:
        return visit_for(request, tenant_id=tenant)
    if environment_id is not None:
        return visit_for_object(request, Environment, environment_id)
    bound = only_tenant(request)
    if bound is None:
        raise Invalid("Say which tenant: `tenant` (id or short name) or `environment_id`.")
    return visit_for(request, tenant_id=bound.pk)


@in_support_session(READS)
@router.get(
    "/incidents/{incident_id}",
    response=IncidentAnswer,
    exclude_unset=True,
    summary="One drift incident with its full diff",
)
def get_incident(request: HttpRequest, incident_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, DriftIncident, incident_id)
    return {"incident": _row(visit, incident_id)}


@in_support_session(WRITES)
@router.post(
    "/incidents/{incident_id}/acknowledge",
    response=IncidentAnswer,
    exclude_unset=True,
    summary="Say that somebody looks into it",
)
def acknowledge(request: HttpRequest, incident_id: uuid.UUID, payload: AcknowledgeIn | None = None) -> dict[str, Any]:
    visit = _operate(request, incident_id)
    asked = payload or AcknowledgeIn()
    services.acknowledge(
        tenant_id=visit.tenant.pk,
        incident_ids=[incident_id],
        comment=asked.comment or "",
        assigned_to=asked.assigned_to or "",
        by=caller(request),
    )
    return {"incident": _row(visit, incident_id)}


@in_support_session(WRITES)
@router.post(
    "/incidents/{incident_id}/stabilize", response=SETTLING, exclude_unset=True, summary="Write back what is approved"
)
def stabilize(
    request: HttpRequest,
    incident_id: uuid.UUID,
    wait: float = DEFAULT_WAIT_SECONDS,
    payload: StabilizeIn | None = None,
    reason: emergency.Reason = "",
) -> tuple[int, dict[str, Any]]:
    """What n8n itself changed at an upgrade is refused (DRIFT_012) unless ``despite_upgrade``.

    An incident that is stabilized already is the answer as it is, without a job: the call may be repeated.
    """
    visit, environment = _found(request, incident_id)
    act = emergency.permit(request, visit, environment, what=emergency.What.STABILIZE, reason=reason)
    if settled := _settled(visit, incident_id, IncidentState.STABILIZED):
        return settled
    if act is not None:
        act.record()
    asked = payload or StabilizeIn()
    options = services.StabilizeOptions(
        force=asked.force, added=asked.added or "deactivate", despite_upgrade=asked.despite_upgrade
    )

    def start() -> list[Operation]:
        return services.stabilize(
            tenant_id=visit.tenant.pk,
            incident_ids=[incident_id],
            comment=asked.comment or "",
            options=options,
            requested_by=caller(request),
            idempotency_key=request.headers.get("Idempotency-Key") or None,
        )

    return _answer(visit, incident_id, start, wait, StabilizeFailed)


@in_support_session(WRITES)
@router.post(
    "/incidents/{incident_id}/reconcile", response=SETTLING, exclude_unset=True, summary="Approve what is there"
)
def reconcile(
    request: HttpRequest,
    incident_id: uuid.UUID,
    wait: float = DEFAULT_WAIT_SECONDS,
    payload: ReconcileIn | None = None,
) -> tuple[int, dict[str, Any]]:
    """An incident that is reconciled already is the answer as it is, without a job: the call may be repeated."""
    visit = _operate(request, incident_id)
    if settled := _settled(visit, incident_id, IncidentState.RECONCILED):
        return settled
    asked = payload or ReconcileIn()

    def start() -> list[Operation]:
        return services.reconcile(
            tenant_id=visit.tenant.pk,
            incident_ids=[incident_id],
            comment=asked.comment or "",
            update_git=asked.update_git,
            create_promotion_record=asked.create_promotion_record,
            requested_by=caller(request),
            idempotency_key=request.headers.get("Idempotency-Key") or None,
        )

    return _answer(visit, incident_id, start, wait, ReconcileFailed)


@in_support_session(WRITES)
@router.post("/incidents/{incident_id}/close", response=IncidentAnswer, exclude_unset=True, summary="End an incident")
def close(request: HttpRequest, incident_id: uuid.UUID, payload: CloseIn | None = None) -> dict[str, Any]:
    visit = _operate(request, incident_id)
    asked = payload or CloseIn()
    services.close(
        tenant_id=visit.tenant.pk,
        incident_id=incident_id,
        comment=asked.comment or "",
        resolution_type=asked.resolution_type or "",
        by=caller(request),
    )
    return {"incident": _row(visit, incident_id)}


@in_support_session(WRITES)
@router.post(
    "/environments/{environment_id}/drift-check",
    response={200: JobAnswer, 202: JobAnswer},
    summary="Look for drift now",
)
def check(request: HttpRequest, environment_id: uuid.UUID, wait: float = 0) -> tuple[int, dict[str, Any]]:
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        environment = Environment.objects.get(pk=environment_id)
    require_operate(visit, environment)
    operation = services.start_check(
        tenant_id=visit.tenant.pk,
        environment_id=environment_id,
        requested_by=caller(request),
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    operation = wait_for(operation, wait) if wait else operation
    refuse_failed(operation)
    return http_status(operation), {"operation": operation_row(operation)}


@in_support_session(NEVER)
@router.post("/drift/schedulers/stop-all", response=StoppedSchedulers, summary="Stop looking for drift, everywhere")
def stop_all(request: HttpRequest) -> dict[str, int]:
    """Platform admins only, with a token that is not bound to a tenant."""
    return scheduling.stop_all(by=_switching_every_tenant(request))


@in_support_session(NEVER)
@router.post("/drift/schedulers/start-all", response=StartedSchedulers, summary="Look for drift again, everywhere")
def start_all(request: HttpRequest) -> dict[str, int]:
    """Takes back ``stop-all``; checks that a tenant's own people had stopped stay stopped."""
    _switching_every_tenant(request)
    return scheduling.start_all()


def _switching_every_tenant(request: HttpRequest) -> User:
    user = caller(request)
    with platform_scope():
        allowed = is_platform_admin(user)
    if not allowed or only_tenant(request) is not None or token_of(request).permissions:
        raise Forbidden("Only a platform admin may start and stop every tenant's checks.")
    return user


def _operate(request: HttpRequest, incident_id: uuid.UUID) -> Visit:
    visit, environment = _found(request, incident_id)
    require_operate(visit, environment)
    return visit


def _found(request: HttpRequest, incident_id: uuid.UUID) -> tuple[Visit, Environment]:
    visit = visit_for_object(request, DriftIncident, incident_id, grant=Grants.VIEW)
    return visit, services.incident_by_id(visit.tenant.pk, incident_id).workflow_env_map.environment


def _row(visit: Visit, incident_id: uuid.UUID) -> dict[str, Any]:
    return selectors.incident_row(services.incident_by_id(visit.tenant.pk, incident_id), whole=True)


def _settled(visit: Visit, incident_id: uuid.UUID, state: str) -> tuple[int, dict[str, Any]] | None:
    """The answer where what is asked for has been done."""
    incident = _row(visit, incident_id)
    return (200, {"incident": incident}) if incident["incident_state"] == state else None


def _answer(
    visit: Visit,
    incident_id: uuid.UUID,
    start: Callable[[], list[Operation]],
    wait: float,
    failure: type[OpsError],
) -> tuple[int, dict[str, Any]]:
    """Start, wait, and answer with the incident as it is then. A job that failed answers as its error."""
    deadline = time.monotonic() + max(wait, 0.0)
    operation = _start_when_free(start, deadline)[0]
    if wait:
        operation = wait_for(operation, deadline - time.monotonic())
    incident = _row(visit, incident_id)
    refuse_failed(operation, failure, Overdue, beside={"incident": incident})
    return http_status(operation), {"incident": incident, "operation": operation_row(operation)}


def _start_when_free(start: Callable[[], list[Operation]], deadline: float) -> list[Operation]:
    """A runbook settles one incident after the other: while another job holds the environment, try again."""
    pause = 0.2
    while True:
        try:
            return start()
        except Busy:
            if time.monotonic() + pause > deadline:
                raise
        connections.release()
        pacing.step_aside()
        time.sleep(pause)
        pause = min(pause * 1.5, 2.0)
