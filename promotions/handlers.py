"""The long work of promotions. See ``running.steps`` for the names of the steps, and who takes them."""

from __future__ import annotations

from typing import Any, ClassVar

from core.documents import convert
from core.errors import OpsError
from operations.engine import Run
from operations.errors import Interrupted
from operations.handlers import register
from operations.models import Operation

from . import job_summaries
from .lifecycle import EXECUTE, PREPARE, ROLLBACK, TEST_CREDENTIALS
from .models import Promotion
from .planning.drafting import replan_draft
from .planning.offers import CredentialInTarget
from .running import status_sync
from .running.execution import Execution
from .running.manual_rollback import ManualRollback
from .running.preparation import Preparation, prove_credentials


@register
class ExecutePromotion:
    """All chosen workflows into the target, or the target as it was. Parameters: ``promotion_id``."""

    kind: ClassVar[str] = EXECUTE
    summary = staticmethod(job_summaries.promoted)

    def run(self, run: Run) -> dict[str, Any]:
        return Execution(run).carry_out()

    def ended(self, operation: Operation) -> None:
        status_sync.settle_execution(operation)


@register
class RollBackPromotion:
    """What a promotion touched, back as it was. Parameters: ``promotion_id, force, snapshot_id, reason``."""

    kind: ClassVar[str] = ROLLBACK
    summary = staticmethod(job_summaries.rolled_back)

    def run(self, run: Run) -> dict[str, Any]:
        return ManualRollback(run).carry_out()

    def ended(self, operation: Operation) -> None:
        status_sync.settle_rollback(operation)


@register
class PreparePromotion:
    """What the target lacks and a plan offers to create. Parameters: ``promotion_id, offers, rows``."""

    kind: ClassVar[str] = PREPARE
    summary = staticmethod(job_summaries.prepared)

    def run(self, run: Run) -> dict[str, Any]:
        promotion = _promotion(run)
        made = Preparation(run, promotion.source_environment, promotion.target_environment).carry_out()
        planned = run.step("replan", "Plan again with what is there now", lambda: _planned_again(run, promotion))
        return {**made, **planned}


@register
class TestCredentials:
    """n8n's own test of the credentials that a plan points to. Parameters: ``promotion_id, credentials``."""

    kind: ClassVar[str] = TEST_CREDENTIALS
    summary = staticmethod(job_summaries.credentials_tested)

    def run(self, run: Run) -> dict[str, Any]:
        target = _promotion(run).target_environment
        return prove_credentials(run, target, convert(run.params["credentials"], list[CredentialInTarget]))


def _planned_again(run: Run, promotion: Promotion) -> dict[str, Any]:
    """Plan again for the person who asked for the work. What was made stands, whether a plan can be made or not."""
    with run.fenced():
        by = run.operation.requested_by
    if by is None:
        return {"planned_again": False}
    try:
        done = replan_draft(tenant_id=run.tenant_id, promotion_id=promotion.pk, by=by, scope=run.fenced)
    except Interrupted:
        raise
    except OpsError as error:
        return {"planned_again": False, "why_not": error.message}
    return {"planned_again": done}


def _promotion(run: Run) -> Promotion:
    with run.fenced():
        rows = Promotion.objects.select_related("source_environment", "target_environment")
        return rows.get(pk=run.params["promotion_id"])
