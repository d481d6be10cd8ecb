"""Who may start a session, as whom, and what must be said first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.test import Client
from django.utils import timezone

from impersonation import services
from impersonation.errors import FactorTooNew, FreshFactorNeeded
from impersonation.factors import check_code
from impersonation.models import ImpersonationSession
from impersonation.services import starting
from impersonation.tests.conftest import REASON, START, Begin, at_browser, trail, typed
from tenants import people
from tenants.models import User
from tenants.scope import platform_scope
from tenants.tokens import create_token
from tests.reading import flat

pytestmark = pytest.mark.django_db


def test_a_session_shows_what_the_customer_sees(cast: Any, begin: Begin) -> None:
    client, session = begin()
    page = client.get("/t/acme/")
    assert page.status_code == 200
    assert page.wsgi_request.user.pk == cast.operator.pk
    assert page.wsgi_request.real_user.pk == cast.support.pk
    assert str(session.pk) in page["X-OpsConsole-Support-Session"]
    text = flat(page.content)
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
                actor=cast.support, target=target, tenant=cast.tenant, reason=REASON, origin=services.RequestOrigin()
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


def test_whoever_tries_again_and_again_waits(cast: Any) -> None:
    client = at_browser(cast.support)
    people.add_member(tenant=cast.tenant, email=cast.officer.email, role="viewer", by=cast.owner)
    for _ in range(starting.MOST_ATTEMPTS):
        assert "works for support" in client.post(START, typed(cast.officer)).content.decode()
    assert "too often" in client.post(START, typed(cast.viewer)).content.decode()
    with platform_scope():
        assert not ImpersonationSession.objects.exists()
    assert len(trail(action="IMPERSONATION_BLOCKED")) == starting.MOST_ATTEMPTS


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


def test_sessions_are_found_by_the_names_that_the_list_shows(cast: Any, begin: Begin) -> None:
    with platform_scope():
        User.objects.filter(pk=cast.operator.pk).update(name="Ingrid Bergqvist")
        User.objects.filter(pk=cast.support.pk).update(name="Samir Haddad")
    begin()
    officer = at_browser(cast.officer)
    for asked, there in (("bergqvist", True), ("Samir", True), ("acme", True), ("4821", True), ("nobody", False)):
        page = officer.get("/platform/support/", {"q": asked}).content.decode()
        assert ("Ingrid Bergqvist</a>" in page) is there, asked
    _, secret = create_token(user=cast.officer, name="t")
    sessions = Client().get(
        "/api/v1/platform/impersonate/sessions?state=alive", headers={"authorization": f"Bearer {secret}"}
    )
    assert (sessions.status_code, sessions.json()["error"]["code"]) == (422, "INVALID")


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

    monkeypatch.setattr(services.records, "record_event", broken)
    with pytest.raises(RuntimeError):
        services.start_session(
            actor=cast.support, target=cast.viewer, tenant=cast.tenant, reason=REASON, origin=services.RequestOrigin()
        )
    with platform_scope():
        assert not ImpersonationSession.objects.exists()


@pytest.mark.parametrize("hours", [0, 23])
def test_a_factor_set_up_just_now_does_not_count(cast: Any, hours: int) -> None:
    """Whoever has only the password sets one up: its person gets a day to notice."""
    client = at_browser(cast.support)
    Authenticator.objects.update(created_at=timezone.now() - timedelta(hours=hours))
    answer = client.post(START, typed(cast.viewer))
    assert answer.status_code == 403 and "IMP_014" in answer.content.decode()
    Authenticator.objects.all().delete()
    assert client.post(START, typed(cast.viewer)).status_code == 403, "nor does one that is gone again"
    with platform_scope():
        assert not ImpersonationSession.objects.exists()


def test_a_new_factor_does_not_escalate_beside_an_old_one(cast: Any, begin: Begin) -> None:
    client, _ = begin()
    Authenticator.objects.create(user=cast.support, type="webauthn", data={})
    session = client.session
    session["account_authentication_methods"][0]["type"] = "webauthn"
    session.save()
    answer = client.post("/platform/support/mine/ask/", {"reason": "The label's URL must change"})
    assert answer.status_code == 403 and "IMP_014" in answer.content.decode()


def test_the_code_that_set_an_app_up_opens_nothing(cast: Any, settings: Any) -> None:
    """Not over REST either, where it would start a session at once."""
    secret = "JBSWY3DPEHPK3PXP"
    client = at_browser(cast.support, factor=False)
    assert client.post("/account/reauthenticate/", {"password": cast.password}).status_code == 302
    session = client.session
    session["mfa.totp.secret"] = secret
    session.save()
    code = format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))
    assert client.post("/account/2fa/totp/activate/", {"code": code}).status_code == 302
    settings.SUPPORT_FACTOR_WAIT_HOURS = 0
    with pytest.raises(FreshFactorNeeded):
        check_code(cast.support, code)
    settings.SUPPORT_FACTOR_WAIT_HOURS = 24
    spare = RecoveryCodes(Authenticator.objects.get(user=cast.support, type="recovery_codes"))
    with pytest.raises(FactorTooNew):
        check_code(cast.support, spare.get_unused_codes()[0])
