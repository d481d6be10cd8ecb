"""Services that submit a plan and decide on it."""

from __future__ import annotations

import uuid

from audit.services import record_event
from core import clock
from core.errors import Conflict, Forbidden, Invalid
from promotions.domain_events import publish_state
from promotions.errors import MachineApproval, PlanStale, SelfApproval
from promotions.models import Promotion, PromotionStatus
from promotions.rows import add_requester, get_promotion, guard_of, is_requester, locked, require_state
from tenants.models import Grants, User
from tenants.permissions import grants_on_tenant
from tenants.persons import real_person
from tenants.scope import tenant_scope
from workflows.guards import policy_of
from workflows.models import Environment
from workflows.permissions import APPROVE_ENVIRONMENT, grants_on_environment

from . import gates
from .documents import Plan, means_the_same, plan_hash, read_plan
from .drafting import plan_now
from .gate_facts import load_gate_facts, needs_approval


def submit(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User) -> Promotion:
    """Lock the plan. It then waits for approval, or is ready where none is needed.

    Refused over each gate that only a person can open: nobody is asked to approve what cannot run. Raises what the
    gates say (``Dangling``, ``NothingToPromote``, ``SecretsLacking``, ``DriftBlocks``…), ``PlanStale``, ``WrongState``.
    """
    promotion = get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)
    require_state(promotion, (PromotionStatus.DRAFT,), "submitted")
    # References are judged on what is known now: a mapping entered a moment ago counts, one taken away too.
    fresh = plan_now(promotion)
    _require_the_plan_that_was_shown(promotion, fresh)
    facts = load_gate_facts(tenant_id=tenant_id, promotion_id=promotion_id, plan=fresh)
    refusal = gates.first_refusal(gates.closed_gates(gates.all_gates(facts)))
    if refusal is not None:
        raise refusal
    with tenant_scope(tenant_id):
        row = locked(promotion_id)
        require_state(row, (PromotionStatus.DRAFT,), "submitted")
        add_requester(row, by)
        row.options = row.options | guard_of(row.target_environment_id)
        row.plan = fresh.to_json()
        row.plan_hash = plan_hash(row.plan)
        row.status = PromotionStatus.PENDING_APPROVAL if needs_approval(row) else PromotionStatus.APPROVED
        row.save()
        publish_state(row)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def _require_the_plan_that_was_shown(promotion: Promotion, fresh: Plan) -> None:
    shown = read_plan(promotion.plan)
    if not promotion.plan or shown.dangling or means_the_same(fresh, shown):
        return
    with tenant_scope(promotion.tenant_id):
        Promotion.objects.filter(pk=promotion.pk, status=PromotionStatus.DRAFT).update(
            plan=fresh.to_json(), updated_at=clock.now()
        )
    raise PlanStale("The plan changed since you looked at it; the new one is shown.")


def approve(
    *, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, comment: str = "", seen_plan_hash: str = ""
) -> Promotion:
    """Approve the locked plan. Decided on the real person: never one of those who asked for it, under any account.

    ``seen_plan_hash``: the plan that was looked at, if the caller knows. Raises ``SelfApproval``, ``MachineApproval``,
    ``Forbidden``, ``WrongState``, ``Conflict``.
    """
    person = real_person(by)
    with tenant_scope(tenant_id):
        row = _row_to_decide(tenant_id, promotion_id, person)
        _require_another_person(row, person)
        if seen_plan_hash and seen_plan_hash != row.plan_hash:
            raise Conflict("The plan is another one than you looked at.")
        _decide(row, PromotionStatus.APPROVED, person, comment)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def _require_another_person(row: Promotion, person: uuid.UUID) -> None:
    if is_requester(row, person):
        raise SelfApproval
    if User.objects.get(pk=person).is_service and person not in policy_of(row.tenant_id).approving_accounts:
        raise MachineApproval


def reject(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID, by: User, comment: str) -> Promotion:
    """Reject a promotion, also one's own: that harms nobody. The comment says why.

    Raises ``Invalid`` without a comment, ``Forbidden``, ``WrongState``.
    """
    if not comment.strip():
        raise Invalid("Say why it is rejected.", recovery="Write a sentence for the person who asked for it.")
    person = real_person(by)
    with tenant_scope(tenant_id):
        row = _row_to_decide(tenant_id, promotion_id, person)
        _decide(row, PromotionStatus.REJECTED, person, comment)
    return get_promotion(tenant_id=tenant_id, promotion_id=promotion_id)


def _row_to_decide(tenant_id: uuid.UUID, promotion_id: uuid.UUID, person: uuid.UUID) -> Promotion:
    row = locked(promotion_id)
    require_state(row, (PromotionStatus.PENDING_APPROVAL,), "decided on")
    _require_approver(tenant_id, person, row.target_environment)
    return row


def _require_approver(tenant_id: uuid.UUID, person: uuid.UUID, target: Environment) -> None:
    if Grants.APPROVE in grants_on_tenant(user_id=person, tenant_id=tenant_id):
        return
    if APPROVE_ENVIRONMENT not in grants_on_environment(user_id=person, environment=target):
        raise Forbidden(details={"needed": Grants.APPROVE})


def _decide(row: Promotion, status: PromotionStatus, person: uuid.UUID, comment: str) -> None:
    row.status, row.decided_by_id, row.decided_at = status, person, clock.now()
    row.decision_comment = comment.strip()
    row.save()
    publish_state(row)
    record_event(
        action="promotion.approve" if status == PromotionStatus.APPROVED else "promotion.reject",
        resource_type="promotions",
        resource_id=row.pk,
        tenant_id=row.tenant_id,
        details={
            "plan_hash": row.plan_hash,
            "comment": row.decision_comment,
            "target": row.target_environment.slug,
        },
    )
