"""Killed, full, locked or damaged: a branch of the Git store is at its old or its new commit, and people are told."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snapshots.store import (
    ContentDamaged,
    ContentMissing,
    GitStore,
    StoreCorrupt,
    StoreFull,
    StoreLocked,
    StoreMissing,
    StoreNotWritable,
    WriteFailed,
    locks,
    packing,
    plumbing,
)

from .test_store import SEEN, contents, write

OLD = {f"workflows/{n}.json": b"old %d" % n for n in range(5)}
#: Enough to make a pack (100 objects and more), and content that does not compress away.
NEW = {f"workflows/{n}.json": bytes((n * i) % 251 for i in range(2000)) for n in range(120)}

#: Exit code of a child whose write ended before the moment that was chosen.
UNTOUCHED = 3


@pytest.fixture
def store(tmp_path: Path) -> GitStore:
    return GitStore.open(tmp_path, "tenant").create()


def in_child(work: Callable[[], None]) -> int:
    """Run in a forked process; its exit code, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it was, the parent hears of it
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Moments:
    """Counts what a write says to Git, and at the chosen moment kills itself or the git it talks to."""

    def __init__(self, at: int, victim: str) -> None:
        self.at, self.victim, self.count = at, victim, 0
        start = plumbing.Plumbing.start

        def counted(this: plumbing.Plumbing, *args: str, **options: object) -> plumbing.Process:
            self.tick(None)
            process = start(this, *args, **options)
            self.tick(process.pid)
            popen = process._popen
            finish, communicate = popen.wait, popen.communicate
            popen.stdin = Pipe(popen.stdin, lambda: self.tick(process.pid))
            popen.communicate = lambda *a, **k: (self.tick(process.pid), communicate(*a, **k))[1]
            popen.wait = finish
            return process

        plumbing.Plumbing.start = counted
        self._watch(packing.os, "fsync")
        self._watch(packing.Path, "rename")
        self._watch(packing.Path, "unlink")
        self._watch(packing.Pack, "_complete")
        self._watch(packing.Pack, "add_blob", first=3, every=20)

    def _watch(self, owner: object, name: str, *, first: int = 1, every: int = 1) -> None:
        """Tick before each call; of many calls the first ones, and some of the others."""
        real, calls = getattr(owner, name), itertools.count(1)

        def counted(*args: object, **options: object) -> object:
            if (number := next(calls)) <= first or number % every == 0:
                self.tick(None)
            return real(*args, **options)

        setattr(owner, name, counted)

    def tick(self, pid: int | None) -> None:
        self.count += 1
        if self.count == self.at:
            if self.victim == "self":
                os.kill(os.getpid(), signal.SIGKILL)
            elif pid is not None:
                os.kill(pid, signal.SIGKILL)


class Pipe:
    """A pipe that reports before each use."""

    def __init__(self, pipe, report: Callable[[], None]) -> None:
        self._pipe, self._report, self._said = pipe, report, 0

    def __getattr__(self, name: str):
        return getattr(self._pipe, name)

    def _now_and_then(self) -> None:
        # The first words matter one by one; of a long stream each fiftieth will do.
        self._said += 1
        if self._said < 8 or self._said % 50 == 0:
            self._report()

    def write(self, data: bytes) -> int:
        self._now_and_then()
        return self._pipe.write(data)

    def writelines(self, lines: list[bytes]) -> None:
        self._now_and_then()
        self._pipe.writelines(lines)

    def flush(self) -> None:
        self._now_and_then()
        self._pipe.flush()


def test_whoever_leaves_without_a_commit_leaves_nothing(store: GitStore) -> None:
    with store.writer(SEEN) as writer:
        for path, data in NEW.items():
            writer.put(path, data)
    assert store.tip(SEEN) is None
    assert list((store.path / "objects" / "pack").iterdir()) == []


