"""Looking after a repository: is it whole, how large is it, packing it and cleaning it."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import locks
from .errors import tidy, write_failure
from .plumbing import Plumbing

#: Seconds a check or a repack of a large repository may take.
LONG = 3600.0
#: Packs and loose objects above which packing pays.
MANY_PACKS = 40
MANY_LOOSE = 2000
#: Leftovers older than this are named by the check; younger ones may belong to a write under way.
_LEFTOVER_AGE = 3600.0

_OBJECT = re.compile(r"\b[0-9a-f]{40}\b")
_REF = re.compile(r"refs/heads/([^\s:']+)")
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("branch", re.compile(r"refs/|invalid sha1 pointer|HEAD", re.I)),
    ("missing", re.compile(r"^missing |missing|unable to find|broken link|^\s+to\s", re.I)),
    (
        "corrupt",
        re.compile(r"corrupt|mismatch|inflate|empty|error in|bad |unable to|invalid|garbage|pack|packed", re.I),
    ),
)
_NOISE = re.compile(r"^(notice:|dangling |Checking |warning: HEAD points to an unborn|\s+to\s)", re.I)


@dataclass(frozen=True, slots=True)
class StoreFinding:
    """Something wrong: ``kind`` is corrupt, missing, branch, lock, leftover, unusable or other."""

    kind: str
    detail: str
    object: str = ""
    branch: str = ""

    def to_dict(self) -> dict[str, str]:
        return {"kind": self.kind, "detail": self.detail, "object": self.object, "branch": self.branch}


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of a check. Locks and leftovers are worth a word but no damage."""

    findings: list[StoreFinding] = field(default_factory=list)
    branches: int = 0
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        return all(finding.kind in ("lock", "leftover") for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Size:
    """``bytes`` on disk, loose objects, packed objects, packs, and files that belong to nothing."""

    bytes: int
    loose: int
    packed: int
    packs: int
    garbage: int


def verify(plumbing: Plumbing, *, quick: bool = False) -> Verification:
    """Check every object (``quick``: only that all of them are there) and every branch. Never raises for damage."""
    began = time.monotonic()
    if not (plumbing.path / "HEAD").is_file() or not (plumbing.path / "objects").is_dir():
        return Verification([StoreFinding("unusable", "The repository is missing or lacks its main files.")])
    options = ["--connectivity-only"] if quick else ["--full", "--strict"]
    answer = plumbing.run("fsck", *options, "--no-dangling", "--no-progress", timeout=LONG)
    findings = _read_fsck(answer.out.decode("utf-8", "replace") + "\n" + answer.stderr)
    listing = plumbing.run("for-each-ref", "--format=%(refname)", "refs/heads/")
    for line in listing.stderr.splitlines():
        match = _REF.search(line)
        if match and not any(finding.branch == match[1] for finding in findings):
            findings.append(StoreFinding("branch", tidy(line), branch=match[1]))
    if answer.timed_out or (not answer.ok and not findings):
        findings.append(StoreFinding("unusable", tidy(answer.stderr) or "Git could not check the repository."))
    for lock in locks.find_locks(plumbing.path):
        if lock.age >= locks.STALE_AFTER:
            findings.append(StoreFinding("lock", f"{lock.name} has been there for {lock.age:.0f} seconds."))
    findings.extend(_leftovers(plumbing.path))
    return Verification(findings, len(listing.out.splitlines()), time.monotonic() - began)


def _read_fsck(text: str) -> list[StoreFinding]:
    findings: dict[tuple[str, str, str], StoreFinding] = {}
    for line in text.splitlines():
        if not line.strip() or _NOISE.match(line):
            continue
        kind = next((name for name, pattern in _KINDS if pattern.search(line)), "other")
        found, branch = _OBJECT.search(line), _REF.search(line)
        finding = StoreFinding(kind, tidy(line), found[0] if found else "", branch[1] if branch else "")
        findings.setdefault((kind, finding.object or finding.detail, finding.branch), finding)
    return list(findings.values())


def _leftovers(path: Path) -> list[StoreFinding]:
    now, found = time.time(), []
    for file in locks.find_leftovers(path):
        with contextlib.suppress(OSError):
            if now - file.stat().st_mtime >= _LEFTOVER_AGE:
                found.append(
                    StoreFinding("leftover", f"{file.relative_to(path)} was left by a write that did not end.")
                )
    return found


def size(plumbing: Plumbing) -> Size:
    """What the repository holds. Raises WriteFailed's kinds when Git cannot tell."""
    lines = plumbing.must("count-objects", "-v").decode("ascii", "replace").splitlines()
    numbers = {key: int(value) for key, _, value in (line.partition(": ") for line in lines) if value.isdigit()}
    taken = 0
    for folder, _, files in os.walk(plumbing.path):  # which, unlike rglob, bears that folders go away meanwhile
        for file in files:
            with contextlib.suppress(OSError):
                taken += Path(folder, file).lstat().st_size
    return Size(taken, numbers["count"], numbers["in-pack"], numbers["packs"], numbers["garbage"])


@dataclass(frozen=True, slots=True)
class Care:
    """What a maintenance did. ``pruned`` is False when writers were busy: then nothing was thrown away."""

    repacked: bool
    pruned: bool
    cleared_locks: int
    before: Size
    after: Size


def keep(plumbing: Plumbing, commits: Iterable[str]) -> int:
    """Let refs below ``refs/kept/`` lead to those of the commits that no branch leads to (any more); how many are new.

    What is not in the repository is passed over. Cleaning then leaves them alone. Commits that were kept and are not
    among them are let go.
    """
    wanted = {sha for sha in commits if _OBJECT.fullmatch(sha)}
    held = set(plumbing.must("for-each-ref", "--format=%(objectname)", "refs/kept/").decode("ascii").split())
    others = "".join(f"{sha}\n" for sha in held & wanted).encode("ascii")
    reached = plumbing.must("rev-list", "--exclude=refs/kept/*", "--all", "--stdin", data=others).decode("ascii")
    stray = sorted(wanted.difference(reached.split()))
    new = sum(plumbing.run("update-ref", f"refs/kept/{sha}", sha).ok for sha in stray)
    for sha in held - wanted:
        plumbing.must("update-ref", "-d", f"refs/kept/{sha}", sha)
    return new


def maintain(plumbing: Plumbing, *, full: bool = False) -> Care:
    """Clear stale locks, pack what has piled up; with ``full`` pack all anew and drop what nothing leads to.

    Safe while others read and write; waits for another one that packs. Raises WriteFailed's kinds.
    """
    with locks.packing(plumbing.path, wait=LONG):
        return _maintain(plumbing, full)


def _maintain(plumbing: Plumbing, full: bool) -> Care:
    before = size(plumbing)
    cleared = locks.clear_stale_locks(plumbing.path)
    pruned = False
    if full:
        # The long part runs beside writers, so it keeps also what nothing leads to yet.
        _must_long(plumbing, "repack", "-a", "-d", "-k", "-F", "-q")
        with locks.alone(plumbing.path) as pruned:
            if pruned:
                # Nobody writes, so nothing that nothing leads to is still going to be used.
                _must_long(plumbing, "repack", "-a", "-d", "-q")
                _must_long(plumbing, "prune", "--expire=now")
        locks.sweep_leftovers(plumbing.path)
    packs = full or before.packs > MANY_PACKS or before.loose > MANY_LOOSE
    if packs and not full:
        geometric = plumbing.version() >= (2, 33)
        _must_long(plumbing, "repack", "-d", "-q", *(["--geometric=2"] if geometric else []))
    if packs:
        _must_long(plumbing, "prune-packed", "-q")
        _must_long(plumbing, "pack-refs", "--all")
    return Care(packs, pruned, len(cleared), before, size(plumbing))


def _must_long(plumbing: Plumbing, *args: str) -> None:
    answer = plumbing.run(*args, timeout=LONG, settings=("pack.compression=6",))
    if not answer.ok:
        raise write_failure(answer.stderr, command=args[0])
