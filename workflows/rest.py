"""Environments over REST."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema, Status
from pydantic import SecretStr

from core.paging import by_name, clamp
from core.support_rules import NEVER, READS, WRITES, in_support_session
from operations import selectors as operation_selectors
from operations.rest import http_status, refuse_failed, wait_for
from tenants.api import caller, only_tenant, visit_for, visit_for_object
from tenants.models import Grants
from tenants.scope import tenant_scope

from . import live, selectors, services, surroundings
from .credentials import SHOWN
from .models import Environment, KnownCredential
from .permissions import require_operate
from .watching import selectors as watching

router = Router()


class EnvironmentIn(Schema):
    """A new environment. ``tenant`` (slug or id) may be left out where the token belongs to one."""

    tenant: str = ""
    name: str
    slug: str = ""
    kind: str = "dev"
    base_url: str
    api_key: SecretStr = SecretStr("")
    position: int | None = None


class EnvironmentPatch(Schema):
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
@router.get("/environments", summary="The environments of a tenant")
def list_environments(
    request: HttpRequest, tenant: str = "", limit: int = 50, cursor: str = "", archived: bool = False
) -> dict[str, Any]:
    visit = visit_for(request, tenant_id=_tenant_named(request, tenant))
    with tenant_scope(visit.tenant.pk):
        rows = Environment.objects.filter(is_archived=archived)
        page = by_name(rows, cursor=cursor, limit=clamp(limit), field="position")
        counts = selectors.environment_counts()
        return {
            "environments": [_row(row, counts.get(row.pk)) for row in page.rows],
            "next_cursor": page.next_cursor or None,
        }


def _row(environment: Environment, counts: dict[str, int] | None = None) -> dict[str, Any]:
    row = environment_row(environment) | {
        "position": environment.position,
        "is_archived": environment.is_archived,
        "has_api_key": bool(environment.api_key_encrypted),
        "last_checked_at": environment.last_checked_at,
        "last_capture_error": environment.last_capture_error,
    }
    return row | {"counts": counts} if counts is not None else row


@in_support_session(NEVER)
@router.post("/environments", response={201: dict}, summary="Add an environment")
def create_environment(request: HttpRequest, payload: EnvironmentIn) -> tuple[int, dict[str, Any]]:
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
    return 201, {"environment": _row(environment)}


@in_support_session(READS)
@router.get("/environments/{environment_id}", summary="One environment with its connection report")
def get_environment(request: HttpRequest, environment_id: uuid.UUID) -> dict[str, Any]:
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        environment = selectors.environment_or_404(environment_id)
        counts = selectors.environment_counts().get(environment_id, {})
    return {"environment": _row(environment, counts) | {"connection_report": environment.connection_report}}


@in_support_session(READS)
@router.get("/environments/{environment_id}/watched", summary="What was published there and is not proven to start")
def list_watched(request: HttpRequest, environment_id: uuid.UUID) -> dict[str, Any]:
    """Starters that are watched, start nothing, or were never seen to run though they should have: of the last
    publishing of each workflow, the gravest first, at most 100."""
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        found = watching.of_environment(selectors.environment_or_404(environment_id))
    return {"watched": [watching.watch_row(line.watch) for line in found.lines]}


@in_support_session(NEVER)
@router.patch("/environments/{environment_id}", summary="Change an environment")
def update_environment(request: HttpRequest, environment_id: uuid.UUID, payload: EnvironmentPatch) -> dict[str, Any]:
    visit = visit_for_object(request, Environment, environment_id, grant=Grants.MANAGE_ENVIRONMENTS)
    environment = services.update_environment(
        tenant_id=visit.tenant.pk,
        environment_id=environment_id,
        name=payload.name,
        kind=payload.kind,
        base_url=payload.base_url,
        api_key=payload.api_key.get_secret_value() if payload.api_key else None,
        position=payload.position,
    )
    return {"environment": _row(environment)}


@in_support_session(WRITES)
@router.post(
    "/environments/{environment_id}/test-connection",
    response={200: Any, 202: Any},
    summary="Test the connection, step by step",
)
def test_connection(request: HttpRequest, environment_id: uuid.UUID, wait: float = 0) -> Any:
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
    report = environment.connection_report if not operation.is_open else None
    refuse_failed(operation, beside={"report": report})
    return Status(http_status(operation), {"operation": operation_selectors.operation_row(operation), "report": report})


@in_support_session(READS)
@router.get("/environments/{environment_id}/surroundings", summary="Data tables, variables, packages and credentials")
def get_surroundings(request: HttpRequest, environment_id: uuid.UUID) -> dict[str, Any]:
    """As last seen. Of variables only the names are told, of credentials never a secret."""
    visit = visit_for_object(request, Environment, environment_id)
    with tenant_scope(visit.tenant.pk):
        around = surroundings.stored(visit.tenant.pk, selectors.environment_or_404(environment_id).pk)
        known = KnownCredential.objects.filter(environment_id=environment_id).order_by("credential_type", "name", "pk")
        rows = [
            {
                "id": row.credential_id,
                "name": row.name,
                "type": row.credential_type,
                "also_named": row.also_named,
                "known_from": row.source,
                "uses": row.uses,
                "is_gone": row.is_gone,
                "needs_secret": row.needs_secret,
                "test": row.test_state or "not_tested",
            }
            for row in known[:SHOWN]
        ]
    found = around.to_dict()
    found["variables"] = None if around.variables is None else [v.key for v in around.variables]
    return {"surroundings": found, "credentials": rows}


@in_support_session(READS)
@router.get("/environments/{environment_id}/workflows", summary="The workflows as they are now, asked of n8n")
def list_workflows(request: HttpRequest, environment_id: uuid.UUID, stored: bool = False) -> dict[str, Any]:
    """Live by default; ``stored=true`` gives what the last capture saw, without asking n8n."""
    visit = visit_for_object(request, Environment, environment_id)
    environment = _environment(visit.tenant.pk, environment_id)
    found = live.stored_workflows(environment) if stored else live.live_workflows(environment)
    return {"environment_id": str(environment.pk), "as_of": found.as_of, "workflows": found.workflows}


def _environment(tenant_id: uuid.UUID, environment_id: uuid.UUID) -> Environment:
    with tenant_scope(tenant_id):
        return selectors.environment_or_404(environment_id)
