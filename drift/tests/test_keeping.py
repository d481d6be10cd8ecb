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

from .conftest import Place, workflow

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


def publish(place: Place, *names: str) -> None:
    with place.n8n.client() as client:
        for name in names:
            answer = client.post(f"/workflows/{place.ids[name]}/publish", json={})
            assert answer.status_code == 200, answer.text
    place.n8n.settle()


def called(place: Place) -> None:
    """Somebody publishes Sub and a workflow that calls it."""
    place.seed(caller(place.ids["Sub"]))
    publish(place, "Sub", "Later")


@pytest.fixture
def rested(make_place: Any) -> Place:
    """Sub is approved as unpublished."""
    place: Place = make_place(profile="2.41")
    place.seed(sub("old"), workflow("Orders"))
    assert place.capture().status == "COMPLETED"
    return place


def of(place: Place, name: str, kind: str = "") -> DriftIncident:
    """The standing incident of a workflow."""
    place.check()
    found = [i for i in place.incidents() if i.is_active and i.workflow_env_map.env_name == name]
    assert len(found) == 1 and (not kind or found[0].kind == kind), [(i.kind, str(i)) for i in found]
    return found[0]


def stabilize(place: Place, *incidents: DriftIncident, **options: Any) -> Any:
    ids = [incident.pk for incident in incidents]
    chosen = services.StabilizeOptions(**options)
    (job,) = services.stabilize(tenant_id=place.tenant.pk, incident_ids=ids, requested_by=None, options=chosen)
    place.n8n.clear_calls()
    return place.drive(job)


def switched_off(place: Place) -> list[str]:
    verbs = ("/unpublish", "/deactivate", "/archive")
    return [c["path"] for c in place.n8n.calls() if c["path"].endswith(verbs) or c["method"] == "DELETE"]


def text_of(place: Place) -> str:
    return str(place.there("Sub")["activeVersion"]["nodes"][1]["parameters"]["value"])  # type: ignore[index]


def test_its_content_is_put_back_and_it_stays_published(rested: Place) -> None:
    place = rested
    place.n8n.edit(place.ids["Sub"], nodes=sub("new")["nodes"])
    called(place)
    incident = of(place, "Sub", "modified")
    done = stabilize(place, incident)
    assert done.status == "COMPLETED", done.error_details
    assert place.there("Sub")["active"] is True and text_of(place) == "old"  # type: ignore[index]
    assert switched_off(place) == []
    assert done.result["kept_published"] == KEPT and done.result["failed"] == []
    incident = place.incident(pk=incident.pk)
    assert incident.incident_state == "STABILIZED"
    assert incident.drift_snapshot["proof"]["kept_for"] == ["Later"]
    assert of(place, "Sub").kind == "activation", "that it runs is drift that stands"


def test_that_it_runs_stays_drift_and_is_no_failure(rested: Place) -> None:
    place = rested
    called(place)
    incident = of(place, "Sub", "activation")
    done = stabilize(place, incident)
    assert done.status == "COMPLETED", done.error_details
    assert switched_off(place) == [] and place.there("Sub")["active"] is True  # type: ignore[index]
    assert (done.result["stabilized"], done.result["failed"], done.result["kept_published"]) == ([], [], KEPT)
    incident = place.incident(pk=incident.pk)
    assert incident.incident_state == "ACKNOWLEDGED"
    assert incident.drift_snapshot["kept"]["callers"] == ["Later"]
    assert "last_failure" not in incident.drift_snapshot
    place.n8n.edit(place.ids["Later"], active=False)
    place.n8n.settle()
    assert stabilize(place, of(place, "Sub")).result["kept_published"] == []
    assert place.there("Sub")["active"] is False  # type: ignore[index]
    incident = place.incident(pk=incident.pk)
    assert incident.incident_state == "STABILIZED" and "kept" not in incident.drift_snapshot


