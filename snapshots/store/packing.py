"""New contents on their way into one pack, in the format that Git reads (gitformat-pack(5)).

``git fast-import`` took a third of the processor time of a whole capture: it hashes every content a second time, and
reads it through a pipe. Names are known here already, and ISA-L compresses at three times zlib's speed. Git still
writes everything that is small: trees, commits, refs, and contents where they are few.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import uuid
import zlib
from pathlib import Path

from gitdb.fun import create_pack_object_header
from gitdb.pack import IndexWriter
from isal import isal_zlib

LOOSE_OBJECTS = 100
LOOSE_BYTES = 4 * 1024 * 1024
"""A pack up to both is unpacked by Git, as it does with its own: each pack more makes every later look longer."""

_BLOB = 3
_COMPRESSION = 1


class Pack:
    """Collects blobs in a file that Git does not look at, until ``finish``. Raises what the disk says as ``OSError``.

    ``path`` is the file while it is unfinished. For one thread.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.path = folder / f"tmp_pack_{uuid.uuid4().hex}"
        self._folder = folder
        self._file = open(self.path, "xb+", opener=_for_reading_only)  # noqa: SIM115 - until finish or abandon
        self._index = IndexWriter()
        self.count = 0
        self.bytes = self._file.write(_head(0))

    @property
    def is_small(self) -> bool:
        """Whether its objects had better lie loose."""
        return self.count <= LOOSE_OBJECTS and self.bytes <= LOOSE_BYTES

    def add_blob(self, sha: str, data: bytes) -> None:
        """Append a content; ``sha`` is its blob's name."""
        entry = b"%b%b" % (create_pack_object_header(_BLOB, len(data)), isal_zlib.compress(data, _COMPRESSION))
        self._file.write(entry)
        self._index.append(bytes.fromhex(sha), zlib.crc32(entry), self.bytes)
        self.count += 1
        self.bytes += len(entry)

    def read(self) -> bytes:
        """The whole pack, complete, for whoever unpacks it."""
        self._complete()
        self._file.seek(0)
        return self._file.read()

    def finish(self) -> None:
        """Let Git see it. Hardened on disk first, its index last: Git takes no notice of a pack without one."""
        sha = self._complete()
        os.fsync(self._file.fileno())
        index = self._folder / f"tmp_idx_{uuid.uuid4().hex}"
        with open(index, "xb", opener=_for_reading_only) as file:
            self._index.write(sha, file.write)
            file.flush()
            os.fsync(file.fileno())
        self.path.rename(self._folder / f"pack-{sha.hex()}.pack")
        index.rename(self._folder / f"pack-{sha.hex()}.idx")
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._file.close()

    def abandon(self) -> None:
        """Forget it all; also after ``read`` or a failed ``finish``."""
        with contextlib.suppress(OSError):  # what still waits to be written has no room: it is not wanted
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _complete(self) -> bytes:
        """Put in how many there are, and the checksum over all, which is returned."""
        self._file.seek(0)
        self._file.write(_head(self.count))
        self._file.seek(0)
        sha = hashlib.file_digest(self._file, _sha1).digest()
        self._file.write(sha)
        self._file.flush()
        return sha


def _for_reading_only(path: str, flags: int) -> int:
    """Whoever opens it later can only read it, as Git's own packs."""
    return os.open(path, flags, 0o444)


def _head(count: int) -> bytes:
    return struct.pack(">4sLL", b"PACK", 2, count)


def _sha1() -> hashlib._Hash:
    return hashlib.sha1(usedforsecurity=False)
