"""What must hold before production starts, checked by Django's own check framework and at start-up.

`refuse_unsafe_start` is called by the ASGI entry point and by Celery. `manage.py check --deploy` shows the same list.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connection

REQUIRED = ("DATABASE_URL", "BROKER_URL", "OPSCONSOLE_SECRET_KEY", "OPSCONSOLE_FIELD_KEYS", "OPSCONSOLE_ALLOWED_HOSTS")
SECRET_KEY_LENGTH = 40

ROLE_SQL = """
SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb
FROM pg_roles WHERE rolname = session_user
"""
# Reached by any membership, also one that has to be taken on with SET ROLE.
POWERFUL_SQL = """
SELECT rolname FROM pg_roles
WHERE (rolsuper OR rolbypassrls) AND rolname <> session_user
  AND pg_has_role(session_user, oid, 'MEMBER')
ORDER BY 1
"""
OWNED_SQL = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_has_role(session_user, c.relowner, 'MEMBER')
ORDER BY 1 LIMIT 6
"""
TRUNCATE_SQL = """
SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN pg_roles r
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND pg_has_role(session_user, r.oid, 'MEMBER')
  AND has_table_privilege(r.oid, c.oid, 'TRUNCATE')
ORDER BY 1 LIMIT 6
"""


def problem(number: int, message: str, hint: str) -> Error:
    """One finding, with its way out."""
    return Error(message, hint=hint, id=f"opsconsole.E{number:03d}")


def settings_problems() -> list[Error]:
    """What is wrong with the environment and settings, without a database."""
    return [
        *missing_problems(),
        *debug_problems(),
        *secret_key_problems(),
        *field_key_problems(),
        *host_problems(),
        *owner_problems(),
    ]


def missing_problems() -> list[Error]:
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    if not missing:
        return []
    return [problem(1, f"Not set: {', '.join(missing)}.", "Set them; docs/guide/production.md says what each holds.")]


def debug_problems() -> list[Error]:
    if not settings.DEBUG:
        return []
    return [problem(2, "DEBUG is on: error pages would show settings and data.", "Unset OPSCONSOLE_DEBUG.")]


def secret_key_problems() -> list[Error]:
    """Whether Django's secret key is long and varied enough, and not the demo's."""
    key = str(settings.SECRET_KEY)
    if len(key) >= SECRET_KEY_LENGTH and len(set(key)) >= 8 and not key.startswith("demo-"):
        return []
    hint = 'Make one: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
    return [problem(3, "OPSCONSOLE_SECRET_KEY is the demo's, too short or too plain.", hint)]


def host_problems() -> list[Error]:
    if settings.ALLOWED_HOSTS and "*" not in settings.ALLOWED_HOSTS:
        return []
    hint = "Name the host that people type, comma separated."
    return [problem(5, "OPSCONSOLE_ALLOWED_HOSTS is empty or '*'.", hint)]


def owner_problems() -> list[Error]:
    if not getattr(settings, "AS_OWNER", False):
        return []
    return [problem(6, "OPSCONSOLE_AS_OWNER is set.", "It is for `manage.py migrate` alone: unset it.")]


#: What gives power over the database or the trail, and belongs to deployments, runbooks and the sealer alone.
POWERS = {
    "DATABASE_OWNER_URL": "deployments (`manage.py migrate`)",
    "DATABASE_OPERATOR_URL": "a person on call",
    "OPSCONSOLE_SEAL_KEY": "the sealer (`manage.py seal_trail --every 60`)",
}


def foreign_powers() -> list[Error]:
    """What web, workers and beat hold and do not need: whoever breaks into one of them would have it, too."""
    return [
        problem(8, f"{name} is set, which only {who} needs.", f"Take {name} out of this process's environment.")
        for name, who in POWERS.items()
        if os.environ.get(name)
    ]


def seal_key_problems() -> list[Error]:
    """Whether the key that signs the trail's seals is a real one: asked by the sealer, which alone has it."""
    try:
        seed = base64.b64decode(str(getattr(settings, "SEAL_KEY", "")), validate=True)
    except (binascii.Error, ValueError):
        seed = b""
    if len(seed) == 32 and len(set(seed)) >= 8:
        return []
    hint = 'Make one: python3 -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
    return [problem(7, "OPSCONSOLE_SEAL_KEY is missing or not 32 bytes in base64: the trail cannot be sealed.", hint)]


