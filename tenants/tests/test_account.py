"""A person's own account: whose address it is, what a new password ends, what stays in the browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP
from django.test import Client

from audit.models import AuditLog
from tenants import people
from tenants.models import User, UserSession
from tenants.scope import platform_scope
from tenants.tokens import create_token

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
#: Two, since allauth sends to one address seldom.
NEW, OTHER = "ceo@elsewhere.example", "vera@elsewhere.example"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def confirmed_oneself(client: Client) -> Client:
    assert client.post("/account/reauthenticate/", {"password": PASSWORD}).status_code == 302
    return client


def test_an_address_counts_once_its_mailbox_has_answered(cast: Any, mailoutbox: Any) -> None:
    client = confirmed_oneself(signed_in(cast.viewer))
    client.post("/account/email/", {"email": NEW, "action_add": ""})
    client.post("/account/email/", {"email": NEW, "action_primary": ""})
    cast.viewer.refresh_from_db()
    assert cast.viewer.email != NEW, "an owner who invites this address would let somebody else in"
    # Its real owner is invited meanwhile and is not the one who asked for it.
    member, created = people.add_member(tenant=cast.other_tenant, email=NEW, role="viewer", by=cast.stranger)
    assert created and member.user_id != cast.viewer.pk
    (link,) = re.findall(r"/account/confirm-email/[^ \n]+", mailoutbox[0].body)
    client.post(link)
    cast.viewer.refresh_from_db()
    assert cast.viewer.email != NEW


def test_a_confirmed_address_takes_the_place_of_the_old_one(cast: Any, mailoutbox: Any) -> None:
    client, before = confirmed_oneself(signed_in(cast.viewer)), cast.viewer.email
    assert client.get("/account/email/").status_code == 200
    client.post("/account/email/", {"email": OTHER, "action_add": ""})
    assert [m.to for m in mailoutbox] == [[OTHER]]
    (link,) = re.findall(r"/account/confirm-email/[^ \n]+", mailoutbox[0].body)
    assert client.get(link).status_code == 200
    client.post(link)
    cast.viewer.refresh_from_db()
    assert cast.viewer.email == OTHER
    assert [a.email for a in EmailAddress.objects.filter(user=cast.viewer)] == [OTHER]
    assert not EmailAddress.objects.filter(email=before).exists()


def test_an_unattended_browser_changes_no_address(cast: Any, mailoutbox: Any) -> None:
    answer = signed_in(cast.viewer).post("/account/email/", {"email": NEW, "action_add": ""})
    assert answer["Location"].startswith("/account/reauthenticate/")
    assert not mailoutbox and not EmailAddress.objects.filter(email=NEW).exists()


def test_a_new_password_ends_the_other_sign_ins(cast: Any) -> None:
    here, elsewhere = signed_in(cast.viewer), signed_in(cast.viewer)
    new = {"oldpassword": PASSWORD, "password1": "lantern harbour 42", "password2": "lantern harbour 42"}
    assert here.post("/account/password/change/", new).status_code == 302
    assert here.get("/account/sessions/").status_code == 200
    assert elsewhere.get("/account/sessions/").status_code == 302
    assert UserSession.objects.filter(user=cast.viewer).count() == 1


def test_what_a_person_saw_is_kept_nowhere(cast: Any) -> None:
    client = signed_in(cast.owner)
    for path in ("/", "/t/acme/", "/t/acme/members/", "/account/email/", "/t/acme/nothing-here/"):
        assert "no-store" in client.get(path)["Cache-Control"], path
    _, secret = create_token(user=cast.owner, name="cli", tenant=cast.tenant)
    answer = Client().get("/api/v1/tenants", headers={"authorization": f"Bearer {secret}"})
    assert "no-store" in answer["Cache-Control"]


def test_a_wrong_code_is_on_record(cast: Any) -> None:
    """The password was right: this is the last door before the account."""
    TOTP.activate(cast.admin, "JBSWY3DPEHPK3PXP")
    client = Client()
    client.post("/account/login/", {"login": cast.admin.email, "password": PASSWORD})
    assert client.post("/account/2fa/authenticate/", {"code": "000000"}).status_code == 200
    assert client.get("/").status_code == 302, "not signed in"
    with platform_scope():
        (tried,) = AuditLog.objects.filter(action="SECOND_FACTOR_FAILED")
        assert (tried.resource_id, tried.actor_user_id) == (cast.admin.pk, None)
        assert not AuditLog.objects.filter(action="SIGN_IN").exists()


@pytest.mark.parametrize(("proxies", "believed"), [(0, False), (1, True)])
def test_a_caller_does_not_choose_what_a_request_is_called_in_the_trail(
    settings: Any, proxies: int, believed: bool
) -> None:
    settings.TRUSTED_PROXIES = proxies
    answer = Client().get("/health", headers={"x-request-id": "somebody-elses"})
    assert (answer["X-Request-ID"] == "somebody-elses") is believed
