"""Who may do what a promotion alone does."""

from __future__ import annotations

from core.errors import Forbidden
from tenants.pages import Visit
from tenants.persons import real_person
from tenants.scope import tenant_scope
from workflows.permissions import may_approve, require_operate

from .models import Promotion, PromotionStatus
from .planning.gate_facts import needs_approval
from .rows import is_requester


def require_prepare(visit: Visit, promotion: Promotion, *, rows: bool) -> None:
    """Raise ``Forbidden`` unless the visitor may make in the target what the plan offers.

    Where a promotion needs an approval, so does what it makes beforehand: it is approved, or an approver does it.
    Copying ``rows`` of data tables reads the source's data, which takes the right to operate the source; it brings
    content, so an approver who asked for the promotion does not do it alone.
    """
    target = promotion.target_environment
    require_operate(visit, target)
    if rows:
        require_operate(visit, promotion.source_environment)
    approved = promotion.status == PromotionStatus.APPROVED or not needs_approval(promotion)
    if not approved and (not may_approve(visit, target) or (rows and _asked_for_it(visit, promotion))):
        raise Forbidden(
            f"Nothing is made in {target.name} before the promotion is approved.",
            recovery="Ask for the approval first; or have an approver prepare the target.",
            details={"needed": "approve_environment", "environment": target.slug},
        )


def _asked_for_it(visit: Visit, promotion: Promotion) -> bool:
    with tenant_scope(promotion.tenant_id):
        return is_requester(promotion, real_person(visit.user))
