"""Who invites learns nothing of the address; who is invited decides."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse

from core import clock
from tenants import people
from tenants.models import Invitation, Membership, User
from tenants.scope import platform_scope
from tenants.services import set_membership

pytestmark = pytest.mark.django_db
MEMBERS = "/t/acme/members/"


def at_browser(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


@pytest.fixture
def mailed(settings: Any, mailoutbox: Any, django_capture_on_commit_callbacks: Any) -> Any:
    """Invite an address as the owner; the page afterwards, and the link that was mailed."""
    settings.SENDS_MAIL = True

    def go(cast: Any, email: str, role: str = "viewer") -> tuple[str, str]:
        with django_capture_on_commit_callbacks(execute=True):
            page = at_browser(cast.owner).post(MEMBERS, {"email": email, "role": role}, follow=True)
        (link,) = re.findall(r"/account/invitations/\S+", mailoutbox[-1].body)
        assert mailoutbox[-1].to == [email.lower()]
        return page.content.decode(), link

    return go


def is_member(user: User | None, cast: Any) -> bool:
    with platform_scope():
        return user is not None and Membership.objects.filter(user=user, tenant=cast.tenant).exists()


def shown(page: str, email: str) -> str:
    """The page without what differs by the address and by the moment."""
    page = re.sub(r"<time.*?</time>", "", page, flags=re.DOTALL)
    page = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"|nonce="[^"]+"', "", page)
    page = re.sub(r'CSRFToken": "[^"]+"', "", page)
    page = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", page)
    return page.replace(email, "ADDRESS")


def test_an_owner_learns_nothing_of_an_address(cast: Any, mailed: Any) -> None:
    """Of a stranger's, of staff's, and of nobody's: the same page, and no name."""
    pages = []
    for email in (cast.stranger.email, cast.support.email, "nobody@example.org"):
        page, _ = mailed(cast, email)
        pages.append(shown(page, email))
        assert cast.stranger.name not in page and not is_member(User.objects.filter(email=email).first(), cast)
        with platform_scope():
            Invitation.objects.all().delete()
    assert pages[0] == pages[1] == pages[2]
    assert not User.objects.filter(email="nobody@example.org").exists()


def test_whoever_has_an_account_signs_in_and_accepts(cast: Any, mailed: Any) -> None:
    _, link = mailed(cast, cast.stranger.email, "operator")
    nobody = at_browser(None)
    assert b"Sign in to accept" in nobody.get(link).content
    assert nobody.post(link, {"answer": "accept"}).status_code == 403
    other = at_browser(cast.viewer)
    assert b"another account" in other.get(link).content
    assert other.post(link, {"answer": "accept"}).status_code == 403
    assert not is_member(cast.stranger, cast) and at_browser(cast.stranger).get("/t/acme/").status_code == 404
    own = at_browser(cast.stranger)
    answer = own.get(link)
    assert b">Accept<" in answer.content and answer["Cache-Control"] == "no-store"
    assert own.post(link, {"answer": "accept"})["Location"] == "/t/acme/"
    assert is_member(cast.stranger, cast) and own.get("/t/acme/").status_code == 200
    assert own.post(link, {"answer": "accept"}).status_code == 409, "a link works once"
    with platform_scope():
        assert Membership.objects.get(user=cast.stranger, tenant=cast.tenant).created_by_id == cast.owner.pk


def test_a_confirmed_further_address_is_invited_as_well(cast: Any, mailed: Any) -> None:
    EmailAddress.objects.create(user=cast.stranger, email="further@example.net", verified=True)
    _, link = mailed(cast, "further@example.net")
    assert at_browser(None).post(link, {"answer": "accept"}).status_code == 403
    assert at_browser(cast.stranger).post(link, {"answer": "accept"}).status_code == 302
    assert is_member(cast.stranger, cast)


def test_somebody_new_gets_an_account_with_the_acceptance(cast: Any, mailed: Any) -> None:
    _, link = mailed(cast, "New@Example.org", "approver")
    assert not User.objects.filter(email="new@example.org").exists()
    assert at_browser(cast.viewer).post(link, {"answer": "accept"}).status_code == 403
    answer = at_browser(None).post(link, {"answer": "accept"})
    assert "/account/password/reset/key/" in answer["Location"]
    made = User.objects.get(email="new@example.org")
    assert is_member(made, cast) and not made.has_usable_password()


