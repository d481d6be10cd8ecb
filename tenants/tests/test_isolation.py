"""No row of a tenant without its scope: the catalogue against the models, and the roles against the rows."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import IntegrityError, ProgrammingError, connection, transaction

from conftest import owner_connection
from operations.models import Operation
from tenants.models import Membership, PlatformAdmin, Tenant, UserSession
from tenants.scope import ScopeError, platform_scope, tenant_scope

pytestmark = pytest.mark.django_db


def tenant_tables() -> dict[str, str]:
    """Each table that belongs to a tenant, with the column that says to which."""
    found = {"tenants": "id", "tenant_grants": "content_object_id"}
    for model in apps.get_models():
        for column in ("tenant_id", "impersonated_tenant_id"):
            if model._meta.managed and column in {f.column for f in model._meta.local_fields}:
                found[model._meta.db_table] = column
    return found


def catalogue() -> dict[str, Any]:
    with owner_connection() as owner:
        tables = owner.execute(
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relkind IN ('r', 'p')"
        ).fetchall()
        policies = owner.execute("SELECT tablename, policyname, qual, with_check, roles FROM pg_policies").fetchall()
        indexes = owner.execute("SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'").fetchall()
        owners = owner.execute("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {
        "tables": {name: (enabled, forced) for name, enabled, forced in tables},
        "policies": {(t, p): (qual, check, roles) for t, p, qual, check, roles in policies},
        "indexes": indexes,
        "owners": dict(owners),
    }


def test_every_tenant_table_is_protected(db: None) -> None:
    known = catalogue()
    for table, column in tenant_tables().items():
        assert known["tables"][table] == (True, True), f"{table} lacks ENABLE or FORCE ROW LEVEL SECURITY"
        qual, check, roles = known["policies"][(table, "tenant_rows")]
        for side in (qual, check):
            assert f"({column} =" in side and "current_setting('opsconsole.tenant_id'" in side, f"{table}: {side}"
        assert "opsconsole_app" in roles, table
        leading = [d for t, d in known["indexes"] if t == table and f"({column}" in d]
        assert leading, f"{table} has no index that begins with {column}"


def test_every_foreign_key_between_tenant_tables_is_composite(db: None) -> None:
    """A foreign key check does not ask the policies: only the pair (tenant, id) keeps a child at home."""
    tables = tenant_tables()
    with owner_connection() as owner:
        keys = owner.execute(
            "SELECT c.conrelid::regclass::text, c.confrelid::regclass::text, array_length(c.conkey, 1),"
            " (SELECT array_agg(attname::text) FROM pg_attribute a"
            "  WHERE a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey))"
            " FROM pg_constraint c WHERE contype = 'f'"
        ).fetchall()
    ours = [key for key in keys if key[0] in tables and key[1] in tables and key[1] != "tenants"]
    simple = {(t, cols[0]) for t, _, n, cols in ours if n == 1}
    paired = {(t, next(c for c in cols if c != tables[t])) for t, parent, n, cols in keys if n == 2 and t in tables}
    # The canonical workflow of an execution is a convenience for joins and may be empty.
    assert simple - paired == {("executions", "canonical_workflow_id")}


def test_the_login_role_owns_nothing_and_bypasses_nothing(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = session_user"
        )
        assert cursor.fetchone() == (False, False, False, False)
        cursor.execute("SELECT count(*) FROM pg_class WHERE relowner = session_user::regrole")
        assert cursor.fetchone() == (0,)
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " AND has_table_privilege(session_user, oid, 'TRUNCATE')"
        )
        assert cursor.fetchone() == (0,)


def test_no_scope_no_rows_and_no_error(cast: Any) -> None:
    with connection.cursor() as cursor:
        for table in tenant_tables():
            cursor.execute(f'SELECT count(*) FROM "{table}"')
            assert cursor.fetchone() == (0,), table


def test_a_scope_shows_its_tenant_only(cast: Any) -> None:
    with tenant_scope(cast.tenant.pk):
        assert list(Tenant.objects.values_list("slug", flat=True)) == ["acme"]
        assert set(Membership.objects.values_list("tenant_id", flat=True)) == {cast.tenant.pk}
        assert not Membership.objects.filter(user=cast.stranger).exists()
    assert Tenant.objects.count() == 0
    with platform_scope():
        assert Tenant.objects.count() == 2


@pytest.mark.parametrize("how", ["insert", "update", "foreign key"])
def test_nothing_is_written_across(cast: Any, how: str) -> None:
    fields = {"kind": "x", "title": "x", "tenant_id": cast.other_tenant.pk}
    with tenant_scope(cast.other_tenant.pk):
        theirs = Operation.objects.create(**fields)
    with pytest.raises((ProgrammingError, IntegrityError)), transaction.atomic(), tenant_scope(cast.tenant.pk):
        if how == "insert":
            Operation.objects.create(**fields)
        elif how == "update":
            mine = Operation.objects.create(**{**fields, "tenant_id": cast.tenant.pk})
            Operation.objects.filter(pk=mine.pk).update(tenant_id=cast.other_tenant.pk)
        else:
            from operations.models import OperationStep

            OperationStep.objects.create(
                tenant_id=cast.tenant.pk,
                operation_id=theirs.pk,
                position=1,
                name="x",
                title="x",
                state="DONE",
                fence=1,
                started_at=theirs.created_at,
            )
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_who_only_reads_reads_no_keys_of_sign_ins(cast: Any) -> None:
    for scope in (tenant_scope(cast.tenant.pk, read_only=True), platform_scope(read_only=True)):
        with scope, pytest.raises(ProgrammingError, match="user_sessions"), transaction.atomic():
            UserSession.objects.exists()


def test_what_the_runbook_asks_pg_policies_about_is_there(cast: Any) -> None:
    """After a restore of the database: “Check RLS policies are active”."""
    wanted = ("tenants", "platform_admins", "platform_impersonation_sessions")
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        rows = operator.execute("SELECT DISTINCT tablename FROM pg_policies WHERE tablename = ANY(%s)", [list(wanted)])
        assert {row[0] for row in rows} == set(wanted)


def test_only_the_platform_writes_the_list_of_platform_admins(cast: Any) -> None:
    assert not PlatformAdmin.objects.filter(user=cast.operator).exists(), "without a scope it is read: at each request"
    with tenant_scope(cast.tenant.pk):
        assert PlatformAdmin.objects.filter(user=cast.admin).exists()
        with pytest.raises(ProgrammingError), transaction.atomic():
            PlatformAdmin.objects.create(user=cast.operator)
        with pytest.raises(ProgrammingError), transaction.atomic():
            PlatformAdmin.objects.all().delete()
    with platform_scope():
        PlatformAdmin.objects.create(user=cast.operator)
        assert PlatformAdmin.objects.filter(user=cast.operator).delete()[0] == 1


def test_scopes_do_not_nest_across_tenants(cast: Any) -> None:
    with tenant_scope(cast.tenant.pk):
        with pytest.raises(ScopeError), tenant_scope(cast.other_tenant.pk):
            pass
        with pytest.raises(ScopeError), platform_scope():
            pass
        with tenant_scope(cast.tenant.pk, read_only=True), pytest.raises(ProgrammingError), transaction.atomic():
            Membership.objects.all().delete()
        Membership.objects.filter(user=cast.viewer).delete()


def test_the_operator_reads_the_runbooks_names(cast: Any) -> None:
    names = [
        *[
            "tenants",
            "users",
            "platform_admins",
            "user_sessions",
            "environments",
            "canonical_workflows",
            "workflow_env_map",
            "snapshots",
            "promotions",
            "drift_incidents",
            "drift_policies",
            "drift_schedulers",
            "platform_impersonation_sessions",
            "audit_logs",
            "background_jobs",
            "executions",
            "saga_executions",
            "idempotent_operations",
        ]
    ]
    with psycopg.connect(os.environ["DATABASE_OPERATOR_URL"]) as operator:
        for name in names:
            operator.execute(f"SELECT count(*) FROM {name}")
