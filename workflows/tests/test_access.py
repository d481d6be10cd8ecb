"""Grants on single environments, on the page of a member: where each comes from, given and taken there alone."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import AuditLog
from tenants import services as tenant_services
from tenants.models import TenantRole
from tenants.pages import open_visit
from tenants.scope import platform_scope, tenant_scope
from tenants.selectors import list_members
from tenants.tokens import create_token
from workflows.access import access_of, save_access
from workflows.models import Environment
from workflows.permissions import APPROVE_ENVIRONMENT, OPERATE_ENVIRONMENT, may_approve, may_operate

from .test_identity import make_environments

pytestmark = pytest.mark.django_db


def at_browser(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page_of(user: Any) -> str:
    return reverse("member-access", kwargs={"tenant_slug": "acme", "user_id": user.pk})


def told(environment: Environment, grant: str = OPERATE_ENVIRONMENT) -> str:
    return f"{environment.pk}:{grant}"


def held(cast: Any, user: Any) -> dict[str, str]:
    """Environment and grant to how it is held, of those that are."""
    return {
        f"{environment.slug} {one.grant}": "role+here" if one.own and one.by_role else "here" if one.own else "role"
        for environment, grants in access_of(tenant_id=cast.tenant.pk, user_id=user.pk)
        for one in grants
        if one.own or one.by_role
    }


def test_an_owner_gives_and_takes_in_one_environment(cast: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    owner, url = at_browser(cast.owner), page_of(cast.viewer)
    assert held(cast, cast.viewer) == {}
    answer = owner.post(url, {"grant": [told(dev), told(prod, APPROVE_ENVIRONMENT)]}, follow=True)
    assert b"2 given, 0 taken." in answer.content and b"given" in answer.content and b"by Owner" in answer.content
    assert held(cast, cast.viewer) == {"dev operate_environment": "here", "prod approve_environment": "here"}
    visit = open_visit(user=cast.viewer, slug="acme")
    assert may_operate(visit, dev) and not may_operate(visit, prod)
    assert may_approve(visit, prod) and not may_approve(visit, dev)
    assert b"1 given, 2 taken." in owner.post(url, {"grant": told(prod)}, follow=True).content
    assert held(cast, cast.viewer) == {"prod operate_environment": "here"}
    with tenant_scope(cast.tenant.pk):
        entries = AuditLog.objects.filter(resource_type="environment_grants", actor_user_id=cast.owner.pk)
        assert sorted(entries.values_list("action", flat=True)) == ["CREATE"] * 3 + ["DELETE"] * 2


def test_the_page_says_where_each_grant_comes_from(cast: Any) -> None:
    dev, _ = make_environments(cast, "dev", "prod")
    owner, url = at_browser(cast.owner), page_of(cast.operator)
    page = owner.get(url).content.decode()
    assert page.count("everywhere, by role") == 2 and told(dev) not in page, "nothing to give what the role gives"
    save_access(tenant_id=cast.tenant.pk, user=cast.operator, wanted={dev.pk: frozenset({OPERATE_ENVIRONMENT})})
    assert held(cast, cast.operator) == {"dev operate_environment": "role+here", "prod operate_environment": "role"}
    page = owner.get(url).content.decode()
    assert page.count("everywhere, by role") == 2 and told(dev) in page
    with platform_scope():
        tenant_services.set_membership(tenant=cast.tenant, user=cast.operator, role=TenantRole.VIEWER, by=cast.owner)
    assert held(cast, cast.operator) == {"dev operate_environment": "here"}, "what was given for one stays"
    owner.post(url, {})
    assert held(cast, cast.operator) == {}


def test_who_may_look_and_who_may_give(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    url = page_of(cast.viewer)
    expected = {"owner": (200, 302), "admin": (200, 302), "operator": (200, 403), "viewer": (200, 403)}
    for name, status in {**expected, "officer": (200, 403), "stranger": (404, 404), "support": (404, 404)}.items():
        client = at_browser(getattr(cast, name))
        found = (client.get(url).status_code, client.post(url, {"grant": told(dev)}).status_code)
        assert found == status, name
        assert (b'type="checkbox"' in client.get(url).content) == (name in ("owner", "admin")), name


def test_what_cannot_be_given_is_refused(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    owner, url = at_browser(cast.owner), page_of(cast.viewer)
    with tenant_scope(cast.other_tenant.pk):
        foreign = Environment.objects.create(
            tenant=cast.other_tenant, name="Prod", slug="p", base_url="http://x.invalid"
        )
    assert owner.post(url, {"grant": "nonsense"}).status_code == 422
    assert owner.post(url, {"grant": told(dev, "delete_environment")}).status_code == 422
    assert owner.post(url, {"grant": told(foreign)}).status_code == 302
    assert held(cast, cast.viewer) == {}
    with platform_scope():
        assert access_of(tenant_id=cast.other_tenant.pk, user_id=cast.viewer.pk)[0][1][0].own is False
    assert owner.get(page_of(cast.stranger)).status_code == 404
    nobody = reverse("member-access", kwargs={"tenant_slug": "acme", "user_id": uuid.uuid4()})
    assert owner.post(nobody, {"grant": told(dev)}).status_code == 404


def test_it_is_found_from_members_and_from_the_environment(cast: Any) -> None:
    owner = at_browser(cast.owner)
    assert b"No environments yet" in owner.get(page_of(cast.viewer)).content
    (dev,) = make_environments(cast, "dev")
    here = reverse("environment", kwargs={"tenant_slug": "acme", "pk": dev.pk})
    assert page_of(cast.viewer).encode() in owner.get("/t/acme/members/").content
    assert page_of(cast.viewer).encode() not in owner.get(here).content
    save_access(tenant_id=cast.tenant.pk, user=cast.viewer, wanted={dev.pk: frozenset({OPERATE_ENVIRONMENT})})
    page = owner.get(here).content.decode()
    assert page_of(cast.viewer) in page and "operator</span>" in page


def test_it_costs_the_same_however_many_environments(cast: Any, django_assert_max_num_queries: Any) -> None:
    environments = make_environments(cast, *(f"e{n}" for n in range(8)))
    wanted = {environment.pk: frozenset({OPERATE_ENVIRONMENT}) for environment in environments}
    save_access(tenant_id=cast.tenant.pk, user=cast.viewer, wanted=wanted)
    owner, url = at_browser(cast.owner), page_of(cast.viewer)
    owner.get(url)
    with django_assert_max_num_queries(32):
        owner.get(url)


def test_the_list_of_members_shows_who_has_more_in_one_environment(cast: Any, django_assert_num_queries: Any) -> None:
    dev, prod = make_environments(cast, "dev", "prod")
    for who, where in ((cast.viewer, {dev.pk: frozenset({OPERATE_ENVIRONMENT, APPROVE_ENVIRONMENT})}),
                       (cast.operator, {prod.pk: frozenset({APPROVE_ENVIRONMENT})})):  # fmt: skip
        save_access(tenant_id=cast.tenant.pk, user=who, wanted=where)
    with tenant_scope(cast.tenant.pk):
        with django_assert_num_queries(2):
            page = list_members()
        shown = {row.user.email: [(more.environment.slug, more.words) for more in row.narrow] for row in page.rows}
        found = {row.user_id for row in list_members(narrow=True).rows}
    assert shown.pop(cast.viewer.email) == [("dev", "operator and approver")]
    assert shown.pop(cast.operator.email) == [("prod", "approver")]
    assert not any(shown.values()) and found == {cast.viewer.pk, cast.operator.pk}

    page = at_browser(cast.owner).get("/t/acme/members/?narrow=1").content.decode()
    assert "also operator and approver" in page and cast.viewer.email in page
    assert page.count('name="role" aria-label="Role of') == 2

    with tenant_scope(cast.tenant.pk):
        Environment.objects.update(is_archived=True)
        assert not list_members(narrow=True).rows, "an archived environment is nobody's work"


def test_a_narrowed_token_does_not_get_back_here_what_it_was_denied_everywhere(cast: Any) -> None:
    (dev,) = make_environments(cast, "dev")
    save_access(tenant_id=cast.tenant.pk, user=cast.viewer, wanted={dev.pk: frozenset({OPERATE_ENVIRONMENT})})
    answers = {}
    for name, permissions in (("whole", []), ("operates", ["operate"]), ("reads", ["view_trail"])):
        _, secret = create_token(user=cast.viewer, name=name, permissions=permissions)
        headers = {"authorization": f"Bearer {secret}"}
        answers[name] = Client().post(f"/api/v1/environments/{dev.pk}/test-connection", headers=headers).status_code
    assert answers == {"whole": 202, "operates": 202, "reads": 403}
