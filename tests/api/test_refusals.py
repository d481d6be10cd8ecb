"""Refusals that nothing else asks for: each is met where it happens, by its code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from core.errors import OpsError
from tenants import invitations, people, services
from tenants.models import TenantRole
from tenants.scope import tenant_scope
from tenants.tokens import LARGEST_REFUSALS, create_token
from workflows import gateway, live
from workflows.models import Environment

pytestmark = pytest.mark.django_db


@pytest.fixture
def environment(cast: Any) -> Environment:
    with tenant_scope(cast.tenant.pk):
        return Environment.objects.create(
            tenant=cast.tenant, name="Dev", slug="dev", kind="dev", base_url="https://dev.example.org"
        )


def ask(cast: Any, method: str, path: str, body: Any = None, **headers: str) -> Any:
    secret = create_token(user=cast.owner, name="x", tenant=cast.tenant)[1]
    named = {"Authorization": f"Bearer {secret}", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return Client().generic(method, f"/api/v1{path}", body or "{}", "application/json", headers=named).json()["error"]


def last_owner(cast: Any) -> None:
    services.set_membership(tenant=cast.tenant, user=cast.owner, role=TenantRole.VIEWER, by=cast.owner)


def last_admin(cast: Any) -> None:
    people.remove_platform_admin(user=cast.admin, by=None)


def oneself(cast: Any) -> None:
    people.set_active(user=cast.admin, active=False, by=cast.admin)


def taken_slug(cast: Any) -> None:
    services.create_tenant(name="Another", slug="acme", owner=cast.owner)


def invited(cast: Any) -> str:
    """The secret of an invitation's link."""
    _, path = invitations.invite(tenant=cast.tenant, email="new@example.org", role="viewer", by=cast.owner)
    return path.rstrip("/").rpartition("/")[2]


def anothers_invitation(cast: Any) -> None:
    invitations.accept(secret=invited(cast), user=cast.stranger)


def answered_invitation(cast: Any) -> None:
    secret = invited(cast)
    assert invitations.decline(secret=secret).declined_at
    invitations.decline(secret=secret)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (last_owner, "TENANT_LAST_OWNER"),
        (last_admin, "PLATFORM_LAST_ADMIN"),
        (oneself, "NOT_YOURSELF"),
        (taken_slug, "TENANT_SLUG_TAKEN"),
        (anothers_invitation, "INVITATION_OF_ANOTHER"),
        (answered_invitation, "INVITATION_OVER"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_people_may_not_do_to_each_other(cast: Any, act: Callable[[Any], None], code: str) -> None:
    with pytest.raises(OpsError) as refused:
        act(cast)
    assert refused.value.code == code


def test_an_environment_without_a_key_is_not_asked(cast: Any, environment: Environment) -> None:
    assert ask(cast, "GET", f"/environments/{environment.pk}/workflows")["code"] == "ENV_005"


def test_an_archived_environment_is_not_asked(environment: Environment) -> None:
    environment.is_archived = True
    with pytest.raises(OpsError) as refused:
        gateway.client_for(environment)
    assert refused.value.code == "ENV_004"


def test_an_n8n_is_read_by_one_request_at_a_time(cast: Any, environment: Environment) -> None:
    with live._alone(environment):
        assert ask(cast, "GET", f"/environments/{environment.pk}/workflows")["code"] == "ENV_006"


def test_fields_of_an_environment_that_cannot_be_used_are_named(cast: Any) -> None:
    refused = ask(cast, "POST", "/environments", '{"name":"N","slug":"a/../b","base_url":"https://n.example.org"}')
    assert (refused["code"], list(refused["details"])) == ("ENV_001", ["slug"])


def test_a_key_of_other_signs_is_refused(cast: Any, environment: Environment) -> None:
    refused = ask(cast, "POST", "/snapshots", f'{{"environment_id":"{environment.pk}"}}', Idempotency_Key="a b\x7f")
    assert refused["code"] == "IDEMPOTENCY_KEY_INVALID"


def test_many_wrong_tokens_from_one_address_have_to_wait(cast: Any) -> None:
    codes = []
    for number in range(LARGEST_REFUSALS + 1):
        answer = Client().get("/api/v1/tenants", headers={"Authorization": f"Bearer wrong-{number}"})
        codes.append(answer.json()["error"]["code"])
    assert codes[0] == "UNAUTHORIZED" and codes[-1] == "TOO_MANY_REQUESTS"


def test_a_report_that_nobody_has_is_refused(cast: Any) -> None:
    assert ask(cast, "POST", "/reports/nothing?wait=0")["code"] == "REPORT_UNKNOWN"


@pytest.mark.parametrize(("reason", "code"), [("", "EMERGENCY_001"), ("short", "EMERGENCY_002")])
def test_an_admins_emergency_needs_a_reason_that_says_something(
    cast: Any, environment: Environment, reason: str, code: str
) -> None:
    secret = create_token(user=cast.admin, name="x")[1]
    headers = {"Authorization": f"Bearer {secret}"} | ({"X-OpsConsole-Reason": reason} if reason else {})
    body = f'{{"environment_id":"{environment.pk}"}}'
    answer = Client().generic("POST", "/api/v1/snapshots?wait=0", body, "application/json", headers=headers)
    assert answer.json()["error"]["code"] == code
