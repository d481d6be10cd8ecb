"""Real n8n instances on this machine, one install for any number of them: what `script/n8n` runs.

    script/n8n install            about five minutes, 1.3 GB, needs Node 20 and npm
    script/n8n start 3            dev, staging and production; prints name, address and API key of each
    script/n8n status | stop

The install lives in `$OPSCONSOLE_N8N_DIR` or `/var/tmp/opsconsole-n8n-<uid>`; see `install_folder`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

VERSION = "1.123.0"
PACKAGE: Mapping[str, Any] = {
    "name": "opsconsole-live-n8n",
    "private": True,
    "dependencies": {"n8n": VERSION},
    # xlsx is otherwise fetched from outside any registry; the other has moved past what this n8n loads.
    "overrides": {"xlsx": "0.18.5", "@langchain/langgraph-checkpoint": "1.0.0"},
}
NAMES = ("dev", "staging", "production")
READY = "Editor is now accessible"
FIRST_PORT = 5701
START_LIMIT = 180.0
STOP_LIMIT = 15.0
OWNER = {"email": "owner@example.com", "firstName": "Olive", "lastName": "Owner"}
ROOT = Path(__file__).resolve().parent.parent


class LiveN8nError(Exception):
    """Real n8n instances cannot be had; the message says what to do."""


@dataclass(slots=True)
class LiveInstance:
    """One running n8n. `base_url` has no path; the public API is at `{base_url}/api/v1`."""

    name: str
    base_url: str
    api_key: str
    pid: int
    started: str = ""

    @property
    def api_url(self) -> str:
        return f"{self.base_url}/api/v1"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.api_url, headers={"X-N8N-API-KEY": self.api_key}, timeout=30, **options)


def home() -> Path:
    return Path(os.environ.get("OPSCONSOLE_HOME") or ROOT / ".data")


def install_folder() -> Path:
    """Where n8n is installed, once for every data folder and checkout of this user.

    Not below a folder whose name begins with a dot: n8n's web server takes such paths for hidden files and answers 404
    for its own ``openapi.yml``. So neither ``.data`` nor ``~/.cache`` will do.
    """
    if chosen := os.environ.get("OPSCONSOLE_N8N_DIR"):
        return Path(chosen)
    folder = Path("/var/tmp") / f"opsconsole-n8n-{os.getuid()}"  # noqa: S108 - its owner is checked
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise LiveN8nError(f"{folder} belongs to somebody else. Name another folder in OPSCONSOLE_N8N_DIR.")
    return folder


def _binary(folder: Path) -> Path:
    return folder / "node_modules" / ".bin" / "n8n"


def installed(folder: Path) -> bool:
    """Whether the install is whole: the program, and the database driver that is compiled last."""
    driver = folder / "node_modules/sqlite3/build/Release/node_sqlite3.node"
    return _binary(folder).exists() and driver.exists()


def require_node() -> None:
    """Raises LiveN8nError unless Node 20 to 24 and npm can be run."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise LiveN8nError("A real n8n needs Node 20 with npm, and none is on the PATH. Install it first.")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if not 20 <= int(version.lstrip("v").partition(".")[0]) <= 24:
        raise LiveN8nError(f"A real n8n {VERSION} needs Node 20 (up to 24); this machine has {version}.")


def install(folder: Path) -> None:
    """Install n8n into `folder`, unless it is there already. Raises LiveN8nError when npm fails."""
    if installed(folder):
        return
    require_node()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps(PACKAGE, indent=2) + "\n")
    # Scripts of dependencies stay off; only the database driver is compiled, knowingly.
    for step in (["install", "--no-audit", "--no-fund", "--ignore-scripts"], ["rebuild", "sqlite3"]):
        print(f"npm {' '.join(step)} (in {folder}) ...", file=sys.stderr, flush=True)
        result = subprocess.run(["npm", *step], cwd=folder, stdout=sys.stderr, check=False)
        if result.returncode:
            raise LiveN8nError(
                f"`npm {' '.join(step)}` failed with exit code {result.returncode}: see its words above. If the"
                " package registry cannot be reached, there is no live n8n; the sandbox (python -m sandbox) needs none."
            )
    if not installed(folder):
        raise LiveN8nError(f"npm reported success, but {folder} holds no usable n8n. Delete the folder and try again.")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def port_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _name(number: int) -> str:
    return NAMES[number] if number < len(NAMES) else f"extra{number}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an instance is to run. ``api_key``: one that it gave out earlier, kept if it is still good."""

    name: str
    data: Path
    port: int
    api_key: str = ""


