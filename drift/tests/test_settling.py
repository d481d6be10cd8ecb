"""Stabilize, reconcile, acknowledge, close: proven by hashes, careful with edits made meanwhile."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import clock
from core.errors import Invalid, NotFound
from core.events import StepHandler
from drift import policies, services, states
from drift.errors import NotAMember, StillDrifted, WrongState
from drift.models import DriftIncident, IncidentState, Severity
from drift.notices import Reconciled
from snapshots.models import Snapshot
from tenants.scope import platform_scope, tenant_scope
from workflows.models import MapStatus

from .conftest import workflow

pytestmark = pytest.mark.django_db(transaction=True)


def stabilize(place: Any, *incidents: DriftIncident, **options: Any) -> Any:
    (operation,) = services.stabilize(
        tenant_id=place.tenant.pk,
        incident_ids=[i.pk for i in incidents],
        requested_by=options.pop("by", None),
        comment="put back",
        idempotency_key=options.pop("idempotency_key", None),
        options=services.StabilizeOptions(**options),
    )
    return place.drive(operation)


def reconcile(place: Any, *incidents: DriftIncident, **options: Any) -> Any:
    (operation,) = services.reconcile(
        tenant_id=place.tenant.pk,
        incident_ids=[i.pk for i in incidents],
        requested_by=options.pop("by", None),
        comment="hotfix",
        **options,
    )
    return place.drive(operation)


def drifted(place: Any, name: str = "Orders", **changes: Any) -> DriftIncident:
    place.edit(name, **(changes or {"text": "changed"}))
    place.check()
    found = [i for i in place.incidents() if i.is_active and i.workflow_env_map.env_name == name]
    assert len(found) == 1
    return found[0]


def test_stabilize_puts_the_approved_content_back_and_proves_it(place: Any, live_cast: Any) -> None:
    approved = place.there("Orders")["nodes"]
    incident = drifted(place)
    done = stabilize(place, incident, by=live_cast.operator)
    assert done.status == "COMPLETED", done.error_details
    row, after = place.row("Orders"), place.incident()
    assert place.there("Orders")["nodes"][1]["parameters"] == approved[1]["parameters"]
    assert place.there("Orders")["active"] is True
    assert row.git_content_hash == row.env_content_hash
    assert (after.incident_state, after.resolution_type) == ("STABILIZED", "stabilized")
    assert after.resolved_by_id == live_cast.operator.pk
    assert after.comment == "put back"
    with tenant_scope(place.tenant.pk):
        safety = Snapshot.objects.get(pk=after.drift_snapshot["proof"]["safety_snapshot_id"])
    assert safety.snapshot_type == "pre_stabilize"
    place.check()
    assert [i.incident_state for i in place.incidents()] == ["STABILIZED"]


def test_an_edit_made_meanwhile_is_not_overwritten_unless_forced(place: Any) -> None:
    incident = drifted(place)
    place.edit("Orders", text="a colleague's second edit")
    refused = stabilize(place, incident)
    assert (refused.status, refused.error_code) == ("FAILED", "DRIFT_002")
    assert refused.error_details["details"]["cause"]["code"] == "DRIFT_007"
    assert place.there("Orders")["nodes"][1]["parameters"] == {"value": "a colleague's second edit"}
    after = place.incident()
    assert after.incident_state == "ACKNOWLEDGED", "the runbook looks for failed ones among the acknowledged"
    assert after.drift_snapshot["last_failure"]["code"] == "DRIFT_007"
    assert stabilize(place, after, force=True).status == "COMPLETED"
    assert place.there("Orders")["nodes"][1]["parameters"] == {"value": "hello"}


@pytest.mark.parametrize("settle", [stabilize, reconcile])
def test_a_switch_made_meanwhile_is_neither_undone_nor_approved(place: Any, settle: Any) -> None:
    incident = drifted(place)
    place.edit("Orders", active=False)
    refused = settle(place, incident)
    assert refused.status == "FAILED"
    assert refused.error_details["details"]["cause"]["code"] == "DRIFT_007"
    assert place.there("Orders")["active"] is False
    assert place.row("Orders").git_active is True
    place.check()
    assert settle(place, place.incident()).status == "COMPLETED"


@pytest.mark.parametrize("settle", [stabilize, reconcile])
@pytest.mark.parametrize(
    ("seen", "then"),
    [
        ({"tags": ["one"]}, {"tags": ["one", "slipped in"]}),
        ({"tags": ["one"]}, {"settings": {"timeSavedMode": "dynamic"}}),
    ],
)
def test_details_that_moved_since_they_were_looked_at_are_neither_approved_nor_undone(
    make_place: Any, settle: Any, seen: dict[str, Any], then: dict[str, Any]
) -> None:
    place = make_place(profile="2.41")
    place.seed(workflow("Orders", active=True, settings={"timeSavedMode": "fixed"}))
    place.capture()
    incident = drifted(place, **seen)
    assert incident.kind == "details"
    place.n8n.clear_calls()
    before = place.row("Orders").git_facts
    place.edit("Orders", **then)
    refused = settle(place, incident)
    assert refused.status == "FAILED", refused.result
    cause = refused.error_details["details"]["cause"]
    assert (cause["code"], cause["details"]["moved"]) == ("DRIFT_007", [*then] if "tags" in then else ["timeSavedMode"])
    assert place.row("Orders").git_facts == before
    assert place.n8n.calls(method="PUT") == []
    place.check()
    assert settle(place, place.incident(incident_state__in=["OPEN", "ACKNOWLEDGED"])).status == "COMPLETED"


def test_a_workflow_that_was_put_back_by_hand_needs_no_write(place: Any) -> None:
    before = place.there("Orders")
    incident = drifted(place)
    place.edit("Orders", nodes=before["nodes"])
    place.n8n.clear_calls()
    assert stabilize(place, incident).status == "COMPLETED"
    assert place.n8n.calls(method="PUT") == []
    assert place.incident().incident_state == "STABILIZED"


def test_a_removed_workflow_is_created_anew_under_its_key(place: Any) -> None:
    key = place.row("Leads").canonical_workflow_id
    place.n8n.delete_workflow(place.ids["Leads"])
    place.check()
    assert stabilize(place, place.incident()).status == "COMPLETED"
    row = place.row("Leads")
    assert row.canonical_workflow_id == key
    assert row.env_workflow_id != place.ids["Leads"]
    assert row.status == MapStatus.LINKED
    assert row.git_content_hash == row.env_content_hash
    assert place.n8n.workflow(row.env_workflow_id)["active"] is True
    place.check()
    assert [i.incident_state for i in place.incidents()] == ["STABILIZED"]


def test_an_added_workflow_is_switched_off_and_stays_tolerated_until_it_changes(place: Any) -> None:
    place.seed(workflow("Stranger", active=True))
    place.check()
    assert stabilize(place, place.incident()).status == "COMPLETED"
    assert place.there("Stranger")["active"] is False
    assert place.incident().resolution_type == "deactivated"
    place.check()
    assert [i.incident_state for i in place.incidents()] == ["STABILIZED"]
    place.edit("Stranger", active=True)
    place.check()
    assert [i.incident_state for i in place.incidents()] == ["STABILIZED", "OPEN"]


def test_an_added_workflow_can_be_deleted(place: Any) -> None:
    place.seed(workflow("Stranger"))
    place.check()
    assert stabilize(place, place.incident(), added="delete").status == "COMPLETED"
    assert place.there("Stranger") is None
    assert place.incident().resolution_type == "deleted"
    place.check()
    assert len(place.incidents()) == 1


def test_activation_is_put_back(place: Any) -> None:
    incident = drifted(place, "Orders", active=False)
    assert incident.kind == "activation"
    assert stabilize(place, incident).status == "COMPLETED"
    assert place.there("Orders")["active"] is True


def test_of_many_each_is_settled_and_what_fails_is_listed(place: Any) -> None:
    place.edit("Orders", text="one")
    place.edit("Invoices", text="two")
    place.check()
    place.edit("Invoices", text="three")
    done = stabilize(place, *place.incidents())
    assert done.status == "COMPLETED"
    assert [row["name"] for row in done.result["stabilized"]] == ["Orders"]
    assert [(row["name"], row["code"]) for row in done.result["failed"]] == [("Invoices", "DRIFT_007")]
    states_ = {i.workflow_env_map.env_name: i.incident_state for i in place.incidents()}
    assert states_ == {"Orders": "STABILIZED", "Invoices": "ACKNOWLEDGED"}


def test_a_failing_n8n_is_drift_002_and_the_incident_stays(place: Any) -> None:
    incident = drifted(place)
    place.n8n.fault(kind="status", status=400, method="PUT", path="/workflows/", times=50)
    failed = stabilize(place, incident)
    assert (failed.status, failed.error_code) == ("FAILED", "DRIFT_002")
    assert place.incident().is_active
    place.n8n.clear_faults()
    assert stabilize(place, place.incident()).status == "COMPLETED"


def test_reconcile_approves_what_is_seen_in_git(place: Any, live_cast: Any) -> None:
    incident = drifted(place)
    before = place.row("Orders").git_content_hash
    done = reconcile(place, incident, by=live_cast.operator)
    assert done.status == "COMPLETED", done.error_details
    row, after = place.row("Orders"), place.incident()
    assert row.git_content_hash == row.env_content_hash == incident.drifted_hash != before
    assert (after.incident_state, after.resolution_type) == ("RECONCILED", "reconciled")
    assert after.drift_snapshot["proof"]["commit"] == done.result["commit_sha"]
    assert place.there("Orders")["nodes"][1]["parameters"] == {"value": "changed"}
    place.check()
    assert len(place.incidents()) == 1


def test_reconcile_refuses_what_nobody_looked_at(place: Any) -> None:
    incident = drifted(place)
    before = place.row("Orders").git_content_hash
    place.edit("Orders", text="slipped in")
    refused = reconcile(place, incident)
    assert (refused.status, refused.error_code) == ("FAILED", "DRIFT_003")
    assert place.row("Orders").git_content_hash == before
    assert place.incident().incident_state == "ACKNOWLEDGED"


def test_reconcile_of_what_appeared_and_what_disappeared(place: Any) -> None:
    place.seed(workflow("Stranger"))
    place.n8n.delete_workflow(place.ids["Leads"])
    place.check()
    done = reconcile(place, *place.incidents())
    assert done.status == "COMPLETED", done.error_details
    assert len(done.result["reconciled"]) == 2
    assert place.row("Stranger").git_content_hash == place.row("Stranger").env_content_hash
    assert (place.row("Leads").git_content_hash, place.row("Leads").status) == (None, MapStatus.DELETED)
    place.check()
    assert {i.incident_state for i in place.incidents()} == {"RECONCILED"}


def test_reconcile_without_git_accepts_it_until_it_changes(place: Any) -> None:
    incident = drifted(place)
    assert reconcile(place, incident, update_git=False).status == "COMPLETED"
    row = place.row("Orders")
    assert row.git_content_hash != row.env_content_hash
    place.check()
    assert [i.incident_state for i in place.incidents()] == ["RECONCILED"]
    place.edit("Orders", text="something else")
    place.check()
    assert [i.incident_state for i in place.incidents()] == ["RECONCILED", "OPEN"]


def test_a_git_failure_is_drift_003_and_nothing_is_approved(place: Any, monkeypatch: Any) -> None:
    incident = drifted(place)
    before = place.row("Orders").git_content_hash

    def broken(*_a: Any, **_k: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("drift.reconciling.commit_canonical", broken)
    failed = reconcile(place, incident)
    assert (failed.status, failed.error_code) == ("FAILED", "DRIFT_003")
    assert place.row("Orders").git_content_hash == before


def test_reconcile_tells_the_layer_above(place: Any, monkeypatch: Any) -> None:
    told: list[Reconciled] = []
    promotion_id = str(uuid.uuid4())

    def record(news: Reconciled) -> dict[str, str]:
        told.append(news)
        return {"promotion_id": promotion_id}

    handler = StepHandler(name="test.record", of=Reconciled, handle=record)
    monkeypatch.setattr("drift.reconciling.step_handlers", lambda of: [handler] if of is Reconciled else [])
    incident = drifted(place)
    reconcile(place, incident, create_promotion_record=True)
    (news,) = told
    assert news.incident_ids == (incident.pk,)
    assert news.commit_sha and news.comment == "hotfix"
    assert place.incident().drift_snapshot["promotion_id"] == promotion_id


def test_acknowledge_assigns_and_leaves_the_clock_alone(place: Any, live_cast: Any) -> None:
    incident = drifted(place)
    tenant = place.tenant.pk
    (after,) = services.acknowledge(
        tenant_id=tenant,
        incident_ids=[incident.pk],
        comment="holding",
        assigned_to=str(live_cast.approver.pk),
        by=live_cast.operator,
    )
    assert (after.incident_state, after.assigned_to, after.comment) == ("ACKNOWLEDGED", live_cast.approver, "holding")
    assert after.ttl_expires_at == incident.ttl_expires_at
    with pytest.raises(NotAMember):
        services.acknowledge(
            tenant_id=tenant, incident_ids=[incident.pk], assigned_to="stranger@example.org", by=live_cast.operator
        )


OVERDUE = (
    "SELECT count(*) FROM drift_incidents di JOIN drift_policies dp ON di.tenant_id = dp.tenant_id"
    " WHERE di.incident_state NOT IN ('CLOSED', 'RECONCILED') AND di.ttl_expires_at < NOW() + INTERVAL '900 days'"
    " AND dp.enforce_ttl = true"
)


@pytest.mark.parametrize("way", ["stabilize", "reconcile", "close", "gone"])
def test_what_is_settled_has_no_deadline_any_more(place: Any, live_cast: Any, way: str) -> None:
    """The runbook asks for deadlines that have passed, to find what blocks promotions: STABILIZED is not among them."""
    before = place.there("Orders")
    hours = {str(level): 24 for level in Severity.values}
    policies.save_policy(tenant_id=place.tenant.pk, enforce_ttl=True, block_on_active_drift=True, hours=hours)
    incident = drifted(place)
    assert incident.ttl_expires_at is not None
    if way == "stabilize":
        stabilize(place, incident)
    elif way == "reconcile":
        reconcile(place, incident)
    elif way == "close":
        given = {"incident_id": incident.pk, "resolution_type": "accepted", "by": live_cast.operator}
        services.close(tenant_id=place.tenant.pk, **given)
    else:
        place.edit("Orders", nodes=before["nodes"])
        place.check()
    after = place.incident()
    assert after.incident_state not in ("OPEN", "ACKNOWLEDGED") and after.ttl_expires_at is None
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute(OVERDUE)
        assert cursor.fetchone()[0] == 0


def test_closing(place: Any, live_cast: Any) -> None:
    incident = drifted(place)
    asked: dict[str, Any] = {"tenant_id": place.tenant.pk, "incident_id": incident.pk, "by": live_cast.operator}
    with pytest.raises(StillDrifted):
        services.close(**asked, resolution_type="reconciled")
    with pytest.raises(Invalid):
        services.close(**asked, resolution_type="because")
    stabilize(place, incident)
    closed = services.close(**asked, resolution_type="stabilized", comment="done")
    assert (closed.incident_state, closed.comment) == ("CLOSED", "done")
    with pytest.raises(WrongState):
        services.close(**asked)


def test_a_false_alarm_is_not_raised_again_for_the_same_content(place: Any, live_cast: Any) -> None:
    incident = drifted(place)
    services.close(
        tenant_id=place.tenant.pk, incident_id=incident.pk, resolution_type="false_positive", by=live_cast.operator
    )
    place.check()
    assert len(place.incidents()) == 1
    place.edit("Orders", text="now really")
    place.check()
    assert [i.incident_state for i in place.incidents()] == ["CLOSED", "OPEN"]


def test_settled_incidents_cannot_be_settled_again(place: Any) -> None:
    incident = drifted(place)
    stabilize(place, incident)
    with pytest.raises(WrongState):
        stabilize(place, incident)
    with pytest.raises(WrongState):
        reconcile(place, incident)


def test_the_same_request_twice_is_one_job(place: Any) -> None:
    incident = drifted(place)
    first = stabilize(place, incident, idempotency_key="k1")
    again = stabilize(place, incident, idempotency_key="k1")
    assert first.pk == again.pk


def test_another_tenants_incident_does_not_exist(place: Any, live_cast: Any) -> None:
    incident = drifted(place)
    other = live_cast.other_tenant.pk
    with pytest.raises(NotFound):
        services.incident_by_id(other, incident.pk)
    with pytest.raises(NotFound):
        services.stabilize(tenant_id=other, incident_ids=[incident.pk], requested_by=None)
    with pytest.raises(NotFound):
        services.close(tenant_id=other, incident_id=incident.pk, by=live_cast.stranger)
    assert services.blocking_incidents(tenant_id=other, environment_id=place.environment.pk) == []


def test_what_blocks_follows_the_policy(place: Any) -> None:
    drifted(place, "Orders")
    drifted(place, "Invoices")
    where = {"tenant_id": place.tenant.pk, "environment_id": place.environment.pk}
    key = place.row("Orders")
    with tenant_scope(place.tenant.pk):
        orders = key.canonical_workflow.key

    def rules(*, enforce: bool, block: bool) -> None:
        policies.save_policy(
            tenant_id=place.tenant.pk,
            enforce_ttl=enforce,
            block_on_active_drift=block,
            hours={"critical": 4, "high": 24, "medium": 72, "low": 168},
        )

    def named(keys: Any = None) -> set[str]:
        return {row["workflow_name"] for row in services.blocking_incidents(**where, keys=keys)}

    rules(enforce=True, block=True)
    assert named() == {"Orders", "Invoices"}
    assert named([orders]) == {"Orders"}
    assert named([]) == set()
    rules(enforce=True, block=False)
    assert named() == set()
    with tenant_scope(place.tenant.pk):
        DriftIncident.objects.filter(workflow_env_map__env_name="Invoices").update(
            ttl_expires_at=clock.now() - timedelta(hours=1)
        )
    assert named([orders]) == {"Invoices"}, "what is past its time blocks whatever is promoted"
    (row,) = services.blocking_incidents(**where)
    assert (row["reason"], row["expired"]) == ("ttl_expired", True)
    rules(enforce=False, block=False)
    with tenant_scope(place.tenant.pk):
        DriftIncident.objects.update(ttl_expires_at=clock.now() - timedelta(hours=1))
    assert named() == set()


@given(st.lists(st.sampled_from([str(s) for s in IncidentState.values]), min_size=1, max_size=6))
def test_the_table_of_states_lets_nothing_out_of_closed(path: list[str]) -> None:
    state, walked = "OPEN", ["OPEN"]
    for wanted in path:
        if states.may_become(state, wanted):
            state = wanted
            walked.append(state)
    if "CLOSED" in walked:
        assert walked[-1] == "CLOSED" and walked.count("CLOSED") == 1
    settled = [s for s in walked if s in ("STABILIZED", "RECONCILED")]
    assert len(settled) <= 1


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["Orders", "Invoices", "Leads"]),
        st.sampled_from(["edit", "switch", "stabilize", "reconcile", "check"]),
        st.integers(0, 3),
    ),
    min_size=2,
    max_size=6,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_whatever_happens_settled_means_equal_and_no_place_has_two_standing_incidents(place: Any, moves: Any) -> None:
    for name, what, number in moves:
        if what == "edit":
            place.edit(name, text=f"text {number}")
        elif what == "switch":
            place.edit(name, active=bool(number % 2))
        place.check()
        standing = [i for i in place.incidents() if i.is_active]
        assert len({i.workflow_env_map_id for i in standing}) == len(standing)
        mine = [i for i in standing if i.workflow_env_map.env_name == name]
        row = place.row(name)
        differs = row.git_content_hash != row.env_content_hash or row.git_active != row.env_active
        assert bool(mine) == differs
        if mine and what in ("stabilize", "reconcile"):
            before = row.git_content_hash
            done = (stabilize if what == "stabilize" else reconcile)(place, mine[0])
            assert done.status == "COMPLETED", done.error_details
            row = place.row(name)
            assert row.git_content_hash == row.env_content_hash
            assert row.git_active == row.env_active
            if what == "stabilize":
                assert row.git_content_hash == before
