"""Real PostgreSQL, real Redis, real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from opsconsole.launcher.errors import LauncherError
from opsconsole.launcher.files import make_folder, read_json, write_json
from opsconsole.launcher.home import CHECKOUT, Home, lock_holder
from opsconsole.launcher.processes import clean_up_leftovers, start_time, wait_for
from opsconsole.launcher.services import Services
from opsconsole.launcher.toolchain import own_toolchain

pytestmark = pytest.mark.xdist_group("launcher")


@pytest.fixture
def services(home: Home) -> Iterator[Services]:
    held = Services(home, own_toolchain(), fast=True, what="the first")
    yield held
    if held.children():
        held.stop()


def child_pids(home: Home) -> dict[str, int]:
    return {path.stem: int((read_json(path) or {})["pid"]) for path in home.pids.glob("*.json")}


def alive(pid: int) -> bool:
    return start_time(pid) is not None


def test_one_life_of_the_services(services: Services, home: Home) -> None:
    services.start()
    variables = services.environment(mode="test")
    pids = child_pids(home)
    assert set(pids) == {"postgres", "redis"}
    with psycopg.connect(variables["DATABASE_URL"], autocommit=True) as app:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("CREATE TABLE mine (i int)")
        for role in ("opsconsole_tenant", "opsconsole_platform", "opsconsole_readonly"):
            app.execute(f"SET ROLE {role}")
            app.execute("RESET ROLE")
        for role in ("opsconsole_owner", "opsconsole_operator", "postgres"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(f"SET ROLE {role}")
    with psycopg.connect(variables["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("CREATE TABLE theirs (i int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            owner.execute("CREATE DATABASE another")
    with psycopg.connect(variables["DATABASE_OPERATOR_URL"]) as operator:
        assert operator.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
    with pytest.raises(LauncherError, match="the first"):
        Services(home, own_toolchain(), fast=True).start()
    services.stop()
    assert not any(alive(pid) for pid in pids.values())
    assert lock_holder(home) is None
    assert child_pids(home) == {}


def test_a_half_made_database_and_a_foreign_pid_file_do_not_stand_in_the_way(services: Services, home: Home) -> None:
    home.create()
    # Somebody else still holds the file that they write to: an initdb outlives the run that was killed.
    for name in ("postgres.new", "postgres.new-x7"):
        make_folder(home.root / name)
    with (home.root / "postgres.new-x7" / "PG_VERSION").open("w") as orphan:
        services.start()
        orphan.write("18\n")
    services.stop()
    assert list(home.root.glob("postgres.new*")) == []
    # A crash and a reboot later, the number in the file may belong to anybody: here to this very test.
    (home.postgres / "postmaster.pid").write_text(f"{os.getpid()}\n{home.postgres}\n1\n5432\n\n\n\n\n")
    again = Services(home, own_toolchain(), fast=True)
    again.start()
    try:
        assert not again.fresh
        assert alive(os.getpid())
    finally:
        again.stop()


def test_stopping_what_never_began_leaves_the_others_alone(services: Services, home: Home) -> None:
    services.start()
    second = Services(home, own_toolchain(), fast=True)
    with pytest.raises(LauncherError, match="Another copy"):
        second.start()
    second.stop()
    assert home.state_file.exists() and lock_holder(home) is not None
    services.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel tells children on Linux only")
def test_only_what_came_from_the_services_ends_with_them(services: Services) -> None:
    earlier = subprocess.Popen(["sleep", "300"])
    try:
        services.start()
        # A shell that ends at once leaves a child behind that nobody knows.
        orphan = int(subprocess.check_output(["sh", "-c", "sleep 300 >/dev/null & echo $!"], text=True))
        services.stop()
        assert earlier.poll() is None
        assert not alive(orphan)
    finally:
        earlier.kill()
        earlier.wait()


def test_a_folder_with_something_else_in_it_is_left_alone(services: Services, home: Home) -> None:
    home.create()
    make_folder(home.postgres)
    (home.postgres / "letters.txt").write_text("dear all")
    with pytest.raises(LauncherError, match="holds no database"):
        services.start()
    assert (home.postgres / "letters.txt").exists()
    assert lock_holder(home) is None


def test_a_database_of_another_version_is_named(services: Services, home: Home) -> None:
    home.create()
    make_folder(home.postgres, owner=home.user.uid, group=home.user.gid)
    (home.postgres / "PG_VERSION").write_text("12\n")
    # A database without its secrets would be refused first.
    write_json(home.root / "secrets.json", {"postgres_password": "x"})
    with pytest.raises(LauncherError, match="made by PostgreSQL 12"):
        services.start()


def run_services(home: Home) -> subprocess.Popen[str]:
    """`services` in the foreground, ready when it has printed its last export line."""
    command = [sys.executable, "-m", "opsconsole.launcher", "services", "--home", str(home.root)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("export SANDBOX_CONTROL_TOKEN"):
            return process
    raise AssertionError("the services did not start")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel tells children on Linux only")
def test_a_launcher_killed_outright_takes_its_children_along_and_the_next_one_starts(home: Home) -> None:
    process = run_services(home)
    pids = child_pids(home)
    process.kill()
    process.wait()
    assert wait_for(lambda: not any(alive(pid) for pid in pids.values()), seconds=20)
    again = run_services(home)
    pids = child_pids(home)
    again.send_signal(signal.SIGTERM)
    assert again.wait(30) == 0
    assert not any(alive(pid) for pid in pids.values())


def test_left_over_programs_are_ended_and_nobody_else(tmp_path: Path) -> None:
    def sleeper() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "300"], start_new_session=True)

    ours, stranger = sleeper(), sleeper()
    try:
        write_json(tmp_path / "worker.json", {"pid": ours.pid, "started": start_time(ours.pid), "signal": 15})
        # The same number, started at another time: somebody else got it since.
        write_json(tmp_path / "web.json", {"pid": stranger.pid, "started": "1", "signal": 15})
        write_json(tmp_path / "beat.json", {"pid": 4_000_000, "started": "1", "signal": 15})
        assert clean_up_leftovers(tmp_path) == ["worker"]
        assert ours.wait(5) == -signal.SIGTERM
        assert stranger.poll() is None
        assert list(tmp_path.iterdir()) == []
    finally:
        stranger.kill()
        stranger.wait()
        ours.kill()
        ours.wait()
