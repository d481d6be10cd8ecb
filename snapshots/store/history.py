"""Reading commits: a branch's log page by page, trailers, differences of trees, and where manifests came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .errors import ContentDamaged, ContentMissing, StoreMissing, tidy
from .names import Person, check_path, check_sha
from .plumbing import LONG_READ, Plumbing

#: Git knows the tree without files by name, even where it was never written.
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_FIELDS = "%H%x00%T%x00%P%x00%an%x00%ae%x00%ct%x00%B%x00%(trailers:only,unfold)%x00"


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """One commit. ``trailers`` keeps the last value of each name; ``message`` is all of it, trailers included."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Person
    at: datetime
    message: str
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return self.message.partition("\n")[0]


@dataclass(frozen=True, slots=True)
class LogPage:
    """Newest first; ``next_cursor`` is None on the last page."""

    commits: list[CommitInfo]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """Paths with their blobs: added (new), removed (old), changed (old, new)."""

    added: dict[str, str]
    removed: dict[str, str]
    changed: dict[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """A manifest and the commit that brought it in: at that commit ``workflows/`` is what the snapshot saw."""

    environment_id: str
    snapshot_id: str
    path: str
    commit: str
    blob: str


def _read(plumbing: Plumbing, *args: str) -> str:
    answer = plumbing.run(*args, timeout=LONG_READ)
    if answer.ok:
        return answer.out.decode("utf-8", "replace")
    if "not a git repository" in answer.stderr:
        raise StoreMissing
    if "bad object" in answer.stderr or "unknown revision" in answer.stderr or "ambiguous argument" in answer.stderr:
        raise ContentMissing(details={"git": tidy(answer.stderr)})
    raise ContentDamaged(details={"git": tidy(answer.stderr)})


def log(plumbing: Plumbing, start: str, *, limit: int = 50, skip: int = 0) -> list[CommitInfo]:
    """Up to ``limit`` commits from ``start`` (a commit) back through its first parents."""
    options = ["--first-parent", f"--max-count={limit}", f"--skip={skip}", "--encoding=UTF-8", "--no-color"]
    text = _read(plumbing, "log", *options, f"--format=tformat:{_FIELDS}", check_sha(start), "--")
    cells = text.split("\0")
    commits = []
    for at in range(0, len(cells) - 8, 8):
        sha, tree, parents, name, email, when, message, trailers = cells[at : at + 8]
        pairs = (line.partition(": ") for line in trailers.splitlines() if ": " in line)
        commits.append(
            CommitInfo(
                sha=sha.strip(),
                tree=tree,
                parents=tuple(parents.split()),
                author=Person(name, email),
                at=datetime.fromtimestamp(int(when), UTC),
                message=message.rstrip("\n"),
                trailers={key: value for key, _, value in pairs},
            )
        )
    return commits


def diff_trees(plumbing: Plumbing, old: str | None, new: str, prefix: str = "") -> TreeDiff:
    """How the files of commit ``new`` differ from those of ``old`` (None: from nothing)."""
    difference = TreeDiff({}, {}, {})
    paths = ["--", check_path(prefix.rstrip("/"))] if prefix else ["--"]
    sides = [check_sha(old) if old else _EMPTY_TREE, check_sha(new)]
    text = _read(plumbing, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", *sides, *paths)
    cells = text.split("\0")
    for header, path in zip(cells[::2], cells[1::2], strict=False):
        _, _, before, after, status = header.split(" ")
        if status == "A":
            difference.added[path] = after
        elif status == "D":
            difference.removed[path] = before
        else:
            difference.changed[path] = (before, after)
    return difference


def manifests(plumbing: Plumbing, environment_id: str = "", snapshot_id: str = "") -> Iterator[ManifestRef]:
    """Every manifest that ever came in on any branch, newest first; also those removed since."""
    path = "/".join(
        ["snapshots", *(part for part in (environment_id, f"{snapshot_id}.json" * bool(snapshot_id)) if part)]
    )
    options = ["--diff-filter=A", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-color", "--format=tformat:%H"]
    text = _read(plumbing, "log", "--branches", *options, "--", check_path(path))
    commit, blob = "", ""
    for cell in text.split("\0"):
        cell = cell.strip("\n")
        if cell.startswith(":"):
            blob = cell.split(" ")[3]
        elif "/" in cell:
            parts = cell.split("/")
            if len(parts) == 3 and cell.endswith(".json"):
                yield ManifestRef(parts[1], parts[2].removesuffix(".json"), cell, commit, blob)
        elif cell:
            commit = cell


def versions(plumbing: Plumbing, tip: str, folder: str) -> dict[str, list[str]]:
    """By path below ``folder``, every blob that a branch ever held there, newest first; ``tip`` is its commit."""
    options = ["--first-parent", "--diff-filter=AM", "--raw", "-z", "--no-renames", "--no-abbrev", "--format="]
    text = _read(plumbing, "log", *options, check_sha(tip), "--", check_path(folder))
    cells = [cell for cell in (cell.strip("\n") for cell in text.split("\0")) if cell]
    found: dict[str, list[str]] = {}
    for header, path in zip(cells[::2], cells[1::2], strict=True):
        found.setdefault(path, []).append(header.split(" ")[3])
    return found
