"""The estate, the command bar and the API's page: what is seen by whom, in what order, at what cost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditLog
from core import clock
from drift.estate import open_by_day
from drift.models import DriftIncident
from impersonation.models import ImpersonationSession
from operations import services as operations
from operations.models import Operation
from opsconsole import command, estate
from reports import services as reports
from reports.definitions import report_named, settle
from tenants import services
from tenants.models import Tenant
from tenants.scope import platform_scope, tenant_scope
from workflows.models import CanonicalWorkflow, Environment, WorkflowEnvMap

pytestmark = pytest.mark.django_db


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def set_up(tenant: Tenant, *, drift: int = 0, severity: str = "high", captured: bool = True, days_ago: int = 0) -> None:
    """One production environment with ``drift`` workflows that have an open incident."""
    at = clock.now()
    with platform_scope():
        environment = Environment.objects.create(
            tenant=tenant, name="Production", slug="production", kind="production", base_url="http://127.0.0.1:1",
            last_captured_at=at if captured else None,
        )  # fmt: skip
        for number in range(drift):
            workflow = CanonicalWorkflow.objects.create(
                tenant=tenant, key=f"order-{number}", name=f"Order intake {number}"
            )
            place = WorkflowEnvMap.objects.create(
                tenant=tenant, canonical_workflow=workflow, environment=environment,
                env_workflow_id=f"w{number}", env_name=workflow.name,
            )  # fmt: skip
            incident = DriftIncident.objects.create(tenant=tenant, workflow_env_map=place, severity=severity)
            DriftIncident.objects.filter(pk=incident.pk).update(created_at=at - timedelta(days=days_ago))


def names(content: bytes) -> list[str]:
    found = [
        (content.find(f">{name}</a></h2>".encode()), name) for name in ("Acme Robotics", "Umbrella Trading", "Quiet")
    ]
    return [name for at, name in sorted(found) if at >= 0]


def test_trouble_comes_first_and_each_sees_their_own(cast: Any) -> None:
    services.create_tenant(name="Quiet", owner=cast.owner)
    set_up(cast.other_tenant, drift=2, severity="critical")
    set_up(cast.tenant, drift=3, severity="low")
    assert names(signed_in(cast.admin).get("/").content) == ["Umbrella Trading", "Acme Robotics", "Quiet"]
    assert names(signed_in(cast.officer).get("/").content) == ["Umbrella Trading", "Acme Robotics", "Quiet"]
    assert names(signed_in(cast.owner).get("/").content) == ["Acme Robotics", "Quiet"]
    only = signed_in(cast.viewer).get("/")
    assert (only.status_code, only["Location"]) == (302, "/t/acme/")
    assert signed_in(cast.support).get("/")["Location"] == "/platform/tenants/"
    assert Client().get("/").status_code == 302
    assert names(signed_in(cast.admin).get("/?view=trouble").content) == ["Umbrella Trading", "Acme Robotics"]
    assert names(signed_in(cast.admin).get("/?q=umbr").content) == ["Umbrella Trading"]


def test_a_production_out_of_reach_stands_before_any_drift(cast: Any) -> None:
    set_up(cast.other_tenant, drift=6, severity="critical")
    set_up(cast.tenant)
    with platform_scope():
        Environment.objects.filter(tenant=cast.tenant).update(connection_status="failed")
    assert names(signed_in(cast.admin).get("/").content)[0] == "Acme Robotics"


def test_what_is_not_known_is_never_good(cast: Any) -> None:
    def health(tenant: Tenant) -> tuple[str, str]:
        with platform_scope():
            tile = estate.tiles(Tenant.objects.filter(pk=tenant.pk)).rows[0]
        assert tile.is_seen is (tile.health[0] != "unknown")
        return tile.health

    assert health(cast.tenant)[0] == "unknown"
    set_up(cast.tenant, captured=False)
    assert health(cast.tenant) == ("unknown", "Not captured")
    with platform_scope():
        Environment.objects.update(last_captured_at=clock.now() - timedelta(days=3))
    assert health(cast.tenant) == ("unknown", "Not seen lately")
    with platform_scope():
        Environment.objects.update(last_captured_at=clock.now())
    assert health(cast.tenant) == ("in_sync", "In sync")
    operation = operations.start(tenant_id=cast.tenant.pk, kind="t", title="J", params={}, requested_by=None)
    with platform_scope():
        Operation.objects.filter(pk=operation.pk).update(status="FAILED", ended_at=clock.now())
    assert health(cast.tenant)[0] == "failed"
    with platform_scope():
        Environment.objects.update(connection_status="failed")
        (tile,) = estate.tiles(Tenant.objects.filter(pk=cast.tenant.pk)).rows
    assert tile.health == ("failed", "Not reachable") and not tile.is_seen


def test_the_line_counts_what_stood_open_each_day(cast: Any) -> None:
    set_up(cast.tenant, drift=3, days_ago=5)
    with platform_scope():
        one = DriftIncident.objects.first()
        DriftIncident.objects.filter(pk=one.pk).update(
            incident_state="CLOSED", resolved_at=clock.now() - timedelta(days=2)
        )
        line = open_by_day([cast.tenant.pk, cast.other_tenant.pk])
    assert line[cast.tenant.pk] == [0] * 8 + [3, 3, 3, 2, 2, 2]
    assert line[cast.other_tenant.pk] == [0] * 14


@pytest.mark.parametrize("count", [2, 60])
def test_the_estate_costs_the_same_however_large(cast: Any, count: int, django_assert_max_num_queries: Any) -> None:
    for number in range(count):
        set_up(services.create_tenant(name=f"Tenant {number}", owner=cast.owner), drift=2)
    client = signed_in(cast.admin)
    with django_assert_max_num_queries(26):
        assert client.get("/").status_code == 200


def test_the_pages_of_the_estate_hold_each_tenant_once(cast: Any) -> None:
    for number in range(7):
        set_up(services.create_tenant(name=f"Tenant {number}"), drift=number % 3)
    seen, cursor = [], ""
    with platform_scope():
        while True:
            page = estate.tiles(Tenant.objects.all(), cursor=cursor, limit=2)
            seen += [tile.tenant.name for tile in page.rows]
            cursor = page.next_cursor
            if not cursor:
                break
        assert len(seen) == len(set(seen)) == Tenant.objects.count()


def test_a_members_home_asks_each_thing_once(cast: Any, django_assert_num_queries: Any) -> None:
    """One's tenants, one's roles: for the tiles and for the switcher of the shell alike."""
    for slug in ("one", "two"):
        services.create_tenant(name=slug.title(), slug=slug, owner=cast.owner)
    client = signed_in(cast.owner)
    page = client.get("/")
    assert [tenant.slug for tenant in page.context["memberships"]] == ["acme", "one", "two"]
    assert page.content.count(b'href="/t/two/"') >= 2
    with django_assert_num_queries(14):
        client.get("/")


def found(user: Any, q: str, slug: str = "") -> dict[str, list[str]]:
    return {
        group["label"]: [row["title"] for row in group["rows"]] for group in command.find(user=user, q=q, slug=slug)
    }


def test_the_command_bar_finds_what_is_ones_own(cast: Any) -> None:
    set_up(cast.tenant, drift=2)
    operation = operations.start(
        tenant_id=cast.tenant.pk, kind="t", title="Order capture", params={}, requested_by=None
    )
    here = found(cast.viewer, "order", "acme")
    assert here["Workflows"] == ["Order intake 0", "Order intake 1"]
    assert here["Jobs"] == ["Order capture"] and len(here["Drift"]) == 2
    assert found(cast.viewer, "order") == here
    assert "Environments" in found(cast.viewer, "produ", "acme")
    assert found(cast.viewer, "acme")["Tenants"] == ["Acme Robotics"]
    assert "By id" in found(cast.viewer, str(operation.pk), "acme")
    for stranger in (found(cast.stranger, "order", "acme"), found(cast.stranger, str(operation.pk), "acme")):
        assert stranger == {}
    assert "Tenants" not in found(cast.stranger, "acme")
    assert "Tokens" in found(cast.owner, "token", "acme")["Go to"]
    assert found(cast.viewer, "token", "acme") == {}
    assert found(cast.admin, "health")["Go to"] == ["Health of the platform"]


def test_a_platform_admin_finds_any_job_and_nobody_else_does(cast: Any) -> None:
    with platform_scope():
        other = Tenant.objects.exclude(pk=cast.tenant.pk).first()
    assert other is not None
    job = operations.start(tenant_id=other.pk, kind="t", title="Capture the far side", params={}, requested_by=None)
    for q in ("far side", str(job.pk)):
        assert found(cast.admin, q)["Jobs"] == ["Capture the far side"]
        for who in (cast.owner, cast.support, cast.officer):
            assert "Jobs" not in found(who, q)
    (row,) = next(group["rows"] for group in command.find(user=cast.admin, q="far side") if group["label"] == "Jobs")
    assert other.name in row["hint"] and signed_in(cast.admin).get(row["url"]).status_code == 200


def test_the_command_bar_finds_records_for_those_who_may_read_them(cast: Any) -> None:
    with platform_scope():
        session = ImpersonationSession.objects.create(
            actor_user=cast.support, impersonated_user=cast.operator, impersonated_tenant=cast.tenant,
            reason="The invoices hang", ticket="SUP-7", started_at=clock.now(), last_seen_at=clock.now(),
            expires_at=clock.now() + timedelta(minutes=30),
        )  # fmt: skip
    access = report_named("access-review")
    run = reports.request_report(
        report=access, tenant=cast.tenant, asked=settle(as_of=clock.now()), kind="csv", requested_by=cast.owner
    )
    with tenant_scope(cast.tenant.pk):
        entry = AuditLog.objects.filter(resource_type="memberships").first()
    assert found(cast.owner, "sup-7", "acme") == {"Support sessions": ["Support as Operator"]}
    assert found(cast.owner, "access rev", "acme")["Reports"] == [access.title, access.title]
    assert found(cast.owner, "viewer", "acme")["Audit trail"] == ["What Viewer did"]
    assert found(cast.owner, str(session.pk), "acme")["By id"] == ["Support as Operator"]
    assert found(cast.owner, str(run.pk), "acme")["By id"] == [access.title]
    assert found(cast.owner, str(entry.pk), "acme")["By id"] == [f"Entry {entry.pk}"]
    for who in (cast.officer, cast.admin, cast.support):
        assert found(who, "sup-7")["Support sessions"] == ["Support as Operator"]
    assert found(cast.officer, "access rev")["Reports"] == [access.title], "the tenant's run is on the tenant's pages"
    assert found(cast.officer, "stranger")["Audit trail"] == ["What Stranger did"]
    for who in (cast.viewer, cast.operator, cast.stranger):
        for q in ("sup-7", "access rev", str(session.pk), str(run.pk), str(entry.pk)):
            assert found(who, q, "acme") == {} == found(who, q), (who, q)
    assert "Audit trail" not in found(cast.owner, "stranger", "acme")
    assert "Reports" not in found(cast.support, "access rev")


@pytest.mark.parametrize(
    ("who", "slug", "titles"),
    [
        ("owner", "acme", {"Reports", "Support access", "Emergency", "Audit trail", "Export the audit trail"}),
        ("admin", "acme", {"Reports", "Support access", "Emergency", "Platform reports", "Support sessions"}),
        ("approver", "acme", {"Reports", "Support access", "Audit trail"}),
        ("officer", "", {"Platform reports, compliance", "Platform audit trail", "Support sessions"}),
        ("support", "", {"Support sessions", "Start a support session", "Tenants, new tenant"}),
        ("viewer", "acme", set()),
    ],
)
def test_every_place_that_is_found_opens(cast: Any, who: str, slug: str, titles: set[str]) -> None:
    user = getattr(cast, who)
    client = signed_in(user)
    places: dict[str, str] = {}
    for q in ("report", "support", "emergency", "trail", "job", "tenants", "member", "token"):
        for group in command.find(user=user, q=q, slug=slug):
            if group["label"] == "Go to":
                places |= {row["title"]: row["url"] for row in group["rows"]}
    assert {title.partition(",")[0] for title in titles} <= {title.partition(",")[0] for title in places}
    assert {url: client.get(url, follow=True).status_code for url in places.values()} == dict.fromkeys(
        places.values(), 200
    )


def test_the_apis_page_lists_every_call_without_script_from_elsewhere(client: Any, db: None) -> None:
    page = client.get("/api/v1/docs")
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert page.status_code == 200 and len(paths) > 5
    for path in paths:
        assert path.replace("&", "&amp;").encode() in page.content
    assert b"//cdn" not in page.content and b"https://unpkg" not in page.content
