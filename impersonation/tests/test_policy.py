"""What the customer says: who must agree, how long, in whose place never."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from impersonation import services
from impersonation.models import SupportPolicy, SupportRequest
from impersonation.tests.conftest import ALLOWED, REASON, START, Begin, agree, at_browser, session_of, trail, typed
from tenants.scope import platform_scope

pytestmark = pytest.mark.django_db


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


def test_the_session_is_for_what_the_owner_agreed_to(cast: Any) -> None:
    services.set_policy(tenant=cast.tenant, by=cast.owner, **{**ALLOWED, "access": "APPROVAL"})
    client = at_browser(cast.support)
    client.post(START, typed(cast.viewer, ticket="4821"))
    assert agree(cast.owner) == 302
    answer = client.post(START, typed(cast.viewer, reason="Something else altogether", ticket="9"))
    assert answer["Location"] == "/t/acme/"
    session = session_of(cast.support)
    assert (session.reason, session.ticket) == (REASON, "4821")
    with platform_scope():
        assert SupportRequest.objects.get().session_id == session.pk


@pytest.mark.django_db(transaction=True)
def test_an_emergency_goes_in_at_once_and_is_told(live_cast: Any, mailoutbox: Any, settings: Any) -> None:
    cast = live_cast
    settings.EMAIL_DELIVERY, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, "audit.mail.TrailedBackend"
    services.set_policy(tenant=cast.tenant, by=cast.owner, **{**ALLOWED, "access": "APPROVAL"})
    answer = at_browser(cast.support).post(START, typed(cast.viewer, break_glass="on"))
    assert answer["Location"] == "/t/acme/"
    assert [set(m.to) for m in mailoutbox] == [{cast.owner.email, cast.admin.email}]
    assert len(trail(action="IMPERSONATION_BREAK_GLASS")) == 1
    begun, sent = trail(resource_type="mails")
    assert (begun.action, sent.action) == ("EFFECT_INTENDED", "EFFECT_DONE")
    for entry in (begun, sent):
        assert (entry.tenant_id, entry.actor_user_id) == (cast.tenant.pk, cast.support.pk)
        assert set(entry.details["to"]) == {cast.owner.email, cast.admin.email}
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
