"""The database before the programs start: migrated by its owner."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .errors import LauncherError
from .files import read_json, tail, write_json
from .home import CHECKOUT, Home
from .postgres import DATABASE, Postgres
from .terminal import step
from .toolchain import Toolchain


def migrations_mark(checkout: Path = CHECKOUT) -> str:
    """A hash that changes whenever a migration or a dependency (which may bring migrations) does."""
    digest = hashlib.sha256()
    for path in sorted(checkout.glob("*/migrations/*.py")):
        digest.update(str(path.relative_to(checkout)).encode() + b"\0" + path.read_bytes())
    digest.update((checkout / "requirements" / "base.txt").read_bytes())
    return digest.hexdigest()


def applied_mark(postgres: Postgres) -> str:
    """Which migrations this very database has seen: changes with a restored or replaced database too."""
    there = postgres.psql("SELECT to_regclass('public.django_migrations') IS NOT NULL", database=DATABASE)
    if there.strip() != "t":
        return ""
    cluster = "(SELECT system_identifier FROM pg_control_system())"
    sql = f"SELECT count(*) || ':' || max(id) || ':' || {cluster} FROM django_migrations"
    return postgres.psql(sql, database=DATABASE).strip()


def prepare_database(home: Home, tools: Toolchain, postgres: Postgres, environment: Mapping[str, str]) -> None:
    """Migrate unless nothing changed since the last time.

    Each migration is a transaction of its own, so one that was interrupted is simply done again.
    """
    stamp = home.root / "migrated.json"
    mark = migrations_mark()
    applied = applied_mark(postgres)
    if applied and read_json(stamp) == {"files": mark, "applied": applied}:
        return
    with step("Bringing the database up to date"):
        owner = {**environment, "OPSCONSOLE_AS_OWNER": "1"}
        manage(home, tools, owner, "migrate", "--noinput", "--skip-checks", "-v", "1", log="migrate")
    write_json(stamp, {"files": mark, "applied": applied_mark(postgres)})


def manage(home: Home, tools: Toolchain, environment: Mapping[str, str], *arguments: str, log: str) -> str:
    """Run `manage.py`; what it printed. Its errors are in the log and in the failure."""
    path = home.logs / f"{log}.log"
    with path.open("wb") as stream:
        result = subprocess.run(
            [str(tools.python), "manage.py", *arguments],
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            check=False,
        )
        stream.write(result.stdout)
    if result.returncode != 0:
        raise LauncherError(
            f"manage.py {arguments[0]} failed.",
            log=tail(path, lines=20),
            recovery=f"the whole log is {path}; start again once the cause is gone: what was done is kept",
        )
    return result.stdout.decode("utf-8", "replace")
