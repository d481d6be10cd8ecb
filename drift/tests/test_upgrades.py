"""An upgrade of n8n is one event; what n8n did is told apart from what people did, and approved as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from drift import detection, services, upgrade_selectors
from drift.errors import HashesBehind, MadeByUpgrade, NothingOfUpgrade
from drift.models import N8nUpgrade
from tenants.scope import tenant_scope
from tests.reading import flat
from workflows.models import Environment

from .conftest import Site, workflow

pytestmark = pytest.mark.django_db(transaction=True)


def callee(name: str, *more: dict[str, Any]) -> dict[str, Any]:
    """A sub-workflow that is off, as all of them are before n8n 2.0."""
    trigger = {
        "id": "c",
        "name": "Called",
        "type": "n8n-nodes-base.executeWorkflowTrigger",
        "typeVersion": 1,
        "position": [0, 0],
        "parameters": {},
    }
    step = {"id": "s", "name": "Step", "type": "n8n-nodes-base.noOp", "typeVersion": 1, "position": [9, 0]}
    return {"name": name, "nodes": [trigger, {**step, "parameters": {}}, *more], "connections": {}, "settings": {}}


def starter(kind: str, name: str) -> dict[str, Any]:
    node = {"id": name, "name": name, "type": f"n8n-nodes-base.{kind}", "typeVersion": 1, "position": [0, 200]}
    return {**node, "parameters": {"path": "hook"} if kind == "webhook" else {}}


def migrate(site: Site, name: str) -> None:
    """What n8n's own migration to 2.0 does to a workflow that can be called."""
    nodes = site.there(name)["nodes"]  # type: ignore[index]
    for node in nodes:
        if "Trigger" in node["type"] and node["type"] != "n8n-nodes-base.executeWorkflowTrigger":
            node["disabled"] = True
    site.n8n.edit(site.ids[name], nodes=nodes, active=True)


@pytest.fixture
def estate(make_site: Callable[..., Site]) -> Site:
    """Production on 1.123: a caller, what it calls, one with a schedule of its own, one with a webhook."""
    site = make_site()
    site.seed(
        callee("Callee"),
        callee("Nightly", starter("scheduleTrigger", "Every night")),
        callee("Hooked", starter("webhook", "Hook")),
        workflow("Orders", active=True),
        workflow("Untouched", active=True),
    )
    calls = {"workflowId": {"__rl": True, "mode": "id", "value": site.ids["Callee"]}}
    node = {"type": "n8n-nodes-base.executeWorkflow", "typeVersion": 1, "parameters": calls}
    site.seed(workflow("Caller", active=True, node=node))
    assert site.capture().status == "COMPLETED"
    return site


def upgraded(site: Site) -> N8nUpgrade:
    """Upgrade its n8n, look, and return the event."""
    site.n8n.change(profile="2.20")
    for name in ("Callee", "Nightly", "Hooked"):
        migrate(site, name)
    outcome = site.check()
    assert outcome.status == "COMPLETED", outcome.error_message
    return event(site)


def event(site: Site) -> N8nUpgrade:
    with tenant_scope(site.tenant.pk):
        return N8nUpgrade.objects.select_related("environment").get(environment=site.environment)


def changes(found: N8nUpgrade) -> dict[str, Any]:
    return {change.name: change for change in upgrade_selectors.changes_of(found)}


def test_an_upgrade_is_one_event_graded_by_what_it_does(estate: Site) -> None:
    estate.edit("Orders", text="somebody's edit")
    found = upgraded(estate)
    assert (found.by_n8n, found.by_people) == (3, 1)
    by_name = changes(found)
    assert {name: (c.made_by, c.effect) for name, c in by_name.items()} == {
        "Callee": ("n8n", "low"),
        "Nightly": ("n8n", "high"),
        "Hooked": ("n8n", "critical"),
        "Orders": ("people", "high"),
    }
    assert by_name["Callee"].callers == ("Caller",)
    assert "“Caller”" in by_name["Callee"].breaks
    assert by_name["Nightly"].disabled == ("Every night",)
    assert "left on and is live now" in " ".join(by_name["Hooked"].sentences)
    assert found.before_snapshot_id and found.after_snapshot_id

    of_n8n = {str(i.workflow_env_map.env_name): i.severity for i in estate.incidents(upgrade_id=found.pk)}
    assert of_n8n == {"Callee": "low", "Nightly": "high", "Hooked": "critical"}
    assert [i.workflow_env_map.env_name for i in estate.incidents(upgrade_id=None)] == ["Orders"]


