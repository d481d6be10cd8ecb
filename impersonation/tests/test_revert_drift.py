"""Reverting what a session decided about drift: approved, accepted, closed. n8n itself is never touched by that."""

from __future__ import annotations

from typing import Any

import pytest

from drift import services as drift
from drift.models import ACTIVE, DriftIncident
from drift.undo_reconcile import TAKE_BACK
from impersonation.tests.test_kill import inside
from impersonation.tests.test_revert import Crash, Visit, visit  # noqa: F401 -- a fixture
from operations import engine
from operations.handlers import boundary_observers
from operations.models import Operation
from promotions.tests.conftest import empty_world, no_drift, sandbox_server, world  # noqa: F401 -- fixtures
from promotions.tests.world import flow, node
from snapshots.canonical import canonical_content
from tenants.scope import tenant_scope

pytestmark = pytest.mark.django_db(transaction=True)


def edit_billing(visit: Visit, what: str) -> DriftIncident:  # noqa: F811
    """Somebody edits n8n, and it is seen; the standing incident."""
    billing = visit.world.by_name()["Billing"]["id"]
    visit.world.target.edit(billing, nodes=flow("Billing", node(what))["nodes"])
    visit.world.capture(visit.world.production)
    (incident,) = standing(visit)
    return incident


def standing(visit: Visit) -> list[DriftIncident]:  # noqa: F811
    with tenant_scope(visit.cast.tenant.pk):
        rows = DriftIncident.objects.filter(workflow_env_map__canonical_workflow__key="billing")
        return list(rows.filter(incident_state__in=ACTIVE))


def approved(visit: Visit) -> Any:  # noqa: F811
    return canonical_content(visit.world.production, ["billing"])["billing"]


def reconcile(visit: Visit, incident: DriftIncident, **options: Any) -> None:  # noqa: F811
    drift.reconcile(
        tenant_id=visit.cast.tenant.pk, incident_ids=[incident.pk], requested_by=visit.cast.owner, **options
    )  # fmt: skip


@pytest.fixture
def edited(visit: Visit) -> tuple[Visit, DriftIncident, Any]:  # noqa: F811
    """A promotion's content is approved; somebody's edit drifts from it. With what is approved."""
    assert visit.world.carry_out(visit.world.approved("billing")).status == "COMPLETED"
    before = approved(visit)
    return visit, edit_billing(visit, "Somebody's"), before


def test_what_a_reconcile_approved_is_drift_again(edited: Any) -> None:
    visit, incident, before = edited  # noqa: F811
    with inside(visit.session):
        reconcile(visit, incident)
    visit.run_operations(visit.cast.tenant)
    assert approved(visit) != before and standing(visit) == []
    visit.end()
    n8n = visit.world.hashes()
    plan = visit.plan()["reconcile"]
    assert plan["verdict"] == "ready" and "drift again" in plan["why"]
    (fact,) = plan["facts"]
    assert fact["after"] == fact["now"] != fact["before"]
    assert visit.outcomes(visit.revert(choice="all")) == {"reconcile": "undone"}
    assert approved(visit) == before and visit.world.hashes() == n8n
    assert [row.drifted_hash for row in standing(visit)] == [incident.drifted_hash]
    assert visit.plan()["reconcile"]["verdict"] == "undone"


def test_what_was_approved_since_is_a_conflict_and_stays(edited: Any) -> None:
    visit, incident, before = edited  # noqa: F811
    with inside(visit.session):
        reconcile(visit, incident)
    visit.run_operations(visit.cast.tenant)
    visit.end()
    reconcile(visit, edit_billing(visit, "The customer's"))
    visit.run_operations(visit.cast.tenant)
    theirs = approved(visit)
    plan = visit.plan()["reconcile"]
    assert plan["verdict"] == "conflict" and "Billing" in plan["why"]
    assert visit.outcomes(visit.revert(selected=[plan["id"]])) == {"reconcile": "conflict"}
    assert approved(visit) == theirs
    assert visit.outcomes(visit.revert(selected=[plan["id"]], force=[plan["id"]])) == {"reconcile": "undone"}
    assert approved(visit) == before and len(standing(visit)) == 1


@pytest.mark.parametrize("how", ["closed", "reconciled without Git"])
def test_what_was_accepted_is_reported_again(edited: Any, how: str) -> None:
    visit, incident, before = edited  # noqa: F811
    with inside(visit.session):
        if how == "closed":
            drift.close(
                tenant_id=visit.cast.tenant.pk, incident_id=incident.pk, resolution_type="accepted", by=visit.cast.owner
            )  # fmt: skip
        else:
            reconcile(visit, incident, update_git=False)
    visit.run_operations(visit.cast.tenant)
    visit.end()
    visit.world.capture(visit.world.production)
    assert standing(visit) == [], "it is tolerated"
    kind = "drift incident" if how == "closed" else "reconcile"
    assert visit.plan()[kind]["verdict"] == "ready"
    assert visit.outcomes(visit.revert(choice="all")) == {kind: "undone"}
    assert [row.pk == incident.pk for row in standing(visit)] == [False]
    assert visit.plan()[kind]["verdict"] == "undone" and approved(visit) == before


def test_a_closing_that_hides_nothing_and_a_rollback_say_so(visit: Visit) -> None:  # noqa: F811
    promotion = visit.world.carry_out(visit.world.approved("billing"))
    incident = edit_billing(visit, "Somebody's")
    with inside(visit.session):
        drift.close(
            tenant_id=visit.cast.tenant.pk, incident_id=incident.pk, resolution_type="other", by=visit.cast.owner
        )  # fmt: skip
    visit.post(f"promotions/{promotion.pk}/", action="rollback", typed="Production", force="on")
    visit.end()
    plan = visit.plan()
    assert plan["drift incident"]["verdict"] == "nothing" and "still drifts" in plan["drift incident"]["why"]
    assert plan["rollback"]["verdict"] == "impossible"
    assert promotion.name in plan["rollback"]["why"] and "approve" in plan["rollback"]["why"]


def test_killed_at_any_step_of_taking_back_it_ends_the_same(edited: Any) -> None:
    visit, incident, before = edited  # noqa: F811
    with inside(visit.session):
        reconcile(visit, incident)
    visit.run_operations(visit.cast.tenant)
    visit.end()
    assert visit.api(None, "post", all=True).status_code == 202
    survived: set[str] = set()

    def die(boundary: str) -> None:
        if boundary.partition(":")[0] in ("judge", "commit", "report", "compare") and boundary not in survived:
            survived.add(boundary)
            raise Crash

    boundary_observers.append(die)
    try:
        for _ in range(40):
            with tenant_scope(visit.cast.tenant.pk):
                Operation.objects.filter(status="RUNNING").update(lease_expires_at="2020-01-01T00:00:00Z", attempt=0)
            try:
                ended = engine.drive(operation_id=visit.last().pk, tenant_id=visit.cast.tenant.pk)
            except Crash:
                continue
            if ended == "COMPLETED":
                break
    finally:
        boundary_observers.clear()
    assert {name.partition(":")[0] for name in survived} == {"judge", "commit", "report", "compare"}
    assert visit.outcomes(visit.last()) == {"reconcile": "undone"}
    assert approved(visit) == before and len(standing(visit)) == 1
    with tenant_scope(visit.cast.tenant.pk):
        assert Operation.objects.filter(kind=TAKE_BACK).count() == 1
