"""Which states of a promotion allow what, and the kinds of its jobs. Pure."""

from __future__ import annotations

from .models import Promotion, PromotionStatus
from .running.documents import read_result

EXECUTE = "promotions.execute"
ROLLBACK = "promotions.rollback"
PREPARE = "promotions.prepare"
TEST_CREDENTIALS = "promotions.test_credentials"

PLANNABLE = (PromotionStatus.DRAFT, PromotionStatus.PENDING_APPROVAL, PromotionStatus.APPROVED)
STOPPED = (PromotionStatus.FAILED, PromotionStatus.CANCELLED)
CAN_ROLL_BACK = (PromotionStatus.COMPLETED, PromotionStatus.FAILED)


def can_try_again(promotion: Promotion) -> bool:
    """Whether it was stopped and left the target as it was: then the locked plan, or a new one, may be tried again."""
    return promotion.status in STOPPED and read_result(promotion.execution_result).left_target_as_it_was


def is_plannable(promotion: Promotion) -> bool:
    """Whether it may be planned again."""
    return promotion.status in PLANNABLE or can_try_again(promotion)


def pre_snapshot_id(promotion: Promotion) -> str:
    """The id of the snapshot taken before the writes, or an empty text."""
    return read_result(promotion.execution_result).pre_snapshot_id
