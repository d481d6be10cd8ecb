"""What was approved in an environment at one commit: it stays the same whatever is approved later."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from core.errors import NotFound, OpsError
from tenants.scope import assert_no_scope
from workflows.models import Environment

from . import repository
from .canonical import REFERENCES, read_approved
from .manifest import FOLDER, draft_path, workflow_path
from .reading import Rescued, source_of
from .store import BadName, ContentMissing, GitStore


@dataclass(frozen=True, slots=True)
class ApprovedVersion:
    """One commit of ``env/<slug>``. ``references`` map every n8n id that was ever called by then to its key.

    Reading it is for outside any scope.
    """

    environment: Environment
    commit: str
    at: datetime
    references: Mapping[str, str]

    def content(self, key: str, *, draft: bool = False, rescued: Rescued | None = None) -> dict[str, Any] | None:
        """A content with the ids of then, or the draft approved beside it; None where there was none.

        What Git has lost is read from the database, and ``rescued`` learns it.
        """
        path = draft_path(key) if draft else workflow_path(key)
        with _store(self.environment).reader() as reader:
            entry = reader.lookup(reader.commit_tree(self.commit), path)
        if entry is None:
            return None
        with source_of(self.environment.tenant_id) as source:
            return read_approved(source, key, entry.sha, rescued or Rescued())

    def blobs(self) -> dict[str, str]:
        """Key → blob of everything that was approved."""
        tree = _store(self.environment).tree(self.commit, FOLDER)
        return {path.removeprefix(f"{FOLDER}/").removesuffix(".json"): blob for path, blob in tree.items()}

    def contents(self, keys: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The contents of those of ``keys`` that were approved, with the ids of then, one in memory at a time."""
        wanted = {key: blob for key, blob in self.blobs().items() if key in keys}
        with source_of(self.environment.tenant_id) as source:
            for key, blob in wanted.items():
                yield key, read_approved(source, key, blob, Rescued())


def approved_at(environment: Environment, commit: str) -> ApprovedVersion:
    """What ``commit`` approved. Outside any scope. Raises ``NotFound`` where nothing was approved here by it."""
    assert_no_scope("Git")
    store = _store(environment)
    try:
        found = store.commit_info(commit)
        references = orjson.loads(store.read(commit, REFERENCES))
    except (BadName, ContentMissing, ValueError) as error:
        raise _not_approved() from error
    if found.trailers.get("Environment") != environment.slug:
        raise _not_approved()
    return ApprovedVersion(environment, found.sha, found.at, {str(k): str(v) for k, v in references.items()})


def last_approval(environment: Environment) -> str:
    """The commit of what is approved now; '' where nothing ever was. Outside any scope."""
    return _store(environment).tip(environment.canonical_branch) or ""


def _store(environment: Environment) -> GitStore:
    return repository.store_for(environment.tenant_id)


def _not_approved() -> OpsError:
    return NotFound("There is no such approved version.", recovery="Choose another version to compare.")
