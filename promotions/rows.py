"""Rows of promotions as the services read and lock them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from core.errors import NotFound
from core.ids import uuid_or_not_found
from tenants.models import User
from tenants.persons import are_one_person, people_behind, real_person
from tenants.scope import tenant_scope
from workflows.models import Environment

from .errors import WrongState
from .lifecycle import PLANNABLE, can_try_again
from .models import Promotion


def get_promotion(*, tenant_id: uuid.UUID, promotion_id: uuid.UUID | str) -> Promotion:
    """One promotion of the tenant with its environments and people, or ``NotFound``."""
    wanted = uuid_or_not_found(promotion_id)
    with tenant_scope(tenant_id):
        found = (
            Promotion.objects.select_related("source_environment", "target_environment", "created_by", "decided_by")
            .filter(pk=wanted)
            .first()
        )
    if found is None:
        raise NotFound
    return found


def locked(promotion_id: uuid.UUID) -> Promotion:
    """The row, locked until the transaction ends. Needs the tenant's scope. Raises ``NotFound``."""
    row = Promotion.objects.select_for_update().filter(pk=promotion_id).first()
    if row is None:
        raise NotFound
    return row


def require_state(promotion: Promotion, states: Sequence[str], verb: str) -> None:
    """Raise ``WrongState`` unless the promotion is in one of ``states``."""
    if promotion.status not in states:
        word = promotion.status_word.lower()
        raise WrongState(f"A promotion that is “{word}” cannot be {verb}.", details={"status": promotion.status})


def require_plannable(promotion: Promotion) -> None:
    """Raise ``WrongState`` unless it may be planned again."""
    if not can_try_again(promotion):
        require_state(promotion, PLANNABLE, "planned again")


def requesters(row: Promotion) -> set[str]:
    """Ids of everybody who asked for this plan."""
    named = {str(found) for found in row.options.get("requesters") or ()}
    return named | ({str(row.created_by_id)} if row.created_by_id else set())


def add_requester(row: Promotion, by: User) -> None:
    """Put everybody behind ``by`` among those who asked, as they are now: a token may be revoked later."""
    row.options = row.options | {"requesters": sorted(requesters(row) | behind(by))}


def behind(by: User) -> set[str]:
    """The people who ask where ``by`` does: also who made a machine's account, or a token for it."""
    return {str(found) for found in people_behind([real_person(by)])}


def is_requester(row: Promotion, account: uuid.UUID) -> bool:
    """Whether the account is one of those who asked for the plan, or of the same person."""
    return are_one_person([account], [uuid.UUID(found) for found in requesters(row)])


def guard_of(target_id: uuid.UUID) -> dict[str, bool]:
    """For a promotion's options: that its target is guarded, which it stays for this promotion. In a tenant's scope."""
    return {"guarded": True} if Environment.objects.get(pk=target_id).is_guarded else {}
