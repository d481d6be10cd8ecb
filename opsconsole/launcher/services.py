"""PostgreSQL and Redis together, and the environment variables by which programs find them."""

from __future__ import annotations

import os
import shlex
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .errors import LauncherError
from .files import read_json, write_json
from .home import Home, HomeLock, load_secrets, lock_holder, pick_port
from .postgres import DATABASE, Postgres
from .processes import Child, adopt_orphans, clean_up_leftovers, end_descendants, own_children
from .redis import Redis
from .toolchain import Toolchain


@dataclass
class Services:
    """The embedded services of one data folder, held by a lock while they run."""

    home: Home
    tools: Toolchain
    fast: bool = False
    create_databases: bool = False
    what: str = "services"
    lock: HomeLock = field(init=False)
    postgres: Postgres = field(init=False)
    redis: Redis = field(init=False)
    leftovers: list[str] = field(default_factory=list)
    fresh: bool = False
    #: Children of this process that it had before, such as those of a program that only uses the services.
    strangers: set[int] = field(default_factory=set)

    def start(self, *, database: str = DATABASE) -> None:
        """Take the lock, clear what a killed run left, and start both. On failure nothing stays behind."""
        self.home.create()
        lock = HomeLock(self.home)
        lock.acquire(self.what)
        self.lock = lock
        try:
            self.strangers = own_children()
            adopt_orphans()
            self.leftovers = clean_up_leftovers(self.home.pids)
            self._build()
            self.fresh = self.postgres.ensure_cluster()
            self.postgres.start()
            self.postgres.bootstrap(database=database, create_databases=self.create_databases)
            self.redis.start()
            state = {"postgres_port": self.postgres.port, "redis_port": self.redis.port, "pid": os.getpid()}
            write_json(self.home.state_file, {**state, "create_databases": self.create_databases})
        except BaseException:
            self.stop()
            raise

    def _build(self) -> None:
        known = load_secrets(self.home)
        self.postgres = Postgres(
            self.home, self.tools.postgres_binaries(), pick_port(self.home, "postgres"), known, fast=self.fast
        )
        self.redis = Redis(self.home, self.tools.redis_binary(), pick_port(self.home, "redis"), known)

    @property
    def held(self) -> bool:
        """Whether the folder was ever ours."""
        return hasattr(self, "lock")

    def children(self) -> list[Child]:
        """The running programs, in order of start."""
        found = [getattr(self, name).child for name in ("postgres", "redis") if hasattr(self, name)]
        return [child for child in found if child is not None]

    def stop(self) -> None:
        """Stop both, in reverse order, and let go of the lock. Without it nothing here is ours to stop."""
        if not self.held:
            return
        for child in reversed(self.children()):
            child.stop()
        end_descendants(except_for=self.strangers)
        self.home.state_file.unlink(missing_ok=True)
        self.lock.release()

    def environment(self, *, mode: str, database: str = DATABASE) -> dict[str, str]:
        """What programs need to find this place."""
        return environment(self.home, self.postgres, self.redis, mode=mode, database=database)


def environment(home: Home, postgres: Postgres, redis: Redis, *, mode: str, database: str) -> dict[str, str]:
    """The variables that the settings read, for one database of a data folder."""
    known = postgres.secrets
    # Each extra database gets a Redis database of its own, so that two people's workers do not share a queue.
    number = 0 if database == DATABASE else 1 + zlib.crc32(database.encode()) % 63
    return {
        "OPSCONSOLE_MODE": mode,
        "OPSCONSOLE_HOME": str(home.root),
        "OPSCONSOLE_GIT_ROOT": str(home.git),
        "DATABASE_URL": postgres.url("opsconsole_app", database=database),
        "DATABASE_OWNER_URL": postgres.url("opsconsole_owner", database=database),
        "DATABASE_OPERATOR_URL": postgres.url("opsconsole_operator", database=database),
        "BROKER_URL": redis.url(number),
        "OPSCONSOLE_SECRET_KEY": known["secret_key"],
        "OPSCONSOLE_FIELD_KEYS": known["field_key"],
        "OPSCONSOLE_SEAL_KEY": known["seal_key"],
        "SANDBOX_CONTROL_TOKEN": known["sandbox_token"],
    }


def attach(home: Home, tools: Toolchain, *, mode: str, database: str = DATABASE) -> dict[str, str] | None:
    """The environment of services that already run in this data folder (their database is made if need be), or None."""
    if lock_holder(home) is None:
        return None
    state = read_json(home.state_file)
    if state is None:
        raise LauncherError(
            f"Another launcher is just starting or stopping in {home.root}.", recovery="try again in a few seconds"
        )
    known = load_secrets(home)
    postgres = Postgres(home, tools.postgres_binaries(), int(state["postgres_port"]), known)
    redis = Redis(home, tools.redis_binary(), int(state["redis_port"]), known)
    if database != DATABASE:
        postgres.bootstrap(database=database, create_databases=bool(state.get("create_databases")))
    return environment(home, postgres, redis, mode=mode, database=database)


def export_lines(variables: dict[str, str]) -> str:
    """The variables for a shell's `eval`."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))


def program_environment(variables: dict[str, str], *, python: Path) -> dict[str, str]:
    """Our own environment with the variables, the tool chain first on the path, and no foreign Python modules."""
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**inherited, "PYTHONUNBUFFERED": "1", **variables, "PATH": path}
