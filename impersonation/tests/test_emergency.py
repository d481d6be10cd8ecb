"""Emergency acts for a tenant, on their page: whom they touch, who may, what they need, what stays."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from impersonation.models import ImpersonationSession
from impersonation.tests.conftest import Begin, at_browser, trail
from tenants.models import ApiToken, User, UserSession
from tenants.scope import platform_scope
from tenants.tokens import create_token
from tests.reading import flat

pytestmark = pytest.mark.django_db
PAGE = "/t/acme/emergency/"
WHY = "A laptop was stolen"


def do(client: Client, what: str, more: dict[str, str] | None = None) -> Any:
    return client.post(PAGE, {"what": what, "reason": WHY, "typed": "acme"} | (more or {}))


def live_tokens() -> set[str]:
    with platform_scope():
        return set(ApiToken.objects.filter(revoked_at=None).values_list("name", flat=True))


@pytest.fixture
def tokens(cast: Any) -> None:
    """One bound to the tenant, one of a member that opens whatever that person may see, and strangers'."""
    create_token(user=cast.operator, tenant=cast.tenant, name="bound")
    create_token(user=cast.viewer, name="unbound")
    create_token(user=cast.stranger, tenant=cast.other_tenant, name="foreign")
    create_token(user=cast.admin, name="of the admin")


def test_the_page_names_whom_each_act_touches(cast: Any, tokens: None, begin: Begin) -> None:
    begin()
    at_browser(cast.viewer)
    page = at_browser(cast.admin).get(PAGE)
    reach = {act["what"]: act["affected"] for act in page.context["acts"]}
    assert reach["revoke-tokens"].counts == {"token": 2}
    assert reach["end-sessions"].counts == {"support session": 1}
    assert reach["sign-out"].counts == {"person": 1, "sign-in": 1} and reach["sign-out"].names == ("Viewer",)
    assert reach["reset-credentials"].counts["person"] == 4
    text = page.content.decode()
    for said in ("bound, of Operator", "unbound, of Viewer", "Support as Operator", "None so far"):
        assert said in text, said
    assert "foreign" not in text and "of the admin" not in text


def test_all_tokens_are_revoked(cast: Any, tokens: None) -> None:
    admin = at_browser(cast.admin)
    assert do(admin, "revoke-tokens").status_code == 302
    assert live_tokens() == {"foreign", "of the admin"}
    page = admin.get(PAGE).content.decode()
    assert "2 tokens of Acme Robotics revoked." in page and WHY in page
    (entry,) = trail(action="TENANT_EMERGENCY")
    assert entry.actor_user_id == cast.admin.pk and entry.tenant_id == cast.tenant.pk
    assert entry.details == {"what": "revoke-tokens", "reason": WHY, "count": 2, "tokens": 2}


def test_everyone_is_signed_out_but_the_one_who_does_it(cast: Any) -> None:
    others = [at_browser(cast.viewer), at_browser(cast.owner), at_browser(cast.owner)]
    stranger, admin = at_browser(cast.stranger), at_browser(cast.admin)
    assert do(admin, "sign-out").status_code == 302
    assert [client.get("/t/acme/").status_code for client in others] == [302] * 3
    assert stranger.get("/t/umbrella/").status_code == 200
    assert b"3 sign-ins of people in Acme Robotics ended." in admin.get(PAGE).content


def test_credentials_are_reset(cast: Any, tokens: None) -> None:
    browser = at_browser(cast.owner)
    assert do(at_browser(cast.admin), "reset-credentials").status_code == 302
    with platform_scope():
        usable = {user.email for user in User.objects.all() if user.has_usable_password()}
        assert not UserSession.objects.filter(user=cast.owner).exists()
    assert "owner@example.org" not in usable and {"stranger@example.org", "admin@example.org"} <= usable
    assert browser.get("/t/acme/").status_code == 302 and live_tokens() == {"foreign", "of the admin"}
    (entry,) = trail(action="TENANT_EMERGENCY")
    assert entry.details["people"] == 4 and entry.details["tokens"] == 2 and entry.details["sign-ins"] == 1


