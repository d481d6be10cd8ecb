"""Support sessions through HTTP: who may start one, what holds while it stands, how it ends."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import ProgrammingError, connection
from django.db.models import F
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client

from impersonation import middleware, services
from impersonation.models import ImpersonationSession, SupportPolicy, SupportRequest
from impersonation.tests.conftest import REASON, WHY_WRITE, agree, at_browser, session_of, trail
from operations.models import Operation
from opsconsole.core import clock, support
from tenants import people
from tenants.models import Membership, User
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db
Begin = Callable[..., tuple[Client, ImpersonationSession]]
START = "/platform/support/start/"


def typed(target: Any, **more: Any) -> dict[str, Any]:
    return {"tenant": "acme", "person": str(target.pk), "reason": REASON, **more}


def set_back(session: ImpersonationSession, **minutes: int) -> None:
    """Move a session's times into the past."""
    moved = {name: F(name) - timedelta(minutes=count) for name, count in minutes.items()}
    with platform_scope():
        ImpersonationSession.objects.filter(pk=session.pk).update(**moved)


# ---- starting


def test_a_session_shows_what_the_customer_sees(cast: Any, begin: Begin) -> None:
    client, session = begin()
    page = client.get("/t/acme/")
    assert page.status_code == 200
    assert page.wsgi_request.user.pk == cast.operator.pk
    assert page.wsgi_request.real_user.pk == cast.support.pk
    assert str(session.pk) in page["X-OpsConsole-Support-Session"]
    text = page.content.decode()
    assert text.count('id="support-banner"') == 1
    for said in ("Support as Operator", "read only", REASON, "End now", "data-countdown"):
        assert said in text


def test_the_real_sign_in_is_left_alone(cast: Any, begin: Begin) -> None:
    client, _ = begin()
    client.get("/t/acme/")
    assert client.session["_auth_user_id"] == str(cast.support.pk)


def test_another_browser_of_the_same_person_is_in_no_session(cast: Any, begin: Begin) -> None:
    begin()
    assert at_browser(cast.support).get("/t/acme/").status_code == 404


@pytest.mark.parametrize("who", ["owner", "operator", "viewer", "officer", "stranger"])
def test_only_support_and_platform_admins_start(cast: Any, who: str) -> None:
    assert at_browser(getattr(cast, who)).post(START, typed(cast.viewer)).status_code == 403
    with platform_scope():
        assert not ImpersonationSession.objects.exists()


def test_a_second_factor_is_asked_for_and_nothing_typed_is_lost(cast: Any) -> None:
    client = at_browser(cast.support, factor=False)
    answer = client.post(START, typed(cast.viewer, ticket="4821"))
    assert answer.status_code == 302 and answer["Location"].startswith("/account/2fa/")
    page = client.get(START).content.decode()
    assert REASON in page and "4821" in page and f'value="{cast.viewer.pk}" selected' in page


def test_an_old_second_factor_is_too_old(cast: Any) -> None:
    client = at_browser(cast.support)
    session = client.session
    session["account_authentication_methods"][0]["at"] -= 301
    session.save()
    assert client.post(START, typed(cast.viewer))["Location"].startswith("/account/2fa/")


@pytest.mark.parametrize("reason", ["", "too short", "   spaces      "])
def test_a_reason_is_given(cast: Any, reason: str) -> None:
    assert at_browser(cast.support).post(START, {**typed(cast.viewer), "reason": reason}).status_code == 422


def test_a_ticket_matches_the_pattern(cast: Any, settings: Any) -> None:
    settings.SUPPORT_TICKET_PATTERN = r"[A-Z]+-\d+"
    client = at_browser(cast.support)
    assert client.post(START, typed(cast.viewer, ticket="4821")).status_code == 422
    assert client.post(START, typed(cast.viewer, ticket="HELP-4821")).status_code == 302


