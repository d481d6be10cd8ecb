"""The data folder: where it is, what lies where in it, its secrets and its lock."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import LauncherError
from .files import make_folder, read_json, write_json
from .identity import ServiceUser, pwd_name, reachable, service_user

CHECKOUT = Path(__file__).resolve().parent.parent.parent
# The path of a Unix socket may hold about 104 bytes; PostgreSQL adds its own file name.
SOCKET_FOLDER_LIMIT = 80


@dataclass(frozen=True)
class Home:
    """The places inside a data folder. `user` is whom PostgreSQL and Redis run as."""

    root: Path
    user: ServiceUser

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def pids(self) -> Path:
        return self.run / "pids"

    @property
    def lock_file(self) -> Path:
        return self.run / "lock"

    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def git(self) -> Path:
        return self.root / "git"

    @property
    def sandbox(self) -> Path:
        return self.root / "sandbox"

    @property
    def sockets(self) -> Path:
        """Where PostgreSQL puts its socket: in the data folder, or in the system's temporary folder if too deep."""
        inside = self.run / "sockets"
        if len(os.fsencode(inside)) <= SOCKET_FOLDER_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"opsconsole-{os.geteuid()}-{digest}"

    def create(self) -> None:
        """Make the folders. The services' user may pass through ours but not list or read them."""
        passing = 0o711 if self.user.switches else 0o700
        make_folder(self.root, mode=passing)
        if not os.access(self.root, os.W_OK | os.X_OK):
            uid = self.root.stat().st_uid
            way_out = f"chmod u+rwx {self.root}" if uid == os.geteuid() else f"start as {pwd_name(uid)}"
            raise LauncherError(
                f"The data folder {self.root} cannot be written to; it belongs to {pwd_name(uid)}.",
                recovery=f"{way_out}, or set OPSCONSOLE_HOME to a folder of your own",
            )
        for folder in (self.run, self.logs):
            make_folder(folder, mode=passing)
        for folder in (self.pids, self.git, self.sandbox, self.root / "static", self.root / "mail"):
            make_folder(folder)
        make_folder(self.sockets, owner=self.user.uid, group=self.user.gid)
        expected = os.geteuid() if self.user.uid is None else self.user.uid
        if self.sockets.stat().st_uid != expected:
            raise LauncherError(
                f"The socket folder {self.sockets} belongs to somebody else.",
                recovery="set OPSCONSOLE_HOME to a folder with a shorter path",
            )


def choose_home(explicit: str | None = None, *, default: str = ".data", checkout: Path = CHECKOUT) -> tuple[Home, str]:
    """The data folder to use, and a remark when it is not the one a person would expect.

    An explicit folder (argument or OPSCONSOLE_HOME) is taken or refused, never replaced.
    """
    wanted = explicit or os.environ.get("OPSCONSOLE_HOME") or ""
    if wanted:
        return _explicit_home(Path(wanted).expanduser().absolute()), ""
    root = checkout / default
    user = service_user(root / "postgres")
    if reachable(root, user) and _writable(root):
        return Home(root, user), ""
    # Only the first part names the checkout's folder; a test run's sub-folder stays below it.
    return _home_elsewhere(checkout, user, below=Path(*Path(default).parts[1:]))


def _explicit_home(root: Path) -> Home:
    if taken := next((path for path in (root, *root.parents) if path.is_file()), None):
        raise LauncherError(
            f"{taken} is a file, not a folder.",
            recovery="set OPSCONSOLE_HOME to a folder, or to one that can be made",
        )
    user = service_user(root / "postgres")
    if not reachable(root, user):
        raise LauncherError(
            f"PostgreSQL runs as '{user.name}' because you are root, and '{user.name}' cannot reach {root}:"
            " a folder above it is private.",
            recovery="set OPSCONSOLE_HOME to a folder outside private ones, for example /var/lib/opsconsole",
        )
    return Home(root, user)


def _home_elsewhere(checkout: Path, user: ServiceUser, *, below: Path) -> tuple[Home, str]:
    """A folder of this checkout outside it, for one that PostgreSQL cannot reach or that cannot be written to."""
    name = f"{checkout.name}-{hashlib.sha256(os.fsencode(checkout)).hexdigest()[:8]}"
    if user.switches:
        root = Path("/var/lib/opsconsole") / name / below
        reason = f"{checkout} is private, and PostgreSQL runs as '{user.name}'"
    else:
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        root = Path(state) / "opsconsole" / name / below
        reason = f"{checkout} is not writable"
    return Home(root, service_user(root / "postgres")), f"Data folder: {root} ({reason}; OPSCONSOLE_HOME moves it)."


