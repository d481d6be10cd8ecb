from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from opsconsole.launcher import toolchain
from opsconsole.launcher.errors import LauncherError
from opsconsole.launcher.files import write_json


def answer(code: int, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], code, text, text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "requirements").mkdir()
    for kind in ("base", "dev"):
        (tmp_path / "requirements" / f"{kind}.txt").write_text(f"{kind}==1\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    return tmp_path


def stamp(checkout: Path, kind: str) -> None:
    digest = toolchain.lock_hash(checkout / "requirements" / f"{kind}.txt")
    write_json(checkout / ".venv" / toolchain.STAMP, {"kind": kind, "hash": digest})


def test_what_development_needs_holds_what_the_product_needs_but_not_the_reverse(checkout: Path) -> None:
    stamp(checkout, "dev")
    assert toolchain.satisfied(checkout / ".venv", "base", checkout=checkout)
    stamp(checkout, "base")
    assert not toolchain.satisfied(checkout / ".venv", "dev", checkout=checkout)


def test_a_changed_lock_or_a_missing_interpreter_asks_for_a_new_install(checkout: Path) -> None:
    stamp(checkout, "base")
    (checkout / ".venv" / "bin" / "python").unlink()
    assert not toolchain.satisfied(checkout / ".venv", "base", checkout=checkout)
    (checkout / ".venv" / "bin" / "python").touch()
    (checkout / "requirements" / "base.txt").write_text("base==2\n")
    assert not toolchain.satisfied(checkout / ".venv", "base", checkout=checkout)


def test_a_python_without_ensurepip_gets_an_environment_without_pip(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return answer(0 if "--without-pip" in command else 1)

    monkeypatch.setattr(toolchain, "run", run)
    toolchain.create_environment(tmp_path / "venv")
    assert ["--without-pip" in call for call in calls] == [False, True]


def test_the_systems_pip_is_pointed_at_an_environment_that_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = toolchain.Toolchain(tmp_path)
    monkeypatch.setattr(toolchain, "run", lambda command, **_: answer(0 if "--python" in command else 1))
    command = toolchain.pip_command(tools)
    assert command is not None
    assert command[3:5] == ["--python", str(tools.python)]


def test_without_pip_and_uv_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "run", lambda command, **_: answer(1))
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    with pytest.raises(LauncherError, match="apt install python3-venv"):
        toolchain.fill(toolchain.Toolchain(tmp_path), tmp_path / "base.txt", bootstrap=tmp_path / "none.txt")


def test_pips_indexes_are_handed_to_uv() -> None:
    options = toolchain.uv_index_options({"index-url": "https://one/simple", "extra-index-url": "https://a https://b"})
    assert options[:6] == [
        "--index-url", "https://one/simple", "--extra-index-url", "https://a", "--extra-index-url", "https://b",
    ]  # fmt: skip
    assert toolchain.uv_index_options({}) == []


def test_an_old_python_and_a_missing_git_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    with pytest.raises(LauncherError, match="Git is not installed"):
        toolchain.check_prerequisites()
    monkeypatch.setattr(toolchain.sys, "version_info", (3, 10, 4))
    with pytest.raises(LauncherError, match=r"Python 3\.10\.4"):
        toolchain.check_prerequisites()