def blocked_targets(cast: Any) -> dict[str, tuple[Any, str]]:
    machine = people.create_service_account(tenant=cast.tenant, name="Robot", role="viewer", by=cast.owner)
    alias = people.add_member(tenant=cast.tenant, email="support+x@example.org", role="viewer", by=cast.owner)[0].user
    gone = people.add_member(tenant=cast.tenant, email="gone@example.org", role="viewer", by=cast.owner)[0].user
    people.set_active(user=gone, active=False, by=cast.admin)
    people.add_member(tenant=cast.tenant, email=cast.admin.email, role="viewer", by=cast.owner)
    people.add_member(tenant=cast.tenant, email=cast.officer.email, role="viewer", by=cast.owner)
    people.add_member(tenant=cast.tenant, email=cast.support.email, role="viewer", by=cast.owner)
    services.set_opt_out(user=cast.approver, opted_out=True)
    return {
        "admin": (cast.admin, "target_is_platform_admin"),
        "officer": (cast.officer, "target_is_staff"),
        "oneself": (cast.support, "target_is_oneself"),
        "alias": (alias, "target_is_oneself"),
        "inactive": (gone, "target_is_inactive"),
        "machine": (machine, "target_is_service_account"),
        "opted out": (cast.approver, "target_opted_out"),
        "stranger": (cast.stranger, "target_not_in_tenant"),
    }


def test_guardrails_block_and_the_tries_are_on_record_and_told(cast: Any, mailoutbox: Any) -> None:
    tries = blocked_targets(cast)
    for name, (target, why) in tries.items():
        with pytest.raises(services.ImpersonationBlocked) as refused:
            services.start_session(
                actor=cast.support, target=target, tenant=cast.tenant, reason=REASON, door=services.Door()
            )
        assert refused.value.code == "IMP_001" and refused.value.details == {"reason": why}, name
    entries = trail(action="IMPERSONATION_BLOCKED")
    assert [(e.details["target_user_id"], e.details["reason"]) for e in entries] == [
        (str(target.pk), why) for target, why in tries.values()
    ]
    assert {e.actor_user_id for e in entries} == {cast.support.pk}
    assert [e.details["count"] for e in trail(action="IMPERSONATION_ALERT")] == [3, 4, 5, 6, 7, 8]
    with platform_scope():
        assert not ImpersonationSession.objects.exists()


def test_a_tenant_that_refuses_support_is_left_alone_also_in_an_emergency(cast: Any) -> None:
    services.set_policy(
        tenant=cast.tenant, by=cast.owner, access="REFUSED", write_consent="OWNER", longest_minutes=60, idle_minutes=15
    )
    page = at_browser(cast.support).post(START, typed(cast.viewer, break_glass="on"))
    assert page.status_code == 422 and "does not allow support sessions" in page.content.decode()


def test_one_session_each(cast: Any, begin: Begin) -> None:
    client, _ = begin()
    page = client.post(START, typed(cast.viewer))
    assert page.status_code == 422 and "End current session first" in page.content.decode()
    other = at_browser(cast.support).post(START, typed(cast.viewer))
    assert other.status_code == 422
    with platform_scope():
        assert ImpersonationSession.objects.count() == 1


def test_the_customer_reads_start_and_end(cast: Any, begin: Begin) -> None:
    client, session = begin()
    client.get("/t/acme/drift/")
    client.post("/platform/support/mine/end/")
    page = at_browser(cast.owner).get(f"/t/acme/support/sessions/{session.pk}/").content.decode()
    assert "/t/acme/drift/" in page and REASON in page
    listed = at_browser(cast.owner).get("/t/acme/support/").content.decode()
    assert "Support" in listed and REASON in listed


def test_without_a_trail_there_is_no_session(cast: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_kwargs: Any) -> None:
        raise RuntimeError("the trail is away")

    monkeypatch.setattr(services, "record_event", broken)
    with pytest.raises(RuntimeError):
        services.start_session(
            actor=cast.support, target=cast.viewer, tenant=cast.tenant, reason=REASON, door=services.Door()
        )
    with platform_scope():
        assert not ImpersonationSession.objects.exists()


# ---- reading


def test_the_database_refuses_writes_of_a_reading_session(cast: Any, begin: Begin) -> None:
    _, session = begin()
    force = support.InForce(session_id=session.pk, tenant_id=cast.tenant.pk)
    with support.in_force(force):
        with tenant_scope(cast.tenant.pk):
            assert Membership.objects.count() == 4
        with platform_scope():
            assert User.objects.count() > 4
        for scope in (tenant_scope(cast.tenant.pk), platform_scope()):
            with pytest.raises(ProgrammingError, match="permission denied"), scope:
                Membership.objects.update(role="owner")


def test_what_leaves_the_console_is_refused(cast: Any, begin: Begin) -> None:
    from operations.services import start

    _, session = begin()
    with support.in_force(support.InForce(session_id=session.pk, tenant_id=cast.tenant.pk)):
        with pytest.raises(support.SupportReadOnly):
            start(tenant_id=cast.tenant.pk, kind="x", title="x", params={}, requested_by=None)
        with pytest.raises(support.SupportReadOnly):
            support.refuse_reading_only("Git")


