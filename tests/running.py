"""The real thing for tests: web server and worker as processes on the test's own database."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import redis

ROOT = Path(__file__).parents[1]
_consoles = itertools.count()
logs: set[Path] = set()


def own_broker() -> str:
    """An empty Redis database that no other console of this test run listens to: they would take each other's work."""
    base = os.environ["BROKER_URL"].rpartition("/")[0]
    url = f"{base}/{8 + (os.getpid() * 5 + next(_consoles)) % 56}"
    redis.from_url(url).flushdb()
    return url


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Running:
    """A console that answers."""

    url: str
    environment: dict[str, str]
    web_pid: int = 0


@contextlib.contextmanager
def running_console(folder: Path, **overrides: str) -> Iterator[Running]:
    """Start web, worker and beat; wait until they answer; end them all. ``folder`` holds Git and logs."""
    port = free_port()
    environment = {
        **os.environ,
        "OPSCONSOLE_MODE": "test",
        "OPSCONSOLE_HOME": str(folder),
        "OPSCONSOLE_GIT_ROOT": str(folder / "git"),
        "OPSCONSOLE_REAPER_INTERVAL_SECONDS": "1",
        "OPSCONSOLE_SUPPORT_FACTOR_WAIT_HOURS": "0",  # people of these tests have just set theirs up
        "BROKER_URL": own_broker(),
        **overrides,
    }
    folder.mkdir(parents=True, exist_ok=True)
    celery = [sys.executable, "-m", "celery", "-A", "opsconsole"]
    web = [sys.executable, "-m", "uvicorn", "opsconsole.asgi:application"]
    commands = {
        "web": [*web, "--port", str(port), "--no-access-log", "--no-proxy-headers"],
        "worker": [*celery, "worker", "-P", "threads", "-c", "4", "-Q", "operations,control", "--without-mingle"],
        "beat": [*celery, "beat", "-s", str(folder / "beat"), "--pidfile", ""],
    }
    with contextlib.ExitStack() as stack:
        processes = []
        for name, command in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            processes.append(process)
            stack.callback(_end, process)
        url = f"http://127.0.0.1:{port}"
        _wait_for(url, folder)
        logs.add(folder / "web.log")
        stack.callback(logs.discard, folder / "web.log")
        yield Running(url, environment, processes[0].pid)


def last_faults() -> str:
    """The last traceback of each running web server: the logs go with the test's folder."""
    told = []
    for log in logs:
        lines = log.read_text(errors="replace").splitlines()
        faults = [at for at, line in enumerate(lines) if "Traceback" in line]
        told += lines[max(faults[-1] - 2, 0) : faults[-1] + 80] if faults else []
    return "\n".join(told)


def _wait_for(url: str, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            parts = httpx.get(f"{url}/health/detailed", timeout=5).json().get("components", {})
            if parts and parts["database"]["status"] == "ok" and parts["workers"]["status"] == "ok":
                return
        time.sleep(0.2)
    logs = "\n".join(f"--- {log.name}\n{log.read_text()[-1500:]}" for log in folder.glob("*.log"))
    raise RuntimeError(f"The console did not come up.\n{logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
