"""Snapshots and restores over REST: the runbook's calls."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from django.http import HttpRequest
from ninja import Query, Router

from core.errors import Invalid
from core.paging import clamp
from core.support_rules import READS, WRITES, in_support_session
from operations import selectors as operation_selectors
from operations.rest import http_status, refuse_failed, wait_for
from tenants.api import caller, only_tenant, visit_for, visit_for_object
from tenants.pages import Visit
from tenants.scope import tenant_scope
from workflows import emergency
from workflows.gateway import environment_by_id
from workflows.models import Environment
from workflows.permissions import require_operate

from . import selectors, services, taking
from .approving import require_approver, what_to_approve
from .errors import (
    CaptureFailed,
    ForeignSnapshot,
    PutBackFailed,
    RestoreFailed,
    RestoreRefused,
    SnapshotDamaged,
    SnapshotUnreadable,
)
from .models import Snapshot, SnapshotType
from .planning import RestoreOptions
from .preview import preview
from .schemas import (
    CaptureAnswer,
    RestoreAnswer,
    RestoreChoices,
    RestoreIn,
    RestorePreviewAnswer,
    SnapshotDetailAnswer,
    SnapshotIn,
    SnapshotList,
    VerificationAnswer,
)
from .starting import start_restore

router = Router()

#: A runbook pipes the answer straight on, so these calls wait for the end unless told otherwise; seconds.
CAPTURE_WAIT = 20.0
RESTORE_WAIT = 25.0

#: What a restore may fail with, besides that it failed.
RESTORE_FAILURES = (RestoreRefused, ForeignSnapshot, PutBackFailed, SnapshotUnreadable, SnapshotDamaged)

#: 200 once the job has ended, 202 while there is more to come.
CAPTURE = {200: CaptureAnswer, 202: CaptureAnswer}
RESTORE = {200: RestoreAnswer, 202: RestoreAnswer}


def _visit(request: HttpRequest, tenant: str, environment_id: uuid.UUID | None) -> Visit:
    if environment_id is not None:
        return visit_for_object(request, Environment, environment_id)
    bound = None if tenant else only_tenant(request)
    if not tenant and bound is None:
        raise Invalid("Say which environment or tenant.", recovery="Add ?environment_id=… or ?tenant=… .")
    return visit_for(request, tenant_id=str(bound.pk) if bound else tenant)


@in_support_session(READS)
@router.get("/snapshots", response=SnapshotList, exclude_unset=True, summary="Snapshots, newest first")
def list_snapshots(
    request: HttpRequest,
    environment_id: uuid.UUID | None = None,
    snapshot_type: str = "",
    tenant: str = "",
    limit: int = 50,
    cursor: str = "",
) -> dict[str, Any]:
    visit = _visit(request, tenant, environment_id)
    with tenant_scope(visit.tenant.pk):
        page = selectors.list_snapshots(
            environment_id=environment_id, snapshot_type=snapshot_type, cursor=cursor, limit=clamp(limit)
        )
    rows = [_row(snapshot) for snapshot in page.rows]
    return {"snapshots": rows, "next_cursor": page.next_cursor or None}


@in_support_session(WRITES)
@router.post("/snapshots", response=CAPTURE, exclude_unset=True, summary="Capture an environment")
def create_snapshot(
    request: HttpRequest, payload: SnapshotIn, wait: float = CAPTURE_WAIT, reason: emergency.Reason = ""
) -> tuple[int, dict[str, Any]]:
    visit = visit_for_object(request, Environment, payload.environment_id)
    environment = environment_by_id(visit.tenant.pk, payload.environment_id)
    act = None
    if payload.snapshot_type == SnapshotType.BASELINE:
        require_operate(visit, environment)
        require_approver(visit, environment)
    else:
        act = emergency.permit(request, visit, environment, what=emergency.What.CAPTURE, reason=reason)
    if act is not None:
        act.record()
    operation = services.start_capture(
        tenant_id=visit.tenant.pk,
        environment_id=environment.pk,
        snapshot_type=payload.snapshot_type,
        description=payload.description,
        requested_by=caller(request),
    )
    operation = wait_for(operation, wait) if wait > 0 else operation
    refuse_failed(operation, CaptureFailed)
    row: dict[str, Any] = {
        "id": str(operation.subject_id),
        "environment_id": str(environment.pk),
        "snapshot_type": payload.snapshot_type,
        "description": payload.description,
        "status": operation.status,
    }
    with tenant_scope(visit.tenant.pk):
        made = Snapshot.objects.select_related("environment").defer("workflows").filter(pk=row["id"]).first()
        if made is not None:
            row |= selectors.snapshot_row(made)
    return http_status(operation), {"snapshot": row, "operation": operation_selectors.operation_row(operation)}


@in_support_session(taking.API_RULES)
@router.get(
    "/snapshots/{snapshot_id}",
    response=SnapshotDetailAnswer,
    exclude_unset=True,
    summary="One snapshot with every workflow in it",
)
def get_snapshot(request: HttpRequest, snapshot_id: uuid.UUID, contents: bool = False) -> dict[str, Any]:
    visit = visit_for_object(request, Snapshot, snapshot_id)
    snapshot = services.snapshot_by_id(visit.tenant.pk, snapshot_id)
    if contents:
        visit.require(taking.GRANT)
        entries, warnings = taking.whole_entries(snapshot)
        said = {"warnings": msgspec.to_builtins(warnings)} if warnings else {}
        return {"snapshot": {**_row(snapshot), "workflows": entries}, **said}
    return {"snapshot": {**_row(snapshot), "workflows": [entry.to_json() for entry in services.entries(snapshot)]}}


def _row(snapshot: Snapshot) -> dict[str, Any]:
    """With the commit also where the row was made by hand and names none yet. Outside any scope."""
    return {**selectors.snapshot_row(snapshot), "git_commit_sha": services.commit_of(snapshot)}


@in_support_session(WRITES)
@router.post(
    "/snapshots/{snapshot_id}/verify",
    response=VerificationAnswer,
    summary="Read a snapshot back from Git and compare its hashes",
)
def verify_snapshot(request: HttpRequest, snapshot_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, Snapshot, snapshot_id)
    snapshot = services.snapshot_by_id(visit.tenant.pk, snapshot_id)
    require_operate(visit, snapshot.environment)
    report = msgspec.to_builtins(services.verify_snapshot(snapshot))
    return {"verification": {name: value for name, value in report.items() if name != "findings"}}


@in_support_session(READS)
@router.get(
    "/restore/{environment_id}/preview",
    response=RestorePreviewAnswer,
    exclude_unset=True,
    summary="What restoring a snapshot would do",
)
def preview_restore(
    request: HttpRequest, environment_id: uuid.UUID, snapshot_id: uuid.UUID, choices: Query[RestoreChoices]
) -> dict[str, Any]:
    visit = visit_for_object(request, Environment, environment_id)
    plan = preview(
        tenant_id=visit.tenant.pk,
        environment_id=environment_id,
        snapshot_id=snapshot_id,
        options=RestoreOptions.from_params(choices.dict()),
    )
    ids = {"environment_id": str(environment_id), "snapshot_id": str(snapshot_id)}
    return {"preview": {**ids, **plan.preview().to_json()}}


@in_support_session(WRITES)
@router.post(
    "/restore/{environment_id}/execute",
    response=RESTORE,
    exclude_unset=True,
    summary="Restore a snapshot into an environment",
)
def execute_restore(
    request: HttpRequest,
    environment_id: uuid.UUID,
    payload: RestoreIn,
    wait: float = RESTORE_WAIT,
    reason: emergency.Reason = "",
) -> tuple[int, dict[str, Any]]:
    visit = visit_for_object(request, Environment, environment_id)
    environment = environment_by_id(visit.tenant.pk, environment_id)
    act = emergency.permit(request, visit, environment, what=emergency.What.RESTORE, reason=reason)
    snapshot = services.snapshot_by_id(visit.tenant.pk, payload.snapshot_id)
    keys = payload.workflow_keys
    approves = what_to_approve(visit, environment, snapshot, keys=keys, asked=payload.approve)
    if act is not None:
        act.record()
    operation = start_restore(
        tenant_id=visit.tenant.pk,
        environment_id=environment_id,
        snapshot_id=payload.snapshot_id,
        options=RestoreOptions.from_params({**payload.dict(), "keys": keys, "approves": approves}),
        dry_run=payload.dry_run,
        requested_by=caller(request),
    )
    operation = wait_for(operation, wait) if wait > 0 else operation
    result = operation.result or (operation.error_details or {}).get("details") or {}
    restore = {
        "dry_run": payload.dry_run,
        "snapshot_id": str(payload.snapshot_id),
        "status": str(operation.status).lower(),
        **{name: [] for name in ("created", "updated", "skipped", "failed")},
        **result,
    }
    refuse_failed(operation, RestoreFailed, *RESTORE_FAILURES, beside={"restore": restore})
    return http_status(operation), {"restore": restore, "operation": operation_selectors.operation_row(operation)}
