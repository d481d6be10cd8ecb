"""Calls that wait for their job answer a job that did not do what was asked as an error, wherever they stand.

A runbook pipes the answer on and looks at ``curl --fail``; a program reads the same places as where it went well.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core import clock
from operations import services as operation_services
from operations.models import Operation
from opsconsole.api import api as console_api
from promotions import services as promotion_services
from promotions.tests.conftest import empty_world, no_drift, sandbox_server, world  # noqa: F401 -- fixtures
from promotions.tests.world import World
from tenants import tokens
from tenants.scope import tenant_scope
from workflows.executions import services as execution_services

#: By the path of the API, the part of the body that the call's answer is about.
DOORS = {
    "/environments/{environment_id}/test-connection": "report",
    "/environments/{environment_id}/drift-check": "",
    "/environments/{environment_id}/rehearsals": "rehearsal",
    "/executions/retry": "",
    "/snapshots": "",
    "/restore/{environment_id}/execute": "restore",
    "/promotions/execute/{promotion_id}": "promotion",
    "/promotions/{promotion_id}/test-credentials": "promotion",
    "/promotions/{promotion_id}/prepare": "promotion",
    "/promotions/{promotion_id}/rollback": "promotion",
}
#: Tested beside what they settle, by the apps' own tests.
ELSEWHERE = {
    "/incidents/{incident_id}/stabilize",
    "/incidents/{incident_id}/reconcile",
    "/upgrades/{upgrade_id}/approve",
    "/reports/{name}",
    "/workflows/{workflow_id}/test",
}
Call = Callable[..., Any]


def end_as(status: str, **values: Any) -> Callable[..., None]:
    """A worker for which each job ends at once, as an operator's UPDATE would end it."""

    def wake(*, operation_id: uuid.UUID, tenant_id: uuid.UUID) -> None:
        with tenant_scope(tenant_id):
            Operation.objects.filter(pk=operation_id).update(
                status=status, ended_at=clock.now(), updated_at=clock.now(), **values
            )

    return wake


def started(world: World) -> Callable[..., Operation]:  # noqa: F811
    def start(*, tenant_id: uuid.UUID, **_: Any) -> Operation:
        with tenant_scope(tenant_id):
            return operation_services.start(
                tenant_id=tenant_id, kind="test.any", title="Any", params={}, requested_by=world.cast.owner
            )

    return start


@pytest.fixture
def call(world: World) -> Call:  # noqa: F811
    """``POST`` as the operator."""
    _row, secret = tokens.create_token(user=world.cast.owner, tenant=world.cast.tenant, name="test")

    def post(path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        return Client().post(
            f"/api/v1{path}",
            json.dumps(body or {}),
            content_type="application/json",
            HTTP_AUTHORIZATION=f"Bearer {secret}",
            **headers,
        )

    return post


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[str, dict[str, Any]]]:  # noqa: F811
    """What to ask of a door: the address and the body."""
    monkeypatch.setattr(operation_services, "wake", lambda **_: None)
    # What there is to prepare, to test or to retry is beside the point here.
    monkeypatch.setattr(promotion_services, "prepare", started(world))
    monkeypatch.setattr(promotion_services, "start_credential_tests", started(world))
    monkeypatch.setattr(execution_services, "start_retry", started(world))
    environment = str(world.production.pk)
    with tenant_scope(world.tenant_id):
        held = world.production.snapshots.order_by("-created_at").first()

    def address(path: str) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {"environment_id": environment}
        if path.endswith("/execute"):
            body = {"snapshot_id": str(held.pk)}
        elif path.endswith("/rehearsals"):
            body = {"version": "2.41.1"}
        elif path.endswith("/retry"):
            body["execution_ids"] = ["1"]
        promotion = ""
        if "{promotion_id}" in path:
            body = {}
            made = world.approved("billing") if "/execute/" in path or "/rollback" in path else world.draft("billing")
            promotion = str(made.pk)
            if "/rollback" in path:
                world.carry_out(made)
        return path.format(environment_id=environment, promotion_id=promotion), body

    return address


def test_every_door_that_waits_is_known() -> None:
    paths = console_api.get_openapi_schema(path_prefix="")["paths"]
    waiting = {
        path.removeprefix("/")
        for path, methods in paths.items()
        if any(p["name"] == "wait" for p in methods.get("post", {}).get("parameters", ()))
    }
    assert {f"/{path}" for path in waiting} == {*DOORS, *ELSEWHERE}


@pytest.mark.parametrize("path", DOORS)
def test_a_job_that_failed_answers_as_an_error(
    call: Call, asked: Any, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    where, body = asked(path)
    stopped = end_as("FAILED", error_message="Emergency stop executed")
    monkeypatch.setattr(operation_services, "wake", stopped)
    answer = call(f"{where}?wait=5", body)
    told = answer.json()
    assert answer.status_code == (409 if told["error"]["code"] == "PROMO_018" else 502), told
    assert told["error"]["message"] and told["error"]["recovery"]
    assert told["operation"]["status"] == "FAILED"
    assert told["error"]["details"]["operation_id"] == told["operation"]["id"]
    if DOORS[path]:
        assert DOORS[path] in told


def test_a_job_that_was_cancelled_did_not_do_it_either(call: Call, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    where, body = asked("/restore/{environment_id}/execute")
    monkeypatch.setattr(operation_services, "wake", end_as("CANCELLED"))
    answer = call(f"{where}?wait=5", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "OPERATION_CANCELLED")
    assert answer.json()["operation"]["status"] == "CANCELLED"


def test_a_call_that_did_not_wait_answers_202(call: Call, asked: Any) -> None:
    where, body = asked("/restore/{environment_id}/execute")
    answer = call(f"{where}?wait=0", body)
    assert (answer.status_code, answer.json()["operation"]["status"]) == (202, "PENDING")


def test_the_same_key_does_not_carry_out_again_what_has_failed(
    call: Call, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 5xx of ours is not kept, but this one tells how a job ended that has begun to write."""
    where, body = asked("/restore/{environment_id}/execute")
    monkeypatch.setattr(operation_services, "wake", end_as("FAILED"))
    first = call(f"{where}?wait=5", body, HTTP_IDEMPOTENCY_KEY="k1")
    again = call(f"{where}?wait=5", body, HTTP_IDEMPOTENCY_KEY="k1")
    assert (first.status_code, again.status_code) == (502, 502)
    assert again.json() == first.json()
