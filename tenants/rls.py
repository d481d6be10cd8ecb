"""Row-level security for a table, as migration operations.

Every table of a tenant calls ``protect`` in the migration that makes it. The test ``tenants/tests/test_isolation.py``
compares the catalogue with the models and fails for a table that lacks any part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.migrations.operations import RunSQL

#: Evaluated once per statement thanks to the sub-select; a bare volatile call costs a hundred times as much.
CURRENT_TENANT = "nullif((select current_setting('opsconsole.tenant_id', true)), '')::uuid"

_LOGIN_AND_TENANT = "opsconsole_app, opsconsole_tenant, opsconsole_readonly"


def protect(
    table: str,
    *,
    tenant_column: str = "tenant_id",
    parents: dict[str, str] | None = None,
    trail: bool = True,
    watch: Sequence[str] = (),
    nullable: bool = False,
) -> RunSQL:
    """Policies, privileges, composite foreign keys and the trail's trigger for one table.

    ``parents`` maps a column to the tenant table it points to: the pair (tenant, id) must exist there, because a
    foreign key check does not ask the policies. ``nullable`` says that rows without a tenant exist; only the platform
    sees those. ``trail=False`` is for tables whose writes are bookkeeping (steps of an operation); ``watch`` names the
    columns whose change leaves an entry (default: all but the silent ones).
    """
    forward: list[Any] = [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY tenant_rows ON {table} FOR ALL TO {_LOGIN_AND_TENANT}"
        f" USING ({tenant_column} = {CURRENT_TENANT}) WITH CHECK ({tenant_column} = {CURRENT_TENANT})",
        f"CREATE POLICY platform_rows ON {table} FOR ALL TO opsconsole_platform USING (true) WITH CHECK (true)",
        f"CREATE POLICY platform_reads ON {table} FOR SELECT TO opsconsole_platform_readonly USING (true)",
        f"CREATE POLICY owner_rows ON {table} FOR ALL TO opsconsole_owner USING (true) WITH CHECK (true)",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO opsconsole_app, opsconsole_tenant, opsconsole_platform",
        f"GRANT SELECT ON {table} TO opsconsole_readonly, opsconsole_platform_readonly",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO opsconsole_operator",
    ]
    if tenant_column == "tenant_id":
        forward.append(f"ALTER TABLE {table} ADD CONSTRAINT {table}_tenant_id_id UNIQUE (tenant_id, id)")
    for column, parent in (parents or {}).items():
        forward.append(
            f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_same_tenant FOREIGN KEY ({tenant_column}, {column})"
            f" REFERENCES {parent} (tenant_id, id) DEFERRABLE INITIALLY DEFERRED"
        )
    if trail:
        forward.append(trail_trigger(table, tenant_column=tenant_column, watch=watch))
    backward: list[Any] = [drop_trail_trigger(table)] if trail else []
    backward += [
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_{column}_same_tenant" for column in (parents or {})
    ]
    backward += [f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_tenant_id_id CASCADE"]
    policies = ("tenant_rows", "platform_rows", "platform_reads", "owner_rows")
    backward += [f"DROP POLICY IF EXISTS {name} ON {table}" for name in policies]
    backward += [f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY", f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"]
    return RunSQL(forward, backward)


SAME_PLACE = """
CREATE OR REPLACE FUNCTION opsconsole_same_place() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $body$
DECLARE
    theirs uuid;
BEGIN
    EXECUTE format('SELECT tenant_id FROM public.%I WHERE id = ($1).%I', TG_ARGV[1], TG_ARGV[0]) INTO theirs USING NEW;
    IF theirs IS NOT NULL THEN
        RAISE EXCEPTION 'a row of the platform in % points to a row of a tenant in %', TG_TABLE_NAME, TG_ARGV[1]
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$body$
"""


def platform_parent(table: str, column: str, parent: str) -> RunSQL:
    """Keep rows of the platform to parents of the platform.

    The pair (tenant, id) does that for rows of tenants, but a key with a NULL in it is not checked at all. Rows of
    tenants do not pay for it.
    """
    name = f"same_place_{column}"
    return RunSQL(
        [
            SAME_PLACE,
            f"CREATE TRIGGER {name} AFTER INSERT OR UPDATE OF tenant_id, {column} ON {table} FOR EACH ROW"
            f" WHEN (NEW.tenant_id IS NULL AND NEW.{column} IS NOT NULL)"
            f" EXECUTE FUNCTION opsconsole_same_place('{column}', '{parent}')",
        ],
        [f"DROP TRIGGER {name} ON {table}"],
    )


def grant(table: str, *, app: str = "SELECT, INSERT, UPDATE, DELETE", operator: str = "SELECT") -> RunSQL:
    """Privileges for a table that belongs to no tenant."""
    return RunSQL(
        [
            f"GRANT {app} ON {table} TO opsconsole_app, opsconsole_tenant, opsconsole_platform",
            f"GRANT SELECT ON {table} TO opsconsole_readonly, opsconsole_platform_readonly",
            f"GRANT {operator} ON {table} TO opsconsole_operator",
        ],
        RunSQL.noop,
    )


def trail_trigger(table: str, *, key: str = "id", tenant_column: str = "tenant_id", watch: Sequence[str] = ()) -> str:
    """SQL that hangs the trail's triggers on a table (function made by the audit app's migrations).

    One for each kind of write, since each sees its own transition tables. With ``watch`` an update leaves an entry
    only if one of these columns changed. Emptying the table is refused: it would leave no trace of what was there.
    """
    arguments = ", ".join(f"'{a}'" for a in (key, tenant_column, *([",".join(watch)] if watch else [])))
    run = f"FOR EACH STATEMENT EXECUTE FUNCTION opsconsole_record_write({arguments})"
    new, old = "NEW TABLE AS new_rows", "OLD TABLE AS old_rows"
    return ";\n".join(
        [
            f"CREATE TRIGGER trail_insert AFTER INSERT ON {table} REFERENCING {new} {run}",
            f"CREATE TRIGGER trail_update AFTER UPDATE ON {table} REFERENCING {old} {new} {run}",
            f"CREATE TRIGGER trail_delete AFTER DELETE ON {table} REFERENCING {old} {run}",
            f"CREATE TRIGGER trail_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT"
            " EXECUTE FUNCTION opsconsole_refuse('it would leave no trace of what was there')",
        ]
    )


def drop_trail_trigger(table: str) -> str:
    """SQL that takes the triggers of ``trail_trigger`` away."""
    kinds = ("insert", "update", "delete", "truncate")
    return ";\n".join(f"DROP TRIGGER IF EXISTS trail_{kind} ON {table}" for kind in kinds)
