"""What was approved without a promotion gets a record beside the promotions, so that one list tells what went live."""

from __future__ import annotations

import uuid
from typing import Any

from core import clock
from drift.notices import Reconciled
from workflows.models import Environment

from .models import Promotion, PromotionStatus


def record_reconciled(news: Reconciled) -> dict[str, str]:
    """A completed promotion from an environment into itself: nothing was written to n8n. Once per job."""
    ident = uuid.uuid5(news.operation_id, "promotion-record")
    now = clock.now()
    with news.run.fenced():
        environment = Environment.objects.get(pk=news.environment_id)
        count = len(news.items)
        what = news.items[0]["name"] if count == 1 else f"{count} workflows"
        result: dict[str, Any] = {
            "kind": "reconcile",
            "commit_sha": news.commit_sha,
            "drift_incident_ids": [str(i) for i in news.incident_ids],
            "target_untouched": True,
            "reconciled_workflows": [dict(item) for item in news.items],
        }
        Promotion.objects.get_or_create(
            pk=ident,
            defaults={
                "tenant_id": news.tenant_id,
                "name": f"Reconciled: {what}"[:200],
                "status": PromotionStatus.COMPLETED,
                "source_environment": environment,
                "target_environment": environment,
                "description": news.comment,
                "workflow_keys": [item["key"] for item in news.items],
                "options": {"record_of": "reconcile"},
                "execution_result": result,
                "operation_id": news.operation_id,
                "created_by_id": news.by_id,
                "started_at": now,
                "ended_at": now,
            },
        )
    return {"promotion_id": str(ident)}