def test_a_post_is_refused_with_a_way_out_and_stands_in_the_trail(cast: Any, begin: Begin) -> None:
    client, session = begin()
    page = client.post("/t/acme/snapshots/new/", {"description": "x", "password": "hunter2"})
    assert page.status_code == 403
    assert "IMP_005" in page.content.decode() and 'id="support-banner"' in page.content.decode()
    (entry,) = trail(action="REFUSED")
    assert (entry.actor_user_id, entry.impersonated_user_id) == (cast.support.pk, cast.operator.pk)
    assert entry.session_id == session.pk
    assert entry.details["request_body"] == {"description": "x", "password": "masked"}


ELSEWHERE = (
    "/", "/platform/people/", "/platform/tenants/", "/t/umbrella/", "/account/email/", "/admin/", "/t/none/",
    "/nowhere/",
)  # fmt: skip
OWN_MATTERS = (
    ("get", "tokens/"), ("post", "members/"), ("post", "settings/"), ("get", "support/"), ("post", "support/policy/"),
    ("get", "environments/new/"),
)  # fmt: skip
ALLOWED = {"access": "ALLOWED", "write_consent": "EITHER", "longest_minutes": 60, "idle_minutes": 15}


@pytest.mark.parametrize("path", ELSEWHERE)
def test_other_places_are_shut_alike(begin: Begin, path: str) -> None:
    client, _ = begin(write=True)
    page = client.get(path)
    assert page.status_code == 403 and "IMP_010" in page.content.decode()
    assert 'id="support-banner"' in page.content.decode()


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(("method", "path"), OWN_MATTERS)
def test_the_customers_own_matters_are_never_supports(
    cast: Any, begin: Begin, method: str, path: str, write: bool
) -> None:
    client, _ = begin(target=cast.owner, write=write)
    page = getattr(client, method)(f"/t/acme/{path}")
    assert page.status_code == 403 and "IMP_006" in page.content.decode()


def test_reads_are_on_record(cast: Any, begin: Begin) -> None:
    client, session = begin()
    client.get("/t/acme/jobs/?state=open")
    (entry,) = trail(action="READ", session=session.pk)
    assert entry.details["path"] == "/t/acme/jobs/?state=open" and entry.details["response_status"] == 200
    assert entry.tenant_id == cast.tenant.pk and entry.actor_user_id == cast.support.pk


# ---- ending


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


def test_time_that_runs_out_unseen_is_settled(cast: Any, begin: Begin) -> None:
    _, session = begin()
    set_back(session, started_at=61, expires_at=61, last_seen_at=1)
    assert services.settle() == 1 and services.settle() == 0
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
    services.settle()
    if end is not new_password:
        assert not services.stands(session.pk)


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


# ---- longer, and writing


def test_an_extension_is_an_event_and_has_an_end(cast: Any, begin: Begin) -> None:
    client, session = begin()
    set_back(session, started_at=50, expires_at=50)
    assert client.post("/platform/support/mine/extend/").status_code == 302
    longer = session_of(cast.support)
    assert timedelta(minutes=59) < longer.expires_at - clock.now() <= timedelta(minutes=60)
    assert len(trail(action="IMPERSONATION_EXTENDED")) == 1
    set_back(session, started_at=125, expires_at=56)
    client.post("/platform/support/mine/extend/")
    longest = session_of(cast.support)
    assert longest.expires_at <= longest.started_at + timedelta(minutes=180)
    assert client.post("/platform/support/mine/extend/").status_code == 422


def test_write_mode_needs_a_second_person_and_writes_are_on_record_as_both(cast: Any, begin: Begin) -> None:
    client, session = begin()
    assert client.post("/platform/support/mine/write/").status_code == 403
    client.post("/platform/support/mine/ask/", {"reason": WHY_WRITE})
    assert client.post("/platform/support/mine/write/").status_code == 403
    assert agree(cast.owner) == 302
    assert client.post("/platform/support/mine/write/").status_code == 302
    page = client.get("/t/acme/").content.decode()
    assert "may write" in page and "supported-write" in page
    # The policy for drift is the owner's; the operator's place does not reach so far.
    assert client.post("/t/acme/drift/policy/", {}).status_code == 403
    with platform_scope():
        before = Operation.objects.count()
    answer = client.post("/t/acme/jobs/00000000-0000-0000-0000-000000000000/cancel/")
    assert answer.status_code == 404
    written = [e for e in trail(session=session.pk) if e.resource_type == "requests" and e.action == "CREATE"]
    assert written[-1].details["response_status"] == 404
    with platform_scope():
        assert Operation.objects.count() == before


