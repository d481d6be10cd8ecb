"""Stabilize, reconcile, acknowledge, close: proven by hashes, careful with edits made meanwhile."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import clock
from core.errors import Invalid, NotFound
from core.events import StepHandler
from drift import policies, services, states
from drift.accepted import accepted
from drift.errors import NotAMember, StillDrifted, WrongState
from drift.models import DriftIncident, IncidentState, Severity
from drift.notices import Reconciled
from snapshots.models import Snapshot
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token
from workflows import selectors
from workflows.matrix_list import Asked
from workflows.models import MapStatus

from .conftest import workflow

pytestmark = pytest.mark.django_db(transaction=True)


def stabilize(site: Any, *incidents: DriftIncident, **options: Any) -> Any:
    (operation,) = services.stabilize(
        tenant_id=site.tenant.pk,
        incident_ids=[i.pk for i in incidents],
        requested_by=options.pop("by", None),
        comment="put back",
        idempotency_key=options.pop("idempotency_key", None),
        options=services.StabilizeOptions(**options),
    )
    return site.drive(operation)


def reconcile(site: Any, *incidents: DriftIncident, **options: Any) -> Any:
    (operation,) = services.reconcile(
        tenant_id=site.tenant.pk,
        incident_ids=[i.pk for i in incidents],
        requested_by=options.pop("by", None),
        comment="hotfix",
        **options,
    )
    return site.drive(operation)


def drifted(site: Any, name: str = "Orders", **changes: Any) -> DriftIncident:
    site.edit(name, **(changes or {"text": "changed"}))
    site.check()
    found = [i for i in site.incidents() if i.is_active and i.workflow_env_map.env_name == name]
    assert len(found) == 1
    return found[0]


def test_stabilize_puts_the_approved_content_back_and_proves_it(site: Any, live_cast: Any) -> None:
    approved = site.there("Orders")["nodes"]
    incident = drifted(site)
    done = stabilize(site, incident, by=live_cast.operator)
    assert done.status == "COMPLETED", done.error_details
    row, after = site.row("Orders"), site.incident()
    assert site.there("Orders")["nodes"][1]["parameters"] == approved[1]["parameters"]
    assert site.there("Orders")["active"] is True
    assert row.git_content_hash == row.env_content_hash
    assert (after.incident_state, after.resolution_type) == ("STABILIZED", "stabilized")
    assert after.resolved_by_id == live_cast.operator.pk
    assert after.comment == "put back"
    with tenant_scope(site.tenant.pk):
        safety = Snapshot.objects.get(pk=after.drift_snapshot["proof"]["safety_snapshot_id"])
    assert safety.snapshot_type == "pre_stabilize"
    site.check()
    assert [i.incident_state for i in site.incidents()] == ["STABILIZED"]


def test_an_edit_made_meanwhile_is_not_overwritten_unless_forced(site: Any) -> None:
    incident = drifted(site)
    site.edit("Orders", text="a colleague's second edit")
    refused = stabilize(site, incident)
    assert (refused.status, refused.error_code) == ("FAILED", "DRIFT_002")
    assert refused.error_details["details"]["cause"]["code"] == "DRIFT_007"
    assert site.there("Orders")["nodes"][1]["parameters"] == {"value": "a colleague's second edit"}
    after = site.incident()
    assert after.incident_state == "ACKNOWLEDGED", "the runbook looks for failed ones among the acknowledged"
    assert after.drift_snapshot["last_failure"]["code"] == "DRIFT_007"
    assert stabilize(site, after, force=True).status == "COMPLETED"
    assert site.there("Orders")["nodes"][1]["parameters"] == {"value": "hello"}


@pytest.mark.parametrize("settle", [stabilize, reconcile])
def test_a_switch_made_meanwhile_is_neither_undone_nor_approved(site: Any, settle: Any) -> None:
    incident = drifted(site)
    site.edit("Orders", active=False)
    refused = settle(site, incident)
    assert refused.status == "FAILED"
    assert refused.error_details["details"]["cause"]["code"] == "DRIFT_007"
    assert site.there("Orders")["active"] is False
    assert site.row("Orders").git_active is True
    site.check()
    assert settle(site, site.incident()).status == "COMPLETED"


@pytest.mark.parametrize("settle", [stabilize, reconcile])
@pytest.mark.parametrize(
    ("seen", "then"),
    [
        ({"tags": ["one"]}, {"tags": ["one", "slipped in"]}),
        ({"tags": ["one"]}, {"settings": {"timeSavedMode": "dynamic"}}),
    ],
)
def test_details_that_moved_since_they_were_looked_at_are_neither_approved_nor_undone(
    make_site: Any, settle: Any, seen: dict[str, Any], then: dict[str, Any]
) -> None:
    site = make_site(profile="2.41")
    site.seed(workflow("Orders", active=True, settings={"timeSavedMode": "fixed"}))
    site.capture()
    incident = drifted(site, **seen)
    assert incident.kind == "details"
    site.n8n.clear_calls()
    before = site.row("Orders").git_facts
    site.edit("Orders", **then)
    refused = settle(site, incident)
    assert refused.status == "FAILED", refused.result
    cause = refused.error_details["details"]["cause"]
    assert (cause["code"], cause["details"]["moved"]) == ("DRIFT_007", [*then] if "tags" in then else ["timeSavedMode"])
    assert site.row("Orders").git_facts == before
    assert site.n8n.calls(method="PUT") == []
    site.check()
    assert settle(site, site.incident(incident_state__in=["OPEN", "ACKNOWLEDGED"])).status == "COMPLETED"


def test_a_workflow_that_was_put_back_by_hand_needs_no_write(site: Any) -> None:
    before = site.there("Orders")
    incident = drifted(site)
    site.edit("Orders", nodes=before["nodes"])
    site.n8n.clear_calls()
    assert stabilize(site, incident).status == "COMPLETED"
    assert site.n8n.calls(method="PUT") == []
    assert site.incident().incident_state == "STABILIZED"


def test_a_removed_workflow_is_created_anew_under_its_key(site: Any) -> None:
    key = site.row("Leads").canonical_workflow_id
    site.n8n.delete_workflow(site.ids["Leads"])
    site.check()
    assert stabilize(site, site.incident()).status == "COMPLETED"
    row = site.row("Leads")
    assert row.canonical_workflow_id == key
    assert row.env_workflow_id != site.ids["Leads"]
    assert row.status == MapStatus.LINKED
    assert row.git_content_hash == row.env_content_hash
    assert site.n8n.workflow(row.env_workflow_id)["active"] is True
    site.check()
    assert [i.incident_state for i in site.incidents()] == ["STABILIZED"]


def test_an_added_workflow_is_switched_off_and_stays_tolerated_until_it_changes(site: Any) -> None:
    site.seed(workflow("Stranger", active=True))
    site.check()
    assert stabilize(site, site.incident()).status == "COMPLETED"
    assert site.there("Stranger")["active"] is False
    assert site.incident().resolution_type == "deactivated"
    site.check()
    assert [i.incident_state for i in site.incidents()] == ["STABILIZED"]
    site.edit("Stranger", active=True)
    site.check()
    assert [i.incident_state for i in site.incidents()] == ["STABILIZED", "OPEN"]


def test_an_added_workflow_can_be_deleted(site: Any) -> None:
    site.seed(workflow("Stranger"))
    site.check()
    assert stabilize(site, site.incident(), added="delete").status == "COMPLETED"
    assert site.there("Stranger") is None
    assert site.incident().resolution_type == "deleted"
    site.check()
    assert len(site.incidents()) == 1


def test_activation_is_put_back(site: Any) -> None:
    incident = drifted(site, "Orders", active=False)
    assert incident.kind == "activation"
    assert stabilize(site, incident).status == "COMPLETED"
    assert site.there("Orders")["active"] is True


def test_of_many_each_is_settled_and_what_fails_is_listed(site: Any) -> None:
    site.edit("Orders", text="one")
    site.edit("Invoices", text="two")
    site.check()
    site.edit("Invoices", text="three")
    done = stabilize(site, *site.incidents())
    assert done.status == "COMPLETED"
    assert [row["name"] for row in done.result["stabilized"]] == ["Orders"]
    assert [(row["name"], row["code"]) for row in done.result["failed"]] == [("Invoices", "DRIFT_007")]
    states_ = {i.workflow_env_map.env_name: i.incident_state for i in site.incidents()}
    assert states_ == {"Orders": "STABILIZED", "Invoices": "ACKNOWLEDGED"}


def test_a_failing_n8n_is_drift_002_and_the_incident_stays(site: Any) -> None:
    incident = drifted(site)
    site.n8n.fault(kind="status", status=400, method="PUT", path="/workflows/", times=50)
    failed = stabilize(site, incident)
    assert (failed.status, failed.error_code) == ("FAILED", "DRIFT_002")
    assert site.incident().is_active
    site.n8n.clear_faults()
    assert stabilize(site, site.incident()).status == "COMPLETED"


def test_reconcile_approves_what_is_seen_in_git(site: Any, live_cast: Any) -> None:
    incident = drifted(site)
    before = site.row("Orders").git_content_hash
    done = reconcile(site, incident, by=live_cast.operator)
    assert done.status == "COMPLETED", done.error_details
    row, after = site.row("Orders"), site.incident()
    assert row.git_content_hash == row.env_content_hash == incident.drifted_hash != before
    assert (after.incident_state, after.resolution_type) == ("RECONCILED", "reconciled")
    assert after.drift_snapshot["proof"]["commit"] == done.result["commit_sha"]
    assert site.there("Orders")["nodes"][1]["parameters"] == {"value": "changed"}
    site.check()
    assert len(site.incidents()) == 1


def test_reconcile_refuses_what_nobody_looked_at(site: Any) -> None:
    incident = drifted(site)
    before = site.row("Orders").git_content_hash
    site.edit("Orders", text="slipped in")
    refused = reconcile(site, incident)
    assert (refused.status, refused.error_code) == ("FAILED", "DRIFT_003")
    assert site.row("Orders").git_content_hash == before
    assert site.incident().incident_state == "ACKNOWLEDGED"


def test_reconcile_of_what_appeared_and_what_disappeared(site: Any) -> None:
    site.seed(workflow("Stranger"))
    site.n8n.delete_workflow(site.ids["Leads"])
    site.check()
    done = reconcile(site, *site.incidents())
    assert done.status == "COMPLETED", done.error_details
    assert len(done.result["reconciled"]) == 2
    assert site.row("Stranger").git_content_hash == site.row("Stranger").env_content_hash
    assert (site.row("Leads").git_content_hash, site.row("Leads").status) == (None, MapStatus.DELETED)
    site.check()
    assert {i.incident_state for i in site.incidents()} == {"RECONCILED"}


def test_reconcile_without_git_accepts_it_until_it_changes(site: Any) -> None:
    incident = drifted(site)
    assert reconcile(site, incident, update_git=False).status == "COMPLETED"
    row = site.row("Orders")
    assert row.git_content_hash != row.env_content_hash
    site.check()
    assert [i.incident_state for i in site.incidents()] == ["RECONCILED"]
    site.edit("Orders", text="something else")
    site.check()
    assert [i.incident_state for i in site.incidents()] == ["RECONCILED", "OPEN"]


def accepted_everywhere(site: Any, live_cast: Any, client: Client) -> tuple[str, Any, bool]:
    """The list's cell of the only drifted workflow, the API's counts of the environment, the API's row."""
    with tenant_scope(site.tenant.pk):
        left = accepted()
        cell = next(row for row in selectors.matrix().rows if row.workflow.key == "orders").cells[0]
        counts = selectors.environment_counts()[site.environment.pk]
        assert len(selectors.matrix(Asked(state="accepted")).rows) == len(left)
    secret = create_token(user=live_cast.viewer, name="x", tenant=site.tenant)[1]
    path = f"/api/v1/environments/{site.environment.pk}/workflows"
    told = [
        next(row for row in client.get(asked, headers={"Authorization": f"Bearer {secret}"}).json()["workflows"]
        if row["key"] == "orders")
        for asked in (path, f"{path}?stored=true")
    ]  # fmt: skip
    assert told[0]["drifted"] == told[1]["drifted"] and told[0]["accepted_since"] == told[1]["accepted_since"]
    assert bool(told[0]["accepted_since"]) is bool(left)
    return f"{cell.state}: {cell.why}", (counts["drifted"], counts["accepted"]), told[0]["drifted"]


