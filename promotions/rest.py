"""Promotions over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import AliasChoices, Field

from core.errors import Invalid
from core.paging import clamp
from core.support_rules import NEVER, READS, WRITES, in_support_session
from operations.models import Operation
from operations.rest import http_status, refuse_failed, wait_for
from operations.selectors import operation_row
from tenants.api import caller, visit_for, visit_for_object
from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.permissions import require_approve, require_operate

from . import selectors, services
from .models import Promotion, PromotionStatus
from .permissions import require_prepare

router = Router()

#: A runbook reads the outcome from the answer, so these calls wait for the end unless told otherwise; seconds.
DEFAULT_WAIT_SECONDS = 25.0


class PromotionIn(Schema):
    """A promotion to be planned. ``options``: ``active`` (keep, copy, inactive), ``include_required``,
    ``require_approval``. With ``submit`` the plan is frozen at once."""

    source_environment_id: uuid.UUID = Field(validation_alias=AliasChoices("source_environment_id", "source_env_id"))
    target_environment_id: uuid.UUID = Field(validation_alias=AliasChoices("target_environment_id", "target_env_id"))
    workflow_keys: list[str] = Field([], validation_alias=AliasChoices("workflow_keys", "workflows"))
    name: str = ""
    description: str = ""
    options: dict[str, Any] | None = None
    submit: bool = False


class DecisionIn(Schema):
    """``plan_hash``: the plan that was looked at, so that no other one is approved by accident."""

    comment: str = ""
    plan_hash: str = ""


class ReleaseIn(Schema):
    """``reason``: what was looked at, and settled by hand."""

    reason: str


class RollbackIn(Schema):
    """``snapshot_id``: instead of the one taken before the promotion. ``force``: also over changes made since."""

    force: bool = False
    snapshot_id: uuid.UUID | None = None
    reason: str = ""


class PrepareIn(Schema):
    """``offers``: ids of what the plan offers (``dangling[].offer.id``); left out, all. ``rows``: copy rows as well."""

    offers: list[str] | None = None
    rows: bool = False


@in_support_session(READS)
@router.get("/promotions/compare", summary="Two environments side by side, and what blocks a promotion")
def compare(request: HttpRequest, source_env_id: uuid.UUID, target_env_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, Environment, source_env_id)
    found = services.compare(tenant_id=visit.tenant.pk, source_id=source_env_id, target_id=target_env_id)
    return found.to_dict()


@in_support_session(READS)
@router.get("/promotions", summary="Promotions of a tenant, newest first")
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
        rows = [selectors.promotion_row(row, whole=False) for row in page.rows]
    return {"promotions": rows, "next_cursor": page.next_cursor or None}


@in_support_session(WRITES)
@router.post("/promotions", response={201: Any}, summary="Plan a promotion; with `submit` it is frozen at once")
def create(request: HttpRequest, payload: PromotionIn) -> Any:
    source, target = payload.source_environment_id, payload.target_environment_id
    visit = visit_for_object(request, Environment, source)
    _require_operate(visit, target)
    promotion = services.create(
        tenant_id=visit.tenant.pk,
        source_id=source,
        target_id=target,
        keys=payload.workflow_keys,
        by=caller(request),
        name=payload.name,
        description=payload.description,
        options=payload.options,
    )
    if payload.submit:
        promotion = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=caller(request))
    return Status(201, {"promotion": selectors.promotion_row(promotion)})


@in_support_session(READS)
@router.get("/promotions/{promotion_id}", summary="One promotion with its plan and result")
def get(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    """``watched``: starters that could not be proven at once, and what became of them."""
    visit, promotion = _found(request, promotion_id)
    with tenant_scope(visit.tenant.pk):
        watched = selectors.watched_rows(promotion)
    return {"promotion": {**selectors.promotion_row(promotion), "watched": watched}}


@in_support_session(WRITES)
@router.post("/promotions/execute/{promotion_id}", response={200: Any, 202: Any}, summary="Carry a promotion out")
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
@router.post("/promotions/{promotion_id}/submit", summary="Freeze the plan and ask for approval where it is needed")
def submit(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": selectors.promotion_row(done)}


@in_support_session(WRITES)
@router.post("/promotions/{promotion_id}/replan", summary="Plan again from the latest captures")
def replan(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.replan(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": selectors.promotion_row(done)}


@in_support_session(WRITES)
@router.post("/promotions/{promotion_id}/repair", summary="Plan again without connections that lead nowhere")
def repair(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.repair(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": selectors.promotion_row(done)}


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/prepare",
    response={200: Any, 202: Any},
    summary="Create in the target what the plan offers: credential stubs, data tables, columns",
)
def prepare(
    request: HttpRequest, promotion_id: uuid.UUID, payload: PrepareIn | None = None, wait: float = DEFAULT_WAIT_SECONDS
) -> Any:
    visit, promotion = _found(request, promotion_id)
    told = payload or PrepareIn()
    require_prepare(visit, promotion, rows=told.rows)
    operation = services.prepare(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        chosen=told.offers,
        rows=told.rows,
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    return _answer(visit, promotion_id, operation, wait)


@in_support_session(WRITES)
@router.post(
    "/promotions/{promotion_id}/test-credentials",
    response={200: Any, 202: Any},
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
@router.post("/promotions/{promotion_id}/approve", summary="Approve the frozen plan")
def approve(request: HttpRequest, promotion_id: uuid.UUID, payload: DecisionIn | None = None) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_approve(visit, promotion.target_environment)
    told = payload or DecisionIn()
    done = services.approve(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        comment=told.comment,
        seen_plan_hash=told.plan_hash,
    )
    return {"promotion": selectors.promotion_row(done)}


@in_support_session(NEVER)
@router.post("/promotions/{promotion_id}/reject", summary="Turn a promotion down")
def reject(request: HttpRequest, promotion_id: uuid.UUID, payload: DecisionIn | None = None) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_approve(visit, promotion.target_environment)
    comment = payload.comment if payload else ""
    done = services.reject(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request), comment=comment)
    return {"promotion": selectors.promotion_row(done)}


@in_support_session(WRITES)
@router.post("/promotions/{promotion_id}/cancel", summary="Withdraw it, or stop it and put the target back")
def cancel(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.cancel(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": selectors.promotion_row(done)}


@in_support_session(WRITES)
@router.post("/promotions/{promotion_id}/rollback", response={200: Any, 202: Any}, summary="Put back what it changed")
def rollback(
    request: HttpRequest,
    promotion_id: uuid.UUID,
    wait: float = DEFAULT_WAIT_SECONDS,
    payload: RollbackIn | None = None,
) -> Any:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    told = payload or RollbackIn()
    operation = services.rollback(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        force=told.force,
        snapshot_id=told.snapshot_id,
        reason=told.reason,
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    return _answer(visit, promotion_id, operation, wait)


@in_support_session(NEVER)
@router.post("/promotions/{promotion_id}/release", summary="Let go of a target that it left half-way")
def release(request: HttpRequest, promotion_id: uuid.UUID, payload: ReleaseIn) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.release(
        tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request), reason=payload.reason
    )
    return {"promotion": selectors.promotion_row(done)}


def _found(request: HttpRequest, promotion_id: uuid.UUID) -> tuple[Visit, Promotion]:
    visit = visit_for_object(request, Promotion, promotion_id)
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)
    with tenant_scope(visit.tenant.pk):
        return visit, selectors.settled_view(promotion, selectors.operation_of(promotion))


def _require_operate(visit: Visit, environment_id: uuid.UUID) -> None:
    from workflows.gateway import environment_by_id

    require_operate(visit, environment_by_id(visit.tenant.pk, environment_id))


def _answer(visit: Visit, promotion_id: uuid.UUID, operation: Operation, wait: float) -> Any:
    """The promotion as it is then. A job that failed answers as its error, with the promotion beside it."""
    if wait:
        operation = wait_for(operation, wait)
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)
    with tenant_scope(visit.tenant.pk):
        promotion = selectors.settled_view(promotion, selectors.operation_of(promotion))
    body = {"promotion": selectors.promotion_row(promotion)}
    ended_by_hand = (promotion.execution_result or {}).get("error") if operation.pk == promotion.operation_id else None
    refuse_failed(operation, fallback=ended_by_hand, beside=body)
    return Status(http_status(operation), {**body, "operation": operation_row(operation)})
