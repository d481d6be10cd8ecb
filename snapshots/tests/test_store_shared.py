"""Many at once: whoever writes to the Git store, at the same time or while it is cleaned, loses nothing."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from snapshots.store import (
    GitStore,
    PushFailed,
    PushRejected,
    PushUnreachable,
    Remote,
    RemoteNotAllowed,
    check_remote,
    locks,
    maintenance,
)
from snapshots.store.plumbing import Plumbing
from snapshots.store.push import _judge, _without_secrets

from .test_store import SEEN, contents, write


@pytest.fixture
def store(tmp_path: Path) -> GitStore:
    return GitStore.open(tmp_path, "tenant").create()


def at_once(works: list[Callable[[], None]]) -> list[int]:
    """Run each in a process of its own, all released together; their exit codes."""
    gate, release = os.pipe()
    pids = []
    for work in works:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(release)
                os.read(gate, 1)
                work()
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    os.close(gate)
    os.close(release)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def test_processes_on_one_branch_lose_nothing(store: GitStore) -> None:
    def captures(who: int) -> Callable[[], None]:
        def work() -> None:
            for turn in range(4):
                name = f"{who}-{turn}".encode()
                files = {f"snapshots/e{who}/{turn}.json": name, "workflows/a.json": name}
                write(store, files, replace=["workflows"])

        return work

    assert at_once([captures(who) for who in range(5)]) == [0] * 5
    found = contents(store, store.tip(SEEN))
    manifests = {path: data for path, data in found.items() if path.startswith("snapshots/")}
    assert manifests == {f"snapshots/e{w}/{t}.json": b"%d-%d" % (w, t) for w in range(5) for t in range(4)}
    assert len(store.log(SEEN, limit=100).commits) == 20
    assert store.verify().findings == []


def test_processes_on_their_own_branches_do_not_wait_for_each_other(store: GitStore) -> None:
    def captures(who: int) -> Callable[[], None]:
        return lambda: [write(store, {"a.json": b"%d" % n}, branch=f"env/e{who}") for n in range(4)] and None

    assert at_once([captures(who) for who in range(5)]) == [0] * 5
    assert {branch: len(store.log(branch).commits) for branch in store.branches()} == {f"env/e{n}": 4 for n in range(5)}
    assert store.verify().findings == []


def test_one_store_serves_threads(store: GitStore) -> None:
    def capture(who: int) -> bytes:
        commit = write(store, {f"snapshots/e/{who}.json": b"%d" % who})
        return store.read(commit, f"snapshots/e/{who}.json")

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(capture, range(18))) == [b"%d" % who for who in range(18)]
    assert len(store.tree(store.tip(SEEN))) == 18


def test_two_who_create_make_one_store(tmp_path: Path) -> None:
    assert at_once([lambda: GitStore.open(tmp_path, "t").create() and None] * 6) == [0] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["t.git"]


def test_cleaning_beside_writers_loses_nothing(store: GitStore) -> None:
    write(store, {"workflows/a.json": b"0"})

    def clean() -> None:
        for _ in range(3):
            store.gc(full=True)

    def capture() -> None:
        for turn in range(6):
            write(store, {"workflows/a.json": b"%d" % turn, f"snapshots/e/{turn}.json": os.urandom(500)})

    assert at_once([clean, capture]) == [0, 0]
    assert len(store.tree(store.tip(SEEN))) == 7
    assert store.verify().findings == []


def test_one_packing_at_a_time(store: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another has not finished would be a leftover to it."""
    write(store, {"workflows/a.json": b"1"})
    half = store.path / "objects" / "pack" / "tmp_pack_half"
    half.parent.mkdir(exist_ok=True)
    begun, waits, go_on, there = threading.Event(), threading.Event(), threading.Event(), []
    pack = maintenance._must_long

    def slow(plumbing: Plumbing, *args: str) -> None:
        if not begun.is_set():
            half.touch()
            begun.set()
            assert go_on.wait(60)
            there.append(half.exists())
        pack(plumbing, *args)

    monkeypatch.setattr(maintenance, "_must_long", slow)
    monkeypatch.setattr(locks.time, "sleep", lambda _seconds: waits.set())
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.gc, full=True)
        assert begun.wait(60)
        second = pool.submit(store.gc, full=True)
        second.add_done_callback(lambda _done: waits.set())
        assert waits.wait(60)
        go_on.set()
        assert first.result(60).pruned and second.result(60).pruned
    assert there == [True]


def test_what_nothing_leads_to_is_dropped_only_when_nobody_writes(store: GitStore) -> None:
    kept = write(store, {"workflows/a.json": b"1"})
    gone = write(store, {"workflows/a.json": b"2"}, branch="env/gone")
    store.move_branch("env/gone", to=None, expected=gone)
    with store.writer(SEEN) as writer:
        writer.put_blob(b"under way")
        assert store.gc(full=True).pruned is False
        assert store.commit_info(gone).sha == gone
    assert store.gc(full=True).pruned is True
    objects = store.size()
    assert (objects.loose, objects.packs, objects.packed) == (0, 1, 4)
    assert contents(store, kept) == {"workflows/a.json": b"1"}