def field_key_problems() -> list[Error]:
    """Whether the keys that secrets are encrypted with are real ones."""
    keys = [str(key) for key in getattr(settings, "FIELD_KEYS", [])]
    demo = str(getattr(settings, "DEMO_FIELD_KEY", ""))
    bad = not keys or demo in keys
    for key in keys:
        try:
            raw = base64.urlsafe_b64decode(key)
        except (binascii.Error, ValueError):
            bad = True
        else:
            bad = bad or len(raw) != 32 or len(set(raw)) < 8 or raw.startswith(b"demo")
    if not bad:
        return []
    hint = 'Make one: python3 -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
    return [problem(4, "OPSCONSOLE_FIELD_KEYS is missing, the demo's, or no Fernet key.", hint)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginRole:
    """The database role of web and workers: its powers, and the names of what it can become, owns or may truncate."""

    name: str
    is_superuser: bool
    bypasses_row_security: bool
    may_create: bool
    can_become: list[str]
    owns: list[str]
    may_truncate: list[str]


def database_problems() -> list[Error]:
    """What the login role of web and workers could do that it must not."""
    try:
        role = _login_role()
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return [problem(10, f"The database cannot be asked: {reason}.", "Check DATABASE_URL and that the server runs.")]
    hint = "Sign in as opsconsole_app, made by docs/guide/roles.sql, in DATABASE_URL."
    return [problem(number, f"The database role {role.name} {power}.", hint) for number, power in _powers(role)]


def _login_role() -> LoginRole:
    with connection.cursor() as cursor:
        cursor.execute(ROLE_SQL)
        name, is_superuser, bypasses, create_role, create_database = cursor.fetchone()
        return LoginRole(
            name=name,
            is_superuser=is_superuser,
            bypasses_row_security=bypasses,
            may_create=create_role or create_database,
            can_become=_names(cursor, POWERFUL_SQL),
            owns=_names(cursor, OWNED_SQL),
            may_truncate=_names(cursor, TRUNCATE_SQL),
        )


def _powers(role: LoginRole) -> Iterator[tuple[int, str]]:
    """Each power that the role must not have, with the number of its finding. A superuser has all that follows."""
    if role.is_superuser:
        yield 11, "is a superuser"
    if role.bypasses_row_security:
        yield 12, "bypasses row security"
    if role.may_create:
        yield 13, "may create roles or databases"
    if role.is_superuser:
        return
    if role.can_become:
        yield 14, f"can become {', '.join(role.can_become)}"
    if role.owns:
        yield 15, f"owns tables: {', '.join(role.owns)}"
    elif role.may_truncate:
        yield 16, f"may TRUNCATE: {', '.join(role.may_truncate)}"


def _names(cursor: Any, sql: str) -> list[str]:
    cursor.execute(sql)
    return [row[0] for row in cursor.fetchall()]


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """`manage.py check --deploy`."""
    return settings_problems()


@register(Tags.database, deploy=True)
def check_database_role(app_configs: Any = None, databases: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """`manage.py check --deploy --database default`."""
    return database_problems() if databases else []


@register("sealing")
def check_seal_key(app_configs: Any = None, **kwargs: Any) -> Iterable[CheckMessage]:
    """Asked by `manage.py seal_trail` before it begins."""
    return seal_key_problems() if getattr(settings, "MODE", "") == "production" else []


def refuse_unsafe_start() -> None:
    """In production, raise unless everything holds; elsewhere do nothing.

    Raises ImproperlyConfigured with every finding and its way out, so that one look at the log is enough.
    """
    if getattr(settings, "MODE", "") != "production":
        return
    # A thread of its own: the web server loads the application inside its event loop, where Django refuses queries.
    with ThreadPoolExecutor(max_workers=1) as pool:
        found = foreign_powers() + pool.submit(all_problems).result()
    if found:
        lines = [f"  {each.id}: {each.msg}\n    Way out: {each.hint}" for each in found]
        raise ImproperlyConfigured("OpsConsole does not start in production mode like this:\n" + "\n".join(lines))


def all_problems() -> list[Error]:
    """Settings, then the database role if there is a database to ask. Leaves no connection for forks to share."""
    found = settings_problems()
    if os.environ.get("DATABASE_URL"):
        try:
            found += database_problems()
        finally:
            connection.close()
            close_pool = getattr(connection, "close_pool", None)
            if close_pool is not None:
                close_pool()
    return found


def exit_unsafe_start() -> None:
    """The same for Celery, whose signals swallow ordinary exceptions."""
    try:
        refuse_unsafe_start()
    except ImproperlyConfigured as error:
        raise SystemExit(str(error)) from error