def test_support_sessions_end_without_a_second_factor(cast: Any, begin: Begin) -> None:
    client, session = begin()
    assert do(at_browser(cast.admin, factor=False), "end-sessions").status_code == 302
    with platform_scope():
        ended = ImpersonationSession.objects.get(pk=session.pk)
    assert ended.ended_by_id == cast.admin.pk and ended.end_reason == WHY
    assert client.get("/t/acme/").status_code != 200


def test_an_owner_reaches_nothing_beyond_the_tenant(cast: Any, tokens: None, begin: Begin) -> None:
    _, session = begin()
    owner = at_browser(cast.owner, factor=False)
    page = owner.get(PAGE)
    assert [act["what"] for act in page.context["acts"]] == ["revoke-tokens", "end-sessions"]
    assert "unbound, of Viewer" not in page.content.decode()
    for what in ("sign-out", "reset-credentials"):
        assert do(owner, what).status_code == 422
    assert trail(action="TENANT_EMERGENCY") == []
    assert do(owner, "revoke-tokens").status_code == 302 and "unbound" in live_tokens() and "bound" not in live_tokens()
    assert do(owner, "end-sessions").status_code == 302
    with platform_scope():
        assert ImpersonationSession.objects.get(pk=session.pk).ended_at is not None


@pytest.mark.parametrize("who", ["operator", "approver", "viewer", "officer", "stranger", "support"])
def test_nobody_else(cast: Any, tokens: None, who: str) -> None:
    client, status = at_browser(getattr(cast, who)), 404 if who in ("stranger", "support") else 403
    assert (client.get(PAGE).status_code, do(client, "revoke-tokens").status_code) == (status, status)
    assert "bound" in live_tokens()


def test_in_a_support_session_it_is_denied(cast: Any, begin: Begin, tokens: None) -> None:
    client, _ = begin(target=cast.owner, write=True)
    assert client.get(PAGE).status_code == 403 and do(client, "revoke-tokens").status_code == 403
    assert "bound" in live_tokens() and b"Emergency" not in client.get("/t/acme/settings/").content


@pytest.mark.parametrize("wrong", [{"typed": "Acme Robotics"}, {"reason": "short"}, {"what": "nothing"}])
def test_what_is_missing_is_said_and_nothing_typed_is_lost(cast: Any, tokens: None, wrong: dict[str, str]) -> None:
    page = do(at_browser(cast.admin), "revoke-tokens", wrong)
    assert page.status_code == 422 and b"Nothing was done" in page.content
    kept = {"typed": "acme", "reason": WHY, **wrong}
    for name in ("typed", "reason"):
        assert f'value="{kept[name]}"' in page.content.decode()
    assert "bound" in live_tokens() and trail(action="TENANT_EMERGENCY") == []


def test_a_second_factor_is_asked_for_and_what_was_typed_is_kept(cast: Any, tokens: None) -> None:
    admin = at_browser(cast.admin, factor=False)
    answer = do(admin, "revoke-tokens")
    assert answer.status_code == 302 and answer["Location"].startswith("/account/2fa/") and "bound" in live_tokens()
    page = flat(admin.get(PAGE).content)
    assert f'value="{WHY}"' in page and 'value="revoke-tokens" checked' in page


def test_it_is_found(cast: Any) -> None:
    for user in (cast.admin, cast.owner):
        assert PAGE.encode() in at_browser(user).get("/t/acme/settings/").content
    assert PAGE.encode() not in at_browser(cast.viewer).get("/t/acme/settings/").content
    assert PAGE.encode() in at_browser(cast.admin).get("/platform/tenants/").content


def test_over_rest_with_a_reason(cast: Any, tokens: None) -> None:
    _, secret = create_token(user=cast.admin, name="pager")
    headers = {"authorization": f"Bearer {secret}"}
    answer = Client().post(
        "/api/v1/platform/tenants/acme/revoke-tokens", {"reason": WHY}, content_type="application/json", headers=headers
    )
    assert answer.status_code == 200 and answer.json()["message"].startswith("2 tokens")
    assert Client().generic("POST", "/api/v1/platform/tenants/acme/sign-out", headers=headers).status_code == 200
    assert [entry.details["reason"] for entry in trail(action="TENANT_EMERGENCY")] == [WHY, ""]
