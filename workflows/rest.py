"""Environments over REST."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
from django.http import HttpRequest
from ninja import Router, Status
from pydantic import SecretStr

from core.asked import Asked
from core.paging import by_name, clamp
from core.support_rules import NEVER, READS, WRITES, in_support_session
from operations import selectors as operation_selectors
from operations.rest import http_status, refuse_failed, wait_for
from tenants.api import caller, only_tenant, visit_for, visit_for_object
from tenants.models import Grants
from tenants.scope import tenant_scope

from . import live, selectors, services, surroundings
from .credentials import SHOWN
from .guard_changes import change_environment
from .guards import waiting
from .models import Environment, KnownCredential
from .n8n.report import read_report
from .permissions import require_operate
from .schemas import (
    ChangedEnvironmentAnswer,
    ConnectionTestAnswer,
    EnvironmentAnswer,
    EnvironmentDetailAnswer,
    EnvironmentList,
    SurroundingsAnswer,
    WorkflowList,
)
from .watching import selectors as watching
from .watching.schemas import WatchedAnswer

router = Router()


class EnvironmentIn(Asked):
    """A new environment. ``tenant`` (slug or id) may be left out where the token belongs to one."""

    tenant: str = ""
    name: str
    slug: str = ""
    kind: str = "dev"
    base_url: str
    api_key: SecretStr = SecretStr("")
    position: int | None = None


class EnvironmentPatch(Asked):
    """What to change of an environment; the rest stays."""

    name: str | None = None
    kind: str | None = None
    base_url: str | None = None
    api_key: SecretStr | None = None
    position: int | None = None


def _tenant_named(request: HttpRequest, tenant: str) -> str:
    bound = None if tenant else only_tenant(request)
    return str(bound.pk) if bound else tenant


@in_support_session(READS)
@router.get("/environments", response=EnvironmentList, summary="The environments of a tenant")
def list_environments(
    request: HttpRequest, tenant: str = "", limit: int = 50, cursor: str = "", archived: bool = False
) -> dict[str, Any]:
    visit = visit_for(request, tenant_id=_tenant_named(request, tenant))
    with tenant_scope(visit.tenant.pk):
        rows = Environment.objects.filter(is_archived=archived)
        page = by_name(rows, cursor=cursor, limit=clamp(limit), field="position")
        counts = selectors.environment_counts()
        return {
            "environments": [_row(row) | {"counts": counts.get(row.pk, {})} for row in page.rows],
            "next_cursor": page.next_cursor or None,
        }


def _row(environment: Environment) -> dict[str, Any]:
    """The fields of ``EnvironmentOut``."""
    return {
        "id": environment.pk,
        "name": environment.name,
        "slug": environment.slug,
        "kind": environment.kind,
        "base_url": environment.base_url,
        "n8n_version": environment.n8n_version,
        "connection_status": environment.connection_status,
        "position": environment.position,
        "is_archived": environment.is_archived,
        "has_api_key": bool(environment.api_key_encrypted),
        "last_checked_at": environment.last_checked_at,
        "last_captured_at": environment.last_captured_at,
        "last_capture_error": environment.last_capture_error,
        "last_snapshot_id": environment.last_snapshot_id,
        "created_at": environment.created_at,
    }


def _report(environment: Environment) -> dict[str, Any] | None:
    """The fields of ``ConnectionReportOut``; None where the connection was never tested."""
    report = read_report(environment.connection_report)
    if report is None:
        return None
    fields = report.to_json()
    del fields["report_version"]
    return fields


@in_support_session(NEVER)
@router.post("/environments", response={201: EnvironmentAnswer}, summary="Add an environment")
def create_environment(request: HttpRequest, payload: EnvironmentIn) -> Status[dict[str, Any]]:
    visit = visit_for(request, tenant_id=_tenant_named(request, payload.tenant), grant=Grants.MANAGE_ENVIRONMENTS)
    environment = services.create_environment(
        tenant_id=visit.tenant.pk,
        name=payload.name,
        slug=payload.slug,
        kind=payload.kind,
        base_url=payload.base_url,
        api_key=payload.api_key.get_secret_value(),
        position=payload.position,
    )
    return Status(201, {"environment": _row(environment)})


@in_support_session(READS)
@router.get(
    "/environments/{environment_id}",
    response=EnvironmentDetailAnswer,
    summary="One environment with its connection report",
)
def get_environment(request: HttpRequest, environment_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        environment = selectors.environment_or_404(environment_id)
        counts = selectors.environment_counts().get(environment_id, {})
    return {"environment": _row(environment) | {"counts": counts, "connection_report": _report(environment)}}


@in_support_session(READS)
@router.get(
    "/environments/{environment_id}/watched",
    response=WatchedAnswer,
    summary="Published starters that are not proven to start",
)
def list_watched(request: HttpRequest, environment_id: uuid.UUID) -> dict[str, Any]:
    """Starters that are watched, do not start, or were never seen to run though they should have: of the last
    publishing of each workflow, the gravest first, at most 100."""
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        found = watching.of_environment(selectors.environment_or_404(environment_id))
    return {"watched": [watching.watch_row(line.watch) for line in found.lines]}


@in_support_session(NEVER)
@router.patch("/environments/{environment_id}", response=ChangedEnvironmentAnswer, summary="Change an environment")
def update_environment(request: HttpRequest, environment_id: uuid.UUID, payload: EnvironmentPatch) -> dict[str, Any]:
    """What would lower a guard of production waits for another owner, and is named in `waiting`."""
    visit = visit_for_object(request, Environment, environment_id, grant=Grants.MANAGE_ENVIRONMENTS)
    environment = change_environment(
        tenant_id=visit.tenant.pk,
        environment_id=environment_id,
        by=caller(request),
        name=payload.name,
        kind=payload.kind,
        base_url=payload.base_url,
        api_key=payload.api_key.get_secret_value() if payload.api_key else None,
        position=payload.position,
    )
    with tenant_scope(visit.tenant.pk):
        waits = [change.sentence for change in waiting(environment_id=environment_id)]
    return {"environment": _row(environment) | {"waiting": waits}}


@in_support_session(WRITES)
@router.post(
    "/environments/{environment_id}/test-connection",
    response={200: ConnectionTestAnswer, 202: ConnectionTestAnswer},
    summary="Test the connection, step by step",
)
def test_connection(request: HttpRequest, environment_id: uuid.UUID, wait: float = 0) -> Status[dict[str, Any]]:
    visit = visit_for_object(request, Environment, environment_id)
    environment = _environment(visit.tenant.pk, environment_id)
    if not visit.may(Grants.MANAGE_ENVIRONMENTS):
        require_operate(visit, environment)
    operation = services.start_test_connection(
        tenant_id=visit.tenant.pk,
        environment_id=environment_id,
        requested_by=caller(request),
        idempotency_key=request.headers.get("Idempotency-Key"),
    )
    if wait:
        operation = wait_for(operation, wait)
    environment = _environment(visit.tenant.pk, environment_id)
    report = _report(environment) if not operation.is_open else None
    refuse_failed(operation, beside={"report": report})
    return Status(http_status(operation), {"operation": operation_selectors.operation_row(operation), "report": report})


@in_support_session(READS)
@router.get(
    "/environments/{environment_id}/surroundings",
    response=SurroundingsAnswer,
    summary="Data tables, variables, packages and credentials",
)
def get_surroundings(request: HttpRequest, environment_id: uuid.UUID) -> dict[str, Any]:
    """As last read. Of variables only the names are shown, of credentials never a secret."""
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        around = surroundings.stored(visit.tenant.pk, selectors.environment_or_404(environment_id).pk)
        known = KnownCredential.objects.filter(environment_id=environment_id).order_by("credential_type", "name", "pk")
        rows = [_credential(row) for row in known[:SHOWN]]
    fields = msgspec.to_builtins(around)
    del fields["surroundings_version"]
    fields["variables"] = None if around.variables is None else [v.key for v in around.variables]
    return {"surroundings": fields, "credentials": rows}


def _credential(credential: KnownCredential) -> dict[str, Any]:
    """The fields of ``KnownCredentialOut``."""
    return {
        "id": credential.credential_id,
        "name": credential.name,
        "type": credential.credential_type,
        "also_named": credential.also_named,
        "known_from": credential.source,
        "uses": credential.uses,
        "is_gone": credential.is_gone,
        "needs_secret": credential.needs_secret,
        "test": credential.test_state or "not_tested",
    }


@in_support_session(READS)
@router.get(
    "/environments/{environment_id}/workflows",
    response=WorkflowList,
    summary="The workflows as they are now, asked of n8n",
)
def list_workflows(request: HttpRequest, environment_id: uuid.UUID, stored: bool = False) -> dict[str, Any]:
    """Live by default; ``stored=true`` gives what the last capture saw, without asking n8n."""
    visit = visit_for_object(request, Environment, environment_id)
    environment = _environment(visit.tenant.pk, environment_id)
    found = live.stored_workflows(environment) if stored else live.live_workflows(environment)
    return {"environment_id": environment.pk, "as_of": found.as_of, "workflows": found.workflows}


def _environment(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> Environment:
    with tenant_scope(tenant_id):
        return selectors.environment_or_404(environment_id)
