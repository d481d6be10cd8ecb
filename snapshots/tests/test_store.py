"""The Git store keeps what it is given, byte for byte, and plain Git can read it."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapshots.store import (
    BadName,
    BranchMoved,
    ContentMissing,
    GitStore,
    Person,
    StoreCorrupt,
    StoreMissing,
    blob_name,
    encode_component,
)

ADA = Person("Ada Lovelace", "ada@example.org")
SEEN, APPROVED = "snapshots/prod", "env/prod"
WHEN = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> GitStore:
    return GitStore.open(tmp_path, "tenant").create()


def write(store: GitStore, files: dict[str, bytes | None], branch: str = SEEN, **options: object) -> str:
    commit = {name: options.pop(name) for name in ("guard", "trailers", "message") if name in options}
    with store.writer(branch, **options) as writer:
        for path, data in files.items():
            if data is None:
                writer.remove(path)
            else:
                writer.put(path, data)
        return writer.commit(**{"message": "Write", "author": ADA, "when": WHEN, **commit})


def contents(store: GitStore, commit: str) -> dict[str, bytes]:
    tree = store.tree(commit)
    blobs = dict(store.read_blobs(tree.values()))
    return {path: blobs[sha] for path, sha in tree.items()}


def plain_git(store: GitStore, *args: str) -> str:
    """What a person with nothing but Git sees."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "safe.directory=*", "-C", str(store.path), *args]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_a_store_is_made_once_and_tells_when_it_is_missing(tmp_path: Path) -> None:
    store = GitStore.open(tmp_path, "tenant")
    assert not store.exists()
    with pytest.raises(StoreMissing):
        store.branches()
    with pytest.raises(StoreMissing):
        store.writer(SEEN)
    assert store.create().create().exists()
    assert store.branches() == {} and store.tip(SEEN) is None and store.log(SEEN).commits == []
    assert store.verify().is_whole
    assert list(tmp_path.iterdir()) == [store.path]
    store.delete()
    assert list(tmp_path.iterdir()) == []


def test_replaced_folders_hold_exactly_what_was_put_while_manifests_gather(store: GitStore) -> None:
    first = write(store, {"workflows/a.json": b"1", "workflows/b.json": b"2", "snapshots/e/1.json": b"m1"})
    with store.writer(SEEN, replace=["workflows"]) as writer:
        writer.keep("workflows/a.json", blob_name(b"1"))
        writer.put("workflows/c.json", b"3")
        writer.put("snapshots/e/2.json", b"m2")
        second = writer.commit(message="Capture", author=ADA)
    assert contents(store, second) == {
        "workflows/a.json": b"1",
        "workflows/c.json": b"3",
        "snapshots/e/1.json": b"m1",
        "snapshots/e/2.json": b"m2",
    }
    difference = store.diff_trees(first, second, "workflows")
    assert set(difference.added) == {"workflows/c.json"} and set(difference.removed) == {"workflows/b.json"}
    assert not difference.changed
    assert set(store.diff_trees(None, first).added) == set(store.tree(first))
    assert store.tree(second, "snapshots/e").keys() == {"snapshots/e/1.json", "snapshots/e/2.json"}
    assert store.tree(second, "nothing/here") == {}


def test_an_emptied_folder_and_an_empty_tree_can_be_committed(store: GitStore) -> None:
    write(store, {"workflows/a.json": b"1"})
    assert contents(store, write(store, {}, replace=["workflows"])) == {}
    assert store.verify().is_whole


def test_only_new_content_is_sent(store: GitStore) -> None:
    write(store, {f"workflows/{n}.json": b"%d" % n for n in range(50)})
    with store.writer(SEEN, replace=["workflows"]) as writer:
        for n in range(50):
            writer.put(f"workflows/{n}.json", b"new" if n == 7 else b"%d" % n)
        writer.commit(message="Capture", author=ADA)
    assert (writer.stats.blobs, writer.stats.reused) == (1, 49)


def test_contents_can_be_stored_before_their_place_is_known(store: GitStore) -> None:
    write(store, {"workflows/a.json": b"same"})
    with store.writer(SEEN) as writer:
        old, new = writer.put_blob(b"same"), writer.put_blob(b"new")
        writer.replace("workflows")
        writer.keep("workflows/b.json", old)
        writer.keep("workflows/c.json", new)
        commit = writer.commit(message="Capture", author=ADA)
    assert contents(store, commit) == {"workflows/b.json": b"same", "workflows/c.json": b"new"}
    assert writer.stats.blobs == 1


