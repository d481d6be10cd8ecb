"""A workflow that cannot be taken in is set aside by name, and everything else goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from django.test import Client

from drift.models import DriftKind
from operations.models import Operation
from snapshots.manifest import set_aside, verification_from
from snapshots.models import Snapshot
from snapshots.planning import RestoreOptions
from snapshots.preview import preview
from snapshots.starting import start_restore
from tenants.scope import tenant_scope
from workflows import exact_json

from .conftest import Site, workflow

PINNED = {"Step": [{"json": {"a": number, "b": [number, number + 1]}} for number in range(40_000)]}
COSTLY = {"values": [[number] for number in range(60_000)]}


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if one workflow were given a tenth of what it is given: tests need not be as large then."""
    monkeypatch.setattr(exact_json, "MOST_COST_BYTES", 4 * 1024 * 1024)


def costly(name: str) -> dict[str, Any]:
    """More values in one node than are taken into memory."""
    return workflow(name, node={"type": "n8n-nodes-base.set", "parameters": COSTLY})


def last_snapshot(site: Site) -> Snapshot:
    with tenant_scope(site.tenant.pk):
        return Snapshot.objects.filter(environment=site.environment).latest("created_at")


def restore(site: Site, snapshot: Snapshot, options: RestoreOptions | None = None) -> Operation:
    operation = start_restore(
        tenant_id=site.tenant.pk,
        environment_id=site.environment.pk,
        snapshot_id=snapshot.pk,
        requested_by=None,
        options=options,
    )
    return site.drive(operation)


def test_large_pinned_data_are_captured_and_given_back_to_the_byte(make_site: Callable[..., Site]) -> None:
    """They are far more than is taken into objects, so they stay text on the whole way."""
    site = make_site(profile="2.20")
    site.seed(workflow("Pinned", pinData=PINNED), workflow("Small"))
    assert site.capture().status == "COMPLETED"
    snapshot = last_snapshot(site)
    assert set_aside(verification_from(snapshot.verification).findings) == []
    site.edit("Small", text="other")
    site.n8n.edit(site.ids["Pinned"], pinData={}, nodes=workflow("Pinned", text="other")["nodes"])
    done = restore(site, snapshot)
    assert done.status == "COMPLETED", done.error_message
    pinned, small = site.there("Pinned"), site.there("Small")
    assert pinned is not None and small is not None
    assert json.dumps(pinned["pinData"]) == json.dumps(PINNED)
    assert small["nodes"][1]["parameters"] == {"value": "hello"}


def test_what_cannot_be_taken_in_is_set_aside_and_the_rest_goes_on(site: Site, live_cast: Any) -> None:
    site.seed(costly("Monster"))
    site.n8n.delete_workflow(site.ids["Invoices"])
    site.edit("Orders", text="changed")
    checked = site.check()
    assert checked.status == "COMPLETED", checked.error_message
    snapshot = last_snapshot(site)
    assert {entry["name"] for entry in snapshot.workflows} == {"Orders", "Leads"}
    [finding] = set_aside(verification_from(snapshot.verification).findings)
    assert (finding.name, finding.env_workflow_id) == ("Monster", site.ids["Monster"])
    assert {i.kind for i in site.incidents()} == {DriftKind.MODIFIED, DriftKind.REMOVED}, (
        "what is gone is still noticed"
    )

    client = Client()
    client.force_login(live_cast.viewer)
    for path in (f"snapshots/{snapshot.pk}/", "drift/", f"environments/{site.environment.pk}/"):
        page = unescape(client.get(f"/t/{site.tenant.slug}/{path}").content.decode())
        assert "Monster" in page, path

    again = site.check()
    assert again.result["set_aside"] == ["Monster"], "and nothing is captured anew for it"
    assert last_snapshot(site).pk == snapshot.pk
    site.edit("Monster", text="small again")
    assert site.check().status == "COMPLETED"
    assert "Monster" in {entry["name"] for entry in last_snapshot(site).workflows}


def test_a_first_capture_takes_the_rest_as_approved(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.seed(workflow("Orders"), costly("Monster"))
    assert site.capture().status == "COMPLETED"
    assert site.row("Orders").git_content_hash
    site.edit("Orders", text="changed")
    site.check()
    assert site.incident().kind == DriftKind.MODIFIED


def test_one_that_grows_too_large_is_neither_gone_nor_drift(site: Site) -> None:
    site.edit("Leads", nodes=costly("Leads")["nodes"])
    site.check()
    assert site.incidents() == []
    assert site.row("Leads").status == "linked"


def test_restoring_leaves_it_alone_and_names_it(site: Site) -> None:
    whole = last_snapshot(site)
    site.seed(costly("Monster"))
    site.edit("Leads", nodes=costly("Leads")["nodes"])
    site.check()
    partial = last_snapshot(site)
    place = {"tenant_id": site.tenant.pk, "environment_id": site.environment.pk}

    everything = preview(**place, snapshot_id=whole.pk)
    left_out = everything.of("left_out")
    assert [item.name for item in left_out] == ["Leads"] and left_out[0].why, "it is not created a second time"

    site.edit("Monster", text="small again")
    options = RestoreOptions(delete_extra=True)
    plan = preview(**place, snapshot_id=partial.pk, options=options)
    assert ["Monster" in issue.message for issue in plan.warnings if issue.code == "set_aside"].count(True) == 1
    assert plan.to_delete == []
    site.edit("Orders", text="changed")
    done = restore(site, partial, options)
    assert done.status == "COMPLETED", done.error_message
    assert site.there("Monster") is not None and site.there("Leads") is not None


def test_texts_that_postgresql_refuses_are_captured_and_given_back(site: Site) -> None:
    odd = "a\0b"
    nodes = workflow("Orders", text=odd)["nodes"]
    site.n8n.edit(site.ids["Orders"], nodes=nodes, settings={"note": odd}, pinData={"Step": [{"json": {"x": odd}}]})
    site.n8n.edit(site.ids["Leads"], name=f"Leads {odd}")
    assert site.capture().status == "COMPLETED"
    snapshot = last_snapshot(site)
    assert len(snapshot.workflows) == 3 and set_aside(verification_from(snapshot.verification).findings) == []
    site.edit("Orders", text="plain")
    assert restore(site, snapshot).status == "COMPLETED"
    orders = site.there("Orders")
    assert orders is not None and orders["nodes"][1]["parameters"]["value"] == odd
