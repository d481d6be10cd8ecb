"""Small file helpers: atomic writes, private folders, ownership."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .errors import LauncherError


def write_atomic(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` in one step, so that nobody ever reads half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`, or None when it is not there or not readable as one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: dict[str, Any], *, mode: int = 0o600) -> None:
    """Write an object as JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True) + "\n", mode=mode)


def make_folder(path: Path, *, mode: int = 0o700, owner: int | None = None, group: int | None = None) -> Path:
    """Create a folder (and its parents), give it to `owner`, and say clearly when that is not possible."""
    try:
        existed = path.is_dir()
        path.mkdir(parents=True, exist_ok=True)
        if not existed:
            path.chmod(mode)
        if owner is not None and path.stat().st_uid != owner:
            os.chown(path, owner, -1 if group is None else group)
    except OSError as error:
        raise LauncherError(
            f"The folder {path} cannot be made or used: {error.strerror or error}.",
            recovery="set OPSCONSOLE_HOME to a folder you may write to, for example OPSCONSOLE_HOME=$HOME/opsconsole",
        ) from error
    return path


def tail(path: Path, *, lines: int = 15, since: int = 0) -> str:
    """The last lines of a log, at most 16 kB of it, and none from before the byte `since`."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, since, stream.tell() - 16_384))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
