"""What `script/n8n` decides and remembers without an n8n; the instances themselves are tested where they run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.live import LiveInstance, LiveN8nError, command, installs, instances, port_of, scratch, versions
from sandbox.live.installs import install, installed
from sandbox.testing import ROOT


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for installs."""
    monkeypatch.setenv("OPSCONSOLE_N8N_DIR", str(tmp_path / "n8n"))
    return tmp_path / "n8n"


def unpack(folder: Path, *, driver: bool = True, listed: bool = True, version: str = "") -> Path:
    """What npm leaves behind, in small."""
    modules = folder / "node_modules"
    for package, number in (("n8n", version or folder.name), ("sqlite3", "5.1.7")):
        (modules / package).mkdir(parents=True)
        (modules / package / "package.json").write_text(json.dumps({"version": number}))
    (modules / ".bin").mkdir()
    (modules / ".bin" / "n8n").write_text("")
    if listed:
        (modules / ".package-lock.json").write_text("{}")
    if driver:
        compile_driver(folder)
    return folder


def compile_driver(folder: Path) -> None:
    place = folder / "node_modules" / "sqlite3" / "build" / "Release"
    place.mkdir(parents=True)
    (place / "node_sqlite3.node").write_text("")


# -- Versions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "like"), [("1.99.2", "1.123.0"), ("2.8.4", "2.0.3"), ("2.35.7", "2.41.1"), ("3.0.0", "2.41.1")]
)
def test_an_unknown_version_is_tried_like_the_nearest_known_one(version: str, like: str) -> None:
    found, known = versions.recipe_of(version), versions.KNOWN[like]
    assert (found.version, found.tried) == (version, False)
    assert (found.node_majors, found.legacy_peer_deps) == (known.node_majors, known.legacy_peer_deps)


@pytest.mark.parametrize("words", ["latest", "2.41", "../2.41.1", ""])
def test_what_is_no_version_is_refused(words: str) -> None:
    with pytest.raises(LiveN8nError, match="is no version of n8n"):
        versions.recipe_of(words)


def test_an_instance_keeps_the_version_of_its_data_or_gets_a_newer_one() -> None:
    before = LiveInstance("dev", "http://127.0.0.1:5701", "key", 1, version="2.0.3")
    assert command.version_for("dev", None, None) == versions.DEFAULT_VERSION
    assert command.version_for("dev", before, None) == "2.0.3"
    assert command.version_for("dev", before, "2.41.1") == "2.41.1"
    with pytest.raises(LiveN8nError, match=r"is of 2\.0\.3, which 1\.123\.0 cannot read"):
        command.version_for("dev", before, "1.123.0")


# -- Installs -----------------------------------------------------------------------------------------------------


def test_an_install_is_whole_when_npm_and_the_compiler_came_to_their_end(base: Path) -> None:
    assert installed(unpack(base / "2.41.1"))
    assert not installed(unpack(base / "2.40.1", listed=False)), "npm was killed"
    assert not installed(unpack(base / "2.40.2", driver=False)), "the compiler was killed"
    assert not installed(unpack(base / "2.40.3", version="2.40.2")), "another version lies there"
    assert not installed(base / "2.40.4")


def recorded(monkeypatch: pytest.MonkeyPatch, *, loads: bool = True) -> list[tuple[str, ...]]:
    """npm played by a double that does what it was asked; the words of each call."""
    calls: list[tuple[str, ...]] = []

    def npm(folder: Path, variables: object, *words: str) -> None:
        calls.append(words)
        if words[0] == "install":
            unpack(folder, driver=False)
        else:
            compile_driver(folder)

    def loaded(recipe: object, folder: Path) -> bool:
        return loads and (folder / "node_modules/sqlite3/build/Release/node_sqlite3.node").exists()

    monkeypatch.setattr(installs, "_npm", npm)
    monkeypatch.setattr(installs, "_ensure_node", lambda recipe: None)
    monkeypatch.setattr(installs, "_driver_loads", loaded)
    return calls


def test_what_is_installed_is_left_alone(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch)
    unpack(base / "2.41.1")
    assert install("2.41.1") == base / "2.41.1"
    assert calls == []


def test_a_killed_npm_begins_anew_and_a_killed_compiler_goes_on(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch)
    half = unpack(base / "2.41.1", listed=False) / "node_modules" / "half-a-package"
    half.mkdir()
    install("2.41.1")
    assert not half.exists()
    assert [words[0] for words in calls] == ["install", "rebuild"]
    assert "--legacy-peer-deps" in calls[0]
    calls.clear()
    unpack(base / "1.123.0", driver=False)
    monkeypatch.setattr(installs, "package_version", lambda folder, package: folder.name)  # another driver
    install("1.123.0")
    assert calls == [("rebuild", "sqlite3")]


def test_the_same_driver_is_taken_from_another_install(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch)
    unpack(base / "2.41.1")
    install("1.123.0")
    assert [words[0] for words in calls] == ["install"]
    assert "--legacy-peer-deps" not in calls[0]
    assert json.loads((base / "1.123.0" / "package.json").read_text())["dependencies"] == {"n8n": "1.123.0"}
    assert installed(base / "1.123.0")


def test_the_one_install_of_before_becomes_that_of_its_version(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch)
    unpack(base, version="1.123.0")
    install("1.123.0")
    assert installed(base / "1.123.0") and not (base / "node_modules").exists()
    assert calls == []


