"""What the sample app is part of once it is installed: asked in its own settings, by test_adding_an_app.py."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from audit.models import AuditLog
from conftest import Cast
from core import clock, context
from core.demo import DemoStage
from core.registry import registry
from impersonation.models import ImpersonationSession
from impersonation.reverting.planning import plan_of
from impersonation.tests.test_every_door import DOORS
from operations import engine
from operations import services as operations
from reports import selectors
from reports.definitions import report_named, settle
from tenants.permissions import grants_on_tenant, in_words
from tenants.scope import platform_scope, tenant_scope
from tests.isolation.rows import tenant_models
from tests.isolation.test_answers import tenant_routes
from tests.sample_app.models import Bottle, Sip

pytestmark = pytest.mark.django_db


def bottle(cast: Cast, name: str = "Old") -> Bottle:
    with tenant_scope(cast.tenant.pk):
        return Bottle.objects.create(tenant=cast.tenant, name=name, keeper=cast.owner)


@pytest.fixture
def browser(cast: Cast, client: Client) -> Client:
    client.force_login(cast.owner, backend=settings.AUTHENTICATION_BACKENDS[0])
    return client


def test_it_is_in_the_route_matrix_and_in_the_isolation_matrix() -> None:
    assert {(route, method) for route, method, *_ in DOORS} >= {
        ("t/<slug:tenant_slug>/bottles/", "GET"),
        ("t/<slug:tenant_slug>/bottles/<uuid:pk>/", "GET"),
        ("t/<slug:tenant_slug>/bottles/<uuid:pk>/", "POST"),
        ("api/v1/bottles", "GET"),
        ("api/v1/bottles", "DELETE"),
        ("api/v1/bottles/healthz", "GET"),
        ("api/v1/sse/bottles", "GET"),
    }
    assert {Bottle, Sip} <= set(tenant_models())
    assert "/t/<slug:tenant_slug>/bottles/<uuid:pk>/" in tenant_routes()


def test_a_walk_along_links_finds_its_page(cast: Cast, browser: Client) -> None:
    made = bottle(cast)
    home = browser.get("/t/acme/").content.decode()
    assert 'href="/t/acme/bottles/"' in home
    assert '<span>Bottles</span><span class="count">1</span>' in home, "what waits there"
    assert "<p>1 in store</p>" in home
    assert browser.get("/t/acme/bottles/").content == b"Old"
    assert browser.get(f"/t/acme/bottles/{made.pk}/").status_code == 200


def test_the_trail_tells_of_it(cast: Cast, browser: Client) -> None:
    made = bottle(cast)
    page = browser.get("/t/acme/trail/?view=entries").content.decode()
    assert "bottle" in page and f"/t/acme/bottles/{made.pk}/" in page


def test_it_is_on_the_tiles_of_the_estate(cast: Cast, browser: Client) -> None:
    bottle(cast)
    page = browser.get("/?q=acme").content.decode()
    assert '<a href="/t/acme/bottles/">1 bottled</a>' in page


def test_its_report_is_made_and_its_rows_are_in_those_of_access(cast: Cast) -> None:
    bottle(cast)
    asked = settle(as_of=clock.now() + datetime.timedelta(seconds=1))

    def rows(name: str) -> str:
        return str(selectors.preview(report_named(name), asked, tenant_id=cast.tenant.pk, slug="acme"))

    assert "Old" in rows("bottles")
    assert "keeper of a bottle" in rows("access-review")
    assert "sample_bottles" in report_named("privileged-changes").query


@pytest.mark.django_db(transaction=True)
def test_its_kind_of_job_is_carried_out(live_cast: Cast) -> None:
    job = operations.start(
        tenant_id=live_cast.tenant.pk, kind="bottles.fill", title="Fill", params={}, requested_by=live_cast.owner
    )
    engine.drive(operation_id=job.pk, tenant_id=live_cast.tenant.pk)
    done = operations.get_operation(tenant_id=live_cast.tenant.pk, operation_id=job.pk)
    assert (done.status, done.result) == ("COMPLETED", {"filled": True})


def test_what_a_session_wrote_can_be_reverted(cast: Cast) -> None:
    with platform_scope():
        session = ImpersonationSession.objects.create(
            actor_user=cast.support,
            impersonated_user=cast.owner,
            impersonated_tenant=cast.tenant,
            reason="Bottles",
            started_at=clock.now(),
            last_seen_at=clock.now(),
            expires_at=clock.now() + datetime.timedelta(hours=1),
        )
    with context.acting(session_id=session.pk, actor_id=cast.support.pk, acting_as_id=cast.owner.pk):
        bottle(cast)
    [item] = plan_of(session).items
    assert (item.kind, item.did, str(item.verdict)) == ("bottle", "Created", "ready")


def test_its_chapter_is_in_the_demo(cast: Cast) -> None:
    [chapter] = [chapter for chapter in registry.demo_chapters() if chapter.name == "bottles"]
    chapter.tell(DemoStage(tenant=cast.tenant, people={"owner": cast.owner}, environments={}))
    with tenant_scope(cast.tenant.pk):
        assert [row.name for row in Bottle.objects.all()] == ["A good year"]
        assert AuditLog.objects.filter(resource_type="sample_bottles", actor_user_id=cast.owner.pk).exists()


def test_its_grant_is_given_with_the_roles_that_hold_it(cast: Cast) -> None:
    with platform_scope():
        holders = {
            name for name in ("owner", "operator", "approver", "viewer")
            if "fill_bottles" in grants_on_tenant(user_id=getattr(cast, name).pk, tenant_id=cast.tenant.pk)
        }  # fmt: skip
    assert holders == {"owner", "operator"}
    assert "Fill bottles" in in_words(["fill_bottles"])


def test_another_tenants_bottle_is_not_found(cast: Cast, browser: Client) -> None:
    with tenant_scope(cast.other_tenant.pk):
        theirs: Any = Bottle.objects.create(tenant=cast.other_tenant, name="Theirs")
    answers = {browser.get(f"/t/acme/bottles/{pk}/").status_code for pk in (theirs.pk, uuid.uuid4())}
    assert answers == {404}
