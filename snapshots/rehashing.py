"""A new way of comparing workflows: every hash of an environment is computed again from Git, all at once.

Hashes of different normalisations must never be compared. So an environment goes from one to the other in a single
transaction, made from what Git holds: what is approved, and what the last capture saw. Until then its rows are of the
old kind on both sides, and nobody looks for drift in them. It begins by itself: the beat looks for environments that
are behind, and a capture that comes first does it before it records anything.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from django.db import connection
from django.db.models import Exists, OuterRef

from core import clock
from core.notices import notify
from core.texts import json_for_rows
from operations import services as operations
from operations.handlers import register
from operations.models import OPEN, Operation
from tenants.scope import assert_no_scope, platform_scope
from workflows import identity
from workflows.content import NORMALIZATION_VERSION, Fingerprint
from workflows.gateway import environment_by_id
from workflows.models import Environment, WorkflowEnvMap

from . import job_summaries, repository
from .canonical import canonical_blobs, canonical_references
from .contents import fingerprint_of_blob
from .manifest import DRAFTS, entry_from
from .models import Snapshot
from .notices import EnvironmentRehashed, Rehashed
from .reading import Source

if TYPE_CHECKING:
    from operations.engine import Run

    from .store import GitStore

logger = logging.getLogger(__name__)

KIND = "snapshots.rehash"
STARTED_AT_ONCE = 200
CHUNK = 200
ROUNDS = 5


def is_behind(environment_id: uuid.UUID) -> bool:
    """Whether rows of the environment are of another normalisation than this console's. Needs the tenant's scope."""
    found: bool = _behind().filter(environment_id=environment_id).exists()
    return found


def _behind() -> Any:
    return WorkflowEnvMap.objects.exclude(normalization_version=NORMALIZATION_VERSION)


def keep_current() -> int:
    """The beat's round: start the job for each environment that is behind and has none; how many."""
    mine = Operation.objects.filter(kind=KIND, environment_id=OuterRef("pk"), status__in=[str(s) for s in OPEN])
    with platform_scope():
        rows = _behind().filter(environment_id=OuterRef("pk"))
        behind = list(
            Environment.objects.filter(Exists(rows), ~Exists(mine), is_archived=False).order_by("pk")[:STARTED_AT_ONCE]
        )
    for environment in behind:
        start(environment)
    return len(behind)


def start(environment: Environment) -> Operation:
    """Start computing the hashes of an environment again."""
    return operations.start(
        tenant_id=environment.tenant_id,
        kind=KIND,
        title=f"Compute the hashes of {environment.name} again",
        params={"environment_id": str(environment.pk), "version": NORMALIZATION_VERSION},
        requested_by=None,
        environment_id=environment.pk,
        subject_type="environment",
        subject_id=environment.pk,
    )


def ensure_current(run: Run, environment: Environment, *, step: str) -> None:
    """Before anything is recorded or compared: bring the environment's hashes to this normalisation, if need be."""
    with run.fenced():
        if not is_behind(environment.pk):
            return
    run.step(f"{step}:rehash", "Compute the hashes again", lambda: rehash(run, environment))


@register
class Rehash:
    """Compute the hashes of an environment again after the console's way of comparing has changed."""

    kind: ClassVar[str] = KIND
    summary = staticmethod(job_summaries.rehashed)

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        return run.step("rehash", f"Compute the hashes of {environment.name} again", lambda: rehash(run, environment))  # type: ignore[no-any-return]


# -- the work ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hashes:
    """The hashes of one content: of behaviour, and comparable across environments; and the row's fingerprint."""

    content_hash: str
    comparable_hash: str
    fingerprint: dict[str, Any]


@dataclass(slots=True)
class _Row:
    """A mapping as it is recorded: its hashes are those of ``version``."""

    pk: uuid.UUID
    key: str
    version: int
    git: str | None
    env: str | None
    git_draft: str | None
    env_draft: str | None
    types: list[str]


@dataclass(slots=True)
class _Contents:
    """By key: what is approved, what was seen, the drafts beside both, and of which what runs is not known."""

    approved: dict[str, Hashes]
    seen: dict[str, Hashes]
    approved_drafts: dict[str, Hashes]
    seen_drafts: dict[str, Hashes]
    unknown: set[str]


