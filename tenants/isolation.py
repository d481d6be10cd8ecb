"""Is every tenant's data still its own? Asks the catalogue, the rows and the login role itself; changes nothing.

Each question gives ``IsolationFinding``s. ``scan`` asks all in one read-only transaction with a time limit for each
statement, so it can run on a production database at any hour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from core.wording import counted

#: SECURITY DEFINER functions that may exist. Each has a fixed search path; the trail's take nothing but the caller's
#: rows, or events that they compare with the caller's scope; the third makes next months' empty partitions. The
#: support sessions' take ids and say whether a session stands, or carry its end out. The last two refuse a row that
#: does not follow the one before.
DEFINER_FUNCTIONS = frozenset(
    {
        "opsconsole_record_write",
        "opsconsole_record_events",
        "opsconsole_trail_partitions",
        "opsconsole_support_session",
        "opsconsole_hold_support_session",
        "opsconsole_support_session_stands",
        "opsconsole_support_session_before",
        "opsconsole_support_session_after",
        "opsconsole_password_is_new",
        "opsconsole_seal_fits",
        "opsconsole_epoch_follows",
    }
)
#: Columns that say to which tenant a row belongs, besides ``tenant_id``.
TENANT_COLUMNS = {"tenants": "id", "tenant_grants": "content_object_id"}
OTHER_NAMES = ("impersonated_tenant_id",)
#: Columns that point to another tenant's table without being bound to the same tenant, with the reason.
LOOSE_KEYS = {("executions", "canonical_workflow_id"): "a convenience for joins; may be empty"}
LOGIN_ROLE = "opsconsole_app"
#: Those who see one tenant's rows: no policy for them may hold anything but that comparison.
TENANTS_ROLES = frozenset({LOGIN_ROLE, "opsconsole_tenant", "opsconsole_readonly", "public"})
GROUP_ROLES = ("opsconsole_tenant", "opsconsole_platform", "opsconsole_readonly", "opsconsole_platform_readonly")
STATEMENT_TIMEOUT_SECONDS = 60
ISOLATION, INTEGRITY = "DB_001", "DB_002"


class Cursor(Protocol):
    """What a scan needs of a database cursor; Django's and psycopg's both have it."""

    def execute(self, query: Any, params: Any = None) -> Any: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True, slots=True)
class IsolationFinding:
    """Something that must not be. ``code`` is DB_001 (isolation) or DB_002 (a row whose parent is missing)."""

    code: str
    check: str
    subject: str
    message: str
    recovery: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def _rows(cursor: Cursor, sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    cursor.execute(sql, params)
    return cursor.fetchall()


def tenant_tables(cursor: Cursor) -> dict[str, str]:
    """Each table that holds rows of tenants, with the column that says whose; partitions stand behind their parent."""
    found = _rows(
        cursor,
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        "   AND a.attname = ANY(%s) AND NOT a.attisdropped",
        [["tenant_id", *OTHER_NAMES]],
    )
    tables = dict(found)
    present = {name for (name,) in _rows(cursor, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')")}
    return tables | {table: column for table, column in TENANT_COLUMNS.items() if table in present}


def roles(cursor: Cursor) -> Iterator[IsolationFinding]:
    """The login role and the roles it can take: no superuser, no bypass, no ownership, no TRUNCATE."""
    recovery = "Run docs/guide/roles.sql again as the database's administrator."
    names = [LOGIN_ROLE, *GROUP_ROLES]
    for name, superuser, bypass in _rows(
        cursor, "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = ANY(%s)", [names]
    ):
        if superuser or bypass:
            what = "is a superuser" if superuser else "bypasses row security"
            yield IsolationFinding(ISOLATION, "roles", name, f"The role {name} {what}.", recovery)
    for name, table, what in _rows(
        cursor,
        "SELECT r.rolname, c.relname, CASE WHEN c.relowner = r.oid THEN 'owns' ELSE 'may truncate' END"
        " FROM pg_roles r JOIN pg_class c ON c.relkind IN ('r', 'p', 'v', 'm')"
        "  AND c.relnamespace = 'public'::regnamespace WHERE r.rolname = ANY(%s)"
        "  AND (c.relowner = r.oid OR (c.relkind IN ('r', 'p') AND has_table_privilege(r.oid, c.oid, 'TRUNCATE')))",
        [names],
    ):
        yield IsolationFinding(ISOLATION, "roles", table, f"The role {name} {what} {table}.", recovery)

    for name, reached in _rows(
        cursor,
        "SELECT m.rolname, r.rolname FROM pg_roles m JOIN pg_roles r ON r.oid <> m.oid"
        "  AND pg_has_role(m.oid, r.oid, 'MEMBER') WHERE m.rolname = ANY(%s) AND NOT m.rolsuper"
        "  AND (r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM pg_class c"
        "       WHERE c.relowner = r.oid AND c.relnamespace = 'public'::regnamespace))",
        [names],
    ):
        yield IsolationFinding(ISOLATION, "roles", name, f"The role {name} can become {reached}.", recovery)


def _plainly(expression: str) -> str:
    """A policy's expression without what versions of PostgreSQL print differently."""
    return re.sub(r"[()\s]|::text|AS current_setting", "", expression)


