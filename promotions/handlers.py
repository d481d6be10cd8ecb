"""The long work of promotions. See ``execution``, ``undoing`` and ``reverting`` for the names of the steps."""

from __future__ import annotations

from typing import Any, ClassVar

from operations.engine import Run
from operations.handlers import register

from .execution import Execution
from .models import Promotion
from .preparing import Preparing, prove_credentials
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


@register
class PreparePromotion:
    """What the target lacks and a plan offers to make. Parameters: ``promotion_id, offers, rows``."""

    kind: ClassVar[str] = "promotions.prepare"

    def run(self, run: Run) -> dict[str, Any]:
        promotion = _promotion(run)
        return Preparing(run, promotion.source_environment, promotion.target_environment).carry_out()


@register
class TestCredentials:
    """n8n's own test of the credentials that a plan points to. Parameters: ``promotion_id, credentials``."""

    kind: ClassVar[str] = "promotions.test_credentials"

    def run(self, run: Run) -> dict[str, Any]:
        target = _promotion(run).target_environment
        return prove_credentials(run, target, run.params["credentials"])


def _promotion(run: Run) -> Promotion:
    with run.fenced():
        rows = Promotion.objects.select_related("source_environment", "target_environment")
        return rows.get(pk=run.params["promotion_id"])
