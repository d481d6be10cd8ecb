"""The trail's pages and API: what is in it, who reads it, how it is narrowed."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import AuditLog
from tenants import services
from tenants.scope import platform_scope, tenant_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db
TRAIL = "/t/acme/trail/"


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def events(action: str) -> list[AuditLog]:
    with platform_scope():
        return list(AuditLog.objects.filter(action=action).order_by("pk"))


def test_a_write_shows_with_its_person_and_both_sides(cast: Any) -> None:
    owner = signed_in(cast.owner)
    owner.post("/t/acme/settings/", {"name": "Acme Renamed"})
    listed = owner.get(f"{TRAIL}?resource_type=tenants&action=UPDATE")
    assert b"Owner" in listed.content and b"Acme Renamed" in listed.content
    with tenant_scope(cast.tenant.pk):
        row = AuditLog.objects.get(resource_type="tenants", action="UPDATE")
    page = owner.get(reverse("trail-entry", kwargs={"tenant_slug": "acme", "pk": row.pk}))
    assert b"Acme Robotics" in page.content and b"Acme Renamed" in page.content
    assert row.source == "web" and row.actor_user_id == cast.owner.pk and row.request_id


def test_another_tenants_entry_answers_as_a_missing_one(cast: Any) -> None:
    with tenant_scope(cast.tenant.pk):
        pk = AuditLog.objects.first().pk
    stranger = signed_in(cast.stranger)
    foreign = stranger.get(f"/t/umbrella/trail/{pk}/")
    missing = stranger.get("/t/umbrella/trail/999999999/")
    assert (foreign.status_code, foreign.content) == (404, missing.content)
    assert b"acme" not in stranger.get("/t/umbrella/trail/").content.lower().replace(b"umbrella", b"")


def test_sign_ins_and_failures_are_events_of_the_platform(cast: Any) -> None:
    client = Client()
    url = reverse("account_login")
    client.post(url, {"login": cast.viewer.email, "password": "wrong"})
    client.post(url, {"login": "hunter2-typed-here@example.org", "password": "wrong"})
    client.post(url, {"login": cast.viewer.email, "password": cast.password})
    client.post(reverse("account_logout"))
    (good,) = events("SIGN_IN")
    assert (good.resource_id, good.actor_user_id, good.tenant_id) == (cast.viewer.pk, cast.viewer.pk, None)
    failed = events("SIGN_IN_FAILED")
    assert failed[0].resource_id == cast.viewer.pk and failed[0].actor_user_id is None
    assert failed[1].resource_id is None and "hunter2" not in str(failed[1].details)
    assert [row.resource_id for row in events("SIGN_OUT")] == [cast.viewer.pk]
    page = signed_in(cast.officer).get(reverse("platform-trail") + "?action=SIGN_IN_FAILED")
    assert b"viewer@example.org" in page.content
    # They are the platform's: an owner does not read them.
    assert b"SIGN_IN" not in signed_in(cast.owner).get(TRAIL).content.replace(b'value="SIGN_IN', b"")


def test_ending_sign_ins_leaves_an_event(cast: Any) -> None:
    here, _there = signed_in(cast.viewer), signed_in(cast.viewer)
    here.post(reverse("user_sessions_end_others"))
    (row,) = events("SIGN_INS_ENDED")
    assert row.details == {"count": 1, "why": "ended"} and row.actor_user_id == cast.viewer.pk


def test_the_trail_is_narrowed(cast: Any) -> None:
    owner = signed_in(cast.owner)
    services.set_membership(tenant=cast.tenant, user=cast.viewer, role="operator", by=cast.owner)
    with tenant_scope(cast.tenant.pk):
        row = AuditLog.objects.filter(resource_type="memberships", action="UPDATE").get()
    assert b"memberships" in owner.get(f"{TRAIL}?resource_type=memberships").content
    one = owner.get(f"{TRAIL}?resource_id={row.resource_id}")
    assert one.content.count(b"/t/acme/trail/") >= 2
    assert b"No entries match" in owner.get(f"{TRAIL}?until=2001-01-01").content
    assert b"No entries match" in owner.get(f"{TRAIL}?person=nobody-like-this").content
    for bad in (
        "resource_id=x",
        "operation=x",
        "since=yesterday",
        "since=2026-13-45",
        "until=9999-12-31",
        "cursor=%21",
    ):
        assert owner.get(f"{TRAIL}?{bad}").status_code == 422, bad


def test_the_api_pages_to_the_end_and_hides(cast: Any) -> None:
    def ask(user: Any, query: str = "", tenant: Any = None, **fields: Any) -> Any:
        _, secret = create_token(user=user, tenant=tenant, name="t", **fields)
        return Client().get(f"/api/v1/audit-logs?{query}", headers={"authorization": f"Bearer {secret}"})

    assert ask(cast.viewer, "tenant=acme").status_code == 403
    assert ask(cast.stranger, "tenant=acme").status_code == 404
    assert ask(cast.owner).status_code == 403
    assert ask(cast.owner, "tenant=acme", permissions=["operate"]).status_code == 403
    bound = ask(cast.owner, tenant=cast.tenant).json()["audit_logs"]
    assert {row["tenant_id"] for row in bound} == {str(cast.tenant.pk)}
    everywhere = ask(cast.officer, "limit=200").json()["audit_logs"]
    assert {str(cast.tenant.pk), str(cast.other_tenant.pk)} <= {row["tenant_id"] for row in everywhere}
    _, secret = create_token(user=cast.owner, tenant=cast.tenant, name="t")
    seen, cursor = [], ""
    while True:
        url = f"/api/v1/audit-logs?limit=7&cursor={cursor}"
        answer = Client().get(url, headers={"authorization": f"Bearer {secret}"}).json()
        seen += [row["id"] for row in answer["audit_logs"]]
        cursor = answer["next_cursor"]
        if not cursor:
            break
    with tenant_scope(cast.tenant.pk):
        assert seen == list(AuditLog.objects.order_by("-pk").values_list("pk", flat=True))


@pytest.mark.parametrize("count", [2, 30])
def test_the_trail_costs_the_same_however_many_people(
    cast: Any, count: int, django_assert_max_num_queries: Any
) -> None:
    for number in range(count):
        user = services.create_user(email=f"p{number}@example.org")
        services.set_membership(tenant=cast.tenant, user=user, role="viewer", by=cast.owner)
    owner, admin = signed_in(cast.owner), signed_in(cast.admin)
    with django_assert_max_num_queries(26):
        owner.get(TRAIL)
    with django_assert_max_num_queries(22):
        admin.get(reverse("platform-trail"))