def test_an_n8n_sees_nothing_that_configures_another(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DB_TYPE", "N8N_ENCRYPTION_KEY", "N8N_PORT", "OPSCONSOLE_SECRET_KEY"):
        monkeypatch.setenv(name, "of the console")
    monkeypatch.setattr(installs, "machine_node", lambda: 20)
    assert "of the console" not in installs.environment("2.41.1").values()
    assert installs.environment("2.41.1")["PATH"].startswith(str(base / "node-24"))
    assert installs.environment("1.123.0")["PATH"] == os.environ["PATH"], "the machine's own Node fits"


# -- Instances ----------------------------------------------------------------------------------------------------


def test_an_instance_stays_where_it_was_and_a_new_one_finds_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        before = LiveInstance("staging", f"http://127.0.0.1:{number}", "key", 1)
        # Consoles know it by this port, so it does not move by itself.
        with pytest.raises(LiveN8nError, match=f"Port {number}, where n8n 'staging' belongs, is taken"):
            command._port_for("staging", before, 5701, set(), chosen=False)
        with pytest.raises(LiveN8nError):
            command._port_for("staging", None, number, set(), chosen=True)
        assert command._port_for("staging", None, number, set(), chosen=False) != number
    assert command._port_for("staging", before, 5701, {5701}, chosen=False) == number == port_of(before)


def test_what_was_stopped_is_remembered_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCONSOLE_HOME", str(tmp_path))
    known = [LiveInstance("dev", "http://127.0.0.1:5701", "key", 4_000_000, started="1")]
    command.write_state(known)
    command.command_stop()
    assert command.read_state() == known and command.command_status() == 1
    state = tmp_path / "n8n-instances" / "instances.json"
    assert state.stat().st_mode & 0o777 == 0o600, "it holds keys"


def test_instances_of_before_there_were_versions_are_of_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSCONSOLE_HOME", str(tmp_path))
    (tmp_path / "n8n-instances").mkdir()
    former = [{"name": "dev", "base_url": "http://127.0.0.1:5701", "api_key": "key", "pid": 4_000_000, "started": "1"}]
    (tmp_path / "n8n-instances" / "instances.json").write_text(json.dumps(former))
    assert [instance.version for instance in command.read_state()] == ["1.123.0"]


def played(base: Path, script: str) -> None:
    """An n8n that is a shell script."""
    program = base / versions.DEFAULT_VERSION / "node_modules" / ".bin" / "n8n"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_one_that_does_not_come_up_is_named_and_none_is_left(base: Path, tmp_path: Path) -> None:
    # The first waits for ever, the second ends at once: the start ends both.
    played(base, "case $N8N_USER_FOLDER in */bad) echo no room; exit 3;; esac\nexec sleep 1000")
    begun: list[LiveInstance] = []
    targets = [instances.LaunchTarget(name, tmp_path / name, instances.free_port()) for name in ("good", "bad")]
    with pytest.raises(LiveN8nError, match=r"n8n 'bad' 2\.41\.1 ended with code 3\. Its last words:\nno room"):
        instances.launch_all(targets, begun=begun.append)
    assert {instance.name for instance in begun} == {"good", "bad"}
    assert not any(instances.alive(instance) for instance in begun)


# -- The isolated one ---------------------------------------------------------------------------------------------

TRY = """
const net = require('net'), http = require('http');
const own = net.createServer(s => s.end()).listen(OWN, '127.0.0.1', () => {
  const seen = [];
  const attempt = (name, socket) => new Promise(done => {
    socket.on('connect', () => done(seen.push([name, 'connected'])));
    socket.on('error', e => done(seen.push([name, e.message])));
  });
  const get = (name, url) => new Promise(done => http.get(url).on('error', e => done(seen.push([name, e.message]))));
  (async () => {
    await attempt('own', net.connect(OWN, '127.0.0.1'));
    await attempt('other port', net.connect({port: OTHER, host: '127.0.0.1'}));
    await attempt('outside', net.connect(OWN, '203.0.113.5'));
    await attempt('socket', net.connect('/var/run/docker.sock'));
    await get('http', 'http://example.com/');
    await fetch('http://example.com/').catch(e => seen.push(['fetch', e.cause.message]));
    console.log(JSON.stringify(seen)); process.exit(0);
  })();
});
"""


@pytest.mark.skipif(not installs.machine_node(), reason="there is no Node here")
def test_the_isolated_one_connects_to_its_own_ports_and_nowhere_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        own, taken = instances.free_port(), other.getsockname()[1]
        program = tmp_path / "try.js"
        program.write_text(TRY.replace("OWN", str(own)).replace("OTHER", str(taken)))
        environment = {"PATH": os.environ["PATH"], **scratch.isolation(own, instances.free_port())}
        found = subprocess.run(["node", str(program)], env=environment, capture_output=True, text=True, check=True)
    seen = dict(json.loads(found.stdout))
    assert seen.pop("own") == "connected"
    assert seen.keys() == {"other port", "outside", "socket", "http", "fetch"}
    assert all("reaches nothing outside itself" in words for words in seen.values()), seen


def test_a_taken_port_is_said_before_anything_is_installed(base: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ["scratch", "--version", "2.41.1", "--data", str(tmp_path), "--port", str(taken.getsockname()[1])]
        command_line = [sys.executable, "-m", "sandbox.live", *words, "--json"]
        answer = subprocess.run(command_line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "is taken by another program" in answer.stderr
    assert not (base / "2.41.1").exists()
