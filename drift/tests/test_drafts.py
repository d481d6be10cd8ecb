"""Drift of a draft names its author where n8n tells it; what stabilizing publishes is watched."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from drift import services
from drift.tests.conftest import Place, workflow
from tenants.scope import tenant_scope
from workflows.models import StarterWatch


def nodes(text: str) -> dict[str, Any]:
    return {"nodes": workflow("", text=text)["nodes"]}


def pages(place: Place, client: Client) -> str:
    """The workflow's page and the incident's."""
    slug, row = place.tenant.slug, place.row("Orders")
    with tenant_scope(place.tenant.pk):
        key = row.canonical_workflow.key
    workflow_page = reverse("workflow", kwargs={"tenant_slug": slug, "key": key})
    incident = reverse("drift-incident", kwargs={"tenant_slug": slug, "pk": place.incident(kind="draft").pk})
    return client.get(workflow_page).content.decode() + client.get(incident).content.decode()


@pytest.fixture
def newest(make_place: Any) -> Place:
    place: Place = make_place(profile="2.41")
    place.seed(workflow("Orders", active=True))
    place.n8n.settle()
    assert place.capture().status == "COMPLETED"
    return place


def test_drift_of_a_draft_names_who_saved_it(newest: Place, live_cast: Any, client: Client) -> None:
    place = newest
    place.n8n.edit(place.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    place.check()
    assert place.row("Orders").draft_authors == "Ada Lovelace"
    assert place.incident(kind="draft").drift_snapshot["by"]["authors"] == "Ada Lovelace"
    client.force_login(live_cast.owner)
    told = pages(place, client)
    assert told.count("Ada Lovelace") >= 3 and "As n8n tells of the draft" in told

    place.n8n.edit(place.ids["Orders"], draft=True, author="Grace Hopper", **nodes("further"))
    place.check()
    assert place.row("Orders").draft_authors == "Grace Hopper"


def test_an_author_is_asked_for_once(newest: Place) -> None:
    place = newest
    place.n8n.edit(place.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    place.capture()
    place.n8n.clear_calls()
    place.capture()
    assert not [call for call in place.n8n.calls() if call["path"].endswith("/history")]


def test_a_history_that_cannot_be_read_fails_no_capture(newest: Place) -> None:
    place = newest
    place.n8n.edit(place.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    place.n8n.fault(kind="status", status=403, path="/history", times=5)
    assert place.capture().status == "COMPLETED"
    assert place.row("Orders").draft_authors == ""
    place.n8n.clear_faults()
    place.capture()
    assert place.row("Orders").draft_authors == "Ada Lovelace"


def test_an_n8n_without_a_history_is_not_asked(make_place: Any) -> None:
    place: Place = make_place(profile="2.0")
    place.seed(workflow("Orders", active=True))
    place.capture()
    place.n8n.edit(place.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    assert place.capture().status == "COMPLETED"
    assert (place.row("Orders").has_draft, place.row("Orders").draft_authors) == (True, "")


def test_what_stabilizing_publishes_is_watched(newest: Place, live_cast: Any) -> None:
    place = newest
    place.edit("Orders", text="changed in n8n")
    place.check()
    incident = place.incident()
    (operation,) = services.stabilize(
        tenant_id=place.tenant.pk, incident_ids=[incident.pk], requested_by=live_cast.owner
    )
    done = place.drive(operation)
    assert done.status == "COMPLETED", done.error_details
    with tenant_scope(place.tenant.pk):
        watch = StarterWatch.objects.get(operation_id=operation.pk)
    assert (watch.node, watch.kind, watch.state) == ("Start", "schedule", "watched")