def test_an_agreement_works_once(cast: Any, begin: Begin) -> None:
    client, _ = begin(write=True)
    client.post("/platform/support/mine/read/")
    assert client.post("/platform/support/mine/write/").status_code == 403


def test_an_agreement_runs_out(cast: Any, begin: Begin) -> None:
    client, _ = begin()
    client.post("/platform/support/mine/ask/", {"reason": WHY_WRITE})
    agree(cast.owner)
    with platform_scope():
        SupportRequest.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    assert client.post("/platform/support/mine/write/").status_code == 403


def test_escalating_needs_a_fresh_factor(cast: Any, begin: Begin) -> None:
    client, _ = begin()
    session = client.session
    session["account_authentication_methods"][0]["at"] -= 600
    session.save()
    answer = client.post("/platform/support/mine/ask/", {"reason": WHY_WRITE})
    assert answer["Location"].startswith("/account/2fa/")


def wish_of(client: Client) -> Any:
    client.post("/platform/support/mine/ask/", {"reason": WHY_WRITE})
    with platform_scope():
        return SupportRequest.objects.latest("created_at")


def answer_as(client: Client, wish: Any) -> int:
    return client.post(f"/platform/support/requests/{wish.pk}/", {"answer": "approve"}).status_code


def second_staff(email: str = "second@example.org") -> Any:
    from tenants.services import create_user

    return create_user(email=email, name="Second", password="correct horse battery", role="support")


def test_nobody_agrees_to_their_own_request_under_any_account(cast: Any, begin: Begin) -> None:
    client, _ = begin()
    wish = wish_of(client)
    # In the session the platform's pages are shut; in another browser it is still the same person.
    assert answer_as(client, wish) == 403
    assert answer_as(at_browser(cast.support), wish) == 403
    assert answer_as(at_browser(second_staff("support+2@example.org")), wish) == 403
    same_browser = at_browser(second_staff())
    same_browser.cookies["opsconsole_browser"] = client.cookies["opsconsole_browser"].value
    assert answer_as(same_browser, wish) == 403
    assert answer_as(at_browser(cast.viewer), wish) == 404
    assert answer_as(at_browser(second_staff("third@example.org")), wish) == 302


def test_somebody_in_a_session_agrees_to_nothing(cast: Any, begin: Begin) -> None:
    client, _ = begin()
    wish = wish_of(client)
    other, _ = begin(actor=second_staff(), target=cast.owner)
    assert answer_as(other, wish) == 403
    assert other.post(f"/t/acme/support/requests/{wish.pk}/", {"answer": "approve"}).status_code == 403


@pytest.mark.parametrize(
    ("consent", "owner", "staff"), [("OWNER", 302, 403), ("SECOND_STAFF", 403, 302), ("EITHER", 302, 302)]
)
def test_the_policy_says_who_agrees(cast: Any, begin: Begin, consent: str, owner: int, staff: int) -> None:
    services.set_policy(
        tenant=cast.tenant, by=cast.owner, access="ALLOWED", write_consent=consent, longest_minutes=60, idle_minutes=15
    )
    client, _ = begin()
    wish = wish_of(client)
    assert answer_as(at_browser(second_staff()), wish) == staff
    wish_of(client)
    assert agree(cast.owner) == owner


def test_a_session_that_needs_approval_waits_for_an_owner(cast: Any) -> None:
    services.set_policy(
        tenant=cast.tenant, by=cast.owner, access="APPROVAL", write_consent="EITHER", longest_minutes=30, idle_minutes=5
    )
    client = at_browser(cast.support)
    assert client.post(START, typed(cast.viewer))["Location"] == START
    assert client.post(START, typed(cast.viewer))["Location"] == START
    assert REASON in client.get(START).content.decode()
    assert agree(cast.owner) == 302
    assert client.post(START, typed(cast.viewer))["Location"] == "/t/acme/"
    session = session_of(cast.support)
    assert session.expires_at - session.started_at == timedelta(minutes=30) and session.idle_seconds == 300
    client.post("/platform/support/mine/end/")
    assert client.post(START, typed(cast.viewer))["Location"] == START


