"""Branches: where they are, and moving one by compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .errors import StoreCorrupt, StoreMissing, is_locked, tidy
from .names import check_branch
from .plumbing import Plumbing, Process

ABSENT = "0" * 40


def tips(plumbing: Plumbing, pattern: str = "refs/heads/") -> dict[str, str]:
    """Branch → commit. Raises StoreMissing, and StoreCorrupt where a branch's file is damaged."""
    answer = plumbing.run("for-each-ref", "--format=%(objectname) %(refname)", pattern)
    if not answer.ok and "not a git repository" in answer.stderr:
        raise StoreMissing
    if not answer.ok or "broken ref" in answer.stderr:
        raise StoreCorrupt("A branch of the Git store is damaged.", details={"git": tidy(answer.stderr)})
    found = {}
    for line in answer.out.decode("utf-8", "replace").splitlines():
        sha, _, name = line.partition(" ")
        found[name.removeprefix("refs/heads/")] = sha
    return found


def tip(plumbing: Plumbing, branch: str) -> str | None:
    """The commit a branch is at, or None where it does not exist."""
    return tips(plumbing, f"refs/heads/{check_branch(branch)}").get(branch)


@dataclass(frozen=True, slots=True)
class Moved:
    """How an attempt ended: whether the branch moved, where it is, and what Git said if not."""

    moved: bool
    at: str | None
    stderr: str = ""

    @property
    def is_locked(self) -> bool:
        return is_locked(self.stderr)


def move_branch(
    plumbing: Plumbing, branch: str, *, new: str | None, old: str | None, guard: Callable[[], None] | None = None
) -> Moved:
    """Move ``branch`` from ``old`` (None: it does not exist) to ``new`` (None: delete it), or not at all.

    The guard runs while the branch is locked and its old value proven, so that nothing can happen
    between its word and the move. What it raises is passed on, with the branch where it was.
    """
    ref = f"refs/heads/{check_branch(branch)}"
    process = plumbing.start("update-ref", "--stdin", "-z")
    asked = False
    try:
        change = f"update {ref}\0{new}\0{old or ABSENT}\0" if new else f"delete {ref}\0{old}\0"
        if _say(process, "start\0", b"start: ok") and _say(process, f"{change}prepare\0", b"prepare: ok"):
            if guard is not None:
                guard()
            asked = True
            if _say(process, "commit\0", b"commit: ok"):
                return Moved(True, new)
        stderr = process.finish(timeout=10).stderr
    finally:
        # Ended before its 'commit', the transaction is given up and its lock removed.
        if not asked:
            process.finish(timeout=10)
        process.close()
    at = tip(plumbing, branch)
    # Cut off after 'commit' was sent: only the branch itself knows.
    return Moved(asked and at == new, at, stderr)


def _say(process: Process, words: str, expected: bytes) -> bool:
    try:
        process.stdin.write(words.encode())
        process.stdin.flush()
        return process.stdout.readline().startswith(expected)
    except OSError:
        return False


def point_head(plumbing: Plumbing, branch: str) -> None:
    """Let a plain ``git log`` or ``git clone`` find something: HEAD leads to the first branch there was."""
    if plumbing.run("rev-parse", "--verify", "--quiet", "HEAD").ok:
        return
    plumbing.run("symbolic-ref", "HEAD", f"refs/heads/{check_branch(branch)}")
