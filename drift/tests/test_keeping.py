"""On an n8n that publishes versions: stabilizing never switches off what something that runs on calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from drift import services
from drift.models import DriftIncident
from tenants.tokens import create_token

from .conftest import Site, workflow

pytestmark = pytest.mark.django_db(transaction=True)

KEPT = [{"key": "sub", "name": "Sub", "called_by": ["Later"]}]


def sub(text: str) -> dict[str, Any]:
    """A workflow that only others set off."""
    made = workflow("Sub", text=text)
    made["nodes"][0] |= {"type": "n8n-nodes-base.executeWorkflowTrigger", "parameters": {"inputSource": "passthrough"}}
    return made


def caller(called: str) -> dict[str, Any]:
    step = {"type": "n8n-nodes-base.executeWorkflow", "parameters": {"workflowId": {"__rl": True, "value": called}}}
    return workflow("Later", node={**step, "typeVersion": 1.2})


def publish(site: Site, *names: str) -> None:
    with site.n8n.client() as client:
        for name in names:
            answer = client.post(f"/workflows/{site.ids[name]}/publish", json={})
            assert answer.status_code == 200, answer.text
    site.n8n.settle()


def called(site: Site) -> None:
    """Somebody publishes Sub and a workflow that calls it."""
    site.seed(caller(site.ids["Sub"]))
    publish(site, "Sub", "Later")


@pytest.fixture
def rested(make_site: Any) -> Site:
    """Sub is approved as unpublished."""
    site: Site = make_site(profile="2.41")
    site.seed(sub("old"), workflow("Orders"))
    assert site.capture().status == "COMPLETED"
    return site


def of(site: Site, name: str, kind: str = "") -> DriftIncident:
    """The standing incident of a workflow."""
    site.check()
    found = [i for i in site.incidents() if i.is_active and i.workflow_env_map.env_name == name]
    assert len(found) == 1 and (not kind or found[0].kind == kind), [(i.kind, str(i)) for i in found]
    return found[0]


def stabilize(site: Site, *incidents: DriftIncident, **options: Any) -> Any:
    ids = [incident.pk for incident in incidents]
    chosen = services.StabilizeOptions(**options)
    (job,) = services.stabilize(tenant_id=site.tenant.pk, incident_ids=ids, requested_by=None, options=chosen)
    site.n8n.clear_calls()
    return site.drive(job)


def switched_off(site: Site) -> list[str]:
    verbs = ("/unpublish", "/deactivate", "/archive")
    return [c["path"] for c in site.n8n.calls() if c["path"].endswith(verbs) or c["method"] == "DELETE"]


def text_of(site: Site) -> str:
    return str(site.there("Sub")["activeVersion"]["nodes"][1]["parameters"]["value"])  # type: ignore[index]


def test_its_content_is_put_back_and_it_stays_published(rested: Site) -> None:
    site = rested
    site.n8n.edit(site.ids["Sub"], nodes=sub("new")["nodes"])
    called(site)
    incident = of(site, "Sub", "modified")
    done = stabilize(site, incident)
    assert done.status == "COMPLETED", done.error_details
    assert site.there("Sub")["active"] is True and text_of(site) == "old"  # type: ignore[index]
    assert switched_off(site) == []
    assert done.result["kept_published"] == KEPT and done.result["failed"] == []
    incident = site.incident(pk=incident.pk)
    assert incident.incident_state == "STABILIZED"
    assert incident.drift_snapshot["proof"]["kept_for"] == ["Later"]
    assert of(site, "Sub").kind == "activation", "that it runs is drift that stands"


def test_that_it_runs_stays_drift_and_is_no_failure(rested: Site) -> None:
    site = rested
    called(site)
    incident = of(site, "Sub", "activation")
    done = stabilize(site, incident)
    assert done.status == "COMPLETED", done.error_details
    assert switched_off(site) == [] and site.there("Sub")["active"] is True  # type: ignore[index]
    assert (done.result["stabilized"], done.result["failed"], done.result["kept_published"]) == ([], [], KEPT)
    incident = site.incident(pk=incident.pk)
    assert incident.incident_state == "ACKNOWLEDGED"
    assert incident.drift_snapshot["kept"]["callers"] == ["Later"]
    assert "last_failure" not in incident.drift_snapshot
    site.n8n.edit(site.ids["Later"], active=False)
    site.n8n.settle()
    assert stabilize(site, of(site, "Sub")).result["kept_published"] == []
    assert site.there("Sub")["active"] is False  # type: ignore[index]
    incident = site.incident(pk=incident.pk)
    assert incident.incident_state == "STABILIZED" and "kept" not in incident.drift_snapshot


@pytest.mark.parametrize("added", ["deactivate", "delete"])
def test_what_nobody_approved_is_neither_unpublished_nor_deleted_while_it_is_called(make_site: Any, added: str) -> None:
    site: Site = make_site(profile="2.41")
    site.seed(workflow("Orders"))
    site.capture()
    site.seed(sub("new"))
    called(site)
    site.check()
    found = {i.workflow_env_map.env_name: i for i in site.incidents()}
    done = stabilize(site, found["Sub"], added=added)
    assert done.status == "COMPLETED", done.error_details
    assert switched_off(site) == [] and site.there("Sub")["active"] is True  # type: ignore[index]
    assert done.result["kept_published"] == KEPT
    both = stabilize(site, of(site, "Sub"), found["Later"], added=added)
    assert both.status == "COMPLETED", both.error_details
    assert both.result["kept_published"] == [], "its caller ends with it"
    assert [bool((site.there(name) or {}).get("active")) for name in ("Sub", "Later")] == [False, False]


def test_what_is_approved_as_archived_is_not_archived_while_it_is_called(rested: Site) -> None:
    site = rested
    with site.n8n.client() as client:
        assert client.post(f"/workflows/{site.ids['Sub']}/archive", json={}).status_code == 200
        incident = of(site, "Sub", "archived")
        services.reconcile(tenant_id=site.tenant.pk, incident_ids=[incident.pk], comment="So be it", requested_by=None)
        site.run_all()
        assert client.post(f"/workflows/{site.ids['Sub']}/unarchive", json={}).status_code == 200
    called(site)
    done = stabilize(site, of(site, "Sub", "archived"))
    assert done.status == "COMPLETED", done.error_details
    assert switched_off(site) == [] and site.there("Sub")["active"] is True  # type: ignore[index]
    assert done.result["kept_published"] == KEPT
    assert of(site, "Sub", "archived").incident_state == "ACKNOWLEDGED"


def test_what_could_not_run_as_approved_is_left_alone_unless_forced(make_site: Any) -> None:
    by_hand = sub("old")
    by_hand["nodes"][0] |= {"type": "n8n-nodes-base.manualTrigger", "parameters": {}}
    site: Site = make_site(profile="2.41")
    site.seed(by_hand)
    site.capture()
    site.n8n.edit(site.ids["Sub"], nodes=sub("new")["nodes"])
    called(site)
    incident = of(site, "Sub")
    done = stabilize(site, incident)
    assert done.error_details["details"]["cause"]["code"] == "DRIFT_017"
    assert site.there("Sub")["active"] is True and text_of(site) == "new"  # type: ignore[index]
    assert stabilize(site, of(site, "Sub"), force=True).status == "COMPLETED"
    assert site.there("Sub")["active"] is False  # type: ignore[index]


def test_an_n8n_that_needs_nothing_published_is_stabilized_as_before(make_site: Any) -> None:
    site: Site = make_site(profile="1.123")
    site.seed(workflow("Sub"))
    site.capture()
    site.n8n.edit(site.ids["Sub"], active=True)
    site.seed({**caller(site.ids["Sub"]), "active": True})
    done = stabilize(site, of(site, "Sub", "activation"))
    assert done.status == "COMPLETED", done.error_details
    assert site.there("Sub")["active"] is False and done.result["kept_published"] == []  # type: ignore[index]


def test_the_pages_and_the_api_say_so_before_and_after(rested: Site, live_cast: Any, client: Client) -> None:
    site = rested
    called(site)
    incident = of(site, "Sub", "activation")
    client.force_login(live_cast.owner)
    slug = site.tenant.slug
    page = reverse("drift-incident", kwargs={"tenant_slug": slug, "pk": incident.pk})
    said = "It stays published, because “Later” calls it."
    assert said in client.get(page).content.decode()
    settle = reverse("drift-settle", kwargs={"tenant_slug": slug})
    assert said in client.get(f"{settle}?action=stabilize&selected={incident.pk}").content.decode()
    _, secret = create_token(user=live_cast.owner, name="runbook")
    answer = client.post(
        f"/api/v1/incidents/{incident.pk}/stabilize?wait=0",
        json.dumps({"comment": "back"}),
        content_type="application/json",
        HTTP_AUTHORIZATION=f"Bearer {secret}",
    )
    assert answer.status_code == 202
    site.run_all()
    told = client.get(f"/api/v1/incidents/{incident.pk}", HTTP_AUTHORIZATION=f"Bearer {secret}").json()["incident"]
    assert told["incident_state"] == "ACKNOWLEDGED"
    assert told["drift_snapshot"]["kept"]["callers"] == ["Later"]
    after = client.get(page).content.decode()
    assert "Kept published" in after and "because “Later” calls it: this n8n runs only what is published" in after
    job = client.get(reverse("job", kwargs={"tenant_slug": slug, "pk": told["operation_id"]})).content.decode()
    assert "Kept published" in job and "called by Later" in " ".join(job.split())