def test_an_emergency_goes_in_at_once_and_is_told(
    cast: Any, mailoutbox: Any, django_capture_on_commit_callbacks: Any
) -> None:
    services.set_policy(tenant=cast.tenant, by=cast.owner, **{**ALLOWED, "access": "APPROVAL"})
    with django_capture_on_commit_callbacks(execute=True):
        answer = at_browser(cast.support).post(START, typed(cast.viewer, break_glass="on"))
    assert answer["Location"] == "/t/acme/"
    assert [set(m.to) for m in mailoutbox] == [{cast.owner.email, cast.admin.email}]
    assert len(trail(action="IMPERSONATION_BREAK_GLASS")) == 1
    assert "is here now" in at_browser(cast.owner).get("/t/acme/support/").content.decode()


def test_only_owners_set_the_policy(cast: Any) -> None:
    told = {"access": "REFUSED", "write_consent": "OWNER", "longest_minutes": 30, "idle_minutes": 10}
    assert at_browser(cast.approver).post("/t/acme/support/policy/", told).status_code == 403
    assert at_browser(cast.owner).post("/t/acme/support/policy/", {**told, "longest_minutes": 90}).status_code == 422
    assert at_browser(cast.owner).post("/t/acme/support/policy/", told).status_code == 302
    with platform_scope():
        assert SupportPolicy.objects.get().access == "REFUSED"


def test_a_person_opts_out_and_the_session_ends(cast: Any, begin: Begin) -> None:
    client, _ = begin(target=cast.viewer)
    assert at_browser(cast.viewer).post("/account/support/", {"choice": "refuse"}).status_code == 302
    assert client.get("/t/acme/").status_code == 403


def test_the_cost_of_a_session_is_one_query(cast: Any, begin: Begin) -> None:
    from django.test.utils import CaptureQueriesContext

    client, _ = begin()
    plain = at_browser(cast.operator)
    for each in (client, plain):
        each.get("/t/acme/jobs/")
    with CaptureQueriesContext(connection) as without:
        plain.get("/t/acme/jobs/")
    with CaptureQueriesContext(connection) as within:
        client.get("/t/acme/jobs/")
    assert asked(within) <= asked(without) + 1, "\n".join(q["sql"][:150] for q in within.captured_queries)


def asked(captured: Any) -> int:
    """Statements, without those that only a scope inside a test's own transaction sends."""
    inner = ("SAVEPOINT", "RELEASE", "SELECT set_config('role', 'none'")
    return len([q for q in captured.captured_queries if not q["sql"].startswith(inner)])


# ---- banner and streams


def page_of(cast: Any, begin: Begin) -> tuple[Any, Any]:
    """A request in a session, with the session as it sees it."""
    client, _ = begin()
    request = client.get("/t/acme/jobs/").wsgi_request
    return request, request.support_session


@pytest.mark.parametrize("how", ["plain", "streamed", "packed", "drawn", "partial", "json"])
def test_the_banner_is_on_every_page_once(cast: Any, begin: Begin, how: str) -> None:
    request, live = page_of(cast, begin)
    page = b'<html><body class="x"><p>Hello</p></body></html>'
    response: Any = HttpResponse(page)
    if how == "streamed":
        response = StreamingHttpResponse([page[:10], page[10:]])
    elif how == "packed":
        response = HttpResponse(gzip.compress(page), headers={"Content-Encoding": "gzip"})
    elif how == "drawn":
        response = HttpResponse(page.replace(b"<p>", b'<div id="support-banner"></div><p>'))
    elif how == "partial":
        response = HttpResponse(b"<tr></tr>")
    elif how == "json":
        response = HttpResponse(b'{"body": "<body>"}', content_type="application/json")
    response = middleware.with_banner(request, live, response)
    content = b"".join(response.streaming_content) if how == "streamed" else response.content
    content = gzip.decompress(content) if how == "packed" else content
    assert content.count(b'id="support-banner"') == (0 if how in ("partial", "json") else 1)
    assert how in ("partial", "json") or b"Hello" in content


def test_a_streamed_page_stops_with_the_session(cast: Any, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    _, live = page_of(cast, begin)
    monkeypatch.setattr(middleware, "CHECK_EVERY_SECONDS", -1)

    def chunks() -> Any:
        for number in range(10):
            if number == 3:
                services.end_session(session_id=live.id, by=cast.admin, reason="now")
            yield b"%d" % number

    response = middleware.guarded_stream(live, StreamingHttpResponse(chunks()))
    assert list(response.streaming_content) == [b"0", b"1", b"2"]