def test_its_changes_are_approved_in_one_job_and_only_those(estate: Site) -> None:
    estate.edit("Orders", text="somebody's edit")
    found = upgraded(estate)
    operation = services.approve_upgrade(
        tenant_id=estate.tenant.pk, upgrade_id=found.pk, comment="read them", requested_by=None
    )
    done = estate.drive(operation)
    assert done.status == "COMPLETED", done.error_details
    states = {i.workflow_env_map.env_name: i.incident_state for i in estate.incidents()}
    assert states == {"Callee": "RECONCILED", "Nightly": "RECONCILED", "Hooked": "RECONCILED", "Orders": "OPEN"}
    row = estate.row("Nightly")
    assert row.git_content_hash == row.env_content_hash and row.git_active is True
    estate.check()
    assert len(estate.incidents(incident_state="OPEN")) == 1
    with pytest.raises(NothingOfUpgrade):
        services.approve_upgrade(tenant_id=estate.tenant.pk, upgrade_id=found.pk, requested_by=None)


def test_it_is_explained_again_at_each_look_and_no_longer_after_an_edit(estate: Site) -> None:
    found = upgraded(estate)
    estate.check()
    assert len(estate.incidents(upgrade_id=found.pk)) == 3
    with tenant_scope(estate.tenant.pk):
        assert N8nUpgrade.objects.count() == 1
    estate.n8n.edit(estate.ids["Callee"], settings={"executionTimeout": 12})
    estate.check()
    edited = next(i for i in estate.incidents() if i.workflow_env_map.env_name == "Callee")
    assert edited.upgrade_id is None
    assert edited.severity == "critical", "as any edit of what runs in production"


def test_stabilizing_it_is_refused_until_somebody_says_that_they_know_what_it_breaks(estate: Site) -> None:
    found = upgraded(estate)
    incident = next(i for i in estate.incidents(upgrade_id=found.pk) if i.workflow_env_map.env_name == "Callee")
    asked: dict[str, Any] = {"tenant_id": estate.tenant.pk, "incident_ids": [incident.pk], "requested_by": None}
    with pytest.raises(MadeByUpgrade) as refused:
        services.stabilize(**asked)
    assert "“Caller”" in refused.value.details["workflows"][0]["breaks"]
    (operation,) = services.stabilize(**asked, options=services.StabilizeOptions(despite_upgrade=True))
    done = estate.drive(operation)
    assert done.status == "COMPLETED", done.error_details
    assert estate.there("Callee")["active"] is False  # type: ignore[index]


def test_a_first_look_fills_the_version_on_the_pages_of_environments(estate: Site, live_cast: Any) -> None:
    with tenant_scope(estate.tenant.pk):
        Environment.objects.filter(pk=estate.environment.pk).update(n8n_version="")
    estate.check()
    client = Client()
    client.force_login(live_cast.viewer)
    places = f"/t/{estate.tenant.slug}/environments/"
    assert '<td data-label="n8n">before 2.8</td>' in client.get(places).content.decode()
    facts = flat(client.get(f"{places}{estate.environment.pk}/").content).split("<dt>n8n</dt>")[1]
    assert facts.startswith("<dd>before 2.8"), facts[:80]


def test_an_upgrade_that_changes_nothing_is_noticed_without_a_capture(estate: Site) -> None:
    estate.check()
    estate.n8n.change(profile="2.20")
    estate.check()
    estate.check()
    found = event(estate)
    assert (found.by_n8n, found.by_people, found.changes) == (0, 0, [])
    assert found.to_version == "2.20 or later"
    with tenant_scope(estate.tenant.pk):
        environment = Environment.objects.get(pk=estate.environment.pk)
    assert environment.n8n_version == "2.20 or later", "one source: what the upgrade says, the environment says"
    assert environment.offers("archive"), "what it can do is that of the n8n that was noticed"


def test_what_was_edited_before_the_upgrade_stays_an_edit(estate: Site) -> None:
    """The window's changes are n8n's, but the drift began with somebody's edit: it is not approved with the upgrade."""
    estate.n8n.edit(estate.ids["Callee"], settings={"executionTimeout": 12})
    estate.check()
    found = upgraded(estate)
    assert changes(found)["Callee"].made_by == "n8n"
    incident = next(i for i in estate.incidents() if i.workflow_env_map.env_name == "Callee")
    assert incident.upgrade_id is None


