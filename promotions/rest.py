"""Promotions over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from core.errors import Invalid
from core.paging import clamp
from core.support_rules import NEVER, READS, WRITES, in_support_session
from operations.models import Operation
from operations.rest import http_status, refuse_failed, wait_for
from operations.selectors import operation_row
from tenants.api import caller, visit_for, visit_for_object
from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows.gateway import environment_by_id
from workflows.models import Environment
from workflows.permissions import require_approve, require_operate

from . import selectors, services
from .models import Promotion, PromotionStatus
from .permissions import require_prepare
from .reading.comparison import Comparison
from .running.documents import read_result
from .schemas import (
    DecisionIn,
    JobAnswer,
    PrepareIn,
    PromotionAnswer,
    PromotionIn,
    PromotionsAnswer,
    ReleaseIn,
    RollbackIn,
    WatchedPromotionAnswer,
    promotion_row,
    promotion_summary,
)

router = Router()

#: A runbook reads the outcome from the answer, so these calls wait for the end unless told otherwise; seconds.
DEFAULT_WAIT_SECONDS = 25.0


@in_support_session(READS)
@router.get(
    "/promotions/compare", response=Comparison, summary="Two environments side by side, and what blocks a promotion"
)
def compare(request: HttpRequest, source_env_id: uuid.UUID, target_env_id: uuid.UUID) -> Comparison:
    visit = visit_for_object(request, Environment, source_env_id)
    return services.compare(tenant_id=visit.tenant.pk, source_id=source_env_id, target_id=target_env_id)


@in_support_session(READS)
@router.get("/promotions", response=PromotionsAnswer, summary="Promotions of a tenant, newest first")
def list_promotions(
    request: HttpRequest,
    tenant: str,
    status: str = "",
    source_environment_id: uuid.UUID | None = None,
    target_environment_id: uuid.UUID | None = None,
    limit: int = 50,
    cursor: str = "",
) -> dict[str, Any]:
    visit = visit_for(request, tenant_id=tenant)
    states = [*PromotionStatus.values, *selectors.FILTERS]
    if status and status not in selectors.FILTERS and status.upper() not in PromotionStatus.values:
        raise Invalid(f"There is no status “{status}”.", recovery=f"Use one of {', '.join(states)}.")
    with tenant_scope(visit.tenant.pk):
        page = selectors.list_promotions(
            state=status,
            source_id=source_environment_id,
            target_id=target_environment_id,
            cursor=cursor,
            limit=clamp(limit),
        )
        rows = [promotion_summary(row) for row in page.rows]
    return {"promotions": rows, "next_cursor": page.next_cursor or None}


@in_support_session(WRITES)
@router.post(
    "/promotions", response={201: PromotionAnswer}, summary="Plan a promotion; with `submit` it is locked at once"
)
def create(request: HttpRequest, payload: PromotionIn) -> Any:
    source, target = payload.source_environment_id, payload.target_environment_id
    visit = visit_for_object(request, Environment, source)
    _require_operate(visit, target)
    wanted = services.PromotionRequest(
        source_id=source,
        target_id=target,
        keys=payload.workflow_keys,
        name=payload.name,
        description=payload.description,
        options=payload.options,
    )
    promotion = services.create(tenant_id=visit.tenant.pk, request=wanted, by=caller(request))
    if payload.submit:
        promotion = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=caller(request))
    return Status(201, {"promotion": promotion_row(promotion)})


@in_support_session(READS)
@router.get(
    "/promotions/{promotion_id}", response=WatchedPromotionAnswer, summary="One promotion with its plan and result"
)
def get(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    """``watched``: starters that could not be proven at once, and what became of them."""
    visit, promotion = _found(request, promotion_id)
    with tenant_scope(visit.tenant.pk):
        watched = selectors.watched_rows(promotion)
    return {"promotion": {**promotion_row(promotion), "watched": watched}}


@in_support_session(WRITES)
@router.post(
    "/promotions/execute/{promotion_id}", response={200: JobAnswer, 202: JobAnswer}, summary="Carry a promotion out"
)
def execute(request: HttpRequest, promotion_id: uuid.UUID, wait: float = DEFAULT_WAIT_SECONDS) -> Any:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    operation = services.execute(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    return _answer(visit, promotion_id, operation, wait)


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/submit",
    response=PromotionAnswer,
    summary="Lock the plan and ask for approval where it is needed",
)
def submit(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": promotion_row(done)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/replan", response=PromotionAnswer, summary="Plan again from the latest captures"
)
def replan(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.replan(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": promotion_row(done)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/repair",
    response=PromotionAnswer,
    summary="Plan again without connections that lead nowhere",
)
def repair(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.repair(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": promotion_row(done)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/prepare",
    response={200: JobAnswer, 202: JobAnswer},
    summary="Create in the target what the plan offers: credential stubs, data tables, columns",
)
def prepare(
    request: HttpRequest, promotion_id: uuid.UUID, payload: PrepareIn | None = None, wait: float = DEFAULT_WAIT_SECONDS
) -> Any:
    visit, promotion = _found(request, promotion_id)
    wanted = payload or PrepareIn()
    require_prepare(visit, promotion, rows=wanted.rows)
    operation = services.prepare(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        chosen=wanted.offers,
        rows=wanted.rows,
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    return _answer(visit, promotion_id, operation, wait)


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/test-credentials",
    response={200: JobAnswer, 202: JobAnswer},
    summary="Let n8n test the credentials that the plan needs",
)
def test_credentials(request: HttpRequest, promotion_id: uuid.UUID, wait: float = DEFAULT_WAIT_SECONDS) -> Any:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    operation = services.start_credential_tests(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    return _answer(visit, promotion_id, operation, wait)


@in_support_session(NEVER)
@router.post("/promotions/{promotion_id}/approve", response=PromotionAnswer, summary="Approve the locked plan")
def approve(request: HttpRequest, promotion_id: uuid.UUID, payload: DecisionIn | None = None) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_approve(visit, promotion.target_environment)
    decision = payload or DecisionIn()
    done = services.approve(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        comment=decision.comment,
        seen_plan_hash=decision.plan_hash,
    )
    return {"promotion": promotion_row(done)}


@in_support_session(NEVER)
@router.post("/promotions/{promotion_id}/reject", response=PromotionAnswer, summary="Reject a promotion")
def reject(request: HttpRequest, promotion_id: uuid.UUID, payload: DecisionIn | None = None) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_approve(visit, promotion.target_environment)
    comment = payload.comment if payload else ""
    done = services.reject(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request), comment=comment)
    return {"promotion": promotion_row(done)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/cancel",
    response=PromotionAnswer,
    summary="Withdraw it, or stop it and roll the target back",
)
def cancel(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.cancel(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": promotion_row(done)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/rollback",
    response={200: JobAnswer, 202: JobAnswer},
    summary="Roll back what it changed",
)
def rollback(
    request: HttpRequest,
    promotion_id: uuid.UUID,
    wait: float = DEFAULT_WAIT_SECONDS,
    payload: RollbackIn | None = None,
) -> Any:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    wanted = payload or RollbackIn()
    operation = services.rollback(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        force=wanted.force,
        snapshot_id=wanted.snapshot_id,
        reason=wanted.reason,
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    return _answer(visit, promotion_id, operation, wait)


@in_support_session(NEVER)
@router.post(
    "/promotions/{promotion_id}/release", response=PromotionAnswer, summary="Release a target that it left half-way"
)
def release(request: HttpRequest, promotion_id: uuid.UUID, payload: ReleaseIn) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.release(
        tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request), reason=payload.reason
    )
    return {"promotion": promotion_row(done)}


def _found(request: HttpRequest, promotion_id: uuid.UUID) -> tuple[Visit, Promotion]:
    visit = visit_for_object(request, Promotion, promotion_id)
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)
    with tenant_scope(visit.tenant.pk):
        return visit, selectors.settled_view(promotion, selectors.operation_of(promotion))


def _require_operate(visit: Visit, environment_id: uuid.UUID) -> None:
    require_operate(visit, environment_by_id(visit.tenant.pk, environment_id))


def _answer(visit: Visit, promotion_id: uuid.UUID, operation: Operation, wait: float) -> Any:
    """The promotion as it is then. A job that failed answers as its error, with the promotion beside it."""
    if wait:
        operation = wait_for(operation, wait)
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)
    with tenant_scope(visit.tenant.pk):
        promotion = selectors.settled_view(promotion, selectors.operation_of(promotion))
    body = {"promotion": promotion_row(promotion)}
    error = read_result(promotion.execution_result).error if operation.pk == promotion.operation_id else None
    refuse_failed(operation, fallback=error.to_json() if error else None, beside=body)
    return Status(http_status(operation), {**body, "operation": operation_row(operation)})
