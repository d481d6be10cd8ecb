"""Who uses a repository: shared use by writers, sole use by cleaning, and locks that dead processes left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import StoreLocked, StoreNotWritable, WriteFailed, write_failure

#: A lock older than this whose holder is gone may be removed. Git itself holds one for milliseconds.
STALE_AFTER = 120.0
#: Where processes cannot be looked up, only age speaks.
STALE_AFTER_UNSEEN = 3600.0
#: Longest wait of a writer for a cleaning that runs.
WAIT = 60.0

#: Commands of ours that run for long and take no lock.
_LOCKLESS = frozenset((b"cat-file", b"mktree"))
_USE, _CARE = "opsconsole-use", "opsconsole-care"
#: What ``page_memory`` writes beside its file before it takes that one's name.
_HALF_REMEMBERED = "opsconsole-pages-*.json.*"
_LEFTOVERS = ("pack/tmp_*", "pack/.tmp-*", "??/tmp_obj_*", "tmp_objdir-*")


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file of Git: its path within the repository and its age in seconds."""

    name: str
    age: float

    def to_dict(self) -> dict[str, object]:
        return {"lock": self.name, "age_seconds": round(self.age)}


@contextlib.contextmanager
def _use(path: Path, mode: int, wait: float, *, of: str = _USE) -> Iterator[bool]:
    try:
        handle = os.open(path / of, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise failure_of(error) from error
    try:
        deadline = time.monotonic() + wait
        got = False
        while not got:
            try:
                fcntl.flock(handle, mode | fcntl.LOCK_NB)
                got = True
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.05)
        # The kernel lets go of it when the process ends, however it ends.
        yield got
    finally:
        os.close(handle)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Shared use: any number of writers, while nothing that is not yet referenced may be cleaned away."""
    with _use(path, fcntl.LOCK_SH, WAIT) as got:
        if not got:
            raise StoreLocked("The Git store is being cleaned; nothing was changed.")
        yield


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Sole use if it is to be had at once; yields whether it was."""
    with _use(path, fcntl.LOCK_EX, 0) as got:
        yield got


@contextlib.contextmanager
def in_turn(path: Path, name: str, *, wait: float = WAIT) -> Iterator[None]:
    """One at a time of those who name the same: what reads the store and then writes by what it has read."""
    with _use(path, fcntl.LOCK_EX, wait, of=f"opsconsole-{name}") as got:
        if not got:
            raise StoreLocked("Another job works at the same in the Git store; nothing was changed.")
        yield


@contextlib.contextmanager
def packing(path: Path, *, wait: float) -> Iterator[None]:
    """One packing at a time: to another, its unfinished files would be leftovers."""
    with _use(path, fcntl.LOCK_EX, wait, of=_CARE) as got:
        if not got:
            raise StoreLocked("The Git store is being packed by another job; nothing was changed.")
        yield


def failure_of(error: OSError) -> WriteFailed:
    """The typed failure for what the operating system refused."""
    if isinstance(error, PermissionError):
        return StoreNotWritable(details={"system": str(error.strerror)})
    return write_failure(str(error.strerror or error))


def find_locks(path: Path) -> list[Lock]:
    now = time.time()
    files = [*path.glob("*.lock"), *(path / "refs").rglob("*.lock"), *(path / "objects" / "info").glob("*.lock")]
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            found.append(Lock(str(file.relative_to(path)), max(0.0, now - file.stat().st_mtime)))
    return sorted(found, key=lambda lock: lock.name)


def _lock_may_be_held(path: Path) -> bool | None:
    """Whether a git that could hold a lock works in this repository; None where processes cannot be seen."""
    processes = Path("/proc")
    if not (processes / "self" / "cwd").exists():
        return None
    here = path.resolve()
    for process in processes.iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().startswith("git") and (process / "cwd").readlink() == here:
                words = (process / "cmdline").read_bytes().split(b"\0")
                if not _LOCKLESS.intersection(words):
                    return True
    return False


def clear_stale_locks(path: Path, *, older_than: float = STALE_AFTER) -> list[Lock]:
    """Remove locks that are old and that no running git can hold; returns what was removed."""
    old = [lock for lock in find_locks(path) if lock.age >= older_than]
    if not old:
        return []
    held = _lock_may_be_held(path)
    if held or (held is None and (old := [lock for lock in old if lock.age >= STALE_AFTER_UNSEEN]) == []):
        return []
    cleared = []
    for lock in old:
        with contextlib.suppress(OSError):
            (path / lock.name).unlink()
            cleared.append(lock)
    return cleared


def find_leftovers(path: Path) -> list[Path]:
    """Half-written packs and objects, and memories of pages: never read by anybody, but they take room."""
    objects = path / "objects"
    found = [file for pattern in _LEFTOVERS for file in objects.glob(pattern)]
    found += path.glob(_HALF_REMEMBERED)
    return sorted([*found, *filter(_lost_its_index, objects.glob("pack/pack-*.pack"))])


def _lost_its_index(pack: Path) -> bool:
    """Whoever finishes a pack names it a moment before its index."""
    with contextlib.suppress(OSError):
        return not pack.with_suffix(".idx").exists() and time.time() - pack.stat().st_mtime > STALE_AFTER_UNSEEN
    return False


def sweep_leftovers(path: Path) -> int:
    """Remove leftovers if nobody else writes just now; returns how many went."""
    removed = 0
    with contextlib.suppress(WriteFailed), alone(path) as got:
        if got:
            for file in find_leftovers(path):
                with contextlib.suppress(OSError):
                    file.unlink()
                    removed += 1
    return removed