def _writable(path: Path) -> bool:
    """Whether `path` can be written to, or made."""
    for folder in (path, *path.parents):
        if folder.exists():
            return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return False


#: How each secret of a data folder is made.
SECRET_MAKERS: dict[str, Callable[[], str]] = {
    "postgres_password": lambda: secrets.token_urlsafe(24),
    "owner_password": lambda: secrets.token_urlsafe(24),
    "app_password": lambda: secrets.token_urlsafe(24),
    "operator_password": lambda: secrets.token_urlsafe(24),
    "redis_password": lambda: secrets.token_urlsafe(24),
    "secret_key": lambda: secrets.token_urlsafe(48),
    "field_key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "seal_key": lambda: base64.b64encode(secrets.token_bytes(32)).decode(),
    "sandbox_token": lambda: secrets.token_urlsafe(24),
}


def load_secrets(home: Home) -> dict[str, str]:
    """The secrets of this data folder, made on first use; a key that a newer version needs is added."""
    path = home.root / "secrets.json"
    known = {name: str(value) for name, value in _stored_secrets(home, path).items()}
    missing = [name for name in SECRET_MAKERS if name not in known]
    if missing:
        known |= {name: SECRET_MAKERS[name]() for name in missing}
        write_json(path, dict(known))
    return known


def _stored_secrets(home: Home, path: Path) -> dict[str, Any]:
    """What the file holds; empty for a new data folder. Raises where secrets of existing data are lost."""
    found = read_json(path)
    if found is not None:
        return found
    if path.exists() and path.stat().st_size:
        raise LauncherError(
            f"{path} cannot be read as JSON.",
            recovery="put back the file from a backup; the data cannot be opened without it",
        )
    if (home.postgres / "PG_VERSION").exists():
        raise LauncherError(
            f"{path} is gone, but {home.postgres} holds a database whose passwords it held.",
            recovery=f"put the file back from a backup, or start anew: mv {home.root} {home.root}.old",
        )
    return {}


class HomeLock:
    """One launcher at a time on a data folder. The lock ends with the process, however that ends."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._handle: int | None = None

    def acquire(self, what: str) -> None:
        """Take the lock, or say who has it and where that one serves."""
        handle = os.open(self.home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise self._held() from None
        self._handle = handle
        self.describe(what=what)

    def _held(self) -> LauncherError:
        holder = lock_holder(self.home) or {}
        address = holder.get("address")
        serves = f" and serves at {address}" if address else ""
        return LauncherError(
            f"Another copy ({holder.get('what', 'unknown')}, process {holder.get('pid', '?')}) uses {self.home.root}"
            f"{serves}.",
            recovery="use that one, end it with Ctrl-C, or start a second with its own OPSCONSOLE_HOME and --port",
        )

    def describe(self, **about: Any) -> None:
        """Leave a note about the holder for whoever finds the lock taken."""
        if self._handle is None:
            return
        note = {**(lock_note(self._handle) if "what" not in about else {}), "pid": os.getpid(), **about}
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps(note).encode(), 0)

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def lock_note(handle: int) -> dict[str, Any]:
    """What is written in an open lock file."""
    try:
        value = json.loads(os.pread(handle, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def lock_holder(home: Home) -> dict[str, Any] | None:
    """The note of the process that holds the lock, or None when it is free."""
    try:
        handle = os.open(home.lock_file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return lock_note(handle)
    else:
        return None
    finally:
        os.close(handle)


def port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def pick_port(home: Home, name: str, preferred: int = 0) -> int:
    """A port for a service: the one it had last time if it is free, else the preferred one, else any."""
    path = home.run / "ports.json"
    known = read_json(path) or {}
    for candidate in (known.get(name), preferred):
        if isinstance(candidate, int) and candidate and port_free(candidate):
            chosen = candidate
            break
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", 0))
            chosen = int(probe.getsockname()[1])
    if known.get(name) != chosen:
        write_json(path, {**known, name: chosen})
    return chosen
