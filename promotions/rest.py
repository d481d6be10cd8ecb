"""Promotions over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Body, Router, Status

from operations.models import Operation
from operations.rest import http_status, wait_for
from operations.selectors import operation_row
from opsconsole.core.errors import Invalid
from opsconsole.core.paging import clamp
from tenants.api import caller, visit_for, visit_for_object
from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.permissions import require_approve, require_operate

from . import selectors, services
from .models import Promotion

router = Router()

#: A runbook reads the outcome from the answer, so these calls wait for the end unless told otherwise; seconds.
DEFAULT_WAIT_SECONDS = 25.0


@router.get("/promotions/compare", summary="Two environments side by side, and what blocks a promotion")
def compare(request: HttpRequest, source_env_id: uuid.UUID, target_env_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, Environment, source_env_id)
    found = services.compare(tenant_id=visit.tenant.pk, source_id=source_env_id, target_id=target_env_id)
    return found.to_dict()


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


@router.post("/promotions", response={201: Any}, summary="Plan a promotion; with `submit` it is frozen at once")
def create(request: HttpRequest, body: dict[str, Any] = Body(...)) -> Any:  # noqa: B008 -- ninja's way
    source = _uuid(body, "source_environment_id", "source_env_id")
    target = _uuid(body, "target_environment_id", "target_env_id")
    keys = body.get("workflow_keys") or body.get("workflows") or []
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Invalid("`workflow_keys` is a list of keys.", details={"fields": {"workflow_keys": "a list of texts"}})
    visit = visit_for_object(request, Environment, source)
    _require_operate(visit, target)
    promotion = services.create(
        tenant_id=visit.tenant.pk,
        source_id=source,
        target_id=target,
        keys=keys,
        by=caller(request),
        name=str(body.get("name") or ""),
        description=str(body.get("description") or ""),
        options=body.get("options"),
    )
    if body.get("submit"):
        promotion = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion.pk, by=caller(request))
    return Status(201, {"promotion": selectors.promotion_row(promotion)})


@router.get("/promotions/{promotion_id}", summary="One promotion with its plan and result")
def get(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    _visit, promotion = _found(request, promotion_id)
    return {"promotion": selectors.promotion_row(promotion)}


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


@router.post("/promotions/{promotion_id}/submit", summary="Freeze the plan and ask for approval where it is needed")
def submit(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.submit(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": selectors.promotion_row(done)}


@router.post("/promotions/{promotion_id}/replan", summary="Plan again from the latest captures")
def replan(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.replan(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": selectors.promotion_row(done)}


@router.post("/promotions/{promotion_id}/approve", summary="Approve the frozen plan")
def approve(request: HttpRequest, promotion_id: uuid.UUID, body: dict[str, Any] | None = Body(None)) -> dict[str, Any]:  # noqa: B008
    visit, promotion = _found(request, promotion_id)
    require_approve(visit, promotion.target_environment)
    told = body or {}
    done = services.approve(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        comment=str(told.get("comment") or ""),
        seen_plan_hash=str(told.get("plan_hash") or ""),
    )
    return {"promotion": selectors.promotion_row(done)}


@router.post("/promotions/{promotion_id}/reject", summary="Turn a promotion down")
def reject(request: HttpRequest, promotion_id: uuid.UUID, body: dict[str, Any] | None = Body(None)) -> dict[str, Any]:  # noqa: B008
    visit, promotion = _found(request, promotion_id)
    require_approve(visit, promotion.target_environment)
    done = services.reject(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        comment=str((body or {}).get("comment") or ""),
    )
    return {"promotion": selectors.promotion_row(done)}


@router.post("/promotions/{promotion_id}/cancel", summary="Withdraw it, or stop it and put the target back")
def cancel(request: HttpRequest, promotion_id: uuid.UUID) -> dict[str, Any]:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    done = services.cancel(tenant_id=visit.tenant.pk, promotion_id=promotion_id, by=caller(request))
    return {"promotion": selectors.promotion_row(done)}


@router.post("/promotions/{promotion_id}/rollback", response={200: Any, 202: Any}, summary="Put back what it changed")
def rollback(
    request: HttpRequest,
    promotion_id: uuid.UUID,
    wait: float = DEFAULT_WAIT_SECONDS,
    body: dict[str, Any] | None = Body(None),  # noqa: B008
) -> Any:
    visit, promotion = _found(request, promotion_id)
    require_operate(visit, promotion.target_environment)
    told = body or {}
    snapshot_id = _uuid(told, "snapshot_id") if told.get("snapshot_id") else None
    operation = services.rollback(
        tenant_id=visit.tenant.pk,
        promotion_id=promotion_id,
        by=caller(request),
        force=bool(told.get("force")),
        snapshot_id=snapshot_id,
        reason=str(told.get("reason") or ""),
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    return _answer(visit, promotion_id, operation, wait)


def _found(request: HttpRequest, promotion_id: uuid.UUID) -> tuple[Visit, Promotion]:
    visit = visit_for_object(request, Promotion, promotion_id)
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)
    with tenant_scope(visit.tenant.pk):
        return visit, selectors.settled_view(promotion, selectors.operation_of(promotion))


def _require_operate(visit: Visit, environment_id: uuid.UUID) -> None:
    from workflows.gateway import environment_by_id

    require_operate(visit, environment_by_id(visit.tenant.pk, environment_id))


def _answer(visit: Visit, promotion_id: uuid.UUID, operation: Operation, wait: float) -> Any:
    if wait:
        operation = wait_for(operation, wait)
    promotion = services.get_promotion(tenant_id=visit.tenant.pk, promotion_id=promotion_id)
    body = {"promotion": selectors.promotion_row(promotion), "operation": operation_row(operation)}
    return Status(http_status(operation), body)


def _uuid(body: dict[str, Any], *names: str) -> uuid.UUID:
    given = next((body[name] for name in names if body.get(name)), None)
    try:
        return uuid.UUID(str(given))
    except ValueError as error:
        text = "is missing" if given is None else "is not an id"
        raise Invalid(f"`{names[0]}` {text}.", details={"fields": {names[0]: text}}) from error
