"""Executions over REST."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Status

from core.asked import Asked
from core.paging import clamp, one_of
from core.support_rules import READS, WRITES, in_support_session
from operations.rest import http_status, refuse_failed, wait_for
from operations.schemas import OperationAnswer
from operations.selectors import operation_row
from tenants.api import caller, visit_for_object
from tenants.scope import platform_scope, tenant_scope
from workflows import trying
from workflows.models import CanonicalWorkflow, Environment, Execution, WorkflowEnvMap
from workflows.permissions import require_operate
from workflows.selectors import environment_or_404

from . import counting, selectors, services
from .schemas import ExecutionList, TrialAnswer
from .statuses import FAILED, FILTERS

router = Router()


class TrialIn(Asked):
    """Where to test (default: the last environment of the pipeline that has it), and whether to run it, too."""

    environment_id: uuid.UUID | None = None
    run: bool = False


class RetryIn(Asked):
    """What to retry in an environment: chosen executions (``id`` or n8n's ``execution_id``), or all that began
    ``since`` and have no retry that succeeded or is under way; ``workflow_id`` (n8n's id, key or name) narrows down."""

    environment_id: uuid.UUID
    execution_ids: list[str] | str = []
    since: datetime | None = None
    workflow_id: str = ""


@in_support_session(READS)
@router.get("/executions", response=ExecutionList, summary="Executions of an environment, newest first")
def list_executions(
    request: HttpRequest,
    environment_id: uuid.UUID,
    workflow_id: str = "",
    status: str = "",
    since: datetime | None = None,
    limit: int = 50,
    cursor: str = "",
) -> dict[str, Any]:
    """As last read of n8n, see ``reading``. ``workflow_id`` is n8n's id, the key or a part of the name; ``status`` one
    of n8n's words, ``failed`` (error or crashed) or ``open`` (not ended)."""
    visit = visit_for_object(request, Environment, environment_id)
    one_of("status", status, FILTERS)
    with tenant_scope(visit.tenant.pk):
        named = selectors.workflow_ids_named(environment_id, workflow_id) if workflow_id.strip() else None
        page = selectors.page(
            environment_id=environment_id,
            status=status,
            workflow_ids=named,
            since=_aware(since),
            cursor=cursor,
            limit=clamp(limit),
        )
        mappings = selectors.names_of(environment_id, [row.env_workflow_id for row in page.rows])
        day = counting.totals(environment_id)
        return {
            "executions": [selectors.execution_row(row, mappings.get(row.env_workflow_id)) for row in page.rows],
            "last_24_hours": {"runs": day.count.runs, "failed": day.count.failed, "error_rate": day.count.error_rate},
            "reading": selectors.reading_row(selectors.reading(environment_id)),
            "next_cursor": page.next_cursor or None,
        }


@in_support_session(WRITES)
@router.post(
    "/executions/retry",
    response={200: OperationAnswer, 202: OperationAnswer},
    summary="Retry failed executions through n8n",
)
def retry_executions(request: HttpRequest, payload: RetryIn, wait: float = 0) -> Status[dict[str, Any]]:
    """n8n runs them again with the workflow as it is saved now. Not harmless: what they do, they do once more."""
    visit = visit_for_object(request, Environment, payload.environment_id)
    with tenant_scope(visit.tenant.pk):
        environment = environment_or_404(payload.environment_id)
    require_operate(visit, environment)
    operation = services.start_retry(
        tenant_id=visit.tenant.pk,
        environment_id=environment.pk,
        requested_by=caller(request),
        executions=[payload.execution_ids] if isinstance(payload.execution_ids, str) else payload.execution_ids,
        since=_aware(payload.since),
        workflow=payload.workflow_id,
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    if wait:
        operation = wait_for(operation, wait)
    refuse_failed(operation)
    return Status(http_status(operation), {"operation": operation_row(operation)})


@in_support_session(WRITES)
@router.post(
    "/workflows/{workflow_id}/test",
    response={200: TrialAnswer, 202: TrialAnswer},
    exclude_unset=True,
    summary="Try what a workflow needs, without running it",
)
def test_workflow(
    request: HttpRequest, workflow_id: uuid.UUID, payload: TrialIn | None = None, wait: float = 20.0
) -> Status[dict[str, Any]]:
    """``run: true`` also has n8n repeat the last execution, if it failed: the only way in which n8n's API runs one.
    Not harmless: what the workflow does, it does once more."""
    asked = payload or TrialIn()
    model = WorkflowEnvMap if _is_place(workflow_id) else CanonicalWorkflow
    visit = visit_for_object(request, model, workflow_id)
    with tenant_scope(visit.tenant.pk):
        place = trying.place_of(workflow_id, asked.environment_id)
    require_operate(visit, place.environment)
    runs = trying.last_runs(place.environment, place.env_workflow_id)
    test = _trial(place, runs)
    if not asked.run or not runs or runs[0].status not in FAILED:
        return Status(200, {"test": test})
    operation = services.start_retry(
        tenant_id=visit.tenant.pk,
        environment_id=place.environment_id,
        requested_by=caller(request),
        executions=[str(runs[0].pk)],
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    operation = wait_for(operation, wait) if wait else operation
    test |= {"ran": True, "why_not_run": ""}
    refuse_failed(operation, beside={"test": test})
    return Status(http_status(operation), {"test": test, "operation": operation_row(operation)})


def _trial(place: WorkflowEnvMap, runs: list[Execution]) -> dict[str, Any]:
    trials = trying.try_out(place)
    return {
        "workflow_id": place.canonical_workflow_id,
        "workflow_name": place.env_name,
        "environment_id": place.environment_id,
        "env_workflow_id": place.env_workflow_id,
        "status": trying.verdict_of(trials),
        "checks": [trial.row() for trial in trials],
        "last_executions": [_run(run) for run in runs],
        "ran": False,
        "why_not_run": trying.NO_START,
    }


def _is_place(workflow_id: uuid.UUID) -> bool:
    """Whether the id is of a workflow in one environment; whose it is, is asked afterwards."""
    with platform_scope():
        return WorkflowEnvMap.objects.filter(pk=workflow_id).exists()


def _run(run: Execution) -> dict[str, Any]:
    return {"id": run.pk, "number": run.number, "status": run.status, "started_at": run.started_at}


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
