"""Whether what was promoted runs: executions before and after."""

from __future__ import annotations

from promotions.models import Promotion, PromotionStatus
from promotions.planning.documents import read_plan
from workflows.executions.counting import Comparison, before_and_after


def runs_since(promotion: Promotion) -> Comparison | None:
    """The promoted workflows in the target before and after; None unless it was carried out. In the tenant's scope."""
    began, ended = promotion.started_at, promotion.ended_at
    if promotion.status != PromotionStatus.COMPLETED or began is None or ended is None:
        return None
    keys = list(read_plan(promotion.plan).written_items)
    return before_and_after(promotion.target_environment, keys, began=began, ended=ended)
