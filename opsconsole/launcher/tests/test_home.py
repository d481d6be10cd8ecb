from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from opsconsole.launcher import home as home_module
from opsconsole.launcher.errors import LauncherError
from opsconsole.launcher.home import (
    Home,
    HomeLock,
    choose_home,
    load_secrets,
    lock_holder,
    pick_port,
    port_free,
)
from opsconsole.launcher.identity import ServiceUser, reachable

SOMEBODY = ServiceUser(65534, 65534, "nobody")
OURSELVES = ServiceUser(None, None, "me")


@pytest.fixture(autouse=True)
def no_home_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPSCONSOLE_HOME", raising=False)


def test_a_private_checkout_moves_the_data_and_says_where(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "service_user", lambda folder: SOMEBODY)
    checkout = place / "private" / "checkout"
    checkout.mkdir(parents=True)
    (place / "private").chmod(0o700)
    home, remark = choose_home(checkout=checkout)
    assert home.root.is_relative_to("/var/lib/opsconsole")
    assert str(home.root) in remark
    assert stat.S_IMODE((place / "private").stat().st_mode) == 0o700


def test_two_private_checkouts_of_one_name_have_two_data_folders(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "service_user", lambda folder: SOMEBODY)
    roots = set()
    for parent in ("one", "two"):
        checkout = place / parent / "checkout"
        checkout.mkdir(parents=True)
        (place / parent).chmod(0o700)
        roots.add(choose_home(checkout=checkout)[0].root)
    assert len(roots) == 2


def test_a_named_folder_is_refused_rather_than_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_module, "service_user", lambda folder: SOMEBODY)
    place.chmod(0o700)
    monkeypatch.setenv("OPSCONSOLE_HOME", str(place / "data"))
    with pytest.raises(LauncherError, match="cannot reach"):
        choose_home()


def test_a_file_where_the_folder_should_be_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "notes").write_text("not a folder")
    monkeypatch.setenv("OPSCONSOLE_HOME", str(place / "notes" / "data"))
    with pytest.raises(LauncherError, match="notes is a file"):
        choose_home()


def test_an_ordinary_user_needs_no_open_folders(place: Path) -> None:
    place.chmod(0o700)
    assert reachable(place / "below", OURSELVES)
    assert not reachable(place / "below", SOMEBODY)


def test_secrets_are_private_stable_and_never_replaced_under_a_database(home: Home) -> None:
    home.create()
    first = load_secrets(home)
    assert load_secrets(home) == first
    path = home.root / "secrets.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    home.postgres.mkdir()
    (home.postgres / "PG_VERSION").write_text("18")
    path.unlink()
    with pytest.raises(LauncherError, match="is gone"):
        load_secrets(home)


def test_broken_secrets_are_not_overwritten(home: Home) -> None:
    home.create()
    path = home.root / "secrets.json"
    path.write_text("{half")
    with pytest.raises(LauncherError, match="cannot be read"):
        load_secrets(home)
    assert path.read_text() == "{half"


def test_the_second_on_a_data_folder_learns_who_has_it_and_where(home: Home) -> None:
    home.create()
    first, second = HomeLock(home), HomeLock(home)
    first.acquire("script/up")
    first.describe(address="http://localhost:8123/")
    with pytest.raises(LauncherError) as caught:
        second.acquire("script/test")
    assert str(os.getpid()) in str(caught.value)
    assert "http://localhost:8123/" in str(caught.value)
    assert (lock_holder(home) or {})["what"] == "script/up"
    first.release()
    assert lock_holder(home) is None
    second.acquire("script/test")
    second.release()


def test_a_deep_folder_puts_the_socket_where_its_path_fits(place: Path) -> None:
    deep = Home(place / ("x" * 60) / ("y" * 60), OURSELVES)
    assert len(str(deep.sockets)) < 80
    assert deep.sockets != Home(place / ("x" * 60) / ("z" * 60), OURSELVES).sockets


def test_a_port_is_kept_while_it_is_free(home: Home) -> None:
    import socket

    home.create()
    port = pick_port(home, "postgres")
    assert pick_port(home, "postgres") == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen(1)
        assert not port_free(port)
        assert pick_port(home, "postgres") != port


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(place: Path) -> None:
    place.chmod(0o500)
    with pytest.raises(LauncherError, match="OPSCONSOLE_HOME"):
        Home(place / "data", OURSELVES).create()
