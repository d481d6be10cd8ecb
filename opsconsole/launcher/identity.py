"""Which system user PostgreSQL and Redis run as.

PostgreSQL refuses to run as root. An ordinary user simply runs it; root hands it to a user without rights.
"""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from .errors import LauncherError

# An administrator who wants a user for this alone creates `opsconsole`; otherwise the one every system has will do.
CANDIDATES = ("opsconsole", "nobody")


@dataclass(frozen=True)
class ServiceUser:
    """A user to switch to before a program starts; `None` everywhere means: stay who we are."""

    uid: int | None
    gid: int | None
    name: str

    @property
    def switches(self) -> bool:
        """Whether starting a program as this user changes who it is."""
        return self.uid is not None


def service_user(data_folder: Path | None = None) -> ServiceUser:
    """The user for the services: the owner of existing data, else the first candidate; ourselves unless root."""
    if os.geteuid() != 0:
        return ServiceUser(None, None, pwd_name(os.geteuid()))
    if data_folder is not None and data_folder.is_dir():
        uid = data_folder.stat().st_uid
        if uid != 0:
            try:
                entry = pwd.getpwuid(uid)
            except KeyError:
                raise LauncherError(
                    f"{data_folder} belongs to user id {uid}, which this machine does not know.",
                    recovery=f"give it to a user that exists: chown -R nobody {data_folder}",
                ) from None
            return ServiceUser(entry.pw_uid, entry.pw_gid, entry.pw_name)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return ServiceUser(entry.pw_uid, entry.pw_gid, entry.pw_name)
    raise LauncherError(
        "PostgreSQL does not run as root, and there is no user 'opsconsole' or 'nobody' to run it as.",
        recovery="useradd --system opsconsole, or start as an ordinary user",
    )


def pwd_name(uid: int) -> str:
    """The login name of a user id, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def reachable(path: Path, user: ServiceUser) -> bool:
    """Whether `user` can pass through every folder above `path` (and into it, where it exists)."""
    if not user.switches:
        return True
    resolved = path.resolve()
    for folder in (resolved, *resolved.parents):
        try:
            status = folder.stat()
        except FileNotFoundError:
            continue
        if not folder.is_dir():
            continue
        bit = 0o100 if status.st_uid == user.uid else 0o010 if status.st_gid == user.gid else 0o001
        if not status.st_mode & bit:
            return False
    return True
