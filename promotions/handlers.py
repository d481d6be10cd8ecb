"""The long work of promotions. See ``execution``, ``undoing`` and ``reverting`` for the names of the steps."""

from __future__ import annotations

from typing import Any, ClassVar

from operations.engine import Run
from operations.handlers import register

from .execution import Execution
from .reverting import Reverting


@register
class ExecutePromotion:
    """All chosen workflows into the target, or the target as it was. Parameters: ``promotion_id``."""

    kind: ClassVar[str] = "promotions.execute"

    def run(self, run: Run) -> dict[str, Any]:
        return Execution(run).carry_out()


@register
class RollBackPromotion:
    """What a promotion touched, back as it was. Parameters: ``promotion_id, force, snapshot_id, reason``."""

    kind: ClassVar[str] = "promotions.rollback"

    def run(self, run: Run) -> dict[str, Any]:
        return Reverting(run).carry_out()
