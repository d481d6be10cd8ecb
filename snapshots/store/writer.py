"""One commit: blobs stream into a pack while they come, then trees, a commit, and the branch by compare-and-swap."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from . import locks
from .errors import BranchMoved, ContentDamaged, ContentMissing, StoreCorrupt, StoreLocked, WriteFailed, write_failure
from .names import Person, check_branch, check_path, check_sha, commit_message
from .objects import Reader, blob_name
from .packing import Pack
from .plumbing import Plumbing
from .refs import move_branch, point_head, tip
from .trees import TreeBuilder, overlapping

Guard = Callable[[], None]
Conflict = Literal["rebase", "raise"]

COMMITTER = Person("OpsConsole", "opsconsole@invalid")
#: Tries to move a contended branch. Each lost one means that another writer got through.
ATTEMPTS = 100


class _Tip:
    """Stands for 'wherever the branch is now'."""


TIP = _Tip()


@dataclass(slots=True)
class WriteStats:
    """What a write did: blobs and bytes sent, blobs that were there already, tries at the branch."""

    blobs: int = 0
    bytes: int = 0
    reused: int = 0
    attempts: int = 0


class Writer:
    """Collects one commit. Use as a context manager; leaving it without ``commit`` changes nothing.

    ``replace`` names folders whose new content is exactly what is put or kept; everything else
    stays as it is on the branch. Contents are passed on at once and not kept in memory.
    ``resend`` sends also what the base claims to hold: it fills the holes of a damaged store.
    For one thread.
    """

    def __init__(
        self,
        plumbing: Plumbing,
        branch: str,
        *,
        base: str | _Tip | None = TIP,
        replace: Iterable[str] = (),
        on_conflict: Conflict = "rebase",
        resend: bool = False,
    ) -> None:
        self.branch = check_branch(branch)
        self.stats = WriteStats()
        self._plumbing = plumbing
        self._asked_base = base
        self._replace: set[str] = set()
        for folder in replace:
            self.replace(folder)
        self._on_conflict = on_conflict
        self._resend = resend
        self._changes: dict[str, str | None] = {}
        self._known: dict[str, frozenset[str]] = {}
        self._sent: set[str] = set()
        self._pack: Pack | None = None
        self._base: str | None = None
        self._base_tree: str | None = None
        self._stack: contextlib.ExitStack | None = None
        self._closed = False

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Writer:
        with contextlib.ExitStack() as stack:
            stack.enter_context(locks.writing(self._plumbing.path))
            self._reader = stack.enter_context(Reader(self._plumbing))
            if isinstance(self._asked_base, _Tip):
                self._base = tip(self._plumbing, self.branch)
            else:
                self._base = check_sha(self._asked_base) if self._asked_base else None
            self._base_tree = self._tree_of(self._base)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of everything; what was not committed is gone."""
        if self._closed:
            return
        self._closed = True
        if self._pack is not None:
            self._pack.abandon()
            self._pack = None
        if self._stack is not None:
            self._stack.close()

    @property
    def base(self) -> str | None:
        """The commit this write builds on; None for the first one of its branch."""
        return self._base

    # -- collecting ---------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> str:
        """Set a file's content and return its blob's name. Sends nothing that the base's folder already holds."""
        check_path(path)
        sha = self.put_blob(data, near=path.rpartition("/")[0])
        self._set(path, sha)
        return sha

    def put_blob(self, data: bytes, *, near: str = "workflows") -> str:
        """Store a content whose place is not known yet: name it with ``keep`` before the commit.

        ``near`` is the folder of the base in which the same content may stand already.
        """
        self._check_open()
        sha = blob_name(data)
        if sha in self._sent or (not self._resend and sha in self.blobs_of(near)):
            self.stats.reused += 1
            return sha
        self._add(sha, data)
        self._sent.add(sha)
        self.stats.blobs += 1
        self.stats.bytes += len(data)
        return sha

    def flush(self) -> None:
        """Let what was put so far be there for others, before any commit names it."""
        self._check_open()
        self._finish_pack()

    def keep(self, path: str, blob: str) -> None:
        """Set a file to a blob that is in the store (or was put) already; ``commit`` fails if it is not."""
        self._set(path, check_sha(blob))

    def remove(self, path: str) -> None:
        """Take a file (or a whole folder) away; nothing happens if it is not there."""
        self._set(path, None)

    def replace(self, folder: str) -> None:
        """Let a folder hold exactly what is put and kept below it, and nothing that the base had there."""
        self._replace.add(check_path(folder.rstrip("/")))

    def _check_open(self) -> None:
        if self._closed or self._stack is None:
            raise RuntimeError("a writer is used inside its 'with' block, for one commit")

    def _set(self, path: str, sha: str | None) -> None:
        self._check_open()
        self._changes[check_path(path)] = sha

    def blobs_of(self, folder: str) -> frozenset[str]:
        """What lies in a folder of the base, whatever it is called there."""
        if folder not in self._known:
            entry = self._reader.lookup(self._base_tree, folder) if folder and self._base_tree else None
            entries = self._reader.entries(entry.sha) if entry is not None and entry.is_directory else {}
            self._known[folder] = frozenset(e.sha for e in entries.values() if not e.is_directory)
        return self._known[folder]

    def _tree_of(self, commit: str | None) -> str | None:
        if commit is None:
            return None
        try:
            return self._reader.commit_tree(commit)
        except (ContentMissing, ContentDamaged) as error:
            raise StoreCorrupt(details={"branch": self.branch, **error.details}) from error

    # -- blobs --------------------------------------------------------------------------------------------------

    def _add(self, sha: str, data: bytes) -> None:
        try:
            if self._pack is None:
                self._pack = Pack(self._plumbing.path / "objects" / "pack")
            self._pack.add_blob(sha, data)
        except OSError as error:
            raise self._failed(locks.failure_of(error)) from error

    def _finish_pack(self) -> None:
        """Let Git have what was put so far."""
        if self._pack is None:
            return
        try:
            # A damaged object that lies loose is only overruled by a pack: Git would keep it beside an unpacked one.
            if self._pack.is_small and not self._resend:
                self._unpack(self._pack.read())
                self._pack.abandon()
            else:
                self._pack.finish()
        except OSError as error:
            raise self._failed(locks.failure_of(error)) from error
        self._pack = None

    def _unpack(self, pack: bytes) -> None:
        answer = self._plumbing.run("unpack-objects", "-q", data=pack)
        if not answer.ok:
            raise self._failed(write_failure(answer.stderr, command="unpack-objects"))

    def _failed(self, failure: WriteFailed) -> WriteFailed:
        """Half a pack would go on filling the very disk that is full."""
        self.close()
        locks.sweep_leftovers(self._plumbing.path)
        return failure

    # -- the commit ---------------------------------------------------------------------------------------------

    def commit(
        self,
        *,
        message: str,
        author: Person,
        trailers: Mapping[str, str] | None = None,
        when: datetime | None = None,
        ready: Guard | None = None,
        guard: Guard | None = None,
        allow_empty: bool = False,
    ) -> str:
        """Make the commit visible on the branch and return its sha.

        ``ready`` is called once, when the commit is stored and nothing is locked yet: it may take its time, and what
        it raises leaves the branch alone. ``guard`` is called with the branch locked, right before it moves; what it
        raises stops the move and is passed on. Where nothing differs from the base, the base itself is returned
        (unless ``allow_empty``). When the branch moved meanwhile, the same changes are made on the new tip, or
        ``BranchMoved`` is raised: always with ``on_conflict="raise"``, else only if the other commit touched a file
        that this one changes outside the replaced folders.
        ``when`` has to carry its zone. Raises WriteFailed and its kinds; then nothing is visible.
        """
        self._check_open()
        text = commit_message(message, trailers).encode()
        who = _identity(author, when or datetime.now(UTC))
        self._finish_pack()
        while True:
            self.stats.attempts += 1
            with TreeBuilder(self._plumbing, self._reader) as builder:
                tree = builder.build(self._base_tree, self._changes, self._replace)
            if tree == self._base_tree and self._base is not None and not allow_empty:
                sha, moved = self._base, tip(self._plumbing, self.branch) == self._base
                if moved and guard is not None:
                    guard()
            else:
                sha = self._write_commit(tree, text, who)
                if ready is not None:
                    ready()
                    ready = None
                moved = self._move(sha, guard)
            if moved:
                break
            self._rebase()
        if self._base is None:
            point_head(self._plumbing, self.branch)
        self.close()
        return sha

    def _write_commit(self, tree: str, text: bytes, who: Mapping[str, str]) -> str:
        parents = ("-p", self._base) if self._base else ()
        try:
            out = self._plumbing.must("commit-tree", tree, *parents, data=text, environment=who)
        except WriteFailed as failure:
            # A cleaning takes empty folders away, also the one that Git has just made for this very object.
            if "No such file or directory" not in str(failure.details.get("git")):
                raise
            out = self._plumbing.must("commit-tree", tree, *parents, data=text, environment=who)
        return check_sha(out.decode("ascii", "replace").strip())

    def _move(self, sha: str, guard: Guard | None) -> bool:
        """Whether the branch now is at ``sha``; False when somebody else moved it first."""
        for _ in range(2):
            outcome = move_branch(self._plumbing, self.branch, new=sha, old=self._base, guard=guard)
            if outcome.moved:
                return True
            if outcome.at != self._base:
                return False
            if not outcome.is_locked or not locks.clear_stale_locks(self._plumbing.path):
                break
        failure = write_failure(outcome.stderr, branch=self.branch)
        if isinstance(failure, StoreLocked):
            failure.details["locks"] = [lock.to_dict() for lock in locks.find_locks(self._plumbing.path)]
        raise failure

    def _rebase(self) -> None:
        """Take the branch's new tip as the base, unless that would undo what somebody else did."""
        now_at = tip(self._plumbing, self.branch)
        if self._on_conflict == "raise" or now_at is None or self.stats.attempts >= ATTEMPTS:
            raise BranchMoved(details={"branch": self.branch, "expected": self._base, "found": now_at})
        new_tree = self._tree_of(now_at)
        clash = overlapping(self._reader, self._base_tree, new_tree, self._changes, self._replace)
        if clash:
            details = {"branch": self.branch, "expected": self._base, "found": now_at, "paths": clash[:50]}
            raise BranchMoved(details=details)
        self._base, self._base_tree = now_at, new_tree
        if self.stats.attempts > 1:
            time.sleep(random.uniform(0, 0.02))  # noqa: S311 - spreads contenders, guards no secret


def _identity(author: Person, when: datetime) -> dict[str, str]:
    if when.tzinfo is None:
        raise ValueError("the time of a commit has to carry its zone")
    (name, email), (by_name, by_email) = author.identity(), COMMITTER.identity()
    date = f"{int(when.timestamp())} {when.strftime('%z')[:5] or '+0000'}"
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": by_name,
        "GIT_COMMITTER_EMAIL": by_email,
        "GIT_COMMITTER_DATE": date,
    }
