"""What PostgreSQL refuses is told by the runbook's codes, each with its way out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test import Client, override_settings
from django.urls import path
from psycopg_pool import PoolTimeout

from core.database_errors import named
from tenants.models import Membership, Tenant
from tenants.scope import platform_scope, tenant_scope

pytestmark = pytest.mark.django_db


def another_tenants_row(cast: Any) -> None:
    with tenant_scope(cast.tenant.pk):
        Membership.objects.create(tenant=cast.other_tenant, user=cast.viewer, role="viewer")


def a_row_of_nobody(cast: Any) -> None:
    with platform_scope(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        Membership.objects.filter(user=cast.viewer).update(user_id=uuid.uuid4())


def the_same_name_again(cast: Any) -> None:
    with platform_scope():
        Tenant.objects.create(name="Acme again", slug=cast.tenant.slug)


@pytest.mark.parametrize(
    ("does", "code", "status"),
    [(another_tenants_row, "DB_001", 500), (a_row_of_nobody, "DB_002", 409), (the_same_name_again, "DB_003", 409)],
)
@pytest.mark.parametrize("where", ["/api/now", "/now"])
def test_what_the_database_refuses_has_the_runbooks_code(
    cast: Any, client: Client, does: Callable[[Any], None], code: str, status: int, where: str
) -> None:
    class Urls:
        urlpatterns = [path(where.lstrip("/"), lambda request: does(cast))]

    client.force_login(cast.viewer)
    with override_settings(ROOT_URLCONF=Urls):
        answer = client.get(where, headers={"HX-Request": "true"})
    said = answer.json()["error"] if where.startswith("/api/") else answer.headers["HX-Trigger"]
    assert answer.status_code == status and code in str(said)
    assert "recovery" in said


def test_a_pool_without_a_free_connection_is_told() -> None:
    refused = OperationalError("couldn't get a connection after 10.00 sec")
    refused.__cause__ = PoolTimeout("couldn't get a connection after 10.00 sec")
    for error in (refused, PoolTimeout("")):
        found = named(error)
        assert (
            found is not None
            and (found.code, found.status) == ("DB_004", 503)
            and "OPSCONSOLE_DB_POOL" in found.recovery
        )
    assert named(OperationalError("gone")).code == "UNAVAILABLE"  # type: ignore[union-attr]
    assert named(DatabaseError("odd")) is None and named(ValueError()) is None
