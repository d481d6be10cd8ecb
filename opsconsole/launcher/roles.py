"""The database roles, as SQL that may be run any number of times.

`docs/guide/roles.sql` is this file's text for an administrator of a production database; a test keeps them equal.
"""

from __future__ import annotations

import re

LOGIN_ROLES = ("opsconsole_owner", "opsconsole_app", "opsconsole_operator")
GROUP_ROLES = ("opsconsole_tenant", "opsconsole_platform", "opsconsole_readonly", "opsconsole_platform_readonly")

CLUSTER_SQL = """\
-- The three login roles. Passwords are set apart from this file.
DO $roles$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[
        'opsconsole_owner', 'opsconsole_app', 'opsconsole_operator',
        'opsconsole_tenant', 'opsconsole_platform', 'opsconsole_readonly', 'opsconsole_platform_readonly'
    ] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I', wanted);
        END IF;
    END LOOP;
END
$roles$;

-- Owns the tables and migrates them. Web and workers never sign in as it.
ALTER ROLE opsconsole_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;
-- Web and workers: owns nothing, bypasses nothing, and holds no right until it picks one of the group roles.
ALTER ROLE opsconsole_app LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;
-- A person on call with psql: reads all tenants, watches and ends connections, writes exports on the server.
ALTER ROLE opsconsole_operator LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS NOREPLICATION;
-- Runbooks spell a few of PostgreSQL's names otherwise; a schema of views in front makes them work as written.
ALTER ROLE opsconsole_operator SET search_path = runbook, public, pg_catalog;

ALTER ROLE opsconsole_tenant NOLOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;
ALTER ROLE opsconsole_platform NOLOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;
ALTER ROLE opsconsole_readonly NOLOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;
ALTER ROLE opsconsole_platform_readonly
    NOLOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION;

GRANT opsconsole_tenant, opsconsole_platform, opsconsole_readonly, opsconsole_platform_readonly
    TO opsconsole_app WITH INHERIT FALSE, SET TRUE, ADMIN FALSE;
GRANT pg_read_all_data, pg_monitor, pg_signal_backend, pg_write_server_files
    TO opsconsole_operator WITH INHERIT TRUE, SET TRUE, ADMIN FALSE;
"""

DATABASE_SQL = """\
-- In the database itself: only the owner makes tables, only the known roles connect.
ALTER DATABASE {database} OWNER TO opsconsole_owner;
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO opsconsole_app, opsconsole_operator;
ALTER SCHEMA public OWNER TO opsconsole_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public
    TO opsconsole_app, opsconsole_tenant, opsconsole_platform, opsconsole_readonly, opsconsole_platform_readonly,
    opsconsole_operator;
"""

HEADER = """\
-- The roles that OpsConsole needs, for an administrator (superuser) of the database cluster. Safe to run again.
--   createdb opsconsole
--   psql -d opsconsole -f docs/guide/roles.sql
--   then: \\password opsconsole_owner, \\password opsconsole_app, \\password opsconsole_operator
-- On a managed service without superusers, run it as the service's administrator role; where that role may not grant
-- pg_write_server_files or BYPASSRLS, leave those out: only exports on the server and the operator's view need them.

"""


def quote_name(name: str) -> str:
    """An SQL identifier, quoted. Only plain names are taken at all."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a plain database name: {name!r}")
    return f'"{name}"'


def quote_text(text: str) -> str:
    """An SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def cluster_sql(passwords: dict[str, str], *, create_databases: bool) -> str:
    """The roles with their passwords; `create_databases` lets the owner make test databases."""
    parts = [CLUSTER_SQL]
    if create_databases:
        parts.append("ALTER ROLE opsconsole_owner CREATEDB;\n")
    for role, password in passwords.items():
        parts.append(f"ALTER ROLE {quote_name(role)} PASSWORD {quote_text(password)};\n")
    return "BEGIN;\n" + "".join(parts) + "COMMIT;\n"


def database_sql(database: str) -> str:
    """What belongs into each database."""
    return "BEGIN;\n" + DATABASE_SQL.format(database=quote_name(database)) + "COMMIT;\n"


def create_database_sql(database: str) -> str:
    """Create the database unless it is there (psql's \\gexec: CREATE DATABASE cannot run inside a block)."""
    return (
        f"SELECT 'CREATE DATABASE {quote_name(database)} OWNER opsconsole_owner'"
        f" WHERE NOT EXISTS (SELECT 1 FROM pg_database WHERE datname = {quote_text(database)}) \\gexec\n"
    )


def guide_sql() -> str:
    """The whole of `docs/guide/roles.sql`."""
    return HEADER + CLUSTER_SQL + "\n" + DATABASE_SQL.format(database="opsconsole")