def launch_all(
    folder: Path, places: Sequence[Place], *, begun: Callable[[LiveInstance], None] = lambda _instance: None
) -> list[LiveInstance]:
    """Start instances side by side and wait until all are ready; if one is not, none is left. Raises LiveN8nError.

    ``begun`` is told of each process before it is waited for, and of each instance once it is ready.
    """
    here: list[LiveInstance] = []
    lock = threading.Lock()

    def note(instance: LiveInstance) -> None:
        with lock:
            here.append(instance)
            begun(instance)

    def end_all() -> None:
        for instance in here:
            if alive(instance):
                end(instance.pid)

    try:
        with ThreadPoolExecutor(max(1, len(places))) as pool:
            starts = [pool.submit(_launch, folder, place, note) for place in places]
            try:
                for start in as_completed(starts):
                    start.result()
            except BaseException:
                end_all()  # which ends the waiting of the other threads, too
                raise
            return [start.result() for start in starts]
    except BaseException:
        end_all()
        raise


def _launch(folder: Path, place: Place, note: Callable[[LiveInstance], None]) -> LiveInstance:
    data, port, name = place.data, place.port, place.name
    data.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "N8N_USER_FOLDER": str(data),
        "N8N_PORT": str(port),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_RUNNERS_BROKER_PORT": str(free_port()),
        "N8N_DIAGNOSTICS_ENABLED": "false",
        "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
        "N8N_TEMPLATES_ENABLED": "false",
        "N8N_PERSONALIZATION_ENABLED": "false",
        "N8N_SECURE_COOKIE": "false",
    }
    log = data / "n8n.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(_binary(folder)), "start"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    base_url = f"http://127.0.0.1:{port}"
    instance = LiveInstance(name, base_url, place.api_key, process.pid, started=_started(process.pid))
    try:
        note(instance)
        _wait_until_ready(process, log, name)
        if not _accepted(instance):
            instance = replace(instance, api_key=_api_key(base_url, data))
            note(instance)
        return instance
    except BaseException:
        end(process.pid)
        raise


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, name: str) -> None:
    deadline = time.monotonic() + START_LIMIT
    while READY not in (text := log.read_text(errors="replace")):
        if process.poll() is not None:
            raise LiveN8nError(f"n8n '{name}' ended with code {process.returncode}. Its last words:\n{text[-1500:]}")
        if time.monotonic() > deadline:
            raise LiveN8nError(f"n8n '{name}' was not ready after {START_LIMIT:.0f} s. Its last words:\n{text[-1500:]}")
        time.sleep(0.2)


def _accepted(instance: LiveInstance) -> bool:
    """Whether the instance still takes the key that it gave out earlier."""
    if not instance.api_key:
        return False
    with instance.client() as client:
        return client.get("/workflows", params={"limit": 1}).is_success


def _api_key(base_url: str, data: Path) -> str:
    """A key with every scope this plan has; the owner is made on the first start and remembered for the next."""
    secret = data / "owner.json"
    if not secret.exists():
        # Before n8n hears of it: whoever is killed in between still knows the password.
        _write_private(secret, {**OWNER, "password": f"Aa1{secrets.token_urlsafe(18)}"})
    owner = json.loads(secret.read_text())
    with httpx.Client(base_url=base_url, timeout=30) as client:
        answer = client.post("/rest/owner/setup", json=owner)
        if answer.is_error:
            names = {"emailOrLdapLoginId": owner["email"], "password": owner["password"]}
            answer = client.post("/rest/login", json=names)
        _check(answer, "sign in as its owner")
        scopes = _check(client.get("/rest/api-keys/scopes"), "list the scopes of keys")["data"]
        label = f"opsconsole {secrets.token_hex(4)}"
        made = _check(
            client.post("/rest/api-keys", json={"label": label, "expiresAt": None, "scopes": scopes}), "make an API key"
        )
        return str(made["data"]["rawApiKey"])


def _check(answer: httpx.Response, what: str) -> Any:
    if answer.is_error:
        raise LiveN8nError(f"n8n refused to {what}: {answer.status_code} {answer.text[:300]}")
    return answer.json()


def _write_private(path: Path, value: Any) -> None:
    half = path.with_name(f"{path.name}.half")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=2)
    half.replace(path)


def _started(pid: int) -> str:
    """A mark that tells a process from a later one with the same number; '' where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return answer.stdout.strip()
    return "" if fields[0] == "Z" else fields[19]


def alive(instance: LiveInstance) -> bool:
    mark = _started(instance.pid)
    return bool(mark) and mark == instance.started


def end(pid: int) -> None:
    """End a process group that `launch` began: first politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + STOP_LIMIT
        while time.monotonic() < deadline:
            try:
                # Reap it if it is ours; otherwise look whether it is still there.
                if os.waitpid(pid, os.WNOHANG)[0] == pid:
                    break
            except ChildProcessError:
                if not _started(pid):
                    break
            time.sleep(0.1)