def test_nothing_new_makes_no_commit_unless_asked_for(store: GitStore) -> None:
    first = write(store, {"workflows/a.json": b"1"})
    assert write(store, {"workflows/a.json": b"1"}) == first
    with store.writer(SEEN) as writer:
        second = writer.commit(message="Again", author=ADA, allow_empty=True)
    assert second != first and store.tree(second) == store.tree(first)


def test_leaving_without_a_commit_changes_nothing_and_leaves_nothing(store: GitStore) -> None:
    before = sorted(store.path.rglob("*"))
    with store.writer(SEEN) as writer:
        for n in range(300):
            writer.put(f"workflows/{n}.json", os.urandom(3000))
    assert store.branches() == {}
    after = [path for path in sorted(store.path.rglob("*")) if path.name != "opsconsole-use"]
    assert after == before
    with pytest.raises(RuntimeError):
        writer.put("workflows/late.json", b"")


def test_a_blob_that_is_not_there_cannot_be_kept(store: GitStore) -> None:
    with pytest.raises(StoreCorrupt), store.writer(SEEN) as writer:
        writer.keep("workflows/a.json", "1" * 40)
        writer.commit(message="Capture", author=ADA)
    assert store.branches() == {}


def test_the_guard_has_the_last_word(store: GitStore) -> None:
    first = write(store, {"workflows/a.json": b"1"})

    class LostLease(Exception):
        pass

    def guard() -> None:
        raise LostLease

    with pytest.raises(LostLease):
        write(store, {"workflows/a.json": b"2"}, guard=guard)
    assert store.tip(SEEN) == first
    assert list(store.path.rglob("*.lock")) == []
    assert write(store, {"workflows/a.json": b"2"}) == store.tip(SEEN)


def test_a_branch_that_moved_is_built_upon_or_refused(store: GitStore) -> None:
    base = write(store, {"workflows/a.json": b"1", "workflows/b.json": b"1"})
    with store.writer(SEEN) as slow, store.writer(SEEN, on_conflict="raise") as strict:
        slow.put("workflows/a.json", b"slow")
        strict.put("workflows/c.json", b"strict")
        fast = write(store, {"workflows/b.json": b"fast"})
        commit = slow.commit(message="Slow", author=ADA)
        with pytest.raises(BranchMoved):
            strict.commit(message="Strict", author=ADA)
    assert contents(store, commit) == {"workflows/a.json": b"slow", "workflows/b.json": b"fast"}
    assert store.commit_info(commit).parents == (fast,) and store.commit_info(fast).parents == (base,)


def test_somebody_elses_edit_of_the_same_file_is_never_overwritten(store: GitStore) -> None:
    write(store, {"workflows/a.json": b"1"}, APPROVED)
    with store.writer(APPROVED) as writer:
        writer.put("workflows/a.json", b"mine")
        theirs = write(store, {"workflows/a.json": b"theirs"}, APPROVED)
        with pytest.raises(BranchMoved) as caught:
            writer.commit(message="Mine", author=ADA)
    assert caught.value.details["paths"] == ["workflows/a.json"]
    assert store.tip(APPROVED) == theirs


def test_a_stale_base_is_noticed_from_the_start(store: GitStore) -> None:
    first = write(store, {"workflows/a.json": b"1"}, APPROVED)
    write(store, {"workflows/b.json": b"1"}, APPROVED)
    with pytest.raises(BranchMoved):
        write(store, {"workflows/a.json": b"2"}, APPROVED, base=first, on_conflict="raise")
    with pytest.raises(BranchMoved):
        write(store, {"workflows/a.json": b"2"}, APPROVED, base=None, on_conflict="raise")


def test_a_branch_can_be_pointed_elsewhere_and_deleted(store: GitStore) -> None:
    seen = write(store, {"workflows/a.json": b"1"})
    store.move_branch(APPROVED, to=seen, expected=None)
    assert store.branches() == {APPROVED: seen, SEEN: seen}
    with pytest.raises(BranchMoved):
        store.move_branch(APPROVED, to=None, expected="1" * 40)
    store.move_branch(APPROVED, to=None, expected=seen)
    assert store.branches() == {SEEN: seen}


def test_the_log_is_paged_and_keeps_trailers(store: GitStore) -> None:
    made = [write(store, {f"{n}.json": b""}, trailers={"Snapshot-Id": str(n), "Actor": "a\nb"}) for n in range(5)]
    seen, cursor = [], None
    while True:
        page = store.log(SEEN, limit=2, cursor=cursor)
        seen += page.commits
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [commit.sha for commit in seen] == made[::-1]
    assert seen[0].trailers == {"Snapshot-Id": "4", "Actor": "a b"}
    assert (seen[0].author, seen[0].at, seen[0].subject) == (ADA, WHEN, "Write")


