from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from opsconsole.launcher import guards
from opsconsole.launcher.home import CHECKOUT

GOOD_KEY = "pQ4tV9sWz2x7Kd1mYc8rLh5jNb3gFa6eUo0iTkRvXyE="


@pytest.fixture(autouse=True)
def powers(django_db_setup: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a process must not have, taken out of its surroundings."""
    found = {name: os.environ.get(name, "") for name in guards.POWERS}
    for name in found:
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def safe(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings that production may start with."""
    for name in guards.REQUIRED:
        monkeypatch.setenv(name, os.environ.get(name) or "set")
    settings.MODE = "production"
    settings.DEBUG = False
    settings.SECRET_KEY = "k3J9x-Zq81LmV0sTbE7wRn5yHdUc2PfGa6QiXoKtM4_S"
    settings.FIELD_KEYS = [GOOD_KEY]
    settings.SEAL_KEY = "KfNCVcWNWLPTfTzbWkxT0V7FsuR3mRLS2rKzV6QmKhk="
    settings.ALLOWED_HOSTS = ["console.example.org"]
    return settings


def numbers(found: list[Any]) -> set[str]:
    return {each.id.rpartition(".")[2] for each in found}


def test_sound_settings_and_the_applications_role_may_start(safe: Any, db: None) -> None:
    assert guards.settings_problems() == []
    assert guards.database_problems() == []
    guards.refuse_unsafe_start()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DEBUG", True, "E002"),
        ("SECRET_KEY", "demo-only-" + "abcdefghijklmnopqrstuvwxyz" * 2, "E003"),
        ("SECRET_KEY", "short", "E003"),
        ("SECRET_KEY", "x" * 60, "E003"),
        ("FIELD_KEYS", [], "E004"),
        ("FIELD_KEYS", ["not a key"], "E004"),
        ("FIELD_KEYS", [GOOD_KEY, "ZGVtby1vbmx5LWtleS1ub3QtYS1zZWNyZXQtMDEyMzQ="], "E004"),
        ("ALLOWED_HOSTS", [], "E005"),
        ("ALLOWED_HOSTS", ["*"], "E005"),
        ("AS_OWNER", True, "E006"),
    ],
)
def test_each_unsafe_setting_is_refused_with_its_way_out(safe: Any, name: str, value: object, expected: str) -> None:
    setattr(safe, name, value)
    found = guards.settings_problems()
    assert numbers(found) == {expected}
    assert all(each.hint for each in found)


@pytest.mark.parametrize("key", ["", "c2hvcnQ=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
def test_the_sealer_needs_a_real_key_and_the_others_none(safe: Any, key: str) -> None:
    safe.SEAL_KEY = key
    assert numbers(guards.seal_key_problems()) == {"E007"} and guards.settings_problems() == []


@pytest.mark.parametrize("name", guards.POWERS)
def test_no_process_starts_with_powers_that_are_not_its_own(
    safe: Any, db: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "something")
    with pytest.raises(ImproperlyConfigured, match=f"E008: {name}"):
        guards.refuse_unsafe_start()


@pytest.mark.parametrize("name", guards.REQUIRED)
def test_each_missing_variable_is_named(safe: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    assert any(name in each.msg for each in guards.settings_problems())


@pytest.fixture
def sign_in_as(powers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the guards ask with another login role."""

    def sign_in(variable: str) -> None:
        other = psycopg.connect(powers.get(variable) or os.environ[variable])
        monkeypatch.setattr(guards.connection, "cursor", lambda: other.cursor(), raising=False)

    return sign_in


def test_the_owner_of_the_tables_is_refused(safe: Any, sign_in_as: Any) -> None:
    sign_in_as("DATABASE_OWNER_URL")
    assert "E015" in numbers(guards.database_problems())


def test_a_role_that_bypasses_row_security_is_refused(safe: Any, sign_in_as: Any) -> None:
    sign_in_as("DATABASE_OPERATOR_URL")
    assert "E012" in numbers(guards.database_problems())


def test_a_right_to_truncate_is_found_also_behind_a_role_to_be_taken_on(
    safe: Any, db: None, powers: dict[str, str]
) -> None:
    with psycopg.connect(powers["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("CREATE TABLE loose (i int)")
        owner.execute("GRANT TRUNCATE ON loose TO opsconsole_tenant")
        try:
            found = guards.database_problems()
        finally:
            owner.execute("DROP TABLE loose")
    assert numbers(found) == {"E016"}
    assert "loose" in found[0].msg


def test_a_database_that_does_not_answer_is_a_reason_of_its_own(safe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise guards.DatabaseError("connection refused\nsecond line")

    monkeypatch.setattr(connection, "cursor", refuse)
    assert numbers(guards.database_problems()) == {"E010"}


def test_outside_production_nothing_is_asked(settings: Any) -> None:
    settings.MODE = "demo"
    settings.SECRET_KEY = "short"
    guards.refuse_unsafe_start()


def test_all_findings_come_at_once(safe: Any, db: None) -> None:
    safe.DEBUG, safe.SECRET_KEY = True, "short"
    with pytest.raises(ImproperlyConfigured) as caught:
        guards.refuse_unsafe_start()
    assert "E002" in str(caught.value)
    assert "E003" in str(caught.value)
    assert str(caught.value).count("Way out:") == 2


@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import opsconsole.asgi"],
        ["-m", "celery", "-A", "opsconsole.celery:app", "beat", "--pidfile=", "--schedule=beat"],
        ["-m", "celery", "-A", "opsconsole.celery:app", "worker", "-P", "solo"],
    ],
)
def test_web_worker_and_beat_each_end_rather_than_run_unsafely(command: list[str], tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "OPSCONSOLE_MODE": "production",
        "OPSCONSOLE_SECRET_KEY": "short",
    }
    result = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode != 0
    assert "E003" in result.stdout + result.stderr


@pytest.mark.parametrize("mode", [None, "", "prod", "Production", "demo "])
@pytest.mark.parametrize(
    "command",
    [
        ["-c", "import opsconsole.asgi"],
        ["-m", "celery", "-A", "opsconsole.celery:app", "beat", "--pidfile=", "--schedule=beat"],
        [str(CHECKOUT / "manage.py"), "check"],
    ],
)
def test_nothing_starts_without_saying_what_for(command: list[str], mode: str | None, tmp_path: Path) -> None:
    """A production start that lost its environment would else come up with the demo's secrets."""
    environment = {name: value for name, value in os.environ.items() if name != "OPSCONSOLE_MODE"}
    environment |= {"PYTHONPATH": str(CHECKOUT), **({} if mode is None else {"OPSCONSOLE_MODE": mode})}
    said = subprocess.run(
        [sys.executable, *command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert said.returncode != 0
    assert "OPSCONSOLE_MODE is" in said.stderr and "Way out:" in said.stderr
