"""Reading objects: one ``git cat-file --batch`` for thousands of them, each checked against its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import TracebackType

from .errors import ContentDamaged, ContentMissing
from .names import check_sha
from .plumbing import Plumbing, Process

DIRECTORY = "40000"
FILE = "100644"
#: Requests written ahead of reading: 64 lines of 41 bytes always fit the pipe, so neither side can block for ever.
_AHEAD = 64


def object_name(kind: str, data: bytes) -> str:
    """The SHA-1 that Git gives this content."""
    digest = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def blob_name(data: bytes) -> str:
    return object_name("blob", data)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tree."""

    mode: str
    sha: str

    @property
    def is_directory(self) -> bool:
        return self.mode == DIRECTORY


def parse_tree(data: bytes) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    position, end = 0, len(data)
    while position < end:
        space = data.index(b" ", position)
        nul = data.index(b"\0", space)
        name = data[space + 1 : nul].decode("utf-8", "surrogateescape")
        entries[name] = Entry(data[position:space].decode("ascii"), data[nul + 1 : nul + 21].hex())
        position = nul + 21
    return entries


class Reader:
    """Objects of one repository through one long-lived process. Not for use by two threads at once.

    Every object's content is hashed and compared with its name, so that a damaged one
    is a ``ContentDamaged`` and never somebody's workflow.
    """

    def __init__(self, plumbing: Plumbing) -> None:
        self._plumbing = plumbing
        self._process: Process | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def _ask(self, names: list[str]) -> Process:
        if self._process is None:
            self._process = self._plumbing.start("cat-file", "--batch")
        try:
            self._process.stdin.write("".join(f"{name}\n" for name in names).encode("ascii"))
            self._process.stdin.flush()
        except OSError as error:
            raise self._broken(names[0]) from error
        return self._process

    def _broken(self, name: str) -> ContentDamaged:
        """Git gave up over an object: what it said names the reason."""
        stderr = ""
        if self._process is not None:
            stderr = self._process.finish(timeout=5).stderr
        self.close()
        return ContentDamaged(details={"object": name, "git": stderr[-400:]})

    def _answer(self, process: Process, name: str) -> tuple[str, str, bytes] | None:
        header = process.stdout.readline()
        if not header:
            raise self._broken(name)
        parts = header.split()
        if header.endswith((b" missing\n", b" ambiguous\n")):
            return None
        if len(parts) != 3 or not parts[2].isdigit():
            raise self._broken(name)
        sha, kind, size = parts[0].decode(), parts[1].decode(), int(parts[2])
        data = process.stdout.read(size)
        if len(data) != size or process.stdout.read(1) != b"\n":
            raise self._broken(name)
        if object_name(kind, data) != sha:
            raise ContentDamaged(details={"object": sha})
        return sha, kind, data

    def find(self, name: str) -> tuple[str, str, bytes] | None:
        """``(sha, type, content)`` of an object named by sha or ``<sha>:<path>``; None where there is none."""
        return self._answer(self._ask([name]), name)

    def blobs(self, shas: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Contents in the order asked for, one in memory at a time. Raises ContentMissing, ContentDamaged."""
        waiting = iter(shas)
        while names := [check_sha(sha) for sha in islice(waiting, _AHEAD)]:
            process = self._ask(names)
            read = 0
            try:
                for name in names:
                    found = self._answer(process, name)
                    read += 1
                    if found is None or found[1] != "blob":
                        raise ContentMissing(details={"object": name})
                    yield name, found[2]
            finally:
                # Left early (or failed): answers are still under way, so this process is of no more use.
                if read < len(names):
                    self.close()

    def commit_tree(self, commit: str) -> str:
        """The tree of a commit. Raises ContentMissing."""
        found = self.find(check_sha(commit))
        if found is None or found[1] != "commit":
            raise ContentMissing(details={"object": commit})
        return found[2][5:45].decode("ascii")

    def entries(self, tree: str) -> dict[str, Entry]:
        """The lines of one tree. Raises ContentMissing."""
        found = self.find(check_sha(tree))
        if found is None or found[1] != "tree":
            raise ContentMissing(details={"object": tree})
        return parse_tree(found[2])

    def lookup(self, tree: str | None, path: str) -> Entry | None:
        """What stands at ``path`` below a tree, or None."""
        entry = Entry(DIRECTORY, tree) if tree else None
        for part in path.split("/"):
            if entry is None or not entry.is_directory:
                return None
            entry = self.entries(entry.sha).get(part)
        return entry

    def files(self, tree: str, prefix: str = "") -> Iterator[tuple[str, str]]:
        """``(path from the root, blob)`` of everything below ``prefix``, folder by folder."""
        start: Entry | None = self.lookup(tree, prefix) if prefix else Entry(DIRECTORY, tree)
        if start is None:
            return
        if not start.is_directory:
            yield prefix, start.sha
            return
        waiting: list[tuple[str, Mapping[str, Entry]]] = [(prefix, self.entries(start.sha))]
        while waiting:
            base, entries = waiting.pop()
            for name, entry in entries.items():
                path = f"{base}/{name}" if base else name
                if entry.is_directory:
                    waiting.append((path, self.entries(entry.sha)))
                else:
                    yield path, entry.sha