class LiveN8n:
    """Real instances for as long as a block lasts, on fresh data: `with LiveN8n(2) as (dev, staging): ...`"""

    def __init__(self, count: int = 1, *, folder: Path | None = None) -> None:
        self.count = count
        self.folder = folder or install_folder()
        self.instances: list[LiveInstance] = []
        self._data = tempfile.TemporaryDirectory(prefix="live-n8n-", ignore_cleanup_errors=True)

    def start(self) -> Self:
        if not installed(self.folder):
            raise LiveN8nError("There is no n8n installed here: run `script/n8n install` first.")
        names = [_name(number) for number in range(self.count)]
        data = Path(self._data.name)
        try:
            self.instances = launch_all(self.folder, [Place(name, data / name, free_port()) for name in names])
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        while self.instances:
            end(self.instances.pop().pid)
        self._data.cleanup()

    def __enter__(self) -> list[LiveInstance]:
        return self.start().instances

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _state_file() -> Path:
    return home() / "n8n-instances" / "instances.json"


def read_state() -> list[LiveInstance]:
    """What `start` began, running or not."""
    path = _state_file()
    return [LiveInstance(**item) for item in json.loads(path.read_text())] if path.exists() else []


def write_state(instances: list[LiveInstance]) -> None:
    _state_file().parent.mkdir(parents=True, exist_ok=True)
    _write_private(_state_file(), [asdict(instance) for instance in instances])


def command_start(count: int, first_port: int | None) -> None:
    """An instance keeps its port and its key for as long as its data: consoles know it by them."""
    folder = install_folder()
    require_node()
    install(folder)
    known = {instance.name: instance for instance in read_state()}
    taken = {port_of(instance) for instance in known.values()}
    places = []
    for number in range(count):
        name = _name(number)
        before = known.get(name)
        if before is not None and alive(before):
            continue
        print(f"Starting n8n '{name}' ...", file=sys.stderr, flush=True)
        port = _port_for(name, before, (first_port or FIRST_PORT) + number, taken, chosen=first_port is not None)
        taken.add(port)
        places.append(Place(name, _state_file().parent / name, port, before.api_key if before else ""))

    def begun(instance: LiveInstance) -> None:
        known[instance.name] = instance
        write_state(list(known.values()))

    launch_all(folder, places, begun=begun)
    running = [asdict(known[_name(number)]) for number in range(count)]
    print(json.dumps([{k: v for k, v in one.items() if k != "started"} for one in running], indent=2))


def port_of(instance: LiveInstance) -> int:
    return int(instance.base_url.rpartition(":")[2])


def _port_for(name: str, before: LiveInstance | None, wanted: int, taken: set[int], *, chosen: bool) -> int:
    if before is not None and not chosen:
        wanted = port_of(before)
    elif not chosen and (wanted in taken or not port_free(wanted)):
        return free_port()
    if not port_free(wanted):
        raise LiveN8nError(
            f"Port {wanted}, where n8n '{name}' belongs, is taken by another program. End that program; or move the"
            " instances with `script/n8n start --first-port PORT` and change their addresses in the console."
        )
    return wanted


def command_stop() -> None:
    for instance in read_state():
        if alive(instance):
            end(instance.pid)
            print(f"Stopped n8n '{instance.name}'.")


def command_status() -> int:
    print(f"install: {'ready' if installed(install_folder()) else 'missing'} ({install_folder()})")
    found = read_state()
    for instance in found:
        print(f"{instance.name}: {'running' if alive(instance) else 'stopped'} {instance.base_url}")
    return 0 if found and all(alive(instance) for instance in found) else 1


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/n8n", description="Real n8n instances for tests and demonstrations.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install n8n; reuses what is there")
    start = commands.add_parser("start", help="start instances and print their addresses and keys as JSON")
    start.add_argument("count", type=int, nargs="?", default=3)
    start.add_argument("--first-port", type=int, help=f"one port after the other from here (default: {FIRST_PORT})")
    commands.add_parser("stop", help="stop what `start` began")
    commands.add_parser("status", help="say what runs")
    arguments = parser.parse_args(words)
    try:
        if arguments.command == "install":
            require_node()
            install(install_folder())
            print(f"n8n {VERSION} is installed in {install_folder()}.")
        elif arguments.command == "start":
            command_start(arguments.count, arguments.first_port)
        elif arguments.command == "stop":
            command_stop()
        else:
            return command_status()
    except LiveN8nError as error:
        print(f"script/n8n: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
