"""Packs that we write are Git's to judge: it reads them back, checks them, and takes no notice of an unfinished one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snapshots.store import GitStore, locks, packing

from .test_store import ADA, SEEN, contents, plain_git, write

# A header holds four bits of the size in its first byte and seven in each further one.
SIZES = (0, 1, 15, 16, 2047, 2048, 8191, 8193, 262_143, 262_144)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitStore:
    monkeypatch.setattr(packing, "LOOSE_OBJECTS", 0)
    return GitStore.open(tmp_path, "tenant").create()


def packs(store: GitStore) -> list[Path]:
    return sorted((store.path / "objects" / "pack").glob("*.pack"))


def test_contents_of_every_size_are_read_back_and_found_in_order(store: GitStore) -> None:
    files = {f"workflows/{size}.json": os.urandom(size) for size in SIZES}
    commit = write(store, files)
    assert contents(store, commit) == files
    (pack,) = packs(store)
    assert f"non delta: {len(files)} objects" in plain_git(store, "verify-pack", "-v", str(pack))
    assert plain_git(store, "fsck", "--full", "--strict", "--no-dangling") == ""
    assert stat.S_IMODE(pack.stat().st_mode) & 0o222 == 0
    assert locks.find_leftovers(store.path) == []


@settings(max_examples=25, deadline=None)
@given(blobs=st.lists(st.binary(max_size=5000), min_size=1, max_size=40))
@example(blobs=[b"", b""])
@example(blobs=[b"PACK", b"same", b"same"])
def test_whatever_is_put_is_what_plain_git_has(blobs: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(packing, "LOOSE_OBJECTS", 0)
        store = GitStore.open(Path(folder), "tenant").create()
        files = {f"workflows/{number}.json": data for number, data in enumerate(blobs)}
        commit = write(store, files)
        assert contents(store, commit) == files
        assert plain_git(store, "fsck", "--full", "--strict", "--no-dangling") == ""


def test_a_few_contents_lie_loose_and_many_or_large_ones_in_a_pack(tmp_path: Path) -> None:
    store = GitStore.open(tmp_path, "tenant").create()
    few = {f"workflows/{number}.json": b"%d" % number for number in range(packing.LOOSE_OBJECTS)}
    write(store, few)
    assert packs(store) == []
    large = {"workflows/large.json": os.urandom(packing.LOOSE_BYTES + 1)}
    write(store, large)
    assert len(packs(store)) == 1
    commit = write(store, {f"workflows/{number}.json": b"next %d" % number for number in range(len(few) + 1)})
    assert len(packs(store)) == 2
    assert store.verify().findings == []
    assert contents(store, commit)["workflows/large.json"] == large["workflows/large.json"]


def test_what_was_flushed_is_there_for_others_before_the_commit(store: GitStore) -> None:
    with store.writer(SEEN) as writer:
        first = writer.put_blob(b"first")
        writer.flush()
        assert dict(store.read_blobs([first])) == {first: b"first"}
        writer.put("workflows/second.json", b"second")
        writer.keep("workflows/first.json", first)
        commit = writer.commit(message="Both", author=ADA)
    assert contents(store, commit) == {"workflows/first.json": b"first", "workflows/second.json": b"second"}
    assert len(packs(store)) == 2


def test_the_same_contents_packed_twice_are_one_pack(store: GitStore) -> None:
    files = {"workflows/a.json": b"a", "workflows/b.json": b"b"}
    write(store, files)
    write(store, files, branch="env/prod")
    assert len(packs(store)) == 1
    assert store.verify().findings == []


def test_a_damaged_content_that_lies_loose_is_overruled_when_it_is_sent_again(tmp_path: Path) -> None:
    store = GitStore.open(tmp_path, "tenant").create()
    files = {f"workflows/{number}.json": b"content %d" % number for number in range(5)}
    sha = store.tree(write(store, files))["workflows/3.json"]
    loose = store.path / "objects" / sha[:2] / sha[2:]
    loose.chmod(0o600)
    loose.write_bytes(b"garbage")
    healed = write(store, {**files, "workflows/new.json": b"new"}, replace=["workflows"], resend=True)
    assert contents(store, healed) == {**files, "workflows/new.json": b"new"}


def test_a_pack_that_never_got_its_index_is_taken_away_after_an_hour(store: GitStore) -> None:
    commit = write(store, {"workflows/a.json": b"a"})
    lost = store.path / "objects" / "pack" / f"pack-{'0' * 40}.pack"
    lost.write_bytes(b"PACK")
    assert locks.find_leftovers(store.path) == [], "somebody may be about to name its index"
    os.utime(lost, (1, 1))
    assert [finding.kind for finding in store.verify().findings] == ["leftover"]
    assert locks.sweep_leftovers(store.path) == 1 and not lost.exists()
    assert contents(store, commit) == {"workflows/a.json": b"a"}
