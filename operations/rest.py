"""Jobs over REST."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.http import HttpRequest
from ninja import Router

from core.errors import OpsError
from core.paging import clamp, one_of
from core.support_rules import LEAVES, READS, WRITES, in_support_session
from tenants.api import caller, only_tenant, visit_for, visit_for_object
from tenants.base import belongs_to
from tenants.models import Grants
from tenants.permissions import is_platform_admin
from tenants.requests import token_of
from tenants.scope import platform_scope, tenant_or_platform_scope, tenant_scope

from . import admission, selectors, services
from .errors import JobCancelled, JobFailed, JobParked
from .models import Operation, OperationStatus
from .schemas import JobList, OperationAnswer, OperationDetailAnswer, OperationList
from .waiting import wait_for

__all__ = ["http_status", "refuse_failed", "router", "wait_for"]

router = Router()


_BY_STATUS: Mapping[str, type[OpsError]] = {
    OperationStatus.CANCELLED: JobCancelled,
    OperationStatus.PARKED: JobParked,
}
_NOT_DONE = (OperationStatus.FAILED, *_BY_STATUS)


def http_status(operation: Operation) -> int:
    """202 while there is more to come, 200 once it has ended."""
    return 202 if operation.is_open else 200


def refuse_failed(
    operation: Operation,
    *answers: type[OpsError],
    fallback: Mapping[str, Any] | None = None,
    beside: dict[str, Any] | None = None,
) -> None:
    """Answer a job that failed, was cancelled or is parked as an error: it must not be taken for done.

    ``answers`` are the failures that this call may end with, first the one for all that has a code of none of them;
    without them the job's own failure is named. ``fallback`` is the error (code, message, recovery, details) where the
    job names none. ``beside`` is the call's usual body, which a runbook reads in the same place; the job is added.
    """
    if operation.status not in _NOT_DONE:
        return
    error: Mapping[str, Any] = operation.error_details or fallback or {"message": operation.error_message}
    code = str(error.get("code") or "")
    failure = _failure(operation, code, answers)
    details = dict(error.get("details") or {})
    if code and code != failure.code:
        details["cause"] = code
    raise failure(
        (operation.error_message if operation.error_details else error["message"]) or None,
        details={**details, "operation_id": str(operation.pk)},
        recovery=error.get("recovery"),
        beside={**(beside or {}), "operation": selectors.operation_row(operation)},
    )


def _failure(operation: Operation, code: str, answers: Sequence[type[OpsError]]) -> type[OpsError]:
    """The class whose status and words tell how the job ended."""
    if operation.status in _BY_STATUS:
        return _BY_STATUS[operation.status]
    known = answers or (JobFailed, *_every_failure())
    return next((kind for kind in known if kind.code == code), known[0])


def _every_failure(kind: type[OpsError] = OpsError) -> Iterator[type[OpsError]]:
    for narrower in kind.__subclasses__():
        yield narrower
        yield from _every_failure(narrower)


@in_support_session(READS)
@router.get("/operations", response=OperationList, summary="Jobs, newest first")
def list_operations(
    request: HttpRequest, tenant: str, state: str = "", kind: str = "", limit: int = 50, cursor: str = ""
) -> dict[str, Any]:
    visit = visit_for(request, tenant_id=tenant)
    one_of("state", state, selectors.FILTERS)
    with tenant_scope(visit.tenant.pk):
        page = selectors.list_operations(state=state, kind=kind, cursor=cursor, limit=clamp(limit))
        admission.tell_why_waiting(page.rows)
        return {
            "operations": [selectors.operation_row(row) for row in page.rows],
            "next_cursor": page.next_cursor or None,
        }


def _tenant_id_of(request: HttpRequest, operation_id: uuid.UUID, *, grant: str = Grants.VIEW) -> uuid.UUID | None:
    """The tenant of an operation that the caller may reach; None for the platform's own, which its admins reach.

    For everybody else, and for a token that is narrowed, the platform's answers as one that does not exist.
    """
    token = token_of(request)
    if token.tenant_id is None and not token.permissions and is_platform_admin(token.user):
        with platform_scope():
            if Operation.objects.filter(belongs_to(None), pk=operation_id).exists():
                return None
    return visit_for_object(request, Operation, operation_id, grant=grant).tenant.pk


@in_support_session(READS)
@router.get("/operations/{operation_id}", response=OperationDetailAnswer, summary="One job with its steps")
def get_operation(request: HttpRequest, operation_id: uuid.UUID, wait: float = 0) -> dict[str, Any]:
    tenant_id = _tenant_id_of(request, operation_id)
    operation = services.get_operation(tenant_id=tenant_id, operation_id=operation_id)
    if wait:
        operation = wait_for(operation, wait)
    with tenant_or_platform_scope(tenant_id):
        admission.tell_why_waiting([operation])
        steps = [step.to_dict() for step in operation.steps.all()[: selectors.STEPS_SHOWN]]
    return {"operation": {**selectors.operation_row(operation, whole=True), "steps": steps}}


@in_support_session(WRITES)
@router.post("/operations/{operation_id}/cancel", response=OperationAnswer, summary="Ask a job to stop")
def cancel_operation(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    tenant_id = _tenant_id_of(request, operation_id, grant=Grants.OPERATE)
    operation = services.cancel(tenant_id=tenant_id, operation_id=operation_id, by=caller(request))
    return {"operation": selectors.operation_row(operation)}


@in_support_session(WRITES)
@router.post("/operations/{operation_id}/retry", response=OperationAnswer, summary="Let a parked job try again")
def retry_operation(request: HttpRequest, operation_id: uuid.UUID) -> dict[str, Any]:
    tenant_id = _tenant_id_of(request, operation_id, grant=Grants.OPERATE)
    operation = services.retry(tenant_id=tenant_id, operation_id=operation_id)
    return {"operation": selectors.operation_row(operation)}


@in_support_session(LEAVES)
@router.get("/background-jobs", response=JobList, summary="Jobs of every tenant the caller may see")
def background_jobs(request: HttpRequest, state: str = "open", limit: int = 50, cursor: str = "") -> dict[str, Any]:
    """Of the token's tenant, where it is bound to one. Platform admins see the platform's own as well."""
    user, bound = caller(request), only_tenant(request)
    one_of("state", state, selectors.FILTERS)
    with platform_scope():
        if bound is not None:
            seen: list[uuid.UUID] | None = [bound.pk]
        else:
            seen = None if is_platform_admin(user) else list(user.memberships.values_list("tenant_id", flat=True))
        page = selectors.list_operations(state=state, tenant_ids=seen, cursor=cursor, limit=clamp(limit))
        admission.tell_why_waiting(page.rows)
        return {"jobs": [selectors.operation_row(row) for row in page.rows], "next_cursor": page.next_cursor or None}
