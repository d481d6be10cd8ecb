"""Drift of a draft names its author where n8n tells it; what stabilizing publishes is watched."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from drift import services
from drift.tests.conftest import Site, workflow
from tenants.scope import tenant_scope
from workflows.models import StarterWatch


def nodes(text: str) -> dict[str, Any]:
    return {"nodes": workflow("", text=text)["nodes"]}


def pages(site: Site, client: Client) -> str:
    """The workflow's page and the incident's."""
    slug, row = site.tenant.slug, site.row("Orders")
    with tenant_scope(site.tenant.pk):
        key = row.canonical_workflow.key
    workflow_page = reverse("workflow", kwargs={"tenant_slug": slug, "key": key})
    incident = reverse("drift-incident", kwargs={"tenant_slug": slug, "pk": site.incident(kind="draft").pk})
    return client.get(workflow_page).content.decode() + client.get(incident).content.decode()


@pytest.fixture
def newest(make_site: Any) -> Site:
    site: Site = make_site(profile="2.41")
    site.seed(workflow("Orders", active=True))
    site.n8n.settle()
    assert site.capture().status == "COMPLETED"
    return site


def test_drift_of_a_draft_names_who_saved_it(newest: Site, live_cast: Any, client: Client) -> None:
    site = newest
    site.n8n.edit(site.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    site.check()
    assert site.row("Orders").draft_authors == "Ada Lovelace"
    assert site.incident(kind="draft").drift_snapshot["by"]["authors"] == "Ada Lovelace"
    client.force_login(live_cast.owner)
    told = pages(site, client)
    assert told.count("Ada Lovelace") >= 3 and "As n8n tells of the draft" in told

    site.n8n.edit(site.ids["Orders"], draft=True, author="Grace Hopper", **nodes("further"))
    site.check()
    assert site.row("Orders").draft_authors == "Grace Hopper"


def test_an_author_is_asked_for_once(newest: Site) -> None:
    site = newest
    site.n8n.edit(site.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    site.capture()
    site.n8n.clear_calls()
    site.capture()
    assert not [call for call in site.n8n.calls() if call["path"].endswith("/history")]


def test_a_history_that_cannot_be_read_fails_no_capture(newest: Site) -> None:
    site = newest
    site.n8n.edit(site.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    site.n8n.fault(kind="status", status=403, path="/history", times=5)
    assert site.capture().status == "COMPLETED"
    assert site.row("Orders").draft_authors == ""
    site.n8n.clear_faults()
    site.capture()
    assert site.row("Orders").draft_authors == "Ada Lovelace"


def test_what_runs_is_not_put_back_over_a_draft_that_nobody_chose(newest: Site) -> None:
    site = newest
    site.edit("Orders", text="changed in n8n")
    site.n8n.edit(site.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    site.check()
    running = next(i for i in site.incidents() if i.kind != "draft")
    (operation,) = services.stabilize(tenant_id=site.tenant.pk, incident_ids=[running.pk], requested_by=None)
    cause = site.drive(operation).error_details["details"]["cause"]
    assert (cause["code"], cause["message"]) == ("DRIFT_015", "Its editor holds a draft that would be lost.")
    assert cause["recovery"].startswith("Choose the incident about the draft as well")


def test_an_n8n_without_a_history_is_not_asked(make_site: Any) -> None:
    site: Site = make_site(profile="2.0")
    site.seed(workflow("Orders", active=True))
    site.capture()
    site.n8n.edit(site.ids["Orders"], draft=True, author="Ada Lovelace", **nodes("unfinished"))
    assert site.capture().status == "COMPLETED"
    assert (site.row("Orders").has_draft, site.row("Orders").draft_authors) == (True, "")


def test_what_stabilizing_publishes_is_watched(newest: Site, live_cast: Any) -> None:
    site = newest
    site.edit("Orders", text="changed in n8n")
    site.check()
    incident = site.incident()
    (operation,) = services.stabilize(
        tenant_id=site.tenant.pk, incident_ids=[incident.pk], requested_by=live_cast.owner
    )
    done = site.drive(operation)
    assert done.status == "COMPLETED", done.error_details
    with tenant_scope(site.tenant.pk):
        watch = StarterWatch.objects.get(operation_id=operation.pk)
    assert (watch.node, watch.kind, watch.state) == ("Start", "schedule", "watched")
