"""A workflow's page and its differences, and the environment over REST, on what was really captured."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from snapshots import diff_views
from tenants.scope import tenant_scope
from tenants.tokens import create_token
from workflows.models import Environment, WorkflowEnvMap
from workflows.selectors import Cell

from .conftest import workflow


@pytest.fixture
def drifted(capture: Any, n8n: Any, environment: Environment) -> Any:
    made = n8n.seed([workflow("Orders"), workflow("Invoices")])
    first = capture()
    n8n.edit(made[0]["id"], nodes=workflow(url="https://example.org/new?password=hunter2")["nodes"])
    capture()
    return first


@pytest.fixture
def signed_in(live_cast: Any, client: Client) -> Client:
    client.force_login(live_cast.viewer)
    return client


def at(live_cast: Any, name: str, key: str = "orders") -> str:
    return reverse(name, kwargs={"tenant_slug": live_cast.tenant.slug, "key": key})


@pytest.mark.parametrize("view", ["graph", "text", "raw"])
def test_what_drifted_is_shown_beside_what_was_approved(
    live_cast: Any, signed_in: Client, drifted: Any, view: str
) -> None:
    answer = signed_in.get(
        at(live_cast, "workflow-diff"), {"left": "git:production", "right": "production", "view": view}, follow=True
    )
    page = answer.content.decode()
    if view == "text":
        page = re.sub(r"</?(mark|span)[^>]*>", "", page)
    assert answer.status_code == 200 and "example.org/new" in page and "example.org/a" in page
    assert "hunter2" not in page
    assert ("<svg" in page and "data-node" in page) or view != "graph"


def test_a_page_opens_where_the_trouble_is() -> None:
    def cell(slug: str, state: str, **mapping: Any) -> Cell:
        return Cell(Environment(slug=slug), state, mapping=WorkflowEnvMap(**mapping))

    fine, drafted = cell("dev", "in_sync"), cell("staging", "in_sync", env_draft_hash="d" * 64)
    assert diff_views._where_the_trouble_is([fine, drafted, cell("prod", "drifted")]).environment.slug == "prod"  # type: ignore[union-attr]
    assert diff_views._where_the_trouble_is([fine, drafted, cell("prod", "in_sync")]) is drafted
    assert diff_views._where_the_trouble_is([fine, cell("prod", "in_sync")]) is fine
    assert diff_views._where_the_trouble_is([]) is None


def test_a_snapshot_can_be_a_side_and_an_unknown_one_is_not_there(
    live_cast: Any, signed_in: Client, drifted: Any
) -> None:
    address = at(live_cast, "workflow-diff")
    same = signed_in.get(address, {"left": f"snapshot:{drifted.pk}", "right": "git:production"}, follow=True)
    assert "Same content" in same.content.decode()
    for wrong in ("snapshot:5f0c8ad0-0000-4000-8000-000000000000", "snapshot:x", "elsewhere", "git:elsewhere"):
        assert signed_in.get(address, {"left": wrong, "right": "production"}, follow=True).status_code == 404
    assert signed_in.get(at(live_cast, "workflow-diff", "nobody")).status_code == 404


def test_a_workflows_page_draws_it(live_cast: Any, signed_in: Client, drifted: Any) -> None:
    page = signed_in.get(at(live_cast, "workflow")).content.decode()
    differ = signed_in.get(
        at(live_cast, "workflow-diff"), {"left": "git:production", "right": "production"}, follow=True
    )
    for shown in (page, differ.content.decode()):
        assert re.search(r'href="http[^"]+/workflow/\w+" [^>]*>Open|href="http[^"]+/workflow/\w+">', shown), "into n8n"
    assert "<svg" in page and "Drifted" in page and "Manual backup" in page


def test_another_tenants_workflow_is_not_there(live_cast: Any, client: Client, drifted: Any) -> None:
    client.force_login(live_cast.stranger)
    for name in ("workflow", "workflow-diff"):
        assert client.get(at(live_cast, name)).status_code == 404
        own = reverse(name, kwargs={"tenant_slug": live_cast.other_tenant.slug, "key": "orders"})
        assert client.get(own).status_code == 404


def test_workflows_over_rest_are_those_of_this_moment(
    live_cast: Any, client: Client, drifted: Any, n8n: Any, environment: Environment
) -> None:
    _, secret = create_token(user=live_cast.viewer, tenant=live_cast.tenant, name="t", created_by=live_cast.viewer)
    headers = {"Authorization": f"Bearer {secret}"}
    n8n.seed([workflow("Brand new")])
    answer = client.get(f"/api/v1/environments/{environment.pk}/workflows", headers=headers)
    rows = {row["name"]: row for row in json.loads(answer.content)["workflows"]}
    assert rows["Orders"]["drifted"] and rows["Orders"]["key"] == "orders"
    assert rows["Invoices"]["content_hash"] == rows["Invoices"]["git_content_hash"]
    assert rows["Brand new"]["key"] is None
    one = client.get(f"/api/v1/environments/{environment.pk}", headers=headers).json()["environment"]
    assert one["has_api_key"] and "api_key" not in one and environment.api_key_encrypted not in str(one)
    made = client.post(
        "/api/v1/environments",
        json.dumps({"name": "X", "base_url": "http://127.0.0.1:1", "api_key": "k"}),
        content_type="application/json",
        headers=headers,
    )
    assert made.status_code == 403
    _, foreign = create_token(
        user=live_cast.stranger, tenant=live_cast.other_tenant, name="t", created_by=live_cast.stranger
    )
    other = client.get(
        f"/api/v1/environments/{environment.pk}/workflows", headers={"Authorization": f"Bearer {foreign}"}
    )
    assert other.status_code == 404


def test_what_was_asked_for_today_is_shown_tomorrow(
    live_cast: Any, signed_in: Client, drifted: Any, n8n: Any, capture: Any, environment: Environment
) -> None:
    """An address names two versions: neither a later capture nor a later approval changes what it shows."""
    asked = {"left": "git:production", "right": "production", "view": "text"}
    there = signed_in.get(at(live_cast, "workflow-diff"), asked)
    named = parse_qs(urlsplit(there["Location"]).query)
    with tenant_scope(live_cast.tenant.pk):
        environment.refresh_from_db()
    assert named["left"] == [f"git:production@{environment.baseline_commit_sha}"]
    assert named["right"] == [f"snapshot:{environment.last_snapshot_id}"] and named["view"] == ["text"]
    before = signed_in.get(there["Location"]).context
    n8n.edit(workflow_id_of(n8n, "Orders"), nodes=workflow(url="https://example.org/newest")["nodes"])
    capture(snapshot_type="baseline")
    after = signed_in.get(there["Location"]).context
    assert after["diff"] == before["diff"] and not after["diff"].is_empty
    assert [after[side].content for side in ("left", "right")] == [before[side].content for side in ("left", "right")]
    assert signed_in.get(at(live_cast, "workflow-diff"), asked)["Location"] != there["Location"], "today is another"


def test_only_a_commit_that_approved_something_there_is_an_approved_version(
    live_cast: Any, signed_in: Client, drifted: Any
) -> None:
    for commit in ("0" * 40, "master", drifted.git_commit_sha):
        asked = {"left": f"git:production@{commit}", "right": f"snapshot:{drifted.pk}"}
        assert signed_in.get(at(live_cast, "workflow-diff"), asked).status_code == 404, commit


def workflow_id_of(n8n: Any, name: str) -> str:
    return next(str(one["id"]) for one in n8n.state()["workflows"] if one["name"] == name)