@dataclass(slots=True)
class _Report:
    rehashed: int = 0
    unreadable: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def rehash(run: Run, environment: Environment) -> dict[str, Any]:
    """Read from Git, hash, and change over in one transaction. Safe to begin again at any point; outside any scope.

    ``{version, rehashed, unreadable, unknown}``: keys whose content Git has lost keep their old hash; of those whose
    running version was never stored nothing is claimed until the next capture.
    """
    assert_no_scope("Computing hashes")
    report = _Report()
    for _ in range(ROUNDS):
        with run.fenced():
            rows = _rows(environment)
        if not rows:
            break
        report = _Report()
        contents = _contents(run, environment, rows)
        with run.fenced():
            _change_over(environment, rows, contents, report)
    return {
        "version": NORMALIZATION_VERSION,
        "rehashed": report.rehashed,
        "unreadable": report.unreadable[:200],
        "unknown": report.unknown[:200],
    }


def _rows(environment: Environment) -> list[_Row]:
    values = (
        _behind()
        .filter(environment_id=environment.pk)
        .values_list(
            "pk",
            "canonical_workflow__key",
            "normalization_version",
            "git_content_hash",
            "env_content_hash",
            "git_draft_hash",
            "env_draft_hash",
            "fingerprint__types",
        )
    )
    return [
        _Row(pk, key, version, git, env, git_draft, env_draft, list(types or ()))
        for pk, key, version, git, env, git_draft, env_draft, types in values
    ]


def _contents(run: Run, environment: Environment, rows: Sequence[_Row]) -> _Contents:
    wanted = {row.key for row in rows}
    with run.fenced():
        snapshot = Snapshot.objects.filter(pk__in=filter(None, [environment.last_snapshot_id])).first()
        keys = identity.key_by_workflow_id(environment.pk)
    approved = {key: blob for key, blob in canonical_blobs(environment).items() if key in wanted}
    approved_drafts = {k: blob for k, blob in canonical_blobs(environment, folder=DRAFTS).items() if k in wanted}
    captured = _captured(snapshot, wanted)
    blobs = chain(approved.values(), approved_drafts.values(), captured.contents.values(), captured.drafts.values())
    found: dict[str, Fingerprint | None] = {}
    store = repository.store_for(environment.tenant_id)
    _read(run, store, list(dict.fromkeys(blob for blob in blobs if blob)), found)
    types = {row.key: row.types for row in rows}
    origin = canonical_references(environment)
    return _Contents(
        approved=_hashes(approved, found, origin, types),
        seen=_hashes(captured.contents, found, keys, types),
        approved_drafts=_hashes(approved_drafts, found, origin, types),
        seen_drafts=_hashes(captured.drafts, found, keys, types),
        unknown=captured.unknown,
    )


class _Captured(NamedTuple):
    """By key, the blobs that the last capture saw. ``unknown``: what ran was not stored, only the draft beside it."""

    contents: dict[str, str]
    drafts: dict[str, str]
    unknown: set[str]


def _captured(snapshot: Snapshot | None, keys: Collection[str]) -> _Captured:
    if snapshot is None:
        return _Captured({}, {}, set())
    stored = [entry_from(row) for row in snapshot.workflows if row.get("key") in keys]
    # What ran beside a draft was not stored before: the next capture computes its hash.
    unknown = {entry.key for entry in stored if entry.live_content_hash is not None and entry.draft is None}
    return _Captured(
        contents={entry.key: entry.blob for entry in stored if entry.key not in unknown},
        drafts={entry.key: entry.draft.blob for entry in stored if entry.draft is not None},
        unknown=unknown,
    )


def _read(run: Run, store: GitStore, blobs: Sequence[str], found: dict[str, Fingerprint | None]) -> None:
    with store.reader() as reader:
        source = Source(run.tenant_id, reader)
        for number, blob in enumerate(blobs):
            if number % CHUNK == 0:
                run.check()
                run.progress(number, len(blobs), "Hashing what Git holds")
            found[blob] = fingerprint_of_blob(source, blob)
    run.progress(len(blobs), len(blobs), "Changing over")


def _hashes(
    blobs: Mapping[str, str],
    fingerprints: Mapping[str, Fingerprint | None],
    keys: Mapping[str, str],
    types: Mapping[str, list[str]],
) -> dict[str, Hashes]:
    found = {}
    for key, blob in blobs.items():
        of_blob = fingerprints.get(blob)
        if of_blob is not None:
            stored = identity.stored_fingerprint(of_blob, types.get(key, ()))
            found[key] = Hashes(of_blob.content_hash(keys), of_blob.comparable_hash(keys), stored)
    return found


