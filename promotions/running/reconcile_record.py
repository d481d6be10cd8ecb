"""What was approved without a promotion gets a record beside the promotions, so that one list tells what went live."""

from __future__ import annotations

import uuid

from core import clock
from core.documents import convert
from drift.notices import Reconciled
from promotions.models import Promotion, PromotionStatus
from workflows.models import Environment

from .documents import RESULT_VERSION, ExecutionResult, ReconciledWorkflow
from .results import stored


def record_reconciled(news: Reconciled) -> dict[str, str]:
    """A completed promotion from an environment into itself: nothing was written to n8n. Once per job."""
    promotion_id = uuid.uuid5(news.operation_id, "promotion-record")
    now = clock.now()
    with news.run.fenced():
        environment = Environment.objects.get(pk=news.environment_id)
        count = len(news.items)
        what = news.items[0]["name"] if count == 1 else f"{count} workflows"
        result = ExecutionResult(
            version=RESULT_VERSION,
            kind="reconcile",
            commit_sha=news.commit_sha,
            drift_incident_ids=tuple(str(incident_id) for incident_id in news.incident_ids),
            target_untouched=True,
            reconciled_workflows=convert([dict(item) for item in news.items], tuple[ReconciledWorkflow, ...]),
        )
        Promotion.objects.get_or_create(
            pk=promotion_id,
            defaults={
                "tenant_id": news.tenant_id,
                "name": f"Reconciled: {what}"[:200],
                "status": PromotionStatus.COMPLETED,
                "source_environment": environment,
                "target_environment": environment,
                "description": news.comment,
                "workflow_keys": [item["key"] for item in news.items],
                "options": {"record_of": "reconcile"},
                "execution_result": stored(result),
                "operation_id": news.operation_id,
                "created_by_id": news.by_id,
                "started_at": now,
                "ended_at": now,
            },
        )
    return {"promotion_id": str(promotion_id)}
