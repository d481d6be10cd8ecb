"""What the runbook asks of row security, of the tables of people as well."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import pytest

TABLES = (
    "tenants",
    "platform_admins",
    "platform_impersonation_sessions",
    "users",
    "user_sessions",
    "api_idempotency_keys",
    "workflow_contents",
)


@pytest.mark.parametrize("table", TABLES)
def test_row_security_is_active(db: Any, table: str) -> None:
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        found = operator.execute(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", [f"public.{table}"]
        ).fetchone()
        policies = operator.execute(
            "SELECT schemaname, tablename, policyname, cmd, qual FROM pg_policies WHERE tablename = %s", [table]
        ).fetchall()
    assert found == (True, True) and policies


def test_kept_answers_are_the_platforms(db: Any) -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("SET ROLE opsconsole_tenant")
        app.execute("SELECT 1 FROM api_idempotency_keys")
