"""What the command bar finds beyond names: who uses a credential or a node, people, snapshots, commits, captures."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import clock
from opsconsole import command
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows.models import CanonicalWorkflow, Environment, KnownCredential, MapStatus, WorkflowEnvMap

pytestmark = pytest.mark.django_db
COMMIT = "c0ffee" + "0" * 34


@pytest.fixture
def estate(cast: Any) -> dict[str, Any]:
    """Production with two workflows, of which one uses a database; another tenant with the same."""
    made: dict[str, Any] = {}
    for tenant in (cast.other_tenant, cast.tenant):
        with tenant_scope(tenant.pk):
            place = Environment.objects.create(tenant=tenant, name="Production", slug="production", kind="production")
            for key, ids in (("orders", ["c-1"]), ("mails", ["c-2"])):
                workflow = CanonicalWorkflow.objects.create(tenant=tenant, key=key, name=key.capitalize())
                WorkflowEnvMap.objects.create(
                    tenant=tenant, canonical_workflow=workflow, environment=place, env_workflow_id=key,
                    env_name=key, status=MapStatus.LINKED,
                    fingerprint={"v": 2, "body": "", "refs": [], "creds": ["x"], "cred_ids": ids,
                                 "types": ["n8n-nodes-base.postgres" if key == "orders" else "n8n-nodes-base.gmail"],
                                 "hosts": ["api.shop.example"] if key == "orders" else []},
                )  # fmt: skip
            KnownCredential.objects.create(
                tenant=tenant, environment=place, credential_type="postgres", name="Shop database", credential_id="c-1"
            )
            made["snapshot"] = Snapshot.objects.create(
                tenant=tenant, environment=place, snapshot_type="manual_backup", description="before the sale",
                git_commit_sha=COMMIT, created_at=clock.now(),
            )  # fmt: skip
    return made


def found(user: Any, q: str, slug: str = "acme") -> dict[str, list[dict[str, Any]]]:
    return {group["label"]: group["rows"] for group in command.find(user=user, q=q, slug=slug)}


@pytest.mark.parametrize(
    ("q", "label"),
    [
        ("who uses Shop database?", "Credentials and who uses them"),
        ("postgres", "Nodes and who has them"),
        ("who uses api.shop.example?", "Hosts and who calls them"),
    ],
)
def test_who_uses_it_leads_to_the_workflows_that_do(cast: Any, estate: Any, client: Client, q: str, label: str) -> None:
    (row,) = found(cast.viewer, q)[label]
    client.force_login(cast.viewer)
    page = client.get(row["url"])
    assert [line.workflow.key for line in page.context["matrix"].rows] == ["orders"]
    assert b"Only with" in page.content


def test_a_credential_of_a_draft_is_used_too(cast: Any, estate: Any, client: Client) -> None:
    with tenant_scope(cast.tenant.pk):
        mails = WorkflowEnvMap.objects.get(env_name="mails")
        draft = {"v": 2, "body": "", "refs": [], "creds": ["x"], "cred_ids": ["c-1"]}
        mails.fingerprint = (mails.fingerprint or {}) | {"draft": draft}
        mails.save()
    (row,) = found(cast.viewer, "Shop database")["Credentials and who uses them"]
    client.force_login(cast.viewer)
    page = client.get(row["url"])
    assert [line.workflow.key for line in page.context["matrix"].rows] == ["mails", "orders"]


def test_no_workflow_uses_a_credential_that_is_not_known(cast: Any, estate: Any, client: Client) -> None:
    with tenant_scope(cast.other_tenant.pk):
        theirs = KnownCredential.objects.get().pk
    client.force_login(cast.viewer)
    for gone in (uuid.uuid4(), "no-id", theirs):
        page = client.get("/t/acme/", {"uses": f"credential:{gone}"})
        assert page.context["matrix"].rows == []
        text = page.content.decode()
        assert "a credential that is no longer known" in text and "No workflow matches this filter." in text


def test_types_of_nodes_are_gathered_once_for_each_tenant(cast: Any, estate: Any) -> None:
    def titles(user: Any, slug: str, q: str) -> tuple[list[str], bool]:
        """What is found, and whether the workflows were read for it."""
        with CaptureQueriesContext(connection) as asked:
            rows = found(user, q, slug).get("Nodes and who has them", [])
        return [row["title"] for row in rows], any("jsonb_array_elements" in query["sql"] for query in asked)

    with tenant_scope(cast.other_tenant.pk):
        theirs = WorkflowEnvMap.objects.get(env_name="mails")
        theirs.fingerprint = (theirs.fingerprint or {}) | {"types": ["umbrella-nodes.private"]}
        theirs.save()
    assert titles(cast.stranger, "umbrella", "PRIVATE") == (["umbrella-nodes.private"], True)
    assert titles(cast.viewer, "acme", "private") == ([], True), "another tenant's are not this one's"
    assert titles(cast.viewer, "acme", "gmail") == (["n8n-nodes-base.gmail"], False)
    assert titles(cast.stranger, "umbrella", "gmail") == ([], False)


def test_people_snapshots_and_commits_are_found(cast: Any, estate: Any) -> None:
    assert "Owner" in [row["title"] for row in found(cast.viewer, "owner")["People"]]
    for q, label in (("before the sale", "Snapshots"), (COMMIT[:8], "By id"), (str(estate["snapshot"].pk), "By id")):
        urls = [row["url"] for row in found(cast.viewer, q)[label]]
        assert urls == [f"/t/acme/snapshots/{estate['snapshot'].pk}/"], q
    urls = [row["url"] for row in found(cast.stranger, "before the sale")["Snapshots"]]
    assert urls and all(url.startswith("/t/umbrella/") for url in urls), "another tenant finds its own alone"


def test_a_capture_asks_what_is_missing_and_of_whom_may(cast: Any, estate: Any) -> None:
    for q in ("capture", "capture prod"):
        (row,) = found(cast.operator, q)["Capture"]
        assert (row["title"], row["url"]) == ("Capture Production", "/t/acme/snapshots/new/?environment=production")
    assert "Capture" not in found(cast.viewer, "capture")


def test_what_is_asked_of_the_database_is_bounded(cast: Any, estate: Any) -> None:
    def cost() -> int:
        cache.clear()
        with CaptureQueriesContext(connection) as asked:
            found(cast.operator, "post")
        return len(asked)

    few = cost()
    with tenant_scope(cast.tenant.pk):
        place = Environment.objects.get()
        for number in range(12):
            KnownCredential.objects.create(
                tenant=cast.tenant, environment=place, credential_type="postgres",
                name=f"post {number}", credential_id=uuid.uuid4().hex,
            )  # fmt: skip
    assert cost() == few


@pytest.mark.parametrize("q", ["check drift", "check drift in production", "check prod"])
def test_a_check_is_started_from_the_bar_by_who_may(cast: Any, estate: Any, client: Client, q: str) -> None:
    assert "Check" not in found(cast.viewer, q)
    (row,) = found(cast.operator, q)["Check"]
    assert row["title"] == "Check Production for drift"
    client.force_login(cast.operator)
    assert "autofocus" in client.get(row["url"]).content.decode().partition("Check Production now")[0]
    assert "Check" not in found(cast.operator, "checkout")
