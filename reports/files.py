"""The files of reports: a folder for each tenant and one for the platform, readable by this process's user only."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from django.conf import settings


def folder_of(tenant_id: uuid.UUID | None) -> Path:
    """The folder of a tenant or of the platform, created if need be."""
    root: Path = settings.REPORTS_ROOT
    folder = root / (str(tenant_id) if tenant_id else "platform")
    for made in (root, folder):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def path_of(tenant_id: uuid.UUID | None, name: str) -> Path:
    """The path of a run's file; ``name`` was chosen by this app."""
    return folder_of(tenant_id) / Path(name).name


def digest_of(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def forget(tenant_id: uuid.UUID | None, prefix: str) -> None:
    """Remove files whose name begins with ``prefix``."""
    for path in folder_of(tenant_id).glob(f"{prefix}*"):
        path.unlink(missing_ok=True)
