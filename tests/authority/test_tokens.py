"""Tokens end with what made them possible, and a new secret is never worth more than the old one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from core import clock
from tenants import people
from tenants.tokens import TokenRefused, authenticate, create_token, rotate_token

pytestmark = pytest.mark.django_db


def works(secret: str) -> bool:
    try:
        authenticate(secret)
    except TokenRefused:
        return False
    return True


def lost_role(cast: Any) -> None:
    people.change_role(tenant=cast.tenant, user_id=cast.operator.pk, role="viewer", by=cast.owner)


def left(cast: Any) -> None:
    people.remove_member(tenant=cast.tenant, user_id=cast.operator.pk)


def deactivated(cast: Any) -> None:
    people.set_active(user=cast.operator, active=False, by=cast.admin)


@pytest.mark.parametrize("end", [lost_role, left, deactivated])
def test_a_persons_tokens_of_machines_end_with_the_role(cast: Any, end: Any) -> None:
    robot = people.create_service_account(tenant=cast.tenant, name="Robot", role="operator", by=cast.owner)
    first, _ = create_token(user=robot, tenant=cast.tenant, name="x", created_by=cast.operator)
    # The machine itself turns the token: it is the operator's all the same.
    _, known = rotate_token(token=first, by=robot)
    _, anothers = create_token(user=robot, tenant=cast.tenant, name="y", created_by=cast.owner)
    assert works(known) and works(anothers)
    end(cast)
    assert not works(known)
    assert works(anothers)


def test_a_role_that_holds_more_ends_nothing(cast: Any) -> None:
    robot = people.create_service_account(tenant=cast.tenant, name="Robot", role="operator", by=cast.owner)
    _, known = create_token(user=robot, tenant=cast.tenant, name="x", created_by=cast.operator)
    people.change_role(tenant=cast.tenant, user_id=cast.operator.pk, role="owner", by=cast.owner)
    assert works(known)


@pytest.mark.parametrize("keep_old_hours", [0, 72])
def test_a_new_secret_ends_when_the_old_one_would_have(cast: Any, keep_old_hours: int, monkeypatch: Any) -> None:
    token, _ = create_token(
        user=cast.operator, tenant=cast.tenant, name="x", expires_in_days=30, permissions=["operate"]
    )
    ends = token.expires_at
    began = clock.now()
    monkeypatch.setattr(clock, "now", lambda: began + timedelta(days=29))
    made, secret = rotate_token(token=token, by=cast.operator, keep_old_hours=keep_old_hours)
    assert (made.expires_at, made.permissions, made.tenant_id) == (ends, ["operate"], cast.tenant.pk)
    again, secret = rotate_token(token=made, by=cast.operator)
    assert again.expires_at == ends and works(secret)
    monkeypatch.setattr(clock, "now", lambda: began + timedelta(days=31))
    assert not works(secret)


def test_a_new_password_ends_personal_tokens(cast: Any) -> None:
    _, bound = create_token(user=cast.operator, tenant=cast.tenant, name="x")
    _, unbound = create_token(user=cast.operator, name="y")
    client = Client()
    client.post("/account/login/", {"login": cast.operator.email, "password": cast.password})
    fresh = "another horse battery"
    changed = {"oldpassword": cast.password, "password1": fresh, "password2": fresh}
    answer = client.post("/account/password/change/", changed)
    assert answer.status_code == 302, answer.content
    assert not works(bound) and not works(unbound)
