"""What a session begun with a token may not get around: kept answers, calls that wait, addresses that are keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from impersonation import services
from impersonation.models import ImpersonationSession, Mode
from impersonation.tests.conftest import REASON, Begin, trail
from operations import waiting
from operations.models import Operation
from operations.services import start
from tenants.scope import platform_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db
Call = Callable[..., Any]


def enter(cast: Any, *, write: bool = False) -> tuple[Call, ImpersonationSession]:
    """A session of support's token as the owner, and a way to call the API with it."""
    token, secret = create_token(user=cast.support, name="cli")
    session = services.start_session(
        actor=cast.support,
        target=cast.owner,
        tenant=cast.tenant,
        reason=REASON,
        origin=services.RequestOrigin(token_id=token.pk),
    )
    if write:
        may_write(session)

    def call(method: str, path: str, key: str = "") -> Any:
        headers = {"authorization": f"Bearer {secret}"} | ({"idempotency-key": key} if key else {})
        return Client().generic(method, f"/api/v1/{path}", "{}", "application/json", headers=headers)

    return call, session


def may_write(session: ImpersonationSession) -> None:
    with platform_scope():
        ImpersonationSession.objects.filter(pk=session.pk).update(mode=Mode.WRITE)


def a_job(cast: Any) -> Operation:
    return start(
        tenant_id=cast.tenant.pk, kind="snapshots.capture", title="Snapshot", params={}, requested_by=cast.owner
    )


def code(answer: Any) -> str:
    return str(answer.json().get("error", {}).get("code", ""))


def test_what_a_session_was_told_is_not_told_again_after_it(cast: Any) -> None:
    call, session = enter(cast, write=True)
    path = f"operations/{a_job(cast).pk}/cancel"
    assert call("POST", path, key="k-1").json()["operation"]
    services.end_session(session_id=session.pk, by=cast.admin, reason="over")
    again = call("POST", path, key="k-1")
    assert (again.status_code, code(again)) == (409, "IDEMPOTENCY_ANSWER_NOT_KEPT")


def test_a_refusal_does_not_use_the_key_up(cast: Any) -> None:
    call, session = enter(cast)
    path = f"operations/{a_job(cast).pk}/cancel"
    assert code(call("POST", path, key="k-1")) == "IMP_005"
    may_write(session)
    assert call("POST", path, key="k-1").json()["operation"]


@pytest.mark.parametrize("write", [False, True])
def test_a_call_that_waits_ends_with_the_session(cast: Any, monkeypatch: pytest.MonkeyPatch, write: bool) -> None:
    call, session = enter(cast, write=write)
    job, naps = a_job(cast), []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        assert len(naps) < 20, "it waits on"
        if len(naps) == 2:
            services.end_session(session_id=session.pk, by=cast.admin, reason="over")

    monkeypatch.setattr(waiting.time, "sleep", nap)
    answer = call("GET", f"operations/{job.pk}?wait=50")
    assert (answer.status_code, code(answer), len(naps)) == (403, "IMP_007", 2)


def test_no_key_of_the_persons_own_is_in_what_the_customer_reads(cast: Any, begin: Begin) -> None:
    client, session = begin()
    client.get("/account/password/reset/key/2f-abcdef-0123456789/")
    client.get("/t/acme/jobs/?state=open&api_key=hunter2")
    paths = [e.details["path"] for e in trail(session=session.pk) if e.resource_type == "requests"]
    assert paths == ["/account/…", "/t/acme/jobs/?state=open&api_key=masked"]


def test_a_narrow_token_ends_and_sees_no_more_than_it_is_for(cast: Any) -> None:
    """The person may; a token made for a pipeline may not."""
    _, session = enter(cast)
    asked = {"session_id": str(session.pk), "force": True, "reason": "Incident"}
    everybody = {"user": cast.admin}, {"user": cast.officer}, {"user": cast.owner}
    for who in everybody:
        for narrow in ({"permissions": ["operate"]}, {"tenant": cast.other_tenant}):
            _, secret = create_token(name="ci", **who, **narrow)
            headers = {"authorization": f"Bearer {secret}"}
            stop = Client().post(
                "/api/v1/platform/impersonate/stop", asked, content_type="application/json", headers=headers
            )
            listed = Client().get("/api/v1/platform/impersonate/sessions", headers=headers)
            looked = Client().get(f"/api/v1/platform/impersonate/sessions/{session.pk}", headers=headers)
            assert stop.status_code in (403, 404) and services.is_live(session.pk), (who, narrow)
            assert str(session.pk) not in listed.content.decode() and looked.status_code in (403, 404), (who, narrow)
