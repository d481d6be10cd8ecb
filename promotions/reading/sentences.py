"""What a promotion is in one sentence, as it stands at the head of its page."""

from __future__ import annotations

from core.wording import named
from promotions.models import Promotion, PromotionStatus
from promotions.planning.documents import Plan
from promotions.running.documents import ExecutionResult

#: To change and to add, as they are said in each state, and what is said before them.
_WORDS: dict[str, tuple[str, str, str]] = {
    PromotionStatus.RUNNING: ("Is to ", "change", "add"),
    PromotionStatus.COMPLETED: ("", "changed", "added"),
    PromotionStatus.ROLLED_BACK: ("", "changed", "added"),
    PromotionStatus.FAILED: ("Was to ", "change", "add"),
    PromotionStatus.REJECTED: ("Was to ", "change", "add"),
    PromotionStatus.CANCELLED: ("Was to ", "change", "add"),
}
_AHEAD = ("Would ", "change", "add")


def of_promotion(promotion: Promotion, plan: Plan, result: ExecutionResult) -> str:
    """What it changes and adds, from where to where, and how that ended; '' for a record that has no plan."""
    if not plan.items:
        return ""
    return f"{_moved(promotion, plan)}{_ending(promotion, result)}"


def _moved(promotion: Promotion, plan: Plan) -> str:
    source, target = promotion.source_environment.name, promotion.target_environment.name
    written = list(plan.written_items.values())
    if not written:
        return f"Nothing to write: {target} holds already what was chosen from {source}."
    before, change, add = _WORDS.get(promotion.status, _AHEAD)
    parts = []
    for verb, action in ((change, "update"), (add, "create")):
        names = [item.name or item.key for item in written if item.action == action]
        if names:
            parts.append(f"{verb} {named(names, 'workflow')}")
    said = f"{before}{' and '.join(parts)} in {target}, as in {source}."
    return said[0].upper() + said[1:]


def _ending(promotion: Promotion, result: ExecutionResult) -> str:
    target = promotion.target_environment.name
    if promotion.status == PromotionStatus.ROLLED_BACK:
        return f" It was rolled back: {target} is as before."
    if promotion.status == PromotionStatus.REJECTED:
        return " It was rejected; nothing was written."
    if promotion.status in (PromotionStatus.FAILED, PromotionStatus.CANCELLED):
        return _without_success(promotion, result, target)
    return ""


def _without_success(promotion: Promotion, result: ExecutionResult, target: str) -> str:
    how = "It failed" if promotion.status == PromotionStatus.FAILED else "It was cancelled"
    if result.needs_attention:
        return f" {how}, and {target} may hold a mix of old and new workflows."
    if result.is_rolled_back:
        return f" {how}; {target} is as it was before."
    if result.released:
        return f" {how}; {target} was looked at and released as it was then."
    return f" {how}; nothing was written." if result.target_untouched or not promotion.started_at else f" {how}."
