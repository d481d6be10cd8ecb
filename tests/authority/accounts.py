"""Every account that one person, an owner, can make or use beside their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from django.test import Client

from tenants import people, services
from tenants.models import TenantRole, User
from tenants.scope import platform_scope
from tenants.tokens import create_token, rotate_token


@dataclass(frozen=True)
class Account:
    """An account, and a token that acts as it."""

    user: User
    secret: str

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.secret}"}
        return Client().post(f"/api/v1{path}", body or {}, content_type="application/json", headers=headers)


def _account(user: User, tenant: Any, by: User) -> Account:
    return Account(user, create_token(user=user, tenant=tenant, name="x", created_by=by)[1])


def own_token(cast: Any) -> Account:
    return _account(cast.owner, cast.tenant, cast.owner)


def own_token_for_every_tenant(cast: Any) -> Account:
    return _account(cast.owner, None, cast.owner)


def machine_of_their_making(cast: Any) -> Account:
    made = people.create_service_account(tenant=cast.tenant, name="Robot", role="approver", by=cast.owner)
    return _account(made, cast.tenant, cast.owner)


def machine_whose_token_the_machine_rotated(cast: Any) -> Account:
    made = people.create_service_account(tenant=cast.tenant, name="Turner", role="approver", by=cast.admin)
    token, _ = create_token(user=made, tenant=cast.tenant, name="x", created_by=cast.owner)
    return Account(made, rotate_token(token=token, by=made)[1])


def machine_of_anothers_making(cast: Any) -> Account:
    """The person only made its token."""
    made = people.create_service_account(tenant=cast.tenant, name="Loan", role="approver", by=cast.admin)
    return _account(made, cast.tenant, cast.owner)


def machine_that_was_raised(cast: Any) -> Account:
    made = people.create_service_account(tenant=cast.tenant, name="Riser", role="viewer", by=cast.owner)
    people.change_role(tenant=cast.tenant, user_id=made.pk, role="approver", by=cast.owner)
    return _account(made, cast.tenant, cast.owner)


def machine_of_a_machine(cast: Any) -> Account:
    first = people.create_service_account(tenant=cast.tenant, name="First", role="operator", by=cast.owner)
    second = people.create_service_account(tenant=cast.tenant, name="Second", role="approver", by=first)
    return _account(second, cast.tenant, first)


def second_account_of_their_mailbox(cast: Any) -> Account:
    user = services.create_user(email="Owner+second@example.org", password=cast.password)
    services.set_membership(tenant=cast.tenant, user=user, role=TenantRole.OWNER, by=cast.owner)
    return _account(user, cast.tenant, user)


def account_with_their_second_address(cast: Any) -> Account:
    user = services.create_user(email="private@example.net", password=cast.password)
    services.set_membership(tenant=cast.tenant, user=user, role=TenantRole.APPROVER, by=cast.owner)
    with platform_scope():
        EmailAddress.objects.create(user=cast.owner, email="private@example.net", verified=True)
    return _account(user, cast.tenant, user)


ACCOUNTS: tuple[Callable[[Any], Account], ...] = (
    own_token,
    own_token_for_every_tenant,
    machine_of_their_making,
    machine_whose_token_the_machine_rotated,
    machine_of_anothers_making,
    machine_that_was_raised,
    machine_of_a_machine,
    second_account_of_their_mailbox,
    account_with_their_second_address,
)
