"""What can go wrong with the Git store, each with its way out; all belong to the families of ``snapshots.errors``."""

from __future__ import annotations

import re

from core.errors import Invalid, OpsError
from snapshots.errors import CaptureFailed, SnapshotDamaged, SnapshotUnreadable


class WriteFailed(CaptureFailed):
    """Nothing of this write is visible: every branch is where it was. ``details["git"]`` is what Git said."""

    title = "The Git store could not be written"
    message = "Git refused the write; nothing was changed."
    recovery = "Run 'manage.py snapshots_check', put right what it names, then try again."


class StoreFull(WriteFailed):
    title = "The Git store is full"
    message = "There is no room left for the Git store; nothing was changed."
    recovery = "Make room on the disk (or raise the quota) that holds the Git store, then try again."
    status = 507


class StoreNotWritable(WriteFailed):
    title = "The Git store is not writable"
    message = "The Git store's folder cannot be written by this process; nothing was changed."
    recovery = "Give the console's user write access to the Git store's folder, then try again."
    status = 500


class StoreLocked(WriteFailed):
    """``details["locks"]`` lists the lock files, each with its age in seconds."""

    title = "The Git store is locked"
    message = "Another process holds the Git store; nothing was changed."
    recovery = "Wait for it to end and try again. A lock left by a dead process is removed by itself after two minutes."
    status = 409


class StoreCorrupt(WriteFailed):
    title = "The Git store is damaged"
    message = "The Git store holds damaged data, so nothing was written."
    recovery = "Run 'manage.py snapshots_check'; fetch the repository again from its remote or restore its backup."
    status = 500


class GitUnusable(WriteFailed):
    title = "Git cannot be run"
    message = "The git program is missing or could not be started; nothing was changed."
    recovery = "Install Git 2.30 or later where the console runs, then try again."
    status = 500


class BranchMoved(WriteFailed):
    """Somebody else's commit touches the same files. ``details["paths"]`` names up to 50 of them."""

    code = "SNAP_004"
    title = "The branch has moved"
    message = "Somebody else wrote to this branch meanwhile; nothing was changed."
    recovery = "Look at what was written meanwhile, decide again, and repeat."
    status = 409


class StoreMissing(SnapshotUnreadable):
    title = "The Git store is missing"
    message = "This tenant's Git repository is not where it should be."
    recovery = (
        "Mount its folder, fetch it again from its remote, or restore its backup. Where it is lost for good,"
        " 'manage.py snapshots_recover --tenant SLUG --new-store' begins an empty one."
    )


class ContentMissing(SnapshotUnreadable):
    """``details["object"]`` is the object or path asked for."""

    title = "Content is missing from Git"


class ContentDamaged(SnapshotDamaged):
    """``details["object"]`` is the object that could not be read or is not what its name says."""

    title = "Content in Git is damaged"
    recovery = "Choose another snapshot, or fetch the repository again from its remote."


class BadName(Invalid):
    code = "SNAP_005"
    title = "That name cannot be used in Git"
    message = "A name for the Git store holds characters that are not allowed there."
    recovery = "Use letters, digits, '.', '-', '_' and '%'; encode anything else."


class PushFailed(OpsError):
    """The commit is safe in the local store; only the copy at the remote is behind."""

    code = "GIT_001"
    title = "The push failed"
    message = "The remote repository could not be brought up to date. Nothing is lost: the local store has it all."
    recovery = "Read what the remote said in the details, then let the push run again."
    status = 502


class PushRefusedLogin(PushFailed):
    code = "GIT_002"
    title = "The remote refused the credentials"
    message = "The remote repository did not accept the credentials, or they may not write to it."
    recovery = "Renew the token or key in the tenant's settings and give it write access, then push again."


class PushHostUnknown(PushFailed):
    """The host at that address is not the one whose key was entered; nothing was sent."""

    code = "GIT_006"
    title = "The remote is not the host it should be"
    message = "The host at the remote's address shows another key than the one in the settings; nothing was sent."
    recovery = (
        "Ask whoever runs that host whether its key has changed. If it has, enter the new one in the tenant's settings"
        " and push again; if not, somebody stands in between: do not push."
    )


class PushUnreachable(PushFailed):
    code = "GIT_003"
    title = "The remote cannot be reached"
    message = "The remote repository did not answer in time, or its address does not exist."
    recovery = "Check the address and the network, then push again."


class PushRejected(PushFailed):
    """``details["branches"]`` maps branch to the remote's reason."""

    code = "GIT_004"
    title = "The remote rejected the branches"
    message = "The remote holds commits that the console does not have, or protects these branches."
    recovery = "Only the console may write to these branches: let it past the protection, or use an empty repository."
    status = 409


class RemoteNotAllowed(Invalid):
    code = "GIT_005"
    title = "That remote address is not allowed"
    message = "A remote is given as https://… or ssh://…, without a password in it."
    recovery = "Give the address without credentials; enter the token or key in its own field."


_FULL = re.compile(r"no space left|out of disk ?space|disk quota exceeded|file too large|file size limit", re.I)
_DENIED = re.compile(r"permission denied|read-only file system|insufficient permission|operation not permitted", re.I)
_LOCKED = re.compile(r"\.lock': (?:file exists|.*another git process)|unable to create '.*\.lock': file exists", re.I)
_CORRUPT = re.compile(
    r"corrupt|is empty|broken (?:ref|link)|bad (?:object|tree|ref)|inflate|unable to read|missing (?:blob|tree|object)"
    r"|invalid sha1 pointer|object .* is unavailable|not a valid object|unable to resolve|packfile .* cannot"
    r"|hash mismatch|could not parse|reference broken|invalid object|does not match index|not a git repository"
    r"|unable to parse|wrong index|bad signature|non-monotonic",
    re.I,
)


_PLACE = re.compile(r"(?<![:/\w])/[^\s'\"]*\.git/")


def tidy(text: str, *, limit: int = 600) -> str:
    """What Git said, short enough for a person, without control characters and without where the server keeps it."""
    lines = ("".join(c for c in _PLACE.sub("", line) if c.isprintable()) for line in text.splitlines())
    return "\n".join(line for line in lines if line.strip())[-limit:]


def write_failure(stderr: str, **details: object) -> WriteFailed:
    """The typed failure for what a writing command left on its standard error."""
    for pattern, kind in (
        (_FULL, StoreFull),
        (_DENIED, StoreNotWritable),
        (_LOCKED, StoreLocked),
        (_CORRUPT, StoreCorrupt),
    ):
        if pattern.search(stderr):
            return kind(details={"git": tidy(stderr), **details})
    return WriteFailed(details={"git": tidy(stderr), **details})


def is_locked(stderr: str) -> bool:
    """Whether Git gave up because a lock file is in its way."""
    return bool(_LOCKED.search(stderr))