def test_a_disk_that_fails_while_the_pack_is_finished_is_named(
    store: GitStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(store, OLD)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in ((packing.os, "fsync"), (packing.Path, "rename"), (packing.IndexWriter, "write")):
        with monkeypatch.context() as patched, pytest.raises(StoreFull):
            patched.setattr(owner, name, refuse)
            write(store, NEW)
        assert store.tip(SEEN) == first
        assert locks.find_leftovers(store.path) == []
    assert contents(store, write(store, NEW)) == {**OLD, **NEW}
    assert store.verify().findings == []


@pytest.mark.parametrize("victim", ["self", "git"])
def test_killed_at_any_moment_a_branch_is_old_or_new(store: GitStore, victim: str) -> None:
    write(store, OLD)
    moved, at, ended = 0, 0, -1
    while ended != UNTOUCHED:
        at += 1
        before = store.tip(SEEN)

        def work(at: int = at) -> None:
            moments = Moments(at, victim)
            with contextlib.suppress(WriteFailed, ContentDamaged):
                write(store, {**NEW, "moment": b"%d" % at}, replace=["workflows"])
            if moments.count < at:
                os._exit(UNTOUCHED)

        ended = in_child(work)
        assert ended in (-signal.SIGKILL, 0, UNTOUCHED), f"moment {at}"
        # An update-ref that was killed while it held the branch leaves its lock; age makes it stale.
        for lock in store.path.rglob("*.lock"):
            with contextlib.suppress(FileNotFoundError):  # a Git that outlived its parent has let go of it
                os.utime(lock, (1, 1))
        after = store.tip(SEEN)
        if after != before:
            moved += 1
            assert store.commit_info(after).parents == (before,)
            assert store.read(after, "moment") == b"%d" % at
        if at % 8 == 0:
            assert store.verify(quick=True).is_whole, f"moment {at}"
    assert at > 30 and moved >= 1
    final = write(store, {"workflows/after.json": b"after"})
    assert contents(store, store.log(SEEN, limit=1000).commits[-1].sha) == OLD
    store.gc(full=True)
    assert store.verify().findings == []
    assert store.read(final, "workflows/after.json") == b"after"
    assert locks.find_leftovers(store.path) == []


def test_a_killed_creation_can_be_repeated(tmp_path: Path) -> None:
    store = GitStore.open(tmp_path, "tenant")
    for at in range(1, 5):

        def work(at: int = at) -> None:
            Moments(at, "self")
            store.create()

        in_child(work)
    assert store.create().verify().is_whole


def test_a_fresh_lock_is_respected_and_told(store: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(store, OLD)
    monkeypatch.setattr(plumbing, "_SETTINGS", (*plumbing._SETTINGS, "core.filesRefLockTimeout=0"))
    lock = store.path / "refs/heads/snapshots/prod.lock"
    lock.touch()
    with pytest.raises(StoreLocked) as caught:
        write(store, {"workflows/new.json": b"1"})
    assert caught.value.details["locks"] == [{"lock": "refs/heads/snapshots/prod.lock", "age_seconds": 0}]
    assert (caught.value.code, caught.value.status) == ("SNAP_001", 409)
    assert store.tip(SEEN) == first and lock.exists()
    lock.unlink()


def test_an_old_lock_without_a_holder_goes_by_itself(store: GitStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, OLD)
    monkeypatch.setattr(plumbing, "_SETTINGS", (*plumbing._SETTINGS, "core.filesRefLockTimeout=0"))
    lock = store.path / "refs/heads/snapshots/prod.lock"
    lock.touch()
    os.utime(lock, (time.time() - 1000,) * 2)
    assert [finding.kind for finding in store.verify().findings] == ["lock"] and store.verify().is_whole
    commit = write(store, {"workflows/new.json": b"1"})
    assert store.tip(SEEN) == commit and not lock.exists()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="processes cannot be looked up here")
def test_an_old_lock_whose_holder_lives_is_left_alone(store: GitStore) -> None:
    first = write(store, OLD)
    holder = plumbing.Plumbing(store.path).start("update-ref", "--stdin")
    try:
        holder.stdin.write(f"start\nupdate refs/heads/{SEEN} {first} {first}\nprepare\n".encode())
        holder.stdin.flush()
        assert holder.stdout.readline() == b"start: ok\n" and holder.stdout.readline() == b"prepare: ok\n"
        lock = store.path / "refs/heads/snapshots/prod.lock"
        os.utime(lock, (1, 1))
        assert locks.clear_stale_locks(store.path) == [] and lock.exists()
    finally:
        holder.finish()
        holder.close()
    assert write(store, {"workflows/new.json": b"1"})


def test_a_limit_of_file_size_is_a_full_store(store: GitStore) -> None:
    first = write(store, OLD)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(StoreFull):
            write(store, {f"workflows/{n}.json": os.urandom(5000) for n in range(200)})

    assert in_child(work) == 0
    assert store.tip(SEEN) == first
    assert locks.find_leftovers(store.path) == []
    assert store.verify().findings == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted as root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_changes_nothing_and_is_usable_again(tiny_disk: Path) -> None:
    store = GitStore.open(tiny_disk, "tenant").create()
    first = write(store, OLD)
    for count, size in ((400, 5000), (80, 30_000)):
        with pytest.raises(StoreFull) as caught:
            write(store, {f"workflows/{n}.json": os.urandom(size) for n in range(count)})
        assert caught.value.status == 507
        assert store.tip(SEEN) == first and contents(store, first) == OLD
        assert store.verify().is_whole
    # Nothing half-written takes up the room.
    assert write(store, {"workflows/small.json": os.urandom(20_000)}) == store.tip(SEEN)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store_is_told(store: GitStore) -> None:
    write(store, OLD)
    (store.path / "objects").chmod(0o500)
    try:
        with pytest.raises(StoreNotWritable):
            write(store, NEW)
    finally:
        (store.path / "objects").chmod(0o700)


def loose(store: GitStore, sha: str) -> Path:
    return store.path / "objects" / sha[:2] / sha[2:]


def spoil(file: Path, data: bytes | None) -> None:
    file.chmod(0o600)
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_content_is_named_and_never_returned(store: GitStore, damage: bytes | None) -> None:
    commit = write(store, OLD)
    sha = store.tree(commit)["workflows/3.json"]
    spoil(loose(store, sha), damage)
    with pytest.raises(ContentMissing if damage is None else (ContentDamaged, ContentMissing)) as caught:
        store.read(commit, "workflows/3.json")
    assert caught.value.details["object"] == sha
    assert store.read(commit, "workflows/2.json") == b"old 2"
    found = store.verify()
    assert not found.is_whole and sha in {finding.object for finding in found.findings}


def test_content_under_a_wrong_name_is_damage(store: GitStore) -> None:
    commit = write(store, OLD)
    tree = store.tree(commit)
    spoil(loose(store, tree["workflows/3.json"]), loose(store, tree["workflows/2.json"]).read_bytes())
    with pytest.raises(ContentDamaged):
        store.read(commit, "workflows/3.json")


def test_a_missing_blob_is_noticed_by_a_write_and_can_be_sent_again(store: GitStore) -> None:
    commit = write(store, OLD)
    spoil(loose(store, store.tree(commit)["workflows/3.json"]), None)
    with pytest.raises(StoreCorrupt):
        write(store, {**OLD, "workflows/new.json": b"1"}, replace=["workflows"])
    assert store.tip(SEEN) == commit
    healed = write(store, {**OLD, "workflows/new.json": b"1"}, replace=["workflows"], resend=True)
    assert contents(store, healed) == {**OLD, "workflows/new.json": b"1"}
    assert store.verify().is_whole


@pytest.mark.parametrize("damage", [b"", b"not a commit\n", b"1" * 40 + b"\n"])
def test_a_damaged_branch_stops_writes_and_is_named(store: GitStore, damage: bytes) -> None:
    write(store, OLD)
    (store.path / "refs/heads/snapshots/prod").write_bytes(damage)
    with pytest.raises((StoreCorrupt, ContentMissing)):
        store.tree(store.tip(SEEN) or "")
    with pytest.raises(StoreCorrupt):
        write(store, NEW)
    found = store.verify()
    assert not found.is_whole and any(SEEN in finding.branch or finding.kind == "branch" for finding in found.findings)
    assert (store.path / "refs/heads/snapshots/prod").read_bytes() == damage


def test_a_missing_repository_is_told(store: GitStore) -> None:
    (store.path / "HEAD").unlink()
    for call in (store.branches, store.size, store.gc, lambda: store.tip(SEEN), lambda: write(store, OLD)):
        with pytest.raises(StoreMissing):
            call()
    assert [finding.kind for finding in store.verify().findings] == ["unusable"]


def test_leftovers_are_named_and_swept(store: GitStore) -> None:
    write(store, OLD)
    leftover = store.path / "objects/pack/tmp_pack_x1Yz"
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"x" * 1000)
    os.utime(leftover, (1, 1))
    assert [finding.kind for finding in store.verify().findings] == ["leftover"]
    with store.writer(SEEN):
        assert store.gc(full=True).pruned is False
        assert leftover.exists()
    assert store.gc(full=True).pruned is True
    assert not leftover.exists() and store.verify().findings == []