def test_plain_git_reads_log_trailers_and_clone(store: GitStore, tmp_path: Path) -> None:
    write(store, {"workflows/a.json": b"{}\n"}, message="Capture prod\n\nNote: not a trailer", trailers={"Job": "7"})
    assert plain_git(store, "log", "--format=%s|%an|%(trailers:only,unfold)", SEEN).strip() == (
        "Capture prod|Ada Lovelace|Job: 7"
    )
    message = plain_git(store, "log", "-1", "--format=%B", SEEN)
    parsed = subprocess.run(
        ["git", "interpret-trailers", "--parse"], input=message, capture_output=True, text=True, check=True
    )
    assert parsed.stdout == "Job: 7\n"
    plain_git(store, "clone", "-q", str(store.path), str(tmp_path / "clone"))
    assert (tmp_path / "clone/workflows/a.json").read_bytes() == b"{}\n"


@pytest.mark.parametrize(
    ("person", "name"),
    [
        (Person("", ""), "unknown"),
        (Person("<evil>\nauthor x", "a b<c>\n@d"), "evil author x"),
        (Person("...", "ada@example.org"), "ada"),
        (Person("Zoë 🦊 O'Neil", "zoe@example.org"), "Zoë 🦊 O'Neil"),
        (Person("\ud800", "x@y"), "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_odd_people_can_commit(store: GitStore, person: Person, name: str) -> None:
    with store.writer(SEEN) as writer:
        writer.put("a.json", b"1")
        commit = writer.commit(message="\r\n\0", author=person, trailers={"Name": person.name})
    assert store.commit_info(commit).author.name == name
    assert store.verify().is_whole


ODD_PATHS = ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".git/config", "a/.git", "a\nb", "a\0b", "a b", "ä"]
ODD_PATHS += ["a\\b", "x" * 201, "/".join("a" * 9), "git~1", "-/../x"]


@pytest.mark.parametrize("path", ODD_PATHS)
def test_paths_that_could_mean_something_else_are_refused(store: GitStore, path: str) -> None:
    with store.writer(SEEN) as writer:
        for call in (lambda: writer.put(path, b""), lambda: writer.keep(path, "1" * 40), lambda: writer.remove(path)):
            with pytest.raises(BadName):
                call()


@pytest.mark.parametrize("branch", ["main", "env/", "env/a/b", "env/..", "env/a..b", "env/a.lock", "env/a b", "x/a"])
def test_branches_outside_the_two_families_are_refused(store: GitStore, branch: str) -> None:
    with pytest.raises(BadName):
        store.writer(branch)
    with pytest.raises(BadName):
        store.tip(branch)


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "-x", "a\n", "x" * 65])
def test_tenants_cannot_leave_their_folder(tmp_path: Path, tenant: str) -> None:
    with pytest.raises(BadName):
        GitStore.open(tmp_path, tenant)


@pytest.mark.parametrize("sha", ["HEAD", "--all", "1" * 39, "1" * 40 + "\n", "refs/heads/env/prod"])
def test_only_names_of_objects_are_asked_for(store: GitStore, sha: str) -> None:
    for call in (
        store.tree,
        store.commit_info,
        lambda s: list(store.read_blobs([s])),
        lambda s: store.diff_trees(s, s),
    ):
        with pytest.raises(BadName):
            call(sha)


def test_what_is_missing_is_said_so(store: GitStore) -> None:
    commit = write(store, {"workflows/a.json": b"1"})
    for call in (
        lambda: store.read(commit, "workflows/b.json"),
        lambda: store.read(commit, "workflows"),
        lambda: store.read("1" * 40, "workflows/a.json"),
        lambda: store.tree("1" * 40),
        lambda: list(store.read_blobs([blob_name(b"1"), "1" * 40])),
        lambda: store.commit_info("1" * 40),
        lambda: store.diff_trees("1" * 40, commit),
    ):
        with pytest.raises(ContentMissing) as caught:
            call()
        assert caught.value.code == "SNAP_002"


def test_a_reader_survives_an_early_end(store: GitStore) -> None:
    commit = write(store, {f"workflows/{n:03}.json": b"%d" % n for n in range(200)})
    blobs = list(store.tree(commit).values())
    with store.reader() as reader:
        for _, data in reader.blobs(blobs):
            if data == b"5":
                break
        assert [data for _, data in reader.blobs(blobs[:3])] == [b"0", b"1", b"2"]