def test_small_packs_are_put_together_when_they_pile_up(store: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(4):
        write(store, {f"workflows/{n}-{i}.json": os.urandom(20) for i in range(110)})
    assert store.size().packs == 4 and not store.gc().repacked
    monkeypatch.setattr(maintenance, "MANY_PACKS", 2)
    care = store.gc()
    assert care.repacked and care.after.packs < 4 and care.after.loose == 0
    assert len(contents(store, store.tip(SEEN))) == 440
    assert store.verify().findings == []


# -- the remote -------------------------------------------------------------------------------------------------------


def test_all_branches_reach_the_remote_and_a_second_push_moves_none(store: GitStore, tmp_path: Path) -> None:
    target = GitStore.open(tmp_path, "remote").create()
    remote = Remote(f"file://{target.path}")
    assert store.push(remote, allow_file=True).moved == ()
    write(store, {"workflows/a.json": b"1"})
    write(store, {"workflows/a.json": b"1"}, branch="env/prod")
    assert set(store.push(remote, allow_file=True).moved) == {SEEN, "env/prod"}
    assert target.branches() == store.branches()
    again = store.push(remote, allow_file=True)
    assert (again.moved, set(again.unchanged)) == ((), {SEEN, "env/prod"})
    write(store, {"workflows/a.json": b"2"})
    assert store.push(remote, allow_file=True).moved == (SEEN,)
    assert target.verify().findings == []


def test_what_only_the_remote_has_is_never_overwritten(store: GitStore, tmp_path: Path) -> None:
    target = GitStore.open(tmp_path, "remote").create()
    theirs = write(target, {"workflows/theirs.json": b"1"})
    write(store, {"workflows/ours.json": b"1"})
    with pytest.raises(PushRejected) as caught:
        store.push(Remote(f"file://{target.path}"), allow_file=True)
    assert set(caught.value.details["branches"]) == {SEEN}
    assert target.tip(SEEN) == theirs


def test_a_remote_that_is_not_there_is_unreachable(store: GitStore, tmp_path: Path) -> None:
    write(store, {"workflows/a.json": b"1"})
    with pytest.raises(PushUnreachable):
        store.push(Remote(f"file://{tmp_path}/nothing.git"), allow_file=True)
    with pytest.raises(PushUnreachable):
        store.push(Remote("https://127.0.0.1:9/x.git"), timeout=20)


def test_a_remote_that_never_answers_is_given_up(store: GitStore) -> None:
    import socket

    write(store, {"workflows/a.json": b"1"})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(PushUnreachable):
            store.push(Remote(f"http://127.0.0.1:{port}/x.git"), timeout=1, allow_http=True)
    # Neither git nor its helper is left behind.
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert f"127.0.0.1:{port}" not in running


def test_credentials_travel_by_environment_only(store: GitStore) -> None:
    """A server that asks for a login gets it; no command line ever holds it."""
    import base64
    import http.server

    seen: list[str] = []
    lines: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            lines.append(shown)
            self.send_response(401 if not seen[-1] else 403)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    write(store, {"workflows/a.json": b"1"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        remote = Remote(f"http://127.0.0.1:{server.server_port}/x.git", username="ada", password="s3cret-$(id)")
        with pytest.raises(PushFailed) as caught:
            store.push(remote, allow_http=True, timeout=30)
    finally:
        server.shutdown()
        server.server_close()
    assert caught.value.code == "GIT_002"
    assert f"Basic {base64.b64encode(b'ada:s3cret-$(id)').decode()}" in seen
    assert not any("s3cret" in line for line in lines)
    assert "s3cret" not in str(caught.value.details) and "s3cret" not in repr(remote)


HARMFUL = ["", "-oProxyCommand=x", "ext::sh -c id", "http://host/x.git", "file:///x.git", "/x.git", "git://host/x"]
HARMFUL += ["https://u:p@host/x.git", "https://u@host/x.git", "ssh://-oProxy/x", "ssh://git@-x/x", "git@-x:y", "fd::3"]
HARMFUL += [
    "https:///x",
    "https://host/x\n",
    "https://host/a b",
    "https://host:x/",
    "https://host/x?token=1",
    "git@h:-x",
]


@pytest.mark.parametrize("url", HARMFUL)
def test_addresses_that_could_do_harm_are_refused(store: GitStore, url: str) -> None:
    with pytest.raises(RemoteNotAllowed) as caught:
        store.push(Remote(url))
    assert "@" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://git.example.org/team/x.git", "https"),
        ("https://git.example.org:8443/x", "https"),
        ("ssh://git@git.example.org:2222/x.git", "ssh"),
        ("git@git.example.org:team/x.git", "ssh"),
    ],
)
def test_usual_addresses_are_allowed(url: str, protocol: str) -> None:
    assert check_remote(url) == protocol


def test_passwords_must_be_one_line(store: GitStore) -> None:
    write(store, {"workflows/a.json": b"1"})
    with pytest.raises(RemoteNotAllowed):
        store.push(Remote("https://git.example.org/x.git", password="a\nhost=evil"))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("fatal: Authentication failed for 'https://host/x.git/'", "GIT_002"),
        ("git@host: Permission denied (publickey).\nfatal: Could not read from remote repository.", "GIT_002"),
        ("Host key verification failed.", "GIT_006"),
        ("fatal: unable to access 'https://host/': Could not resolve host: host", "GIT_003"),
        ("ssh: connect to host h port 22: Connection timed out", "GIT_003"),
        ("something nobody has seen yet", "GIT_001"),
    ],
)
def test_what_the_remote_says_is_understood(said: str, code: str) -> None:
    with pytest.raises(PushFailed) as caught:
        _judge(128, "", _without_secrets(said, Remote("https://host/x.git")))
    assert caught.value.code == code