@pytest.mark.parametrize("added", ["deactivate", "delete"])
def test_what_nobody_approved_is_neither_unpublished_nor_deleted_while_it_is_called(
    make_place: Any, added: str
) -> None:
    place: Place = make_place(profile="2.41")
    place.seed(workflow("Orders"))
    place.capture()
    place.seed(sub("new"))
    called(place)
    place.check()
    found = {i.workflow_env_map.env_name: i for i in place.incidents()}
    done = stabilize(place, found["Sub"], added=added)
    assert done.status == "COMPLETED", done.error_details
    assert switched_off(place) == [] and place.there("Sub")["active"] is True  # type: ignore[index]
    assert done.result["kept_published"] == KEPT
    both = stabilize(place, of(place, "Sub"), found["Later"], added=added)
    assert both.status == "COMPLETED", both.error_details
    assert both.result["kept_published"] == [], "its caller ends with it"
    assert [bool((place.there(name) or {}).get("active")) for name in ("Sub", "Later")] == [False, False]


def test_what_is_approved_as_archived_is_not_archived_while_it_is_called(rested: Place) -> None:
    place = rested
    with place.n8n.client() as client:
        assert client.post(f"/workflows/{place.ids['Sub']}/archive", json={}).status_code == 200
        incident = of(place, "Sub", "archived")
        services.reconcile(tenant_id=place.tenant.pk, incident_ids=[incident.pk], comment="So be it", requested_by=None)
        place.run_all()
        assert client.post(f"/workflows/{place.ids['Sub']}/unarchive", json={}).status_code == 200
    called(place)
    done = stabilize(place, of(place, "Sub", "archived"))
    assert done.status == "COMPLETED", done.error_details
    assert switched_off(place) == [] and place.there("Sub")["active"] is True  # type: ignore[index]
    assert done.result["kept_published"] == KEPT
    assert of(place, "Sub", "archived").incident_state == "ACKNOWLEDGED"


def test_what_could_not_run_as_approved_is_left_alone_unless_forced(make_place: Any) -> None:
    by_hand = sub("old")
    by_hand["nodes"][0] |= {"type": "n8n-nodes-base.manualTrigger", "parameters": {}}
    place: Place = make_place(profile="2.41")
    place.seed(by_hand)
    place.capture()
    place.n8n.edit(place.ids["Sub"], nodes=sub("new")["nodes"])
    called(place)
    incident = of(place, "Sub")
    done = stabilize(place, incident)
    assert done.error_details["details"]["cause"]["code"] == "DRIFT_017"
    assert place.there("Sub")["active"] is True and text_of(place) == "new"  # type: ignore[index]
    assert stabilize(place, of(place, "Sub"), force=True).status == "COMPLETED"
    assert place.there("Sub")["active"] is False  # type: ignore[index]


def test_an_n8n_that_needs_nothing_published_is_stabilized_as_before(make_place: Any) -> None:
    place: Place = make_place(profile="1.123")
    place.seed(workflow("Sub"))
    place.capture()
    place.n8n.edit(place.ids["Sub"], active=True)
    place.seed({**caller(place.ids["Sub"]), "active": True})
    done = stabilize(place, of(place, "Sub", "activation"))
    assert done.status == "COMPLETED", done.error_details
    assert place.there("Sub")["active"] is False and done.result["kept_published"] == []  # type: ignore[index]


def test_the_pages_and_the_api_say_so_before_and_after(rested: Place, live_cast: Any, client: Client) -> None:
    place = rested
    called(place)
    incident = of(place, "Sub", "activation")
    client.force_login(live_cast.owner)
    slug = place.tenant.slug
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
    place.run_all()
    told = client.get(f"/api/v1/incidents/{incident.pk}", HTTP_AUTHORIZATION=f"Bearer {secret}").json()["incident"]
    assert told["incident_state"] == "ACKNOWLEDGED"
    assert told["drift_snapshot"]["kept"]["callers"] == ["Later"]
    after = client.get(page).content.decode()
    assert "Kept published" in after and "because “Later” calls it: this n8n runs only what is published" in after
    job = client.get(reverse("job", kwargs={"tenant_slug": slug, "pk": told["operation_id"]})).content.decode()
    assert "Kept published" in job and "called by Later" in " ".join(job.split())