@dataclass(frozen=True, slots=True)
class _Move:
    """What the hashes of one mapping become. ``approved`` and ``seen`` are None where Git has lost the content."""

    row: _Row
    approved: Hashes | None
    seen: Hashes | None
    git: str | None
    env: str | None
    git_draft: str | None
    env_draft: str | None

    @property
    def lost_approval(self) -> bool:
        """Whether Git has lost what is approved."""
        return bool(self.row.git) and self.approved is None

    def to_row(self) -> dict[str, Any]:
        """As ``_WRITE`` reads it."""
        return {
            "id": self.row.pk,
            "version": self.row.version,
            "old_git": self.row.git,
            "old_env": self.row.env,
            "git": self.git,
            "env": self.env,
            "git_draft": self.git_draft,
            "env_draft": self.env_draft,
            "comparable": self.seen.comparable_hash if self.seen is not None else None,
            "mark": self.seen.fingerprint if self.seen is not None else None,
            "git_mark": self.approved.fingerprint if self.approved is not None else None,
        }


def _move(row: _Row, contents: _Contents) -> _Move:
    approved, seen = contents.approved.get(row.key), contents.seen.get(row.key)
    git = _new_hash(row.git, approved)
    env = _new_hash(row.env, seen)
    if row.env and seen is None and row.env == row.git:
        # It was as approved, by the old hash: that is no drift, and the next capture tells the rest.
        env = git
    git_draft = _new_draft_hash(row.git_draft, contents.approved_drafts.get(row.key), git)
    env_draft = _new_draft_hash(row.env_draft, contents.seen_drafts.get(row.key), env)
    return _Move(row, approved, seen, git, env, git_draft, env_draft)


def _new_hash(before: str | None, found: Hashes | None) -> str | None:
    """Where nothing was recorded, nothing is; where Git has lost the content, the old hash stays."""
    if not before:
        return None
    return found.content_hash if found is not None else before


def _new_draft_hash(before: str | None, draft: Hashes | None, content_hash: str | None) -> str | None:
    """The hash of a draft, where it still holds something else than what it stands beside."""
    if draft is None or before is None:
        return before
    return draft.content_hash if draft.content_hash != content_hash else None


def _change_over(environment: Environment, rows: Sequence[_Row], contents: _Contents, report: _Report) -> None:
    """Write all hashes of an environment. A row that a capture has changed meanwhile is left for the next round."""
    identity.lock_identities(environment.tenant_id)
    moves = [_move(row, contents) for row in rows]
    report.unreadable += [move.row.key for move in moves if move.lost_approval]
    report.unknown += [row.key for row in rows if row.key in contents.unknown]
    written = _write([move.to_row() for move in moves])
    report.rehashed += len(written)
    done = [_rehashed(move) for move in moves if move.row.pk in written]
    notify(EnvironmentRehashed(environment, done))


def _rehashed(move: _Move) -> Rehashed:
    row = move.row
    drafts = (row.git_draft, move.git_draft, row.env_draft, move.env_draft)
    return Rehashed(row.pk, row.key, row.git, move.git, row.env, move.env, *drafts)


_WRITE = """
UPDATE workflow_env_map m SET git_content_hash = v.git, env_content_hash = v.env,
  git_draft_hash = v.git_draft, env_draft_hash = v.env_draft,
  comparable_hash = coalesce(v.comparable, m.comparable_hash), fingerprint = coalesce(v.mark, m.fingerprint),
  git_fingerprint = CASE WHEN v.git IS NULL THEN NULL ELSE v.git_mark END,
  normalization_version = %s, updated_at = %s
FROM jsonb_to_recordset(%s::jsonb) AS v(id uuid, version int, old_git text, old_env text, git text, env text,
  git_draft text, env_draft text, comparable text, mark jsonb, git_mark jsonb)
WHERE m.id = v.id AND m.normalization_version = v.version
  AND m.git_content_hash IS NOT DISTINCT FROM v.old_git AND m.env_content_hash IS NOT DISTINCT FROM v.old_env
RETURNING m.id
"""


def _write(values: Sequence[Mapping[str, Any]]) -> set[uuid.UUID]:
    written: set[uuid.UUID] = set()
    with connection.cursor() as cursor:
        for start_at in range(0, len(values), 1000):
            part = json_for_rows(list(values[start_at : start_at + 1000]))
            cursor.execute(_WRITE, [NORMALIZATION_VERSION, clock.now(), part])
            written |= {row[0] for row in cursor.fetchall()}
    return written
