from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

import pytest

from opsconsole.launcher import commands, discover, up
from opsconsole.launcher.errors import LauncherError
from opsconsole.launcher.files import write_json
from opsconsole.launcher.home import Home, HomeLock
from opsconsole.launcher.testing import pytest_command


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"port": None, "host": "127.0.0.1", "no_demo": False, "n8n": False, **given})


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    for name in ("OPSCONSOLE_MODE", "OPSCONSOLE_PORT", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPSCONSOLE_HOME", str(place / "home"))


def test_production_is_not_started_by_the_demo_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCONSOLE_MODE", "production")
    with pytest.raises(LauncherError, match=r"production\.md"):
        up.make_plan(options())


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(LauncherError, match="is not a port"):
        up.make_plan(options(port=port))


def test_a_port_in_use_is_named_with_the_next_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(LauncherError, match=f"--port {port + 1}"):
            up.check_port(up.make_plan(options(port=str(port))))


def test_the_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCONSOLE_PORT", "8123")
    assert up.make_plan(options()).port == 8123
    assert up.make_plan(options(port="8124")).port == 8124


def test_check_changes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["up", "--check", "--port", "8123"]) == 0
    assert str(place / "home") in capsys.readouterr().out
    assert not (place / "home").exists()


def test_tests_run_on_two_processes_unless_told_otherwise() -> None:
    python = Path("python")
    assert "loadgroup" in pytest_command(python, ["drift/tests", "-k", "x"])
    for own in (["-n0"], ["-n", "4"], ["--dist=worksteal"], ["--pdb"]):
        assert "loadgroup" not in pytest_command(python, own)


def test_manage_py_finds_the_running_console_and_only_that(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(place / "home", up.make_plan(options()).home.user)
    home.create()
    write_json(home.run / "environment.json", {"DATABASE_URL": "postgresql://there", "OPSCONSOLE_PORT": "8123"})
    assert not discover.use_running_console()
    assert os.environ["OPSCONSOLE_MODE"] == "dev", "a checkout in which nothing runs is for developing"
    monkeypatch.setenv("OPSCONSOLE_PORT", "9000")
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.delenv("DATABASE_URL")
    lock = HomeLock(home)
    lock.acquire("script/up")
    try:
        assert discover.use_running_console()
        assert os.environ["DATABASE_URL"] == "postgresql://there"
        assert os.environ["OPSCONSOLE_PORT"] == "9000"
    finally:
        lock.release()
        monkeypatch.setenv("DATABASE_URL", "")
        monkeypatch.delenv("DATABASE_URL")
