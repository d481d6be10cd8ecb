"""A platform admin carries out the runbook's bulk scenarios in any tenant, with a reason; and nothing else there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditLog
from drift.models import DriftIncident
from impersonation import services as support
from operations import engine
from operations.models import Operation
from snapshots.models import Snapshot
from tenants import services as tenants
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token

from .conftest import Site

REASON = "Carrier outage INC-881: putting production back — Zürich"
Call = Callable[..., Any]


@pytest.fixture
def as_person(live_cast: Any) -> Callable[..., Call]:
    """Calls of the API by a person's token."""

    def of(user: Any, **token: Any) -> Call:
        _, secret = create_token(user=user, name="runbook", **token)
        return calling(secret)

    return of


def calling(secret: str) -> Call:
    def call(path: str, body: Any = None, *, reason: str = "", key: str = "") -> Any:
        headers = {"authorization": f"Bearer {secret}"}
        headers |= {"x-opsconsole-reason": reason.encode().decode("latin-1")} if reason else {}
        headers |= {"idempotency-key": key} if key else {}
        return Client().generic("POST", f"/api/v1/{path}", json.dumps(body or {}), "application/json", headers=headers)

    return call


@pytest.fixture
def drifted(site: Site) -> Site:
    site.edit("Orders", text="changed by somebody")
    site.check()
    return site


def acts(site: Site) -> list[tuple[str, str, Any]]:
    with tenant_scope(site.tenant.pk):
        rows = AuditLog.objects.filter(action="TENANT_EMERGENCY").order_by("created_at")
        return [(row.details["what"], row.details["reason"], row.actor_user_id) for row in rows]


def carried_out(site: Site) -> list[str]:
    site.run_all()
    with tenant_scope(site.tenant.pk):
        return [str(row.status) for row in Operation.objects.order_by("-created_at")[:1]]


def scenarios(site: Site) -> dict[str, tuple[str, dict[str, Any]]]:
    """The runbook's three calls, by what they are called in the trail."""
    with tenant_scope(site.tenant.pk):
        first = Snapshot.objects.filter(environment=site.environment).order_by("created_at").first()
        incident = DriftIncident.objects.get()
    assert first is not None
    backup = {"environment_id": str(site.environment.pk), "snapshot_type": "manual_backup", "description": "Bulk"}
    return {
        "capture": ("snapshots?wait=0", backup),
        "stabilize": (f"incidents/{incident.pk}/stabilize?wait=0", {"comment": "Bulk", "force": False}),
        "restore": (
            f"restore/{site.environment.pk}/execute?wait=0",
            {"snapshot_id": str(first.pk), "dry_run": False, "overwrite_existing": True},
        ),
    }


@pytest.mark.parametrize("what", ["capture", "stabilize", "restore"])
def test_each_scenario_goes_with_a_reason_on_record_and_told(
    drifted: Site, live_cast: Any, as_person: Any, mailoutbox: Any, what: str
) -> None:
    call = as_person(live_cast.admin)
    path, body = scenarios(drifted)[what]
    refused = call(path, body, key="one-key")
    assert refused.status_code == 403 and refused.json()["error"]["code"] == "EMERGENCY_001"
    assert "X-OpsConsole-Reason" in refused.json()["error"]["recovery"]
    assert call(path, body, reason="too short", key="one-key").status_code == 422
    assert acts(drifted) == [] and mailoutbox == []
    answer = call(path, body, reason=REASON, key="one-key")
    assert answer.status_code == 202, answer.content
    assert acts(drifted) == [(what, REASON, live_cast.admin.pk)]
    (mail,) = mailoutbox
    assert mail.to == [live_cast.owner.email] and f"Reason: {REASON}" in mail.body
    assert drifted.environment.name in mail.subject and live_cast.admin.email in mail.body
    assert carried_out(drifted) == ["COMPLETED"]
    there = drifted.there("Orders")
    assert there is not None
    assert there["nodes"][1]["parameters"]["value"] == ("changed by somebody" if what == "capture" else "hello")


def test_repeating_in_bulk_is_recorded_each_time_and_told_once(
    drifted: Site, live_cast: Any, as_person: Any, mailoutbox: Any
) -> None:
    call = as_person(live_cast.admin)
    path, body = scenarios(drifted)["capture"]
    for _ in range(2):
        assert call(path, body, reason=REASON).status_code == 202
        drifted.run_all()
    assert len(acts(drifted)) == 2 and len(mailoutbox) == 1
    call(path, body, reason="Another reason than before")
    assert len(mailoutbox) == 2
    stabilize = scenarios(drifted)["stabilize"]
    call(*stabilize, reason=REASON)
    assert len(mailoutbox) == 3, "another kind of act is told"
    drifted.run_all()
    call(*stabilize, reason=REASON)
    assert [what for what, *_ in acts(drifted)].count("stabilize") == 1, "what is done already is not done again"


