"""`script/up` itself, as a person starts it: real processes, real kills."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsconsole.launcher.files import read_json
from opsconsole.launcher.home import CHECKOUT, Home
from opsconsole.launcher.processes import start_time, wait_for

pytestmark = [pytest.mark.launcher, pytest.mark.xdist_group("launcher")]
PROGRAMS = {"postgres", "redis", "web", "worker", "control", "beat"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """One run of the command, with what it said."""

    def __init__(self, home: Home, *arguments: str, demo: bool = False) -> None:
        names = ("DATABASE_", "OPSCONSOLE_", "BROKER_", "SANDBOX_", "PYTEST_")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(names)}
        self.home = home
        self.process = subprocess.Popen(
            [str(CHECKOUT / "script" / "up"), *([] if demo else ["--no-demo"]), *arguments],
            env={**plain, "OPSCONSOLE_HOME": str(home.root), "OPSCONSOLE_PYTHON": sys.executable},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said: list[str] = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("Ctrl-C stops it"):
                self.ready.set()
        self.ready.set()

    def wait_ready(self) -> Up:
        assert self.ready.wait(120)
        assert self.process.poll() is None, self.text
        return self

    @property
    def text(self) -> str:
        return "".join(self.said)

    def pids(self) -> dict[str, int]:
        return {path.stem: int((read_json(path) or {})["pid"]) for path in self.home.pids.glob("*.json")}

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.reader.join(5)
        return code


def descendants(pid: int) -> set[int]:
    """Every process below one, however deep (Linux)."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            children = {int(child) for child in task.read_text().split()} - found
            found |= children
            waiting += children
    return found


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if start_time(pid) is not None}


@pytest.fixture
def run(home: Home) -> Iterator[list[Up]]:
    started: list[Up] = []
    yield started
    for each in started:
        if each.process.poll() is None:
            each.end()


def test_a_day_in_the_life_of_the_command(home: Home, run: list[Up]) -> None:
    port = free_port()
    first = Up(home, "--port", str(port)).wait_ready()
    run.append(first)
    assert f"http://localhost:{port}/" in first.text
    assert set(first.pids()) >= PROGRAMS
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/account/login/", timeout=20) as page:
        assert page.status == 200

    # A second copy is told who is there, and where.
    second = Up(home, "--port", str(free_port()))
    assert second.process.wait(30) == 1
    second.reader.join(5)
    assert f"http://localhost:{port}/" in second.text
    assert str(first.process.pid) in second.text

    # A dead worker is started again, under a new number.
    worker = first.pids()["worker"]
    os.kill(worker, signal.SIGKILL)
    assert wait_for(lambda: first.pids().get("worker") not in (worker, None), seconds=20)

    everything = descendants(first.process.pid)
    assert len(everything) > len(PROGRAMS)
    assert first.end(signal.SIGINT) == 0
    assert alive(everything) == set()
    assert first.pids() == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel tells children on Linux only")
def test_a_killed_run_is_cleaned_up_by_the_next(home: Home, run: list[Up]) -> None:
    port = str(free_port())
    first = Up(home, "--port", port).wait_ready()
    run.append(first)
    everything = descendants(first.process.pid)
    first.process.kill()
    first.process.wait()
    second = Up(home, "--port", port).wait_ready()
    run.append(second)
    assert alive(everything) == set()
    assert second.end() == 0


def test_ending_it_while_it_starts_leaves_nothing(home: Home, run: list[Up]) -> None:
    first = Up(home, "--port", str(free_port()))
    run.append(first)
    assert wait_for(lambda: (home.logs / "migrate.log").exists(), seconds=60)
    everything = descendants(first.process.pid)
    first.end()
    assert wait_for(lambda: alive(everything) == set(), seconds=10)
    # What was interrupted is simply done again.
    second = Up(home, "--port", str(free_port())).wait_ready()
    run.append(second)
    assert second.end() == 0


def test_people_sign_in_while_the_demo_fills_and_a_killed_filling_is_made_anew(home: Home, run: list[Up]) -> None:
    port = free_port()
    first = Up(home, "--port", str(port), demo=True).wait_ready()
    run.append(first)
    # The accounts are told, the page is there, and the estate is still being made: no worker runs yet.
    assert "owner@demo.example" in first.text
    assert "worker" not in first.pids()
    page = read(port, "/account/login/")
    assert "The demo estate is being filled" in page
    assert 'hx-get="/demo/progress"' in page
    first.process.kill()
    first.process.wait(30)
    first.reader.join(5)

    second = Up(home, "--port", str(port), demo=True).wait_ready()
    run.append(second)
    assert wait_for(lambda: "The demo estate is complete." in second.text, seconds=180), second.text
    assert wait_for(lambda: set(second.pids()) >= PROGRAMS, seconds=20)
    assert "The demo estate is complete." in read(port, "/demo/progress")
    assert "being filled" not in read(port, "/account/login/")
    assert second.end() == 0

    third = Up(home, "--port", str(port), demo=True).wait_ready()
    run.append(third)
    assert "owner@demo.example" in third.text
    assert "Filling" not in third.text


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as page:
        return str(page.read().decode())