@pytest.mark.parametrize("way", ["reconcile", "close"])
def test_what_was_accepted_is_shown_as_accepted_everywhere_until_it_changes(
    site: Any, live_cast: Any, client: Client, way: str
) -> None:
    incident = drifted(site)
    assert accepted_everywhere(site, live_cast, client) == (
        "drifted: changed since it was approved", (1, 0), True,
    )  # fmt: skip
    if way == "reconcile":
        assert reconcile(site, incident, update_git=False, by=live_cast.owner).status == "COMPLETED"
    else:
        services.close(
            tenant_id=site.tenant.pk, incident_id=incident.pk, resolution_type="accepted", by=live_cast.owner
        )
    said = f"accepted by owner@example.org on {clock.now():%d %b %Y}, until it changes again"
    found = accepted_everywhere(site, live_cast, client)
    assert found == (f"accepted: changed since it was approved; {said}", (0, 1), False)
    client.force_login(live_cast.viewer)
    assert said in client.get(f"/t/{site.tenant.slug}/").content.decode()
    site.edit("Orders", text="changed again")
    site.check()
    assert accepted_everywhere(site, live_cast, client)[1:] == ((1, 0), True)


def test_a_git_failure_is_drift_003_and_nothing_is_approved(site: Any, monkeypatch: Any) -> None:
    incident = drifted(site)
    before = site.row("Orders").git_content_hash

    def broken(*_a: Any, **_k: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("drift.reconciling.commit_canonical", broken)
    failed = reconcile(site, incident)
    assert (failed.status, failed.error_code) == ("FAILED", "DRIFT_003")
    assert site.row("Orders").git_content_hash == before


def test_reconcile_tells_the_layer_above(site: Any, monkeypatch: Any) -> None:
    told: list[Reconciled] = []
    promotion_id = str(uuid.uuid4())

    def record(news: Reconciled) -> dict[str, str]:
        told.append(news)
        return {"promotion_id": promotion_id}

    handler = StepHandler(name="test.record", of=Reconciled, handle=record)
    monkeypatch.setattr("drift.reconciling.step_handlers", lambda of: [handler] if of is Reconciled else [])
    incident = drifted(site)
    reconcile(site, incident, create_promotion_record=True)
    (news,) = told
    assert news.incident_ids == (incident.pk,)
    assert news.commit_sha and news.comment == "hotfix"
    assert site.incident().drift_snapshot["promotion_id"] == promotion_id


def test_acknowledge_assigns_and_leaves_the_clock_alone(site: Any, live_cast: Any) -> None:
    incident = drifted(site)
    tenant = site.tenant.pk
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
def test_what_is_settled_has_no_deadline_any_more(site: Any, live_cast: Any, way: str) -> None:
    """The runbook asks for deadlines that have passed, to find what blocks promotions: STABILIZED is not among them."""
    before = site.there("Orders")
    hours = {str(level): 24 for level in Severity.values}
    policies.save_policy(tenant_id=site.tenant.pk, enforce_ttl=True, block_on_active_drift=True, hours=hours)
    incident = drifted(site)
    assert incident.ttl_expires_at is not None
    if way == "stabilize":
        stabilize(site, incident)
    elif way == "reconcile":
        reconcile(site, incident)
    elif way == "close":
        given = {"incident_id": incident.pk, "resolution_type": "accepted", "by": live_cast.operator}
        services.close(tenant_id=site.tenant.pk, **given)
    else:
        site.edit("Orders", nodes=before["nodes"])
        site.check()
    after = site.incident()
    assert after.incident_state not in ("OPEN", "ACKNOWLEDGED") and after.ttl_expires_at is None
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute(OVERDUE)
        assert cursor.fetchone()[0] == 0


def test_closing(site: Any, live_cast: Any) -> None:
    incident = drifted(site)
    asked: dict[str, Any] = {"tenant_id": site.tenant.pk, "incident_id": incident.pk, "by": live_cast.operator}
    with pytest.raises(StillDrifted):
        services.close(**asked, resolution_type="reconciled")
    with pytest.raises(Invalid):
        services.close(**asked, resolution_type="because")
    stabilize(site, incident)
    closed = services.close(**asked, resolution_type="stabilized", comment="done")
    assert (closed.incident_state, closed.comment) == ("CLOSED", "done")
    with pytest.raises(WrongState):
        services.close(**asked)


def test_a_false_alarm_is_not_raised_again_for_the_same_content(site: Any, live_cast: Any) -> None:
    incident = drifted(site)
    services.close(
        tenant_id=site.tenant.pk, incident_id=incident.pk, resolution_type="false_positive", by=live_cast.operator
    )
    site.check()
    assert len(site.incidents()) == 1
    site.edit("Orders", text="now really")
    site.check()
    assert [i.incident_state for i in site.incidents()] == ["CLOSED", "OPEN"]


def test_settled_incidents_cannot_be_settled_again(site: Any) -> None:
    incident = drifted(site)
    stabilize(site, incident)
    with pytest.raises(WrongState):
        stabilize(site, incident)
    with pytest.raises(WrongState):
        reconcile(site, incident)


def test_the_same_request_twice_is_one_job(site: Any) -> None:
    incident = drifted(site)
    first = stabilize(site, incident, idempotency_key="k1")
    again = stabilize(site, incident, idempotency_key="k1")
    assert first.pk == again.pk


def test_another_tenants_incident_does_not_exist(site: Any, live_cast: Any) -> None:
    incident = drifted(site)
    other = live_cast.other_tenant.pk
    with pytest.raises(NotFound):
        services.incident_by_id(other, incident.pk)
    with pytest.raises(NotFound):
        services.stabilize(tenant_id=other, incident_ids=[incident.pk], requested_by=None)
    with pytest.raises(NotFound):
        services.close(tenant_id=other, incident_id=incident.pk, by=live_cast.stranger)
    assert services.blocking_incidents(tenant_id=other, environment_id=site.environment.pk) == []


def test_what_blocks_follows_the_policy(site: Any) -> None:
    drifted(site, "Orders")
    drifted(site, "Invoices")
    where = {"tenant_id": site.tenant.pk, "environment_id": site.environment.pk}
    key = site.row("Orders")
    with tenant_scope(site.tenant.pk):
        orders = key.canonical_workflow.key

    def rules(*, enforce: bool, block: bool) -> None:
        policies.save_policy(
            tenant_id=site.tenant.pk,
            enforce_ttl=enforce,
            block_on_active_drift=block,
            hours={"critical": 4, "high": 24, "medium": 72, "low": 168},
        )

    def named(keys: Any = None) -> set[str]:
        return {row.workflow_name for row in services.blocking_incidents(**where, keys=keys)}

    rules(enforce=True, block=True)
    assert named() == {"Orders", "Invoices"}
    assert named([orders]) == {"Orders"}
    assert named([]) == set()
    rules(enforce=True, block=False)
    assert named() == set()
    with tenant_scope(site.tenant.pk):
        DriftIncident.objects.filter(workflow_env_map__env_name="Invoices").update(
            ttl_expires_at=clock.now() - timedelta(hours=1)
        )
    assert named([orders]) == {"Invoices"}, "what is past its time blocks whatever is promoted"
    (row,) = services.blocking_incidents(**where)
    assert (row.reason, row.expired) == ("ttl_expired", True)
    rules(enforce=False, block=False)
    with tenant_scope(site.tenant.pk):
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
def test_whatever_happens_settled_means_equal_and_no_place_has_two_standing_incidents(site: Any, moves: Any) -> None:
    for name, what, number in moves:
        if what == "edit":
            site.edit(name, text=f"text {number}")
        elif what == "switch":
            site.edit(name, active=bool(number % 2))
        site.check()
        standing = [i for i in site.incidents() if i.is_active]
        assert len({i.workflow_env_map_id for i in standing}) == len(standing)
        mine = [i for i in standing if i.workflow_env_map.env_name == name]
        row = site.row(name)
        differs = row.git_content_hash != row.env_content_hash or row.git_active != row.env_active
        assert bool(mine) == differs
        if mine and what in ("stabilize", "reconcile"):
            before = row.git_content_hash
            done = (stabilize if what == "stabilize" else reconcile)(site, mine[0])
            assert done.status == "COMPLETED", done.error_details
            row = site.row(name)
            assert row.git_content_hash == row.env_content_hash
            assert row.git_active == row.env_active
            if what == "stabilize":
                assert row.git_content_hash == before


def test_what_is_overdue_and_cannot_be_settled_says_so(site: Any) -> None:
    """DRIFT_004: trying again would change nothing, and promotions stay blocked until somebody decides otherwise."""
    incident = drifted(site)
    with tenant_scope(site.tenant.pk):
        DriftIncident.objects.filter(pk=incident.pk).update(ttl_expires_at=clock.now() - timedelta(hours=1))
    site.n8n.fault(kind="status", status=400, method="PUT", path="/workflows/", times=50)
    failed = stabilize(site, incident)
    assert (failed.status, failed.error_code) == ("FAILED", "DRIFT_004"), failed.error_details
    told = failed.error_details
    assert told["details"]["code"] == "DRIFT_002" and told["details"]["cause"]["code"] == "N8N_015"
    assert "drift policy" in told["recovery"]
