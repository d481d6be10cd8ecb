"""How a session ends: by its person, by others, by time, by what its person loses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from impersonation import services
from impersonation.models import ImpersonationSession
from impersonation.tests.conftest import REASON, Begin, at_browser, session_of, set_back, trail
from tenants import people
from tenants.models import Tenant
from tenants.scope import platform_scope
from tenants.services import create_user, make_platform_admin
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db


def test_ending_it_oneself(cast: Any, begin: Begin) -> None:
    client, session = begin()
    assert client.post("/platform/support/mine/end/").status_code == 302
    assert client.get("/t/acme/").status_code == 404
    assert session_of(cast.support).ended_by_id == cast.support.pk
    (entry,) = trail(action="IMPERSONATION_END")
    assert entry.details["forced"] is False
    assert session.ended_at is None


@pytest.mark.parametrize("minutes", [{"started_at": 61, "expires_at": 61, "last_seen_at": 1}, {"last_seen_at": 16}])
def test_time_ends_it(cast: Any, begin: Begin, minutes: dict[str, int]) -> None:
    client, session = begin()
    set_back(session, **minutes)
    page = client.get("/t/acme/")
    assert page.status_code == 403 and "IMP_007" in page.content.decode()
    assert session_of(cast.support).end_reason in ("expired", "idle")
    assert client.get("/t/acme/").status_code == 404


@pytest.mark.parametrize(
    "asks",
    [{"path": "/t/acme/jobs/?part=live"}, {"path": "/t/acme/jobs/", "headers": {"accept": "text/event-stream"}}],
)
def test_a_page_left_open_does_not_keep_it_awake(cast: Any, begin: Begin, asks: dict[str, Any]) -> None:
    """Live parts and streams ask again by themselves, for as long as the tab is open."""
    client, session = begin()
    set_back(session, last_seen_at=10)
    client.get(**asks)
    set_back(session, last_seen_at=6)
    assert client.get("/t/acme/").status_code == 403
    assert session_of(cast.support).end_reason == "idle"


def test_time_that_runs_out_unseen_is_settled(cast: Any, begin: Begin) -> None:
    _, session = begin()
    set_back(session, started_at=61, expires_at=61, last_seen_at=1)
    assert services.end_overdue() == 1 and services.end_overdue() == 0
    assert session_of(cast.support).end_reason == "expired"
    assert [e.details["reason"] for e in trail(action="IMPERSONATION_END")] == ["expired"]


def demote(cast: Any) -> None:
    people.set_platform_role(user=cast.support, role="member")


def deactivate(cast: Any) -> None:
    people.set_active(user=cast.support, active=False, by=cast.admin)


def sign_out_elsewhere(cast: Any) -> None:
    people.end_sign_ins(user=cast.support, by=cast.admin)


def new_password(cast: Any) -> None:
    cast.support.set_password("another horse battery")
    cast.support.save()


@pytest.mark.parametrize("end", [demote, deactivate, sign_out_elsewhere, new_password])
def test_it_ends_with_the_persons_standing(cast: Any, begin: Begin, end: Callable[[Any], None]) -> None:
    client, session = begin(write=True)
    end(cast)
    assert client.get("/t/acme/").status_code in (302, 403, 404)
    assert client.get("/t/acme/").status_code in (302, 404)
    services.end_overdue()
    assert not services.is_live(session.pk)


def test_a_tokens_session_ends_with_its_persons_password(cast: Any) -> None:
    token, _ = create_token(user=cast.support, name="cli")
    session = services.start_session(
        actor=cast.support, target=cast.operator, tenant=cast.tenant, reason=REASON,
        origin=services.RequestOrigin(token_id=token.pk),
    )  # fmt: skip
    new_password(cast)
    assert not services.is_live(session.pk) and session_of(cast.support).end_reason == "password changed"
    assert services.end_overdue() == 1
    assert [entry.details["reason"] for entry in trail(action="IMPERSONATION_END")] == ["password changed"]


def become_staff(cast: Any) -> None:
    people.set_platform_role(user=cast.operator, role="compliance_officer")


def suspend(cast: Any) -> None:
    with platform_scope():
        Tenant.objects.filter(pk=cast.tenant.pk).update(status="suspended")


@pytest.mark.parametrize("end", [become_staff, suspend])
def test_it_ends_with_what_let_it_begin(cast: Any, begin: Begin, end: Callable[[Any], None]) -> None:
    client, session = begin()
    end(cast)
    assert not services.is_live(session.pk)
    assert client.get("/t/acme/").status_code == 403


def taken_off(second: Any, by: Any) -> None:
    _, secret = create_token(user=by, name="t")
    url = f"/api/v1/platform/admins/{second.pk}"
    assert Client().delete(url, headers={"authorization": f"Bearer {secret}"}).status_code == 200


def shut_out(second: Any, by: Any) -> None:
    assert at_browser(by).post(f"/platform/people/{second.pk}/shut-out/").status_code == 302


def signed_out(second: Any, by: Any) -> None:
    assert at_browser(by).post(f"/platform/people/{second.pk}/sign-out/").status_code == 302


@pytest.mark.parametrize(
    ("lose", "why"),
    [(taken_off, "no longer a platform admin"), (shut_out, "shut out"), (signed_out, "signed out by a platform admin")],
)
def test_who_loses_the_way_in_has_no_session_in_the_table(
    cast: Any, begin: Begin, lose: Callable[[Any, Any], None], why: str
) -> None:
    """At once and by the same transaction: nobody settles anything here."""
    second = create_user(email="two@example.org", name="Two", password=cast.password)
    make_platform_admin(user=second, by=cast.admin)
    _, bystander = begin()
    _, session = begin(actor=second, target=cast.viewer)
    lose(second, cast.admin)
    with platform_scope():
        live = ImpersonationSession.objects.filter(ended_at=None)
        assert [row.pk for row in live] == [bystander.pk]
    ended = session_of(second)
    assert (ended.pk, ended.ended_by_id, ended.end_reason) == (session.pk, cast.admin.pk, why)
    (entry,) = trail(action="IMPERSONATION_END")
    assert (entry.actor_user_id, entry.details["forced"]) == (cast.admin.pk, True)
    assert services.end_overdue() == 0


def test_a_member_who_leaves_takes_the_session_along(cast: Any, begin: Begin) -> None:
    _, session = begin()
    people.remove_member(tenant=cast.tenant, user_id=cast.operator.pk)
    assert session_of(cast.support).ended_at is not None and not services.is_live(session.pk)


@pytest.mark.parametrize("who", ["admin", "owner"])
def test_a_third_person_ends_it(cast: Any, begin: Begin, who: str) -> None:
    client, session = begin()
    path = "/t/acme/support/sessions" if who == "owner" else "/platform/support/sessions"
    answer = at_browser(getattr(cast, who)).post(f"{path}/{session.pk}/end/", {"reason": "Not now"})
    assert answer.status_code == 302
    assert client.get("/t/acme/").status_code == 403
    ended = session_of(cast.support)
    assert (ended.ended_by_id, ended.end_reason) == (getattr(cast, who).pk, "Not now")
    assert trail(action="IMPERSONATION_END")[0].details["forced"] is True


@pytest.mark.parametrize("who", ["viewer", "operator", "stranger", "officer"])
def test_others_do_not_end_it(cast: Any, begin: Begin, who: str) -> None:
    _, session = begin()
    for path in ("/t/acme/support/sessions", "/platform/support/sessions"):
        assert at_browser(getattr(cast, who)).post(f"{path}/{session.pk}/end/").status_code in (403, 404)
    assert session_of(cast.support).ended_at is None


def test_ending_all(cast: Any, begin: Begin) -> None:
    first, _ = begin()
    second, _ = begin(actor=cast.admin, target=cast.viewer)
    services.end_all(by=cast.admin, reason="Security incident")
    assert [c.get("/t/acme/").status_code for c in (first, second)] == [403, 403]


def test_a_session_does_not_come_back(cast: Any, begin: Begin) -> None:
    _, session = begin()
    services.end_session(session_id=session.pk, by=cast.admin, reason="x")
    with pytest.raises(Exception, match="stays ended"), platform_scope():
        ImpersonationSession.objects.filter(pk=session.pk).update(ended_at=None)
