"""Writes about promotions: plan, submit, decide, start, release. Long work is in ``handlers``."""

from __future__ import annotations

from .lifecycle import (
    CAN_ROLL_BACK,
    EXECUTE,
    PLANNABLE,
    PREPARE,
    ROLLBACK,
    can_try_again,
    is_plannable,
    pre_snapshot_id,
)
from .planning.approval import approve, reject, submit
from .planning.drafting import PromotionRequest, create, preview_plan, repair, replan
from .reading.comparison import Comparison, compare
from .rows import get_promotion
from .running.starting import (
    cancel,
    execute,
    prepare,
    release,
    rollback,
    start_credential_tests,
)

__all__ = [
    "CAN_ROLL_BACK",
    "EXECUTE",
    "PLANNABLE",
    "PREPARE",
    "ROLLBACK",
    "Comparison",
    "PromotionRequest",
    "approve",
    "can_try_again",
    "cancel",
    "compare",
    "create",
    "execute",
    "get_promotion",
    "is_plannable",
    "pre_snapshot_id",
    "prepare",
    "preview_plan",
    "reject",
    "release",
    "repair",
    "replan",
    "rollback",
    "start_credential_tests",
    "submit",
]