def _expected(column: str) -> str:
    return _plainly(f"{column} = NULLIF(SELECT current_setting('opsconsole.tenant_id', true), '')::uuid")


def policies(cursor: Cursor) -> Iterator[IsolationFinding]:
    """Row security is on and forced everywhere, and no policy of the console's roles lets every row through."""
    recovery = "Run `manage.py migrate` as the owner; see which release changed the table."
    state = {
        name: (enabled, forced)
        for name, enabled, forced in _rows(
            cursor,
            "SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
        )
    }
    known = _policies_of_tenants(cursor)
    for table, column in tenant_tables(cursor).items():
        wrong = [
            f"{table} lacks {what} ROW LEVEL SECURITY."
            for on, what in zip(state[table], ("ENABLE", "FORCE"), strict=True)
            if not on
        ]
        ours = known.get(table, [])
        if not ours:
            wrong.append(f"{table} has no policy for a tenant's rows.")
        for policy in ours:
            wrong += _wrong_sides(policy, table, column)
        for message in wrong:
            yield IsolationFinding(ISOLATION, "policies", table, message, recovery)


def _policies_of_tenants(cursor: Cursor) -> dict[str, list[tuple[str, str, str]]]:
    """By table, the policies that let roles of tenants in: name, USING and WITH CHECK."""
    known: dict[str, list[tuple[str, str, str]]] = {}
    for table, name, qual, check, roles in _rows(
        cursor,
        "SELECT tablename, policyname, coalesce(qual, ''), coalesce(with_check, ''), roles::text[] FROM pg_policies"
        " WHERE schemaname = 'public' AND permissive = 'PERMISSIVE'",
    ):
        if TENANTS_ROLES & set(roles):
            known.setdefault(table, []).append((name, qual, check))
    return known


def _wrong_sides(policy: tuple[str, str, str], table: str, column: str) -> list[str]:
    name, qual, check = policy
    return [
        f"The policy {name} on {table} is not {column} compared with the tenant ({side})."
        for side, text in (("USING", qual), ("WITH CHECK", check))
        if text and _plainly(text) != _expected(column)
    ]


def partitions(cursor: Cursor) -> Iterator[IsolationFinding]:
    """A partition asked by its own name goes around its parent's policies, so no role of the console may."""
    for name, role in _rows(
        cursor,
        "SELECT c.relname, r.rolname FROM pg_class c JOIN pg_roles r ON r.rolname = ANY(%s)"
        " WHERE c.relispartition AND c.relkind = 'r' AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
        "   AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE')",
        [[LOGIN_ROLE, *GROUP_ROLES]],
    ):
        message = f"The role {role} can reach the partition {name} without its parent's policies."
        yield IsolationFinding(ISOLATION, "partitions", name, message, f"REVOKE ALL ON {name} FROM {role};")


def indexes(cursor: Cursor) -> Iterator[IsolationFinding]:
    """Each table of tenants has an index that begins with the tenant, or every policy check reads the whole table."""
    leading = {
        (table, column)
        for table, column in _rows(
            cursor,
            "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] WHERE i.indisvalid",
        )
    }
    for table, column in tenant_tables(cursor).items():
        if (table, column) not in leading:
            message = f"{table} has no index that begins with {column}."
            yield IsolationFinding(ISOLATION, "indexes", table, message, "Run `manage.py migrate` as the owner.")