def test_the_reason_opens_nothing_else(drifted: Site, live_cast: Any, as_person: Any) -> None:
    call = as_person(live_cast.admin)
    with tenant_scope(drifted.tenant.pk):
        incident = DriftIncident.objects.get()
    home = str(drifted.environment.pk)
    others = [
        ("snapshots?wait=0", {"environment_id": home, "snapshot_type": "baseline"}),
        (f"incidents/{incident.pk}/reconcile", {"comment": "no"}),
        (f"incidents/{incident.pk}/acknowledge", {}),
        (f"incidents/{incident.pk}/close", {}),
        (f"environments/{home}/drift-check", {}),
    ]
    for path, body in others:
        assert call(path, body, reason=REASON).status_code == 403, path
    path, body = scenarios(drifted)["restore"]
    drifted.capture()
    with tenant_scope(drifted.tenant.pk):
        last = Snapshot.objects.order_by("-created_at").first()
    assert last is not None
    approving = call(path, {**body, "snapshot_id": str(last.pk), "approve": True}, reason=REASON)
    assert approving.status_code == 403 and approving.json()["error"]["code"] == "REST_007"
    assert acts(drifted) == []


def test_nobody_else_gets_in_by_a_reason(drifted: Site, live_cast: Any, as_person: Any) -> None:
    callers = {
        403: [
            as_person(live_cast.viewer),
            as_person(live_cast.approver),
            as_person(live_cast.officer),
            as_person(live_cast.admin, tenant=live_cast.tenant),
            as_person(live_cast.admin, permissions=["operate"]),
        ],
        404: [as_person(live_cast.stranger), as_person(live_cast.support)],
    }
    for status, calls in callers.items():
        for call in calls:
            for path, body in scenarios(drifted).values():
                assert call(path, body, reason=REASON).status_code == status
    assert acts(drifted) == []


def test_those_with_a_role_need_no_reason_and_leave_no_emergency(
    drifted: Site, live_cast: Any, as_person: Any, mailoutbox: Any
) -> None:
    path, body = scenarios(drifted)["capture"]
    assert as_person(live_cast.operator)(path, body).status_code == 202
    assert as_person(live_cast.operator)(path, body, reason="x").status_code == 202
    assert acts(drifted) == [] and mailoutbox == []


def test_a_support_session_of_an_admin_never_gets_it(drifted: Site, live_cast: Any) -> None:
    token, secret = create_token(user=live_cast.admin, name="cli")
    with platform_scope():
        tenants.set_membership(tenant=live_cast.tenant, user=live_cast.viewer, role="viewer", by=live_cast.owner)
    session = support.start_session(
        actor=live_cast.admin,
        target=live_cast.viewer,
        tenant=live_cast.tenant,
        reason="Looking into ticket 4821",
        origin=support.RequestOrigin(token_id=token.pk),
    )
    call = calling(secret)
    for path, body in scenarios(drifted).values():
        assert call(path, body, reason=REASON).status_code == 403
    support.end_session(session_id=session.pk, by=live_cast.admin, reason="over")
    assert acts(drifted) == []


def test_every_tenant_and_only_its_own_owners_are_told(
    make_site: Any, live_cast: Any, as_person: Any, mailoutbox: Any
) -> None:
    elsewhere = make_site(tenant=live_cast.other_tenant)
    body = {"environment_id": str(elsewhere.environment.pk), "snapshot_type": "manual_backup"}
    assert as_person(live_cast.admin)("snapshots?wait=0", body, reason=REASON).status_code == 202
    assert [mail.to for mail in mailoutbox] == [[live_cast.stranger.email]]
    with tenant_scope(live_cast.tenant.pk):
        assert not AuditLog.objects.filter(action="TENANT_EMERGENCY").exists()
    with tenant_scope(live_cast.other_tenant.pk):
        (operation,) = Operation.objects.filter(status="PENDING")
        assert operation.requested_by_id == live_cast.admin.pk
    engine.drive(operation_id=operation.pk, tenant_id=live_cast.other_tenant.pk)


def test_the_description_of_the_api_names_the_header() -> None:
    from opsconsole.api import api  # the whole console, put together

    paths = api.get_openapi_schema(path_prefix="/api/v1/")["paths"]
    found = {
        path
        for path, item in paths.items()
        for call in item.values()
        if any(p["name"] == "X-OpsConsole-Reason" and p["in"] == "header" for p in call.get("parameters", ()))
    }
    assert found == {
        "/api/v1/snapshots",
        "/api/v1/restore/{environment_id}/execute",
        "/api/v1/incidents/{incident_id}/stabilize",
    }
