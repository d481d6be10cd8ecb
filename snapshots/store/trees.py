"""Trees out of changes: only the folders a change touches are read and written again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TypeAlias

from .errors import ContentDamaged, ContentMissing, StoreCorrupt, write_failure
from .objects import DIRECTORY, FILE, Entry, Reader
from .plumbing import Plumbing, Process

#: Tries to name what is there beside a cleaning that moves it from pack to pack; 0.6 s in all.
ATTEMPTS = 5

#: A folder's changes: a name leads to a blob, to None (remove), or to the changes of a subfolder.
Changes: TypeAlias = "dict[str, str | Changes | None]"


class TreeBuilder:
    """Writes trees through one ``git mktree --batch``, which also checks that every named object is there."""

    def __init__(self, plumbing: Plumbing, reader: Reader) -> None:
        self._plumbing = plumbing
        self._reader = reader
        self._process: Process | None = None

    def __enter__(self) -> TreeBuilder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def build(self, base: str | None, changes: Mapping[str, str | None], replace: Iterable[str]) -> str:
        """The root tree of ``base`` with the changes; folders in ``replace`` hold nothing but them."""
        replaced = {folder.rstrip("/") for folder in replace}
        nested = _nest({**{folder: {} for folder in replaced}, **changes})
        try:
            return self._apply(base, nested, "", replaced) or self._write({})
        except (ContentMissing, ContentDamaged) as error:
            raise StoreCorrupt(details=error.details) from error

    def _apply(self, base: str | None, changes: Changes, at: str, replaced: set[str]) -> str | None:
        before = self._reader.entries(base) if base else {}
        entries = {} if at in replaced else dict(before)
        for name, change in changes.items():
            if isinstance(change, dict):
                old = before.get(name)
                below = old.sha if old is not None and old.is_directory and at not in replaced else None
                path = f"{at}/{name}" if at else name
                sha = self._apply(below, change, path, replaced)
                new = Entry(DIRECTORY, sha) if sha else None
            else:
                new = Entry(FILE, change) if change else None
            if new is None:
                entries.pop(name, None)
            else:
                entries[name] = new
        if not entries:
            return None
        return base if base and entries == before else self._write(entries)

    def _write(self, entries: Mapping[str, Entry]) -> str:
        lines = [_line(name, entry) for name, entry in entries.items()]
        stderr = ""
        # Git looks only at the packs it knew when it started: what a cleaning has just moved into a new one is
        # "unavailable" to it, and there for a process that starts now.
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(0.02 * 2**attempt)
            if self._process is None:
                self._process = self._plumbing.start("mktree", "-z", "--batch")
            sha = _answer(self._process, lines)
            if len(sha) == 40:
                return sha
            stderr = self._process.finish(timeout=10).stderr
            self._end()
        raise write_failure(stderr, command="mktree")

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


def _answer(process: Process, lines: list[bytes]) -> str:
    try:
        process.stdin.writelines([*lines, b"\0"])
        process.stdin.flush()
        return process.stdout.readline().strip().decode("ascii")
    except OSError:
        return ""


def _line(name: str, entry: Entry) -> bytes:
    kind = "tree" if entry.is_directory else "commit" if entry.mode == "160000" else "blob"
    return f"{entry.mode.zfill(6)} {kind} {entry.sha}\t{name}\0".encode("utf-8", "surrogateescape")


def _nest(changes: Mapping[str, str | Changes | None]) -> Changes:
    nested: Changes = {}
    for path in sorted(changes):
        *folders, name = path.split("/")
        here = nested
        for folder in folders:
            below = here.setdefault(folder, {})
            if not isinstance(below, dict):
                below = here[folder] = {}
            here = below
        here[name] = changes[path]
    return nested


def overlapping(
    reader: Reader, base: str | None, tip: str | None, changes: Mapping[str, str | None], replace: Iterable[str]
) -> list[str]:
    """Paths that both this write and the commits since its base changed, differently."""
    folders: dict[str, tuple[dict[str, Entry], dict[str, Entry]]] = {}
    clash = []
    prefixes = tuple(f"{folder}/" for folder in replace)
    for path, wanted in changes.items():
        if path.startswith(prefixes):
            continue
        folder, _, name = path.rpartition("/")
        if folder not in folders:
            folders[folder] = (_folder(reader, base, folder), _folder(reader, tip, folder))
        before, now = (entries.get(name) for entries in folders[folder])
        if before != now and (now.sha if now else None) != wanted:
            clash.append(path)
    return clash


def _folder(reader: Reader, tree: str | None, folder: str) -> dict[str, Entry]:
    if tree is None:
        return {}
    entry = reader.lookup(tree, folder) if folder else Entry(DIRECTORY, tree)
    return reader.entries(entry.sha) if entry is not None and entry.is_directory else {}
