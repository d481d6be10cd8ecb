"""The embedded PostgreSQL: made once, started as a child, reached over loopback with a password."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import roles
from .errors import LauncherError
from .files import tail
from .home import Home
from .identity import reachable
from .processes import Child, command_line, end_foreign, start_time, wait_for

SUPERUSER = "postgres"
DATABASE = "opsconsole"
START_SECONDS = 60.0


@dataclass
class Postgres:
    """One cluster in a data folder. `fast` gives up durability: for tests, where a crash only costs a new start."""

    home: Home
    binaries: Path
    port: int
    secrets: dict[str, str]
    fast: bool = False
    child: Child | None = None

    def ensure_cluster(self) -> bool:
        """Make the cluster unless it is there; whether it was made now.

        `initdb` works beside the final place and is renamed into it when complete, so an interrupted one is simply
        thrown away by the next start.
        """
        self._check_binaries()
        data = self.home.postgres
        if (data / "PG_VERSION").exists():
            self._check_version(data)
            return False
        if data.exists() and any(data.iterdir()):
            raise LauncherError(
                f"{data} is not empty but holds no database.",
                recovery=f"look what it is and move it away: mv {data} {data}.old",
            )
        for left in self.home.root.glob("postgres.new*"):
            shutil.rmtree(left, ignore_errors=True)
        # A folder of its own: the initdb of a run that was killed may still be writing into its one.
        making = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.home.root))
        user = self.home.user
        if user.switches:
            os.chown(making, user.uid or 0, user.gid or 0)
        self._initdb(making)
        if data.exists():
            data.rmdir()
        making.rename(data)
        return True

    def _initdb(self, folder: Path) -> None:
        user = self.home.user
        log = self.home.logs / "initdb.log"
        with tempfile.NamedTemporaryFile("w", prefix="opsconsole-", suffix=".pw") as password, log.open("wb") as out:
            password.write(self.secrets["postgres_password"] + "\n")
            password.flush()
            if user.switches:
                os.chown(password.name, user.uid or 0, user.gid or 0)
            argv = [
                str(self.binaries / "initdb"),
                f"--pgdata={folder}",
                f"--username={SUPERUSER}",
                f"--pwfile={password.name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                *(["--no-sync"] if self.fast else []),
            ]
            result = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=self._environment(),
                user=user.uid,
                group=user.gid,
                extra_groups=[] if user.switches else None,
                check=False,
            )
        if result.returncode != 0:
            raise LauncherError(
                f"The database could not be made in {folder}.",
                log=tail(log),
                recovery="see the lines above; a full disk or a missing permission is the usual cause",
            )

    def _check_binaries(self) -> None:
        if not (self.binaries / "postgres").exists():
            raise LauncherError(
                f"The embedded PostgreSQL is missing from {self.binaries}.",
                recovery="remove the .venv folder and start again, which installs it anew",
            )
        if not reachable(self.binaries, self.home.user):
            raise LauncherError(
                f"PostgreSQL runs as '{self.home.user.name}', who cannot reach its programs in {self.binaries}.",
                recovery="set OPSCONSOLE_HOME to a folder outside private ones, for example /var/lib/opsconsole",
            )

    def _check_version(self, data: Path) -> None:
        try:
            found = (data / "PG_VERSION").read_text().strip()
        except PermissionError as error:
            raise LauncherError(
                f"The database in {data} belongs to another user.",
                recovery="start as the user who made it, or set OPSCONSOLE_HOME to a folder of your own",
            ) from error
        banner = subprocess.run([self.binaries / "postgres", "--version"], capture_output=True, text=True, check=False)
        ours = banner.stdout.strip().rpartition(" ")[2].partition(".")[0]
        if found != ours:
            raise LauncherError(
                f"The database in {data} was made by PostgreSQL {found}; this version of the console brings {ours}.",
                recovery=f"dump it with the version it was made by, or start anew: mv {self.home.root}"
                f" {self.home.root}.old",
            )

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.home.root)}

    def start(self) -> Child:
        """Start the server and wait until it takes connections."""
        self._clear_stale_server()
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.home.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            # A statement may hold a password (roles are altered at each start): errors are logged without their text.
            "log_min_error_statement": "panic",
        }
        if self.fast:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "on"}
        argv = [str(self.binaries / "postgres"), "-D", str(self.home.postgres)]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        self.child = Child(
            name="postgres",
            argv=argv,
            env=self._environment(),
            cwd=self.home.postgres,
            log=self.home.logs / "postgres.log",
            pid_folder=self.home.pids,
            user=self.home.user,
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            grace=20.0,
        )
        self.child.start()
        self.wait_ready()
        return self.child

    def wait_ready(self) -> None:
        """Wait until the server says in its own pid file that it is ready."""
        child = self.child
        if child is None:
            return
        wait_for(lambda: self._ready() or not child.running(), seconds=START_SECONDS)
        if not child.running():
            raise LauncherError(
                f"PostgreSQL {child.exit_reason()}.",
                log=child.last_words(),
                recovery=f"the whole log is {child.log}",
            )
        if not self._ready():
            raise LauncherError(
                f"PostgreSQL is not ready after {START_SECONDS:.0f} s.",
                log=child.last_words(),
                recovery="after a crash it may still be recovering: start again in a minute",
            )

    def _server_lines(self) -> list[str]:
        try:
            return (self.home.postgres / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _ready(self) -> bool:
        lines = self._server_lines()
        child = self.child
        pid = str(child.process.pid) if child is not None and child.process is not None else ""
        return len(lines) >= 8 and lines[0] == pid and lines[7].strip() == "ready"

    def _clear_stale_server(self) -> None:
        """Deal with a postmaster.pid: end the server if it is ours (we hold the lock), forget it if it is not there."""
        lines = self._server_lines()
        if not lines or not lines[0].strip().lstrip("-").isdigit():
            return
        pid = abs(int(lines[0]))
        if start_time(pid) is not None and str(self.home.postgres) in command_line(pid):
            end_foreign(pid, first=signal.SIGINT, seconds=20)
        # The number may belong to an unrelated process by now, at whose sight the server would refuse to start.
        (self.home.postgres / "postmaster.pid").unlink(missing_ok=True)

    def psql(self, sql: str, *, database: str = "postgres") -> str:
        """Run SQL as the superuser; its output, unaligned."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database]
        result = subprocess.run(
            [str(self.binaries / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", *where],
            input=sql,
            capture_output=True,
            text=True,
            env={**self._environment(), "PGPASSWORD": self.secrets["postgres_password"], "PGCONNECT_TIMEOUT": "10"},
            check=False,
        )
        if result.returncode != 0:
            raise LauncherError(
                "The database roles could not be set up.",
                log=result.stderr.strip()[-2000:],
                recovery=f"if secrets.json was replaced, put the right one back into {self.home.root}",
            )
        return result.stdout

    def bootstrap(self, *, database: str = DATABASE, create_databases: bool = False) -> None:
        """Create roles and database, and set the passwords of this data folder."""
        passwords = {
            "opsconsole_owner": self.secrets["owner_password"],
            "opsconsole_app": self.secrets["app_password"],
            "opsconsole_operator": self.secrets["operator_password"],
        }
        self.psql(roles.cluster_sql(passwords, create_databases=create_databases) + roles.create_database_sql(database))
        self.psql(roles.database_sql(database), database=database)

    def url(self, role: str, *, database: str = DATABASE) -> str:
        """The address for a login role; passwords are URL-safe by making."""
        password = self.secrets[role.removeprefix("opsconsole_") + "_password"]
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"