def test_the_pages_show_one_event_and_approve_it(estate: Site, live_cast: Any) -> None:
    found = upgraded(estate)
    client = Client()
    client.force_login(live_cast.owner)
    page = client.get("/t/acme/drift/").content.decode()
    assert page.count("Look and approve") == 1
    assert f"/drift/upgrades/{found.pk}/" in page
    assert ">Nightly<" not in page, "its changes are behind the one event"
    assert ">Nightly<" in client.get("/t/acme/drift/?state=active&severity=high").content.decode()
    assert "3 to approve" in client.get(f"/t/acme/drift/upgrades/{found.pk}/").content.decode()
    assert ">Callee<" not in client.get(f"/t/acme/drift/upgrades/{found.pk}/?q=night").content.decode()
    assert "upgrades" in client.get("/t/acme/drift/upgrades/").content.decode()
    refused = client.post(f"/t/acme/drift/upgrades/{found.pk}/", {"action": "approve", "typed": "no"})
    assert refused.status_code == 422
    answer = client.post(f"/t/acme/drift/upgrades/{found.pk}/", {"action": "approve", "typed": "Production"})
    assert answer.status_code == 302 and "/jobs/" in answer["Location"]
    incident = estate.incidents(upgrade_id=found.pk)[0]
    assert "n8n changed this itself" in client.get(f"/t/acme/drift/{incident.pk}/").content.decode()


# -- when the console's own way of comparing changes -------------------------------------------------------------------


def test_no_drift_comes_of_another_way_of_comparing(estate: Site, newer: Callable[[], None]) -> None:
    """What stood stands, what was tolerated is tolerated, what n8n did is still n8n's; nothing else appears."""
    estate.edit("Orders", text="somebody's edit")
    estate.edit("Untouched", text="accepted")
    found = upgraded(estate)
    accepted = next(i for i in estate.incidents() if i.workflow_env_map.env_name == "Untouched")
    services.close(tenant_id=estate.tenant.pk, incident_id=accepted.pk, resolution_type="accepted", by=None)  # type: ignore[arg-type]
    before = {i.pk: (i.incident_state, i.severity, i.upgrade_id) for i in estate.incidents()}
    newer()
    with tenant_scope(estate.tenant.pk):
        skipped = detection.is_behind(estate.environment.pk)
    assert skipped
    assert "computed again" in detection.detect(None, environment=estate.environment)["skipped"]
    with pytest.raises(HashesBehind):
        services.approve_upgrade(tenant_id=estate.tenant.pk, upgrade_id=found.pk, requested_by=None)
    estate.check()
    estate.check()
    assert {i.pk: (i.incident_state, i.severity, i.upgrade_id) for i in estate.incidents()} == before
    operation = services.approve_upgrade(tenant_id=estate.tenant.pk, upgrade_id=found.pk, requested_by=None)
    done = estate.drive(operation)
    from workflows.models import WorkflowEnvMap

    with tenant_scope(estate.tenant.pk):
        for r in WorkflowEnvMap.objects.all():
            print(
                "ROW",
                r.env_name,
                r.normalization_version,
                (r.git_content_hash or "")[:6],
                (r.env_content_hash or "")[:6],
            )
    for i in estate.incidents():
        print(
            "INC",
            i.workflow_env_map.env_name,
            i.drifted_hash[:6],
            {k: str(v)[:6] for k, v in i.drift_snapshot.items() if "hash" in k or k == "signature"},
            i.drift_snapshot.get("last_failure", {}).get("details"),
        )
    assert done.status == "COMPLETED", done.error_details


def test_a_draft_that_was_accepted_stays_accepted(make_site: Any, newer: Callable[[], None]) -> None:
    site = make_site(profile="2.41")
    site.seed(workflow("Orders", active=True), workflow("Invoices", active=True))
    site.capture()
    for name in ("Orders", "Invoices"):
        site.n8n.edit(site.ids[name], draft=True, nodes=workflow(name, text="a draft")["nodes"])
    site.check()
    accepted, standing = sorted(site.incidents(kind="draft"), key=lambda i: i.workflow_env_map.env_name == "Invoices")
    services.close(tenant_id=site.tenant.pk, incident_id=accepted.pk, resolution_type="accepted", by=None)  # type: ignore[arg-type]
    newer()
    site.check()
    site.check()
    now = {i.pk: i for i in site.incidents()}
    assert now.keys() == {accepted.pk, standing.pk}, "what was accepted is not reported again"
    assert (
        now[standing.pk].is_active
        and now[standing.pk].drift_snapshot["env_draft_hash"] == site.row("Invoices").env_draft_hash
    )
    (operation,) = services.reconcile(tenant_id=site.tenant.pk, incident_ids=[standing.pk], requested_by=None)
    done = site.drive(operation)
    assert done.status == "COMPLETED", done.error_details
