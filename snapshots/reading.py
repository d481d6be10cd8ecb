"""Contents by their names in Git: from Git, or from what the database keeps where Git, or all of its store, is lost."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from . import repository, sql_contents
from .errors import SnapshotUnreadable
from .manifest import ManifestEntry
from .restore_documents import RestoreIssue
from .store import ContentDamaged, Reader, StoreMissing
from .store.objects import blob_name

logger = logging.getLogger(__name__)

WAY_OUT = "Fetch the repository again from its remote, or restore its backup."


@dataclass(slots=True)
class Rescued:
    """Workflows whose contents were read from the database because Git has lost them: key to label.

    ``branch`` is the one that Git has lost, where what is approved had to be found by the hashes in the database.
    """

    labels: dict[str, str] = field(default_factory=dict)
    branch: str = ""

    def note(self, entry: ManifestEntry) -> None:
        self.add(entry.key, entry.label)

    def add(self, key: str, label: str) -> None:
        self.labels[key] = label

    @property
    def wherefrom(self) -> str:
        """What a side of a comparison adds to its label; empty where Git had everything."""
        return (
            f", from the database: missing from Git ({SnapshotUnreadable.code})" if self.labels or self.branch else ""
        )

    @property
    def warnings(self) -> list[RestoreIssue]:
        """One warning (SNAP_002) for each kind of loss, with the way out; none where Git had everything."""
        lost = f"Git has lost the branch {self.branch}: what is approved was found by the hashes in the database."
        of_branch = (
            [RestoreIssue(code=SnapshotUnreadable.code, key="", message=f"{lost} {WAY_OUT}")] if self.branch else []
        )
        return of_branch + self._of_contents()

    def _of_contents(self) -> list[RestoreIssue]:
        if not self.labels:
            return []
        keys = sorted(self.labels)
        one = f"The content of “{self.labels[keys[0]]}” is"
        what = one if len(keys) == 1 else f"The contents of {len(keys)} workflows are"
        message = f"{what} missing from Git and read from the database, checked by hash. {WAY_OUT}"
        return [RestoreIssue(code=SnapshotUnreadable.code, key=keys[0], keys=keys, message=message)]


class Found(NamedTuple):
    """A content, and whether it had to be read from the database."""

    data: bytes
    rescued: bool = False


class Source:
    """Reads contents for one thread. ``reader`` is None where the tenant's whole store is gone."""

    def __init__(self, tenant_id: uuid.UUID, reader: Reader | None) -> None:
        self._tenant_id, self._reader = tenant_id, reader

    def find(self, blob: str, *, at: str = "") -> Found | None:
        """A content by its name in Git, or by ``<commit>:<path>``; None where it is nowhere.

        Raises ``ContentDamaged`` where Git's is damaged and the database has none.
        """
        try:
            found = self._in_git(blob) or self._in_git(at)
        except ContentDamaged:
            kept = self._in_database(blob)
            if kept is None:
                raise
            return kept
        return found or self._in_database(blob)

    def _in_git(self, name: str) -> Found | None:
        found = self._reader.find(name) if self._reader is not None and name else None
        return Found(found[2]) if found is not None else None

    def _in_database(self, blob: str) -> Found | None:
        """What the database keeps, if it is exactly what Git named so."""
        kept = sql_contents.read(self._tenant_id, blob) if blob else None
        if kept is None:
            return None
        if blob_name(kept) != blob:
            logger.error("A content kept for SQL is not what its name says: %s of tenant %s", blob, self._tenant_id)
            return None
        logger.warning("Git has lost %s of tenant %s: read from the database", blob, self._tenant_id)
        return Found(kept, rescued=True)


@contextlib.contextmanager
def source_of(tenant_id: uuid.UUID) -> Iterator[Source]:
    """One Git process for many contents, where there is a store. Outside any scope."""
    try:
        store = repository.store_for(tenant_id)
    except StoreMissing:
        yield Source(tenant_id, None)
        return
    with store.reader() as reader:
        yield Source(tenant_id, reader)
