"""How production is guarded, over REST: the rules, what waits for a second owner, and the answers to it."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from core.asked import Asked
from core.errors import NotFound
from core.support_rules import NEVER, READS, in_support_session
from tenants.api import caller, only_tenant, visit_for, visit_for_object
from tenants.models import Grants
from tenants.scope import tenant_scope

from . import guard_changes, guards
from .models import GuardChange
from .schemas import ApprovalRulesAnswer, GuardChangeAnswer

router = Router()


class ApprovalRulesPatch(Asked):
    """What to change; the rest stays. ``tenant`` may be left out where the token belongs to one."""

    tenant: str = ""
    allows_jumps: bool | None = None
    allow_user_id: uuid.UUID | None = None
    forbid_user_id: uuid.UUID | None = None


class GuardAnswerIn(Asked):
    """``approve`` true: do it; false: decline, or withdraw one's own."""

    approve: bool


def _tenant_id(request: HttpRequest, tenant: str, *, grant: str) -> uuid.UUID:
    bound = None if tenant else only_tenant(request)
    found: uuid.UUID = visit_for(request, tenant_id=str(bound.pk) if bound else tenant, grant=grant).tenant.pk
    return found


@in_support_session(READS)
@router.get("/approval-rules", response=ApprovalRulesAnswer, summary="How production is guarded")
def approval_rules(request: HttpRequest, tenant: str = "") -> dict[str, Any]:
    """The rules, and the changes that wait for a second owner."""
    return _rules(_tenant_id(request, tenant, grant=Grants.VIEW))


def _rules(tenant_id: uuid.UUID) -> dict[str, Any]:
    with tenant_scope(tenant_id):
        policy = guards.policy_of(tenant_id)
        return {
            "allows_jumps": policy.allows_jumps,
            "approving_accounts": policy.approving_accounts,
            "waiting": [_row(change) for change in guards.waiting()],
        }


def _row(change: GuardChange) -> dict[str, Any]:
    return {
        "id": change.pk,
        "kind": change.kind,
        "sentence": change.sentence,
        "environment_id": change.environment_id,
        "account_id": change.account_id,
        "requested_by": change.requested_by_id,
        "created_at": change.created_at,
        "expires_at": change.expires_at,
        "approved": change.approved,
    }


@in_support_session(NEVER)
@router.patch("/approval-rules", response={200: ApprovalRulesAnswer, 202: ApprovalRulesAnswer}, summary="Change them")
def change_rules(request: HttpRequest, payload: ApprovalRulesPatch) -> Status[dict[str, Any]]:
    """What tightens is done at once; what loosens waits for another owner (202), as `waiting` says."""
    tenant_id = _tenant_id(request, payload.tenant, grant=Grants.ADMINISTER)
    with tenant_scope(tenant_id):
        if payload.allows_jumps is False:
            guards.forbid_jumps(tenant_id=tenant_id)
        if payload.forbid_user_id:
            if payload.forbid_user_id not in guards.policy_of(tenant_id).approving_accounts:
                raise NotFound("There is no such service account whose approval counts.")
            guards.forbid_account(tenant_id=tenant_id, account_id=payload.forbid_user_id)
        asked = []
        if payload.allow_user_id:
            account_id = payload.allow_user_id
            asked.append(guards.ask_for_account(tenant_id=tenant_id, account_id=account_id, by=caller(request)))
        if payload.allows_jumps:
            asked.append(guards.ask_for_jumps(tenant_id=tenant_id, by=caller(request)))
    return Status(202 if any(asked) else 200, _rules(tenant_id))


@in_support_session(NEVER)
@router.post("/guard-changes/{guard_change_id}/answer", response=GuardChangeAnswer, summary="Agree to one, or decline")
def answer(request: HttpRequest, guard_change_id: uuid.UUID, payload: GuardAnswerIn) -> dict[str, Any]:
    """Another person than the one who asked (GUARD_001), and no service account, agrees; it is done at once."""
    visit = visit_for_object(request, GuardChange, guard_change_id, grant=Grants.ADMINISTER)
    change = guard_changes.answer(
        tenant_id=visit.tenant.pk, change_id=guard_change_id, by=caller(request), approve=payload.approve
    )
    with tenant_scope(visit.tenant.pk):
        return {"guard_change": _row(change)}
