"""What `script/n8n` remembers of its instances between starts; the instances themselves are tested where they run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sandbox import live
from sandbox.live import LiveInstance, LiveN8nError, port_of


def test_an_instance_stays_where_it_was_and_a_new_one_finds_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        before = LiveInstance("staging", f"http://127.0.0.1:{number}", "key", 1)
        # Consoles know it by this port, so it does not move by itself.
        with pytest.raises(LiveN8nError, match=f"Port {number}, where n8n 'staging' belongs, is taken"):
            live._port_for("staging", before, 5701, set(), chosen=False)
        with pytest.raises(LiveN8nError):
            live._port_for("staging", None, number, set(), chosen=True)
        assert live._port_for("staging", None, number, set(), chosen=False) != number
    assert live._port_for("staging", before, 5701, {5701}, chosen=False) == number == port_of(before)


def test_what_was_stopped_is_remembered_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSCONSOLE_HOME", str(tmp_path))
    known = [LiveInstance("dev", "http://127.0.0.1:5701", "key", 4_000_000, started="1")]
    live.write_state(known)
    live.command_stop()
    assert live.read_state() == known and live.command_status() == 1
    state = tmp_path / "n8n-instances" / "instances.json"
    assert state.stat().st_mode & 0o777 == 0o600, "it holds keys"


def test_one_that_does_not_come_up_is_named_and_none_is_left(tmp_path: Path) -> None:
    program = tmp_path / "node_modules" / ".bin" / "n8n"
    program.parent.mkdir(parents=True)
    # The first waits for ever, the second ends at once: the start ends both.
    program.write_text("#!/bin/sh\ncase $N8N_USER_FOLDER in */bad) echo no room; exit 3;; esac\nexec sleep 1000\n")
    program.chmod(0o755)
    begun: list[LiveInstance] = []
    places = [live.Place(name, tmp_path / name, live.free_port()) for name in ("good", "bad")]
    with pytest.raises(LiveN8nError, match=r"n8n 'bad' ended with code 3\. Its last words:\nno room"):
        live.launch_all(tmp_path, places, begun=begun.append)
    assert {instance.name for instance in begun} == {"good", "bad"}
    assert not any(live.alive(instance) for instance in begun)
