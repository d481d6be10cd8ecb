"""Members, tokens, settings, tenants, people and sign-ins in the browser: who may, who may not, and what it does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import AuditLog
from core.errors import Conflict
from tenants import invitations, people, services
from tenants.models import ApiToken, IdempotencyKey, Membership, PlatformAdmin, Tenant, User, UserSession
from tenants.scope import platform_scope
from tenants.sessions import stored_key
from tenants.tokens import create_token, rotate_token

pytestmark = pytest.mark.django_db

ROLES = ("anonymous", "stranger", "viewer", "operator", "approver", "owner", "admin", "officer", "support")
#: What each answers to a GET: by page, in the order of ROLES. 302 leads to the sign-in.
READS = {
    "members": (302, 404, 200, 200, 200, 200, 200, 200, 404),
    "tokens": (302, 404, 403, 200, 403, 200, 403, 403, 404),
    "tenant-settings": (302, 404, 200, 200, 200, 200, 200, 200, 404),
    "trail": (302, 404, 403, 403, 200, 200, 200, 200, 404),
    "tenants": (302, 403, 403, 403, 403, 403, 200, 200, 200),
    "people": (302, 403, 403, 403, 403, 403, 200, 403, 403),
    "platform-trail": (302, 403, 403, 403, 403, 403, 200, 200, 403),
    "platform-health": (302, 404, 404, 404, 404, 404, 200, 404, 200),
    "user_sessions": (302, 200, 200, 200, 200, 200, 200, 200, 200),
    "command": (302, 200, 200, 200, 200, 200, 200, 200, 200),
    "api-docs": (200, 200, 200, 200, 200, 200, 200, 200, 200),
}
PLATFORM = {"tenants", "people", "platform-trail", "platform-health", "user_sessions", "command", "api-docs"}
WRITES = {
    "members": ({"email": "new@example.org", "role": "viewer"}, {"owner", "admin"}),
    "tokens": ({"name": "x", "expires": "90"}, {"owner", "operator"}),
    "tenant-settings": ({"name": "Acme"}, {"owner"}),
}


def address(name: str) -> str:
    return reverse(name) if name in PLATFORM else reverse(name, kwargs={"tenant_slug": "acme"})


def as_role(cast: Any, role: str) -> Client:
    client = Client()
    if role != "anonymous":
        client.force_login(getattr(cast, role))
    return client


@pytest.mark.parametrize("name", READS)
def test_who_may_look(cast: Any, name: str) -> None:
    found = {role: as_role(cast, role).get(address(name)).status_code for role in ROLES}
    assert found == dict(zip(ROLES, READS[name], strict=True))


@pytest.mark.parametrize("name", WRITES)
def test_who_may_write(cast: Any, name: str) -> None:
    data, allowed = WRITES[name]
    for role in ROLES:
        holder = {"holder": str(getattr(cast, role).pk)} if role != "anonymous" else {}
        status = as_role(cast, role).post(address(name), data | holder).status_code
        may = role in allowed
        assert (status in (200, 201, 302, 422)) == (may or role == "anonymous"), (role, status)


def test_a_foreign_tenant_answers_as_a_missing_one(cast: Any) -> None:
    client = as_role(cast, "stranger")
    for tail in ("members/", "tokens/", "settings/", "trail/"):
        foreign, missing = client.get(f"/t/acme/{tail}"), client.get(f"/t/nowhere/{tail}")
        assert (foreign.status_code, foreign.content) == (404, missing.content)


# ---- members


def test_a_member_is_not_invited_again(cast: Any) -> None:
    client = as_role(cast, "owner")
    again = client.post(address("members"), {"email": cast.viewer.email.upper(), "role": "operator"})
    assert again.status_code == 422 and b"member already" in again.content
    assert f'value="{cast.viewer.email.upper()}"'.encode() in again.content
    with platform_scope():
        assert Membership.objects.get(user=cast.viewer, tenant=cast.tenant).role == "viewer"


def test_owners_are_told_of_roles_that_platform_admins_give(
    cast: Any, mailoutbox: Any, django_capture_on_commit_callbacks: Any
) -> None:
    """Without a support session that is how somebody of the platform could come in."""
    with django_capture_on_commit_callbacks(execute=True):
        for by, taker, role in ((cast.admin, cast.admin, "operator"), (cast.owner, cast.officer, "viewer")):
            _, path = invitations.invite(tenant=cast.tenant, email=taker.email, role=role, by=by)
            invitations.accept(secret=path.split("/")[-2], user=taker)
    assert [(message.to, message.subject) for message in mailoutbox] == [
        ([cast.owner.email], "Admin made Admin operator in Acme Robotics")
    ]


def test_the_last_owner_is_kept(cast: Any) -> None:
    client = as_role(cast, "owner")
    kwargs = {"tenant_slug": "acme", "user_id": cast.owner.pk}
    assert b"only owner" in client.post(reverse("member-role", kwargs=kwargs), {"role": "viewer"}, follow=True).content
    assert b"only owner" in client.post(reverse("member-remove", kwargs=kwargs), follow=True).content
    with platform_scope():
        assert Membership.objects.get(user=cast.owner, tenant=cast.tenant).role == "owner"


def test_leaving_takes_everything_along(cast: Any) -> None:
    from workflows.models import Environment, EnvironmentUserObjectPermission
    from workflows.permissions import OPERATE_ENVIRONMENT, set_environment_grants

    with platform_scope():
        environment = Environment.objects.create(
            tenant=cast.tenant, name="Dev", slug="dev", kind="dev", base_url="http://127.0.0.1:1"
        )
    set_environment_grants(environment=environment, user=cast.viewer, grants={OPERATE_ENVIRONMENT})
    token, _ = create_token(user=cast.viewer, tenant=cast.tenant, name="t")
    kwargs = {"tenant_slug": "acme", "user_id": cast.viewer.pk}
    assert as_role(cast, "owner").post(reverse("member-remove", kwargs=kwargs)).status_code == 302
    with platform_scope():
        assert ApiToken.objects.get(pk=token.pk).revoked_at is not None
        assert not EnvironmentUserObjectPermission.objects.filter(user=cast.viewer).exists()
    assert as_role(cast, "viewer").get("/t/acme/members/").status_code == 404


def test_a_member_of_another_tenant_cannot_be_touched(cast: Any) -> None:
    client = as_role(cast, "owner")
    for name in ("member-role", "member-remove"):
        kwargs = {"tenant_slug": "acme", "user_id": cast.stranger.pk}
        assert client.post(reverse(name, kwargs=kwargs), {"role": "viewer"}).status_code == 404
    with platform_scope():
        assert Membership.objects.get(user=cast.stranger).role == "owner"


# ---- tokens


def test_a_token_is_shown_once_and_works(cast: Any) -> None:
    client = as_role(cast, "operator")
    data = {"name": "pipeline", "holder": str(cast.operator.pk), "expires": "30", "permissions": ["operate"]}
    made = client.post(address("tokens"), data)
    secret = re.search(rb"opc_[\w-]{40,}", made.content)
    assert made.status_code == 201 and secret and made["Cache-Control"] == "no-store"
    assert secret.group() not in client.get(address("tokens")).content
    headers = {"authorization": f"Bearer {secret.group().decode()}"}
    assert Client().get("/api/v1/operations?tenant=acme", headers=headers).status_code == 200
    with platform_scope():
        token = ApiToken.objects.get(name="pipeline")
    assert token.tenant_id == cast.tenant.pk and token.permissions == ["operate"]
    client.post(reverse("token-revoke", kwargs={"tenant_slug": "acme", "pk": token.pk}))
    assert Client().get("/api/v1/operations?tenant=acme", headers=headers).status_code == 401


def test_a_rotated_token_lives_on_under_another_secret(cast: Any) -> None:
    _, old = create_token(user=cast.operator, tenant=cast.tenant, name="pipeline", permissions=["operate"])

    def answers(secret: str) -> int:
        return Client().get("/api/v1/tokens/current", headers={"Authorization": f"Bearer {secret}"}).status_code

    made = Client().post(
        "/api/v1/tokens/current/rotate",
        {},
        "application/json",
        headers={"Authorization": f"Bearer {old}", "Idempotency-Key": "rotate-once"},
    )
    assert made.status_code == 201 and made["Cache-Control"] == "no-store"
    new = made.json()["secret"]
    assert made.json()["token"]["permissions"] == ["operate"]
    assert (answers(old), answers(new)) == (401, 200)
    with platform_scope():
        assert not IdempotencyKey.objects.filter(body__contains=new.encode()).exists()
        current = ApiToken.objects.get(name="pipeline", revoked_at=None)
    client = as_role(cast, "operator")
    rotate = reverse("token-rotate", kwargs={"tenant_slug": "acme", "pk": current.pk})
    page = client.post(rotate, {"keep_old_hours": "1"})
    newest = re.search(r"opc_[\w-]{20,}", page.content.decode())
    assert page.status_code == 201 and newest
    assert (answers(new), answers(newest.group())) == (200, 200)
    assert client.post(rotate, {"keep_old_hours": "1000"}).status_code == 422
    assert as_role(cast, "owner").post(rotate, {}).status_code in (403, 404)


def test_of_two_who_rotate_one_token_one_gets_a_secret(cast: Any) -> None:
    token, _ = create_token(user=cast.operator, tenant=cast.tenant, name="pipeline")
    rotate_token(token=token, by=cast.operator)
    with pytest.raises(Conflict):
        rotate_token(token=token, by=cast.operator)  # what the second one read before the first was done
    with platform_scope():
        assert ApiToken.objects.filter(name="pipeline", revoked_at=None).count() == 1


def test_whoever_tries_tokens_is_slowed_down(cast: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("tenants.tokens.LARGEST_REFUSALS", 3)
    cache.clear()
    _, good = create_token(user=cast.operator, tenant=cast.tenant, name="good")

    def answer(secret: str) -> int:
        return Client().get("/api/v1/tenants", headers={"Authorization": f"Bearer {secret}"}).status_code

    assert [answer(f"opc_{n}") for n in range(4)] == [401, 401, 429, 429]
    assert answer(good) == 200
    with platform_scope():
        assert AuditLog.objects.filter(action="TOKEN_TRIES_REFUSED").count() == 1
    cache.clear()


def test_nobody_gives_a_token_more_than_they_hold(cast: Any) -> None:
    client = as_role(cast, "operator")
    beyond = {"name": "x", "holder": str(cast.operator.pk), "expires": "30", "permissions": ["administer"]}
    assert client.post(address("tokens"), beyond).status_code == 422
    for_another = {"name": "x", "holder": str(cast.owner.pk), "expires": "30"}
    assert client.post(address("tokens"), for_another).status_code == 422
    machine = people.create_service_account(tenant=cast.tenant, name="Approver bot", role="approver", by=cast.owner)
    assert client.post(address("tokens"), {"name": "x", "holder": str(machine.pk), "expires": "30"}).status_code == 422
    token, _ = create_token(user=cast.owner, tenant=cast.tenant, name="owner's")
    revoke = reverse("token-revoke", kwargs={"tenant_slug": "acme", "pk": token.pk})
    assert client.post(revoke).status_code == 403
    assert b"owner&#x27;s" not in client.get(address("tokens")).content


def test_a_service_account_has_tokens_and_no_sign_in(cast: Any) -> None:
    client = as_role(cast, "owner")
    create = reverse("service-account-create", kwargs={"tenant_slug": "acme"})
    assert client.post(create, {"service_name": "Deploy bot", "role": "owner"}).status_code == 422
    assert client.post(create, {"service_name": "Deploy bot", "role": "operator"}).status_code == 302
    assert client.post(create, {"service_name": "Deploy bot", "role": "viewer"}).status_code == 422
    machine = User.objects.get(is_service=True)
    assert not machine.has_usable_password()
    data = {"name": "ci", "holder": str(machine.pk), "expires": "0"}
    assert client.post(address("tokens"), data).status_code == 201
    assert as_role(cast, "operator").post(create, {"service_name": "Mine", "role": "viewer"}).status_code == 403


# ---- settings


def test_the_remotes_secret_is_kept_encrypted_and_never_shown(cast: Any) -> None:
    client = as_role(cast, "owner")
    url = address("tenant-settings")
    saved = {
        "name": "Acme Two",
        "git_remote_url": "https://git.example.org/acme.git",
        "git_remote_secret": "s3cr3t-token",
    }
    assert client.post(url, saved).status_code == 302
    with platform_scope():
        tenant = Tenant.objects.get(slug="acme")
    assert tenant.name == "Acme Two" and "s3cr3t" not in tenant.git_remote_secret
    assert b"s3cr3t" not in client.get(url).content
    client.post(url, {"name": "Acme Two", "git_remote_url": saved["git_remote_url"]})
    with platform_scope():
        assert Tenant.objects.get(slug="acme").git_remote_secret == tenant.git_remote_secret
    elsewhere = client.post(url, {"name": "Acme Two", "git_remote_url": "https://git.attacker.example/acme.git"})
    assert elsewhere.status_code == 422 and b"for the new host" in elsewhere.content
    with platform_scope():
        assert Tenant.objects.get(slug="acme").git_remote_url == saved["git_remote_url"]
    client.post(url, {"name": "Acme Two", "forget_secret": "on"})
    with platform_scope():
        assert Tenant.objects.get(slug="acme").git_remote_secret == ""
    bad_ones = ("https://me:pw@git.example.org/x.git", "https://ghp_token@git.example.org/x.git", "https://h:99999/x")
    for bad in (*bad_ones, "file:///etc", "ext::sh -c x", "https://[bad"):
        answer = client.post(url, {"name": "Kept", "git_remote_url": bad})
        assert answer.status_code == 422 and b'value="Kept"' in answer.content


# ---- sign-ins


def test_ending_a_sign_in_signs_that_browser_out(cast: Any) -> None:
    here, there = as_role(cast, "viewer"), as_role(cast, "viewer")
    page = here.get(address("user_sessions"))
    key = there.session.session_key
    assert key.encode() not in page.content, "the key itself would open the sign-in"
    end = reverse("user_session_end", kwargs={"digest": people.session_digest(stored_key(key))})
    assert as_role(cast, "stranger").post(end).status_code == 404
    assert here.post(end).status_code == 302
    assert there.get("/t/acme/members/").status_code == 302
    assert here.get("/t/acme/members/").status_code == 200


def test_signing_out_everywhere_else_keeps_this_one(cast: Any) -> None:
    here, others = as_role(cast, "viewer"), [as_role(cast, "viewer") for _ in range(3)]
    here.post(reverse("user_sessions_end_others"))
    assert here.get("/t/acme/members/").status_code == 200
    assert {c.get("/t/acme/members/").status_code for c in others} == {302}


# ---- the platform


def test_a_platform_admin_is_shown_as_one(cast: Any) -> None:
    """The list of people says it of admins and of nobody else, whatever other role they have."""
    page = as_role(cast, "admin").get("/platform/people/").content.decode()
    rows = {who: row for row in page.split("<tr")[1:] for who in ("admin@", "support@") if who in row}
    assert "Platform admin" in rows["admin@"].split("<form")[0]
    assert "Platform admin" not in rows["support@"].split("<form")[0]


def test_an_admin_makes_a_tenant_with_an_owner(cast: Any) -> None:
    client = as_role(cast, "admin")
    data = {"name": "New Customer", "slug": "", "owner": "boss@example.org"}
    assert client.post(address("tenants"), data).status_code == 302
    with platform_scope():
        tenant = Tenant.objects.get(slug="new-customer")
        assert Membership.objects.get(tenant=tenant).role == "owner"
    taken = client.post(address("tenants"), data | {"slug": "new-customer"})
    assert taken.status_code == 422 and b"already uses" in taken.content
    for role in ("officer", "support"):
        assert as_role(cast, role).post(address("tenants"), data).status_code == 403


def test_a_new_persons_link_sets_a_password_once(cast: Any) -> None:
    made = as_role(cast, "admin").post(address("people"), {"email": "fresh@example.org", "role": "member"})
    link = re.search(rb"http://testserver(/account/password/reset/key/[^\"<\s]+)", made.content)
    assert made.status_code == 201 and link and made["Cache-Control"] == "no-store"
    client = Client()
    form = client.get(link.group(1).decode(), follow=True)
    done = client.post(
        form.request["PATH_INFO"], {"password1": "a long enough phrase", "password2": "a long enough phrase"}
    )
    assert done.status_code == 302
    assert client.login(email="fresh@example.org", password="a long enough phrase")
    used = Client().get(link.group(1).decode(), follow=True)
    assert b"password1" not in used.content


def test_a_link_to_become_somebody_is_mailed_or_on_record(cast: Any, settings: Any) -> None:
    admin = as_role(cast, "admin")
    url = reverse("person-act", kwargs={"pk": cast.operator.pk, "what": "link"})
    assert b"/password/reset/key/" in admin.post(url).content
    with platform_scope():
        rows = AuditLog.objects.filter(action="SIGN_IN_LINK_SHOWN", resource_id=cast.operator.pk)
        assert {(row.tenant_id, row.actor_user_id) for row in rows} == {
            (None, cast.admin.pk), (cast.tenant.pk, cast.admin.pk),
        }  # fmt: skip
    settings.SENDS_MAIL = True
    answer = admin.post(url, follow=True)
    assert b"/password/reset/key/" not in answer.content and b"on its way to operator@example.org" in answer.content


def test_shutting_out_ends_sign_ins_and_tokens(cast: Any) -> None:
    operator = as_role(cast, "operator")
    _, secret = create_token(user=cast.operator, name="t")
    admin = as_role(cast, "admin")

    def act(user: User, what: str, **data: str) -> Any:
        return admin.post(reverse("person-act", kwargs={"pk": user.pk, "what": what}), data)

    assert act(cast.operator, "shut-out").status_code == 302
    assert operator.get("/t/acme/members/").status_code == 302
    headers = {"authorization": f"Bearer {secret}"}
    assert Client().get("/api/v1/tenants", headers=headers).status_code == 401
    assert act(cast.admin, "shut-out").status_code == 409
    assert act(cast.admin, "remove-admin").status_code == 409, "the last platform admin stays"
    assert act(cast.officer, "make-admin").status_code == 302
    assert act(cast.officer, "remove-admin").status_code == 302
    assert list(PlatformAdmin.objects.values_list("user_id", flat=True)) == [cast.admin.pk]
    assert act(cast.viewer, "role", role="support").status_code == 302
    assert User.objects.get(pk=cast.viewer.pk).role == "support"


def test_a_platform_admin_is_removed_over_rest(cast: Any) -> None:
    services.make_platform_admin(user=cast.officer, by=cast.admin)
    officer = as_role(cast, "officer")
    _, secret = create_token(user=cast.officer, name="t")
    url = f"/api/v1/platform/admins/{cast.officer.pk}"
    _, by_owner = create_token(user=cast.owner, name="t")
    _, by_admin = create_token(user=cast.admin, name="t")
    client = Client()
    assert client.delete(url, headers={"authorization": f"Bearer {by_owner}"}).status_code == 403
    assert client.delete(url, headers={"authorization": f"Bearer {by_admin}"}).status_code == 200
    assert client.get("/api/v1/tenants", headers={"authorization": f"Bearer {secret}"}).status_code == 401
    assert officer.get("/t/acme/members/").status_code == 302
    assert not UserSession.objects.filter(user=cast.officer).exists()


@pytest.mark.parametrize("count", [3, 40])
def test_lists_cost_the_same_however_long(cast: Any, count: int, django_assert_max_num_queries: Any) -> None:
    for number in range(count):
        user = services.create_user(email=f"p{number}@example.org")
        services.set_membership(tenant=cast.tenant, user=user, role="viewer", by=cast.owner)
        create_token(user=user, tenant=cast.tenant, name=f"t{number}")
    client = as_role(cast, "owner")
    for name in ("members", "tokens"):
        with django_assert_max_num_queries(26):
            client.get(address(name))
    admin = as_role(cast, "admin")
    for name in ("tenants", "people"):
        with django_assert_max_num_queries(22):
            admin.get(address(name))


def test_the_list_of_tenants_costs_the_same_however_many(cast: Any) -> None:
    admin = as_role(cast, "admin")

    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            assert admin.get(address("tenants")).status_code == 200
        return len(caught)

    queries()
    few = queries()
    for number in range(12):
        services.create_tenant(name=f"Tenant {number}", slug=f"tenant-{number}", owner=cast.owner)
    assert queries() == few


def test_guessing_is_stopped(cast: Any) -> None:
    from django.core.cache import cache

    cache.clear()
    client, url = Client(), reverse("account_login")
    for _ in range(5):
        client.post(url, {"login": cast.viewer.email, "password": "wrong"})
    right = client.post(url, {"login": cast.viewer.email, "password": cast.password})
    assert right.status_code != 302, "the sixth try is refused whatever the password"
    assert client.post(url, {"login": cast.owner.email, "password": cast.password}).status_code == 302
    cache.clear()