def back_doors(cursor: Cursor) -> Iterator[IsolationFinding]:
    """Views that read as their owner, materialized views, and functions that run as theirs."""
    for (name,) in _rows(
        cursor,
        "SELECT c.relname FROM pg_class c WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace"
        " AND NOT coalesce('security_invoker=true' = ANY(c.reloptions) OR 'security_invoker=on' = ANY(c.reloptions),"
        " false)",
    ):
        message = f"The view {name} reads with its owner's rights."
        yield IsolationFinding(ISOLATION, "views", name, message, f"ALTER VIEW {name} SET (security_invoker = true);")
    for (name,) in _rows(
        cursor, "SELECT relname FROM pg_class WHERE relkind = 'm' AND relnamespace = 'public'::regnamespace"
    ):
        message = f"{name} is a materialized view: row security does not reach it."
        yield IsolationFinding(
            ISOLATION, "views", name, message, f"Drop {name}, or move it where the console cannot read."
        )
    for name, settings in _rows(
        cursor,
        "SELECT p.proname, coalesce(array_to_string(p.proconfig, ','), '') FROM pg_proc p"
        " WHERE p.prosecdef AND p.pronamespace NOT IN ('pg_catalog'::regnamespace)"
        "   AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
    ):
        if name not in DEFINER_FUNCTIONS or "search_path=" not in settings:
            message = f"The function {name}() runs with its owner's rights and is not known to be safe."
            yield IsolationFinding(ISOLATION, "functions", name, message, f"Look at it, then DROP FUNCTION {name};")


def strays(cursor: Cursor) -> Iterator[IsolationFinding]:
    """Rows whose parent belongs to another tenant, or is missing: along every reference between tenants' tables."""
    tables = tenant_tables(cursor)
    for child, column, parent in sorted(_references(cursor, set(tables))):
        mine = tables[child]
        if parent == "tenants":
            apart, where = "false", f"c.{column} = p.id"
        else:
            apart, where = f"p.{tables[parent]} IS DISTINCT FROM c.{mine}", f"c.{column} = p.id"
        ((missing, foreign),) = _rows(
            cursor,
            f"SELECT count(*) FILTER (WHERE p.id IS NULL), count(*) FILTER (WHERE p.id IS NOT NULL AND {apart})"  # noqa: S608
            f' FROM "{child}" c LEFT JOIN "{parent}" p ON {where} WHERE c.{column} IS NOT NULL',
        )
        if foreign and (child, column) not in LOOSE_KEYS:
            message = f"In {child}, {column} points to {parent} of another tenant: {counted(foreign, 'row')}."
            recovery = "Look at them with the operator's role; see the trail for who wrote them."
            yield IsolationFinding(ISOLATION, "strays", child, message, recovery)
        if missing:
            message = f"In {child}, {column} points to {parent} that is not there: {counted(missing, 'row')}."
            yield IsolationFinding(
                INTEGRITY, "orphans", child, message, "Restore the missing rows from a backup, or delete."
            )


def _references(cursor: Cursor, tables: set[str]) -> set[tuple[str, str, str]]:
    """(child, column, parent) of every foreign key between tenants' tables, the tenant's own column left out."""
    found = _rows(
        cursor,
        "SELECT child.relname, a.attname, parent.relname FROM pg_constraint k"
        " JOIN pg_class child ON child.oid = k.conrelid JOIN pg_class parent ON parent.oid = k.confrelid"
        " CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair(mine, theirs)"
        " JOIN pg_attribute a ON a.attrelid = child.oid AND a.attnum = pair.mine"
        " JOIN pg_attribute b ON b.attrelid = parent.oid AND b.attnum = pair.theirs AND b.attname = 'id'"
        " WHERE k.contype = 'f' AND child.relname = ANY(%s) AND parent.relname = ANY(%s)",
        [list(tables), list(tables)],
    )
    return set(found)


CHECKS: tuple[Callable[[Cursor], Iterator[IsolationFinding]], ...] = (
    roles,
    policies,
    partitions,
    indexes,
    back_doors,
    strays,
)


def scan(cursor: Cursor) -> list[IsolationFinding]:
    """Every finding. The cursor must be in a transaction of its own, of a role that sees all rows."""
    _rows(cursor, "SELECT set_config('statement_timeout', %s, true)", [f"{STATEMENT_TIMEOUT_SECONDS}s"])
    return [finding for check in CHECKS for finding in check(cursor)]


def as_the_console(cursor: Cursor, tables: dict[str, str]) -> list[IsolationFinding]:
    """What the web's login role itself sees without a scope: must be nothing. In a transaction of that role."""
    found = []
    for table in tables:
        ((seen,),) = _rows(cursor, f'SELECT EXISTS (SELECT 1 FROM "{table}")')  # noqa: S608 - from the catalogue
        if seen:
            message = f"Without a tenant's scope the console's login role sees rows of {table}."
            found.append(
                IsolationFinding(ISOLATION, "no scope", table, message, "Stop the web and workers; see the policies.")
            )
    return found
