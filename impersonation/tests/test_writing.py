"""Longer, and writing: a second person agrees, once, and soon."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory

from core import clock, context
from impersonation import activity, middleware, services
from impersonation import live as live_sessions
from impersonation.models import SupportRequest
from impersonation.tests.conftest import (
    WHY_WRITE,
    Begin,
    agree,
    at_browser,
    second_staff,
    session_of,
    set_back,
    trail,
)
from operations import services as operations
from operations.models import Operation
from tenants.scope import platform_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db


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
    assert "may write" in page and "may-write" in page
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


#: As the runbook's compliance report has it.
WRITE_OPERATIONS = """
SELECT (SELECT COUNT(*) FROM audit_logs al
         WHERE al.actor_user_id = pis.actor_user_id AND al.impersonated_user_id = pis.impersonated_user_id
           AND al.created_at BETWEEN pis.started_at AND COALESCE(pis.ended_at, NOW())
           AND al.action IN ('CREATE', 'UPDATE', 'DELETE')) AS write_operations_count
  FROM platform_impersonation_sessions pis WHERE pis.id = %s
"""


@pytest.mark.django_db(transaction=True)
def test_everybody_counts_the_same_writes(live_cast: Any, begin_live: Begin) -> None:
    """The runbook's SQL, the API, the page and its list, the report."""
    from reports.tests.helpers import lines, made

    client, session = begin_live(write=True)
    client.get("/t/acme/")
    client.post("/t/acme/jobs/00000000-0000-0000-0000-000000000000/cancel/")
    with context.acting(
        actor_id=live_cast.support.pk, acting_as_id=live_cast.operator.pk, session_id=session.pk, source="web"
    ):
        operation = operations.start(
            tenant_id=live_cast.tenant.pk, kind="test.any", title="Any", params={}, requested_by=live_cast.operator
        )
        operations.cancel(tenant_id=live_cast.tenant.pk, operation_id=operation.pk, by=live_cast.operator)
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        found = operator.execute(WRITE_OPERATIONS, [session.pk]).fetchone()
    assert found is not None and found[0] >= 3
    _, secret = create_token(user=live_cast.admin, name="test")
    headers = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    told = Client().get(f"/api/v1/platform/impersonate/sessions/{session.pk}", **headers).json()["session"]["counts"]
    assert told["writes"] == found[0] == told["write_requests"] + told["rows_written"]
    (row,) = lines(made("impersonation-sessions", None))
    assert row["write_operations_count"] == row["writes"] == str(found[0])
    assert (row["write_requests"], row["rows_written"]) == (str(told["write_requests"]), str(told["rows_written"]))
    with platform_scope():
        assert len(activity.timeline(session, slug="acme", kind="writes")) == found[0]


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_request_whose_job_failed_was_not_refused(
    cast: Any, begin: Begin, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    """Both may answer 409; the one has begun to write, and stands in the trail as what it asked for."""
    client, session = begin(write=True)
    key = client.session.session_key or ""
    live = live_sessions.read(actor_id=cast.support.pk, session_id=session.pk, session_key=key)
    request = RequestFactory().post("/api/v1/promotions/x/rollback")
    response = HttpResponse(status=409)
    response.error_code, response.tells_an_end = "PROMO_013", carried_out  # type: ignore[attr-defined]
    assert live is not None
    middleware.SupportSessionMiddleware(lambda _: response)._finish(request, live, response)
    (entry,) = [e for e in trail(session=session.pk) if e.details.get("path") == "/api/v1/promotions/x/rollback"]
    assert entry.action == ("CREATE" if carried_out else "REFUSED")


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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("write", [False, True])
def test_a_session_that_wrote_nothing_counts_no_writes(live_cast: Any, begin_live: Begin, write: bool) -> None:
    """Its own row, its extension, its requests for write mode and its end are no work in the customer's place."""
    from reports.tests.helpers import lines, made

    client, session = begin_live(write=write)
    client.get("/t/acme/")
    set_back(session, expires_at=5)
    assert client.post("/platform/support/mine/extend/").status_code == 302
    assert client.post("/platform/support/mine/end/").status_code == 302
    session = session_of(live_cast.support)
    assert session.ended_at is not None
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        assert operator.execute(WRITE_OPERATIONS, [session.pk]).fetchone() == (0,)
    with platform_scope():
        assert activity.counts_of(session).writes == 0
        assert activity.timeline(session, slug="acme", kind="writes") == []
    (row,) = lines(made("impersonation-sessions", None))
    assert (row["write_operations_count"], row["writes"], row["rows_written"]) == ("0", "0", "0")
