"""Real n8n instances as processes: started, killed, started again on the same data, ended."""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from .errors import LiveN8nError
from .installs import environment, install_folder, installed, program
from .versions import DEFAULT_VERSION

NAMES = ("dev", "staging", "production")
READY = "Editor is now accessible"
START_LIMIT = 300.0
STOP_LIMIT = 15.0
OWNER = {"email": "owner@example.com", "firstName": "Olive", "lastName": "Owner"}
_QUIET = {
    "N8N_LISTEN_ADDRESS": "127.0.0.1",
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_SECURE_COOKIE": "false",
}
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(slots=True)
class LiveInstance:
    """One running n8n. `base_url` has no path; the public API is at `{base_url}/api/v1`."""

    name: str
    base_url: str
    api_key: str
    pid: int
    started: str = ""
    version: str = DEFAULT_VERSION
    data: str = ""
    #: Variables of this instance alone, kept when it is started again.
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        return f"{self.base_url}/api/v1"

    def client(self, **options: Any) -> httpx.Client:
        """A client of the public API."""
        return httpx.Client(base_url=self.api_url, headers={"X-N8N-API-KEY": self.api_key}, timeout=30, **options)

    def owner(self) -> dict[str, str]:
        """The owner's `email`, `password`, `firstName` and `lastName`."""
        return dict(json.loads(_owner_file(Path(self.data)).read_text()))

    def owner_login(self) -> httpx.Client:
        """A client signed in as the owner, for what the editor asks: `client.patch("/workflows/<id>", json=...)`.

        Its paths begin after `{base_url}/rest`.
        """
        with httpx.Client(base_url=f"{self.base_url}/rest", timeout=30) as client:
            _sign_in(client, self.owner())
            return httpx.Client(base_url=client.base_url, cookies=client.cookies, timeout=30)

    def kill(self) -> None:
        """As a power cut would: no process of it is left, and nothing was put in order."""
        _signal_and_reap(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        """End it in an orderly way; its data stays."""
        end(self.pid)

    def restart(self) -> None:
        """Start it on its data and port, running or not. Raises LiveN8nError if it does not come up."""
        if alive(self):
            end(self.pid)
        target = LaunchTarget(self.name, Path(self.data), port_of(self), self.api_key, self.version, self.variables)
        again = launch_all([target])[0]
        self.pid, self.started, self.api_key = again.pid, again.started, again.api_key

    def upgrade_to(self, version: str) -> None:
        """End it and start another version on its data; n8n's own migrations run. There is no way back."""
        if alive(self):
            end(self.pid)
        self.version = version
        self.restart()


@dataclass(frozen=True, slots=True)
class LaunchTarget:
    """Where an instance is to run. ``api_key``: one that it gave out earlier, kept if it is still good."""

    name: str
    data: Path
    port: int
    api_key: str = ""
    version: str = DEFAULT_VERSION
    variables: Mapping[str, str] = field(default_factory=dict)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def port_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def port_of(instance: LiveInstance) -> int:
    return int(instance.base_url.rpartition(":")[2])


def name_of(number: int) -> str:
    return NAMES[number] if number < len(NAMES) else f"extra{number}"


# -- Starting -----------------------------------------------------------------------------------------------------


def launch_all(
    targets: Sequence[LaunchTarget], *, begun: Callable[[LiveInstance], None] = lambda _instance: None
) -> list[LiveInstance]:
    """Start instances side by side and wait until all are ready; if one is not, none is left. Raises LiveN8nError.

    ``begun`` is called with each process before it is waited for, and with each instance once it is ready.
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
        with ThreadPoolExecutor(max(1, len(targets))) as pool:
            starts = [pool.submit(launch, target, note) for target in targets]
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


def launch(
    target: LaunchTarget, note: Callable[[LiveInstance], None] = lambda _instance: None, *, die_with_us: bool = False
) -> LiveInstance:
    """Start one instance and wait until it is ready. ``die_with_us``: it ends when the calling *thread* does (Linux).

    ``note`` is called with the process, and again once the key is known. Raises LiveN8nError.
    """
    data = target.data
    data.mkdir(parents=True, exist_ok=True)
    folder = install_folder(target.version)
    variables = {
        **environment(target.version),
        **_QUIET,
        "HOME": str(data),
        "N8N_USER_FOLDER": str(data),
        "N8N_PORT": str(target.port),
        "N8N_RUNNERS_BROKER_PORT": str(free_port()),
        **target.variables,
    }
    log = data / "n8n.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(program(folder)), "start"],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Not safe beside threads of ours; the one caller that asks for it has none.
            preexec_fn=_ask_to_die_with_parent if die_with_us else None,
        )
    instance = LiveInstance(
        name=target.name,
        base_url=f"http://127.0.0.1:{target.port}",
        api_key=target.api_key,
        pid=process.pid,
        started=_started(process.pid),
        version=target.version,
        data=str(data),
        variables=dict(target.variables),
    )
    try:
        note(instance)
        _wait_until_ready(process, log, f"'{target.name}' {target.version}")
        if not _accepted(instance):
            instance.api_key = _new_api_key(instance)
            note(instance)
        return instance
    except BaseException:
        end(process.pid)
        raise


def _ask_to_die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path, name: str) -> None:
    deadline = time.monotonic() + START_LIMIT
    while READY not in (text := log.read_text(errors="replace")):
        if process.poll() is not None:
            raise LiveN8nError(f"n8n {name} ended with code {process.returncode}. Its last words:\n{text[-1500:]}")
        if time.monotonic() > deadline:
            raise LiveN8nError(f"n8n {name} was not ready after {START_LIMIT:.0f} s. Its last words:\n{text[-1500:]}")
        time.sleep(0.2)


def _accepted(instance: LiveInstance) -> bool:
    """Whether the instance still takes the key that it gave out earlier."""
    if not instance.api_key:
        return False
    with instance.client() as client:
        return client.get("/workflows", params={"limit": 1}).is_success


# -- The owner and the keys ---------------------------------------------------------------------------------------


def _owner_file(data: Path) -> Path:
    return data / "owner.json"


def _new_api_key(instance: LiveInstance) -> str:
    """A key with every scope this plan has; the owner is made on the first start and remembered for the next."""
    secret = _owner_file(Path(instance.data))
    if not secret.exists():
        # Before n8n has it: after a kill in between, the password is still known.
        write_private(secret, {**OWNER, "password": f"Aa1{secrets.token_urlsafe(18)}"})
    with httpx.Client(base_url=f"{instance.base_url}/rest", timeout=30) as client:
        owner = instance.owner()
        if client.post("/owner/setup", json=owner).is_error:
            _sign_in(client, owner)
        return make_api_key(client)


def make_api_key(editor: httpx.Client, scopes: Sequence[str] | None = None) -> str:
    """A key of the owner, with every scope this plan has or with the given ones. Raises LiveN8nError."""
    if scopes is None:
        scopes = _check(editor.get("/api-keys/scopes"), "list the scopes of keys")["data"]
    body = {"label": f"opsconsole {secrets.token_hex(4)}", "expiresAt": None, "scopes": list(scopes)}
    return str(_check(editor.post("/api-keys", json=body), "make an API key")["data"]["rawApiKey"])


def _sign_in(client: httpx.Client, owner: Mapping[str, str]) -> None:
    names = {"emailOrLdapLoginId": owner["email"], "password": owner["password"]}
    _check(client.post("/login", json=names), "sign in as its owner")


def _check(answer: httpx.Response, what: str) -> Any:
    if answer.is_error:
        raise LiveN8nError(f"n8n refused to {what}: {answer.status_code} {answer.text[:300]}")
    return answer.json()


def write_private(path: Path, value: Any) -> None:
    half = path.with_name(f"{path.name}.half")
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=2)
    half.replace(path)


# -- Ending -------------------------------------------------------------------------------------------------------


def _started(pid: int) -> str:
    """When a process started, which no later one with its number shares; '' where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return answer.stdout.strip()
    return "" if fields[0] == "Z" else fields[19]


def alive(instance: LiveInstance) -> bool:
    started = _started(instance.pid)
    return bool(started) and started == instance.started


def end(pid: int) -> None:
    """End a process group that `launch` began: first politely, then not."""
    if not _signal_and_reap(pid, signal.SIGTERM):
        _signal_and_reap(pid, signal.SIGKILL)
    else:
        # What it began itself, such as its task runner, must not outlive it.
        _signal_group(pid, signal.SIGKILL)


def _signal_group(pid: int, number: signal.Signals) -> bool:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def _signal_and_reap(pid: int, number: signal.Signals) -> bool:
    """Whether the process is gone within the time it is given."""
    if not _signal_group(pid, number):
        return True
    deadline = time.monotonic() + STOP_LIMIT
    while time.monotonic() < deadline:
        try:
            # Reap it if it is ours; otherwise look whether it is still there.
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return True
        except ChildProcessError:
            if not _started(pid):
                return True
        time.sleep(0.1)
    return False


class LiveN8n:
    """Real instances for as long as a block lasts, on fresh data: `with LiveN8n(2) as (dev, staging): ...`"""

    def __init__(self, count: int = 1, *, version: str = DEFAULT_VERSION, variables: Mapping[str, str] = {}) -> None:
        self.count = count
        self.version = version
        self.variables = dict(variables)
        self.instances: list[LiveInstance] = []
        self._data = tempfile.TemporaryDirectory(prefix="live-n8n-", ignore_cleanup_errors=True)

    def start(self) -> Self:
        if not installed(install_folder(self.version)):
            raise LiveN8nError(
                f"There is no n8n {self.version} installed here: run `script/n8n install --version {self.version}`."
            )
        names = [name_of(number) for number in range(self.count)]
        data = Path(self._data.name)
        targets = [
            LaunchTarget(name, data / name, free_port(), version=self.version, variables=self.variables)
            for name in names
        ]
        try:
            self.instances = launch_all(targets)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        while self.instances:
            instance = self.instances.pop()
            if alive(instance):
                end(instance.pid)
        self._data.cleanup()

    def __enter__(self) -> list[LiveInstance]:
        return self.start().instances

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
