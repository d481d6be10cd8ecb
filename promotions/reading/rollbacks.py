"""How a promotion was rolled back, as its page shows it: by whom, what came of it, and where each workflow is now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from django.utils.dateparse import parse_datetime

from core.ids import uuid_or_none
from promotions.models import Promotion, PromotionStatus
from promotions.planning.documents import Plan
from promotions.running.documents import ExecutionResult, ManualRollbackRecord, RollbackResult
from promotions.selectors import rollback_on_record
from tenants.models import User


class Mark(NamedTuple):
    """A mark and the word beside it."""

    mark: str
    word: str


#: What a whole rollback by a person has made of each workflow that the promotion wrote.
RETURNED: Mapping[str, Mark] = {"create": Mark("removed", "Deleted"), "update": Mark("in_sync", "As before")}
AS_BEFORE, NOT_AS_BEFORE = Mark("in_sync", "As before"), Mark("failed", "Not as before")
UNCLEAR = Mark("unknown", "Not checked")


class RolledBackNames(NamedTuple):
    """What a rollback has done, by the names of workflows."""

    restored: list[str]
    deleted: list[str]


def rolled_back_names(promotion: Promotion, rollback: ManualRollbackRecord | None) -> RolledBackNames | None:
    """What its rollback restored and what it deleted; None unless it was rolled back whole."""
    if promotion.status != PromotionStatus.ROLLED_BACK or rollback is None:
        return None
    names = [(row.action, row.name or row.key) for row in rollback.workflows]
    return RolledBackNames(
        restored=[name for action, name in names if action != "create"],
        deleted=[name for action, name in names if action == "create"],
    )


class RolledBackBy(NamedTuple):
    """Who rolled a promotion back, and when."""

    who: str
    at: datetime | None


def rolled_back_by(promotion: Promotion, rollback: ManualRollbackRecord | None) -> RolledBackBy | None:
    """Whoever asked for the rollback that is on record; the latest one may be another. Needs the tenant's scope."""
    if rollback is None or not (rollback.operation_id or rollback.rolled_back_by):
        return None
    job = rollback_on_record(promotion, rollback.operation_id)
    at = (job.ended_at if job else None) or _moment(rollback.rolled_back_at)
    return RolledBackBy(str(job.requested_by or "") if job else _person(rollback.rolled_back_by), at)


class ReleasedBy(NamedTuple):
    """Who let go of a target that was left half-way, when and why."""

    who: str
    at: datetime | None
    why: str


def released_by(result: ExecutionResult) -> ReleasedBy | None:
    """None where nobody did. Needs the tenant's scope."""
    released = result.released or None
    return ReleasedBy(_person(released.by), _moment(released.at), released.reason) if released else None


def _moment(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def _person(text: str) -> str:
    """The name behind an account's id; other words, as SQL may leave them, as they are."""
    known = uuid_or_none(text)
    return str(User.objects.filter(pk=known).first() or text) if known else text


def automatic_rollback(result: ExecutionResult) -> RollbackResult | None:
    """How the console itself had rolled back, whatever a person's rollback has made of it since."""
    back = result.rollback_result or None
    return (result.automatic_rollback or None) if back and back.by_hand else back


def returned(plan: Plan, result: ExecutionResult) -> dict[str, Mark]:
    """What a rollback has left of each workflow that was to be written, by key; nothing where there was none."""
    by_hand, by_itself = result.manual_rollback or None, automatic_rollback(result)
    if by_hand and by_hand.status == "success":
        return {key: RETURNED.get(item.action, UNCLEAR) for key, item in plan.written_items.items()}
    if by_hand and by_hand.status:
        return dict.fromkeys(plan.written_items, UNCLEAR) | _after_a_part(plan, by_hand)
    if by_itself is None:
        return {}
    odd = by_itself.proof.keys_not_as_before if by_itself.proof else set()
    proven = AS_BEFORE if by_itself.proof else UNCLEAR
    ids = {key: item.target.env_workflow_id if item.target else key for key, item in plan.written_items.items()}
    return {key: NOT_AS_BEFORE if odd & {key, there} else proven for key, there in ids.items()}


def _after_a_part(plan: Plan, rollback: ManualRollbackRecord) -> dict[str, Mark]:
    """What a rollback by a person that did not come to a whole end has left."""
    proof, items = rollback.proof, plan.written_items
    if proof is None:
        return {}
    odd = proof.keys_not_as_before
    return {
        row.key: NOT_AS_BEFORE
        if odd & {row.key, row.env_workflow_id or row.key}
        else RETURNED.get(items[row.key].action, UNCLEAR)
        for row in rollback.workflows
        if row.key in items
    }
