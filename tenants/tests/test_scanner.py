"""The scanner finds what it is there to find: each hole is made as the owner, seen, and gone with the transaction."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from conftest import Cast, owner_connection
from tenants.isolation import scan, tenant_tables


@pytest.fixture
def owner(db: None) -> Iterator[psycopg.Cursor[Any]]:
    """A transaction of the owner that is never kept."""
    with owner_connection() as connection, connection.transaction(force_rollback=True):
        yield connection.cursor()


def test_a_fresh_database_is_clean(live_cast: Cast) -> None:
    out = io.StringIO()
    call_command("scan_isolation", "--json", stdout=out)
    report = json.loads(out.getvalue())
    assert report["findings"] == []
    assert report["tables"] > 20


HOLES = {
    "row security is switched off": ("ALTER TABLE environments DISABLE ROW LEVEL SECURITY", "environments"),
    "the owner is let through": ("ALTER TABLE snapshots NO FORCE ROW LEVEL SECURITY", "snapshots"),
    "a policy lets all through": ("CREATE POLICY oops ON promotions FOR SELECT TO PUBLIC USING (true)", "promotions"),
    "a policy has a way around": (
        "CREATE POLICY oops ON promotions FOR SELECT TO opsconsole_tenant USING"
        " (tenant_id = nullif((select current_setting('opsconsole.tenant_id', true)), '')::uuid OR name <> '')",
        "promotions",
    ),
    "a policy lets readers through": (
        "CREATE POLICY oops ON promotions FOR SELECT TO opsconsole_readonly USING (true)",
        "promotions",
    ),
    "no policy is left": ("DROP POLICY tenant_rows ON drift_incidents", "drift_incidents"),
    "a new table forgets": ("CREATE TABLE notes (id uuid PRIMARY KEY, tenant_id uuid NOT NULL)", "notes"),
    "a view reads as its owner": ("CREATE VIEW all_secrets AS SELECT * FROM environments", "all_secrets"),
    "a materialized view": ("CREATE MATERIALIZED VIEW copies AS SELECT 1 AS one", "copies"),
    "a definer function": (
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM environments'",
        "peek",
    ),
    "the application may truncate": ("GRANT TRUNCATE ON environments TO opsconsole_tenant", "environments"),
}


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_is_found(owner: psycopg.Cursor[Any], hole: str) -> None:
    assert scan(owner) == []
    statement, subject = HOLES[hole]
    owner.execute(statement)
    assert subject in {finding.subject for finding in scan(owner) if finding.code == "DB_001"}


def test_rows_that_point_abroad_or_nowhere_are_found(live_cast: Cast) -> None:
    from operations.models import Operation, OperationStep
    from tenants.scope import tenant_scope

    with tenant_scope(live_cast.tenant.pk):
        job = Operation.objects.create(tenant_id=live_cast.tenant.pk, kind="x", title="x")
        step = OperationStep.objects.create(
            tenant_id=live_cast.tenant.pk, operation=job, position=1, name="x", title="x", state="DONE", fence=1,
            started_at=job.created_at,
        )  # fmt: skip
    with owner_connection() as connection, connection.transaction(force_rollback=True):
        cursor = connection.cursor()
        child, parent = OperationStep._meta.db_table, Operation._meta.db_table
        for (name,) in cursor.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'", [child]
        ).fetchall():
            cursor.execute(f'ALTER TABLE {child} ALTER CONSTRAINT "{name}" DEFERRABLE INITIALLY DEFERRED')
        cursor.execute(f"UPDATE {child} SET tenant_id = %s WHERE id = %s", [live_cast.other_tenant.pk, step.pk])
        assert [(f.code, f.subject) for f in scan(cursor)] == [("DB_001", child)]
        cursor.execute(f"UPDATE {child} SET tenant_id = %s WHERE id = %s", [live_cast.tenant.pk, step.pk])
        cursor.execute(f"DELETE FROM {parent} WHERE id = %s", [job.pk])
        assert ("DB_002", child) in [(f.code, f.subject) for f in scan(cursor)]


def test_the_scanner_knows_the_tables_that_the_models_know(owner: psycopg.Cursor[Any]) -> None:
    from .test_isolation import tenant_tables as by_models

    assert by_models().items() <= tenant_tables(owner).items()