def test_manifests_are_found_again_on_any_branch(store: GitStore) -> None:
    first = write(store, {"snapshots/e1/s1.json": b"1", "workflows/a.json": b"x"})
    write(store, {"snapshots/e1/s2.json": b"2", "workflows/a.json": b"y"})
    other = write(store, {"snapshots/e2/s3.json": b"3"}, "snapshots/test")
    write(store, {"snapshots/e1/s1.json": None})
    assert store.read_manifest("e1", "s1", removed=True) == (first, b"1")
    assert store.find_manifest("e1", "s1") is None and store.find_manifest("e2", "s3").commit == other
    assert store.read_manifest("e2", "s3") == (other, b"3")
    assert store.read_manifest("e2", "s1") is None
    assert {(ref.environment_id, ref.snapshot_id) for ref in store.manifests()} == {
        ("e1", "s1"),
        ("e1", "s2"),
        ("e2", "s3"),
    }
    assert [ref.snapshot_id for ref in store.manifests("e2")] == ["s3"]


def test_the_surroundings_do_not_reach_git(store: GitStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "hooks").mkdir()
    hook = tmp_path / "hooks" / "reference-transaction"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(
        f"[core]\nhooksPath = {tmp_path / 'hooks'}\n[user]\nname = Somebody Else\n[commit]\ngpgsign = true\n"
    )
    hostile = {
        "GIT_CONFIG_GLOBAL": str(config),
        "HOME": str(tmp_path),
        "GIT_DIR": "/nonexistent",
        "GIT_WORK_TREE": "/nonexistent",
        "GIT_INDEX_FILE": "/nonexistent",
        "GIT_OBJECT_DIRECTORY": "/nonexistent",
        "GIT_NAMESPACE": "elsewhere",
        "GIT_QUARANTINE_PATH": "/nonexistent",
        "GIT_AUTHOR_NAME": "Mallory",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(tmp_path / "hooks"),
        "GIT_DEFAULT_HASH": "sha256",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    commit = write(store, {"workflows/a.json": b"1"})
    assert store.tip(SEEN) == commit and store.commit_info(commit).author == ADA
    fresh = GitStore.open(tmp_path / "more", "tenant").create()
    assert write(fresh, {"workflows/a.json": b"1"}) == commit


@given(st.text(max_size=300), st.text(max_size=300))
@settings(max_examples=200)
def test_any_name_can_be_encoded_and_stays_distinct(one: str, other: str) -> None:
    from snapshots.store.names import check_path

    assert check_path(f"workflows/{encode_component(one)}.json")
    assert (encode_component(one) == encode_component(other)) == (one == other)


PATHS = st.sampled_from(["workflows/a.json", "workflows/b.json", "workflows/c.json", "snapshots/e/1.json", "top.json"])
STEPS = st.lists(
    st.tuples(st.booleans(), st.dictionaries(PATHS, st.one_of(st.none(), st.binary(max_size=40)))), max_size=5
)


@given(STEPS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_history_of_changes_equals_the_same_changes_to_a_dictionary(tmp_path_factory, steps) -> None:
    store = GitStore.open(tmp_path_factory.mktemp("git"), "tenant").create()
    expected: dict[str, bytes] = {}
    commits = []
    for replaces, files in steps:
        if replaces:
            expected = {path: data for path, data in expected.items() if not path.startswith("workflows/")}
        for path, data in files.items():
            expected.pop(path, None)
            if data is not None:
                expected[path] = data
        commit = write(store, files, replace=["workflows"] if replaces else [])
        assert contents(store, commit) == expected
        commits.append((commit, dict(expected)))
    for commit, then in commits:
        assert contents(store, commit) == then
    assert store.verify().findings == []


def test_real_workflows_come_back_byte_for_byte(store: GitStore) -> None:
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "workflows" / "n8n"
    folder = Path(os.environ.get("OPSCONSOLE_REAL_WORKFLOWS") or beside)
    files = {f"workflows/{encode_component(file.name)}": file.read_bytes() for file in sorted(folder.glob("*.json"))}
    if not files:
        pytest.skip("no real workflows at OPSCONSOLE_REAL_WORKFLOWS")
    commit = write(store, files, replace=["workflows"])
    assert contents(store, commit) == files
    store.gc(full=True)
    assert contents(store, commit) == files
    assert store.verify().findings == []