def test_declined_taken_back_and_late_ones_open_nothing(cast: Any, mailed: Any, monkeypatch: Any) -> None:
    _, declined = mailed(cast, "a@example.org")
    assert b"You declined" in at_browser(None).post(declined, {"answer": "decline"}).content
    _, taken_back = mailed(cast, "b@example.org")
    with platform_scope():
        row = Invitation.objects.get(email="b@example.org")
    revoke = reverse("invitation-revoke", kwargs={"tenant_slug": "acme", "pk": row.pk})
    assert at_browser(cast.viewer).post(revoke).status_code == 403
    assert at_browser(cast.owner).post(revoke).status_code == 302
    _, late = mailed(cast, "c@example.org")
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(days=7, minutes=1))
    for link in (declined, taken_back, late, "/account/invitations/guessed/"):
        assert at_browser(None).get(link).status_code == 409
        assert at_browser(None).post(link, {"answer": "accept"}).status_code == 409
    assert not User.objects.filter(email__in=["a@example.org", "b@example.org", "c@example.org"]).exists()


def test_sent_again_the_link_before_opens_nothing(
    cast: Any, mailed: Any, mailoutbox: Any, django_capture_on_commit_callbacks: Any
) -> None:
    page, first = mailed(cast, "a@example.org")
    assert "a@example.org" in page and "Take back" in page
    with platform_scope():
        row = Invitation.objects.get()
    again = {"email": "A@example.org", "role": "owner"}
    assert b"invited already" in at_browser(cast.owner).post(MEMBERS, again).content
    with django_capture_on_commit_callbacks(execute=True):
        at_browser(cast.owner).post(reverse("invitation-send", kwargs={"tenant_slug": "acme", "pk": row.pk}))
    (second,) = re.findall(r"/account/invitations/\S+", mailoutbox[-1].body)
    assert at_browser(None).get(first).status_code == 409
    assert at_browser(None).get(second).status_code == 200
    with platform_scope():
        assert first.split("/")[-2] not in str(Invitation.objects.values())
        assert second.split("/")[-2] not in str(Invitation.objects.values())


def test_nobody_invites_beyond_the_own_role_or_into_another_tenant(cast: Any, mailed: Any) -> None:
    mailed(cast, "a@example.org")
    with platform_scope():
        row = Invitation.objects.get()
    for who in (cast.operator, cast.viewer, cast.approver):
        assert at_browser(who).post(MEMBERS, {"email": "x@example.org", "role": "viewer"}).status_code == 403
        assert b"a@example.org" not in at_browser(who).get(MEMBERS).content
    for what in ("send", "revoke"):
        path = reverse(f"invitation-{what}", kwargs={"tenant_slug": "umbrella", "pk": row.pk})
        assert at_browser(cast.stranger).post(path).status_code == 404


def test_without_mail_only_a_platform_admin_sees_the_link(cast: Any, settings: Any) -> None:
    settings.SENDS_MAIL = False
    data = {"email": "a@example.org", "role": "viewer"}
    page = at_browser(cast.owner).post(MEMBERS, data, follow=True).content.decode()
    assert "sends no e-mail" in page and "/account/invitations/" not in page
    with platform_scope():
        row = Invitation.objects.get()
    send = reverse("invitation-send", kwargs={"tenant_slug": "acme", "pk": row.pk})
    page = at_browser(cast.admin).post(send, follow=True).content.decode()
    (link,) = re.findall(r"/account/invitations/[\w-]+/", page)
    assert at_browser(None).post(link, {"answer": "accept"}).status_code == 302


@pytest.mark.parametrize("loss", ["removed", "demoted"])
def test_whoever_is_let_go_leaves_no_way_in_behind(cast: Any, mailed: Any, loss: str) -> None:
    """An owner invites an address of their own, and is an owner no longer."""
    _, link = mailed(cast, "second.me@example.org", "owner")
    set_membership(tenant=cast.tenant, user=cast.approver, role="owner", by=cast.owner)
    if loss == "removed":
        people.remove_member(tenant=cast.tenant, user_id=cast.owner.pk)
    else:
        people.change_role(tenant=cast.tenant, user_id=cast.owner.pk, role="operator", by=cast.approver)
    assert at_browser(None).post(link, {"answer": "accept"}).status_code == 409
    assert not User.objects.filter(email="second.me@example.org").exists()
