"""Upgrades of n8n over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router

from core.paging import clamp
from core.support_rules import READS, WRITES, in_support_session
from operations.rest import http_status, refuse_failed, wait_for
from operations.selectors import operation_row
from tenants.api import caller, visit_for_object
from tenants.scope import tenant_scope
from workflows.models import Environment
from workflows.permissions import require_operate

from . import services, upgrade_selectors
from .models import N8nUpgrade
from .schemas import ApproveUpgradeIn, JobAnswer, UpgradeAnswer, UpgradeList

router = Router()


@in_support_session(READS)
@router.get(
    "/environments/{environment_id}/upgrades",
    response=UpgradeList,
    exclude_unset=True,
    summary="Upgrades of an environment's n8n, newest first",
)
def list_upgrades(request: HttpRequest, environment_id: uuid.UUID, limit: int = 50, cursor: str = "") -> dict[str, Any]:
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        page = upgrade_selectors.page(environment_id=environment_id, cursor=cursor, limit=clamp(limit))
        return {
            "upgrades": [upgrade_selectors.upgrade_row(row) for row in page.rows],
            "next_cursor": page.next_cursor or None,
        }


@in_support_session(READS)
@router.get(
    "/upgrades/{upgrade_id}",
    response=UpgradeAnswer,
    exclude_unset=True,
    summary="One upgrade with what it changed, and who made each change",
)
def get_upgrade(request: HttpRequest, upgrade_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, N8nUpgrade, upgrade_id)
    with tenant_scope(visit.tenant.pk):
        return {"upgrade": upgrade_selectors.upgrade_row(upgrade_selectors.upgrade_by_id(upgrade_id), whole=True)}


@in_support_session(WRITES)
@router.post(
    "/upgrades/{upgrade_id}/approve",
    response={200: JobAnswer, 202: JobAnswer},
    summary="Approve all that n8n changed at an upgrade",
)
def approve_upgrade(
    request: HttpRequest,
    upgrade_id: uuid.UUID,
    wait: float = 0,
    payload: ApproveUpgradeIn | None = None,
) -> tuple[int, dict[str, Any]]:
    """One job and one commit; what was edited since is left alone and listed."""
    visit = visit_for_object(request, N8nUpgrade, upgrade_id)
    with tenant_scope(visit.tenant.pk):
        environment = upgrade_selectors.upgrade_by_id(upgrade_id).environment
    require_operate(visit, environment)
    operation = services.approve_upgrade(
        tenant_id=visit.tenant.pk,
        upgrade_id=upgrade_id,
        comment=(payload.comment if payload else None) or "",
        requested_by=caller(request),
        idempotency_key=request.headers.get("Idempotency-Key") or None,
    )
    operation = wait_for(operation, wait) if wait else operation
    refuse_failed(operation)
    return http_status(operation), {"operation": operation_row(operation)}
