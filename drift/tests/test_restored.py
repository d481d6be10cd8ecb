"""What a restore brought back is what is approved: the next check raises no drift over it, and nothing is blocked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from drift.models import DriftIncident
from drift.services import blocking_incidents
from operations import engine, services
from snapshots import repository
from snapshots.models import Snapshot, SnapshotType
from snapshots.services import set_baseline, start_capture
from tenants.scope import tenant_scope
from tenants.tokens import create_token

from .conftest import Site, workflow

GOOD, BAD = "good", "a regression"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is there at once."""
    monkeypatch.setattr(
        services,
        "wake",
        lambda *, operation_id, tenant_id: engine.drive(operation_id=operation_id, tenant_id=tenant_id),
    )


@pytest.fixture
def production(make_site: Callable[..., Site]) -> Site:
    site = make_site()
    site.seed(workflow("Orders", text=GOOD, active=True), workflow("Stock", active=True))
    site.capture()
    return site


def taken(site: Site, kind: str) -> Snapshot:
    operation = site.drive(
        start_capture(
            tenant_id=site.tenant.pk, environment_id=site.environment.pk, snapshot_type=kind, requested_by=None
        )
    )
    with tenant_scope(site.tenant.pk):
        site.environment.refresh_from_db()
        return Snapshot.objects.select_related("environment").get(pk=operation.subject_id)


def release(site: Site, name: str = "Orders", text: str = BAD) -> None:
    """As a promotion leaves it: n8n runs it, and it is approved."""
    site.edit(name, text=text)
    set_baseline(None, environment=site.environment, snapshot=taken(site, SnapshotType.POST_PROMOTION))
    site.check()
    with tenant_scope(site.tenant.pk):
        DriftIncident.objects.all().delete()  # of the capture: a promotion holds the lock meanwhile
    assert is_approved(site, name)


def restore(site: Site, snapshot: Snapshot, by: Any, **body: Any) -> Any:
    _, secret = create_token(user=by, name="runbook")
    return Client().post(
        f"/api/v1/restore/{site.environment.pk}/execute",
        json.dumps({"snapshot_id": str(snapshot.pk), "dry_run": False, "overwrite_existing": True, **body}),
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {secret}",
    )


def is_approved(site: Site, name: str = "Orders") -> bool:
    row = site.row(name)
    return row.git_content_hash == row.env_content_hash


def stands(site: Site, name: str = "Orders") -> str:
    there = site.there(name)
    assert there is not None
    found: str = there["nodes"][1]["parameters"]["value"]
    return found


def blocking(site: Site) -> list[Any]:
    return blocking_incidents(tenant_id=site.tenant.pk, environment_id=site.environment.pk)


def test_the_runbooks_rollback_by_a_snapshot_raises_no_drift(production: Site, live_cast: Any, at_once: None) -> None:
    before = taken(production, SnapshotType.PRE_PROMOTION)
    good = production.row("Orders").env_content_hash
    release(production)
    answer = restore(production, before, live_cast.operator, reason="Orders loses money")
    assert answer.status_code == 200, answer.content
    assert answer.json()["restore"]["approval"]["approved"] == ["orders", "stock"]
    assert stands(production) == GOOD
    assert production.row("Orders").git_content_hash == good, "current_hash of the runbook shows what is back"
    assert production.check().status == "COMPLETED"
    assert (production.incidents(), blocking(production)) == ([], [])
    store = repository.store_for(production.tenant.pk)
    newest = store.log(production.environment.canonical_branch).commits[0]
    assert "Orders loses money" in newest.message
    assert newest.trailers["Restored-From"] == str(before.pk)


def test_an_operator_approves_again_what_was_approved_before(production: Site, live_cast: Any, at_once: None) -> None:
    good = taken(production, SnapshotType.MANUAL_BACKUP)
    release(production)
    release(production, text="an even worse one")
    answer = restore(production, good, live_cast.operator, approve=True)
    assert answer.status_code == 200, answer.content
    production.check()
    assert stands(production) == GOOD and is_approved(production)
    assert production.incidents() == []


@pytest.mark.parametrize("kind", [SnapshotType.MANUAL_BACKUP, SnapshotType.PRE_PROMOTION])
def test_what_is_not_to_be_approved_is_drift(production: Site, live_cast: Any, at_once: None, kind: str) -> None:
    before = taken(production, kind)
    release(production)
    asked = {"approve": False} if kind == SnapshotType.PRE_PROMOTION else {}
    answer = restore(production, before, live_cast.operator, **asked)
    assert answer.status_code == 200 and answer.json()["restore"].get("approval") is None
    production.check()
    assert not is_approved(production)
    assert [i.severity for i in production.incidents(incident_state="OPEN")] == ["high"]


def test_what_was_never_approved_needs_somebody_who_may_approve(
    production: Site, live_cast: Any, at_once: None
) -> None:
    production.edit("Orders", text="nobody has looked at this")
    unseen = taken(production, SnapshotType.MANUAL_BACKUP)
    production.edit("Orders", text=GOOD)
    refused = restore(production, unseen, live_cast.operator, approve=True)
    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "REST_007"
    assert refused.json()["error"]["details"]["workflows"] == ["orders"]
    assert stands(production) == GOOD, "nothing was written"
    answer = restore(production, unseen, live_cast.owner, approve=True)
    assert answer.status_code == 200, answer.content
    production.check()
    assert is_approved(production) and not production.incidents(incident_state="OPEN")


def test_switching_on_what_was_approved_switched_off_is_new(production: Site, live_cast: Any, at_once: None) -> None:
    release(production, "Stock", "other")
    production.edit("Stock", active=False)
    switched = taken(production, SnapshotType.MANUAL_BACKUP)
    production.edit("Stock", active=True)
    assert restore(production, switched, live_cast.operator, approve=True).status_code == 403


def test_drift_that_a_promotion_had_captured_stays_unapproved_and_is_named(
    production: Site, live_cast: Any, at_once: None
) -> None:
    production.edit("Stock", text="somebody's hotfix")
    before = taken(production, SnapshotType.PRE_PROMOTION)
    production.edit("Stock", text=GOOD)
    release(production)
    answer = restore(production, before, live_cast.operator)
    assert answer.status_code == 200, answer.content
    approval = answer.json()["restore"]["approval"]
    assert (approval["approved"], approval["not_approved"]) == (["orders"], ["stock"])
    production.check()
    assert is_approved(production) and not is_approved(production, "Stock")


def test_standing_drift_that_a_restore_approves_ends_at_once(production: Site, live_cast: Any, at_once: None) -> None:
    before = taken(production, SnapshotType.PRE_PROMOTION)
    production.edit("Orders", text="somebody's edit")
    production.check()
    assert len(production.incidents(incident_state="OPEN")) == 1
    assert restore(production, before, live_cast.operator).status_code == 200
    assert production.incidents(incident_state="OPEN") == []


def test_another_environments_snapshot_enters_production_by_a_promotion(
    production: Site, make_site: Callable[..., Site], live_cast: Any, at_once: None
) -> None:
    staging = make_site("staging", position=1)
    staging.seed(workflow("Orders", text="nobody has looked at this", active=True))
    staging.capture()
    answer = restore(production, taken(staging, SnapshotType.MANUAL_BACKUP), live_cast.owner)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "REST_008")
    assert stands(production) == GOOD
