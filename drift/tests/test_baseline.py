"""A baseline by hand: what an environment holds becomes what is approved, by somebody who may say so."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core import support
from operations.models import Operation
from snapshots import repository
from snapshots.approving import may_approve_anything
from tenants.pages import open_visit
from tenants.scope import tenant_scope
from tenants.tokens import create_token

from .conftest import Site, workflow


@pytest.fixture
def drifted(make_site: Callable[..., Site]) -> Site:
    site = make_site()
    site.seed(workflow("Orders", active=True), workflow("Stock"), workflow("Gone"))
    site.capture()
    site.edit("Orders", text="as it should be from now on")
    site.n8n.delete_workflow(site.ids["Gone"])
    site.seed(workflow("New"))
    site.check()
    assert len(site.incidents(incident_state="OPEN")) == 3
    with tenant_scope(site.tenant.pk):
        site.environment.refresh_from_db()
    return site


def page(user: Any) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def where(site: Site) -> str:
    return f"/t/{site.tenant.slug}/snapshots/new/?environment={site.environment.pk}&snapshot_type=baseline"


def test_approve_as_baseline_approves_what_is_there(drifted: Site, live_cast: Any) -> None:
    owner = page(live_cast.owner)
    home = owner.get(f"/t/{drifted.tenant.slug}/environments/{drifted.environment.pk}/").content.decode()
    assert "snapshot_type=baseline" in home
    shown = owner.get(where(drifted)).content.decode()
    assert "Capture and approve" in shown and "Type <code>Production</code>" in shown
    form = {"environment": drifted.environment.pk, "snapshot_type": "baseline", "description": "After the migration"}
    refused = owner.post(where(drifted), form)
    assert refused.status_code == 422 and "SNAP_006" in refused.content.decode()
    assert owner.post(where(drifted), form | {"typed": "Production"}).status_code == 302
    drifted.run_all()
    assert drifted.incidents(incident_state="OPEN") == []
    drifted.check()
    assert drifted.incidents(incident_state="OPEN") == []
    for name in ("Orders", "Stock", "New"):
        row = drifted.row(name)
        assert row.git_content_hash == row.env_content_hash is not None
    assert drifted.row("Gone").git_content_hash is None
    log = repository.store_for(drifted.tenant.pk).log(drifted.environment.canonical_branch)
    assert "After the migration" in log.commits[0].message


def test_a_baseline_over_rest_approves_too(drifted: Site, live_cast: Any) -> None:
    assert post(drifted, live_cast.owner).status_code == 202
    drifted.run_all()
    assert drifted.incidents(incident_state="OPEN") == []


def test_an_operator_approves_no_baseline_of_production(drifted: Site, live_cast: Any) -> None:
    refused = post(drifted, live_cast.operator)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "REST_007")
    form = {"environment": drifted.environment.pk, "snapshot_type": "baseline", "typed": "Production"}
    assert page(live_cast.operator).post(where(drifted), form).status_code == 403
    with tenant_scope(drifted.tenant.pk):
        assert not Operation.objects.filter(kind="snapshots.capture", status="PENDING").exists()


def test_a_baseline_waits_for_whoever_writes(drifted: Site, live_cast: Any) -> None:
    with tenant_scope(drifted.tenant.pk):
        Operation.objects.create(
            tenant=drifted.tenant, kind="snapshots.restore", title="Restore", status="RUNNING", params={},
            environment_id=drifted.environment.pk, exclusive_key=drifted.environment.write_lock,
        )  # fmt: skip
    answer = post(drifted, live_cast.owner)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "REST_005")


def post(site: Site, by: Any) -> Any:
    _, secret = create_token(user=by, name="runbook")
    return Client().post(
        "/api/v1/snapshots?wait=0",
        json.dumps({"environment_id": str(site.environment.pk), "snapshot_type": "baseline"}),
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {secret}",
    )


def test_in_a_support_session_nobody_approves_for_production(drifted: Site, live_cast: Any) -> None:
    visit = open_visit(user=live_cast.owner, tenant=drifted.tenant)
    assert may_approve_anything(visit, drifted.environment)
    with support.in_force(support.InForce(uuid.uuid4(), drifted.tenant.pk)):
        assert not may_approve_anything(visit, drifted.environment)
