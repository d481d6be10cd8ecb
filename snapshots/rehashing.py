"""A new way of comparing workflows: every hash of an environment is made anew from Git, all at once.

Hashes of different normalisations must never be compared. So an environment goes from one to the other in a single
transaction, made from what Git holds: what is approved, and what the last capture saw. Until then its rows are of the
old kind on both sides, and nobody looks for drift in them. It begins by itself: the beat looks for environments that
are behind, and a capture that comes first does it before it records anything.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import orjson
from django.db import connection
from django.db.models import Exists, OuterRef

from core import clock
from core.errors import OpsError
from core.notices import notify
from operations import services as operations
from operations.handlers import register
from operations.models import OPEN, Operation
from tenants.scope import assert_no_scope, platform_scope
from workflows import identity
from workflows.content import NORMALIZATION_VERSION, ContentError, Fingerprint, fingerprint, parse
from workflows.gateway import environment_by_id
from workflows.models import Environment, WorkflowEnvMap

from . import repository
from .canonical import canonical_blobs, canonical_references
from .manifest import DRAFTS, draft_in
from .models import Snapshot
from .notices import EnvironmentRehashed, Rehashed

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
    """Start making the hashes of an environment anew."""
    return operations.start(
        tenant_id=environment.tenant_id,
        kind=KIND,
        title=f"Make the hashes of {environment.name} anew",
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
    run.step(f"{step}:rehash", "Make the hashes anew", lambda: rehash(run, environment))


@register
class Rehash:
    """Make the hashes of an environment anew after the console's way of comparing has changed."""

    kind: ClassVar[str] = KIND

    def run(self, run: Run) -> dict[str, Any]:
        environment = environment_by_id(run.tenant_id, run.params["environment_id"])
        return run.step("rehash", f"Make the hashes of {environment.name} anew", lambda: rehash(run, environment))  # type: ignore[no-any-return]


# -- the work ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Made:
    """The hashes of one content: of behaviour, and comparable across environments; and the row's fingerprint."""

    content_hash: str
    comparable_hash: str
    stored: dict[str, Any]


@dataclass(slots=True)
class _Row:
    """A place as it is recorded: its hashes are those of ``version``."""

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

    approved: dict[str, Made]
    seen: dict[str, Made]
    approved_drafts: dict[str, Made]
    seen_drafts: dict[str, Made]
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
    assert_no_scope("Making hashes anew")
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
    store = repository.store_for(environment.tenant_id)
    wanted = {row.key for row in rows}
    with run.fenced():
        snapshot = Snapshot.objects.filter(pk__in=filter(None, [environment.last_snapshot_id])).first()
        keys = identity.key_by_workflow_id(environment.pk)
    marks: dict[str, Fingerprint | None] = {}
    approved_blobs = {key: blob for key, blob in canonical_blobs(environment).items() if key in wanted}
    approved_drafts = {k: blob for k, blob in canonical_blobs(environment, folder=DRAFTS).items() if k in wanted}
    entries = {str(e["key"]): e for e in (snapshot.workflows if snapshot is not None else ()) if e.get("key") in wanted}
    # What ran beside a draft was not stored before: its hash of the new kind is told by the next capture.
    unknown = {key for key, e in entries.items() if "live_content_hash" in e and "draft" not in e}
    seen_blobs = {key: str(e.get("blob") or "") for key, e in entries.items() if key not in unknown}
    seen_drafts = {key: draft.blob for key, e in entries.items() if (draft := draft_in(e)) is not None}
    every = (approved_blobs, approved_drafts, seen_blobs, seen_drafts)
    _read(run, store, list(dict.fromkeys(blob for blobs in every for blob in blobs.values() if blob)), marks)
    types = {row.key: row.types for row in rows}
    origin = canonical_references(environment)
    return _Contents(
        approved=_made(approved_blobs, marks, origin, types),
        seen=_made(seen_blobs, marks, keys, types),
        approved_drafts=_made(approved_drafts, marks, origin, types),
        seen_drafts=_made(seen_drafts, marks, keys, types),
        unknown=unknown,
    )


def _read(run: Run, store: GitStore, blobs: Sequence[str], marks: dict[str, Fingerprint | None]) -> None:
    with store.reader() as reader:
        for number, blob in enumerate(blobs):
            if number % CHUNK == 0:
                run.check()
                run.progress(number, len(blobs), "Hashing what Git holds")
            try:
                found = reader.find(blob)
                marks[blob] = fingerprint(parse(found[2])) if found is not None else None
            except (ContentError, OpsError):
                marks[blob] = None
    run.progress(len(blobs), len(blobs), "Changing over")


def _made(
    blobs: Mapping[str, str],
    marks: Mapping[str, Fingerprint | None],
    keys: Mapping[str, str],
    types: Mapping[str, list[str]],
) -> dict[str, Made]:
    found = {}
    for key, blob in blobs.items():
        mark = marks.get(blob)
        if mark is not None:
            stored = identity.stored_fingerprint(mark, types.get(key, ()))
            found[key] = Made(mark.content_hash(keys), mark.comparable_hash(keys), stored)
    return found


def _change_over(environment: Environment, rows: Sequence[_Row], contents: _Contents, report: _Report) -> None:
    """Write all hashes of an environment. A row that a capture has changed meanwhile is left for the next round."""
    identity.lock_identities(environment.tenant_id)
    moves: list[Rehashed] = []
    values: list[dict[str, Any]] = []
    for row in rows:
        git, env = contents.approved.get(row.key), contents.seen.get(row.key)
        git_draft, env_draft = contents.approved_drafts.get(row.key), contents.seen_drafts.get(row.key)
        git_hash = (git.content_hash if git is not None else row.git) if row.git else None
        env_hash = (env.content_hash if env is not None else row.env) if row.env else None
        if row.git and git is None:
            report.unreadable.append(row.key)
        if row.env and env is None and row.env == row.git:
            # It was as approved, by the old hash: that is no drift, and the next capture tells the rest.
            env_hash = git_hash
        git_draft_hash = _beside(git_draft, git_hash, row.git_draft)
        env_draft_hash = _beside(env_draft, env_hash, row.env_draft)
        if row.key in contents.unknown:
            report.unknown.append(row.key)
        values.append(
            {
                "id": row.pk,
                "version": row.version,
                "old_git": row.git,
                "old_env": row.env,
                "git": git_hash,
                "env": env_hash,
                "git_draft": git_draft_hash,
                "env_draft": env_draft_hash,
                "comparable": env.comparable_hash if env is not None else None,
                "mark": env.stored if env is not None else None,
                "git_mark": git.stored if git is not None else None,
            }
        )
        drafts = (row.git_draft, git_draft_hash, row.env_draft, env_draft_hash)
        moves.append(Rehashed(row.pk, row.key, row.git, git_hash, row.env, env_hash, *drafts))
    written = _write(values)
    report.rehashed += len(written)
    done = [move for move in moves if move.map_id in written]
    notify(EnvironmentRehashed(environment, done))


def _beside(draft: Made | None, content_hash: str | None, before: str | None) -> str | None:
    """The hash of a draft, where it still holds something else than what it stands beside."""
    if draft is None or before is None:
        return before
    return draft.content_hash if draft.content_hash != content_hash else None


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
            part = orjson.dumps(list(values[start_at : start_at + 1000]), default=str).decode()
            cursor.execute(_WRITE, [NORMALIZATION_VERSION, clock.now(), part])
            written |= {row[0] for row in cursor.fetchall()}
    return written


# -- snapshots of before ----------------------------------------------------------------------------------------------


def current_entries(
    snapshot: Snapshot, entries: Sequence[Mapping[str, Any]], references: Callable[[], Mapping[str, str]]
) -> list[dict[str, Any]]:
    """The entries of a snapshot with hashes of this normalisation; those of an older one are made anew from Git.

    Git's manifest stays as it was written. An entry whose content Git has lost keeps its hash: reading the content
    says so. Outside any scope, where the snapshot is of an older normalisation.
    """
    if snapshot.hash_version == NORMALIZATION_VERSION:
        return [dict(entry) for entry in entries] if not isinstance(entries, list) else entries
    assert_no_scope("Git")
    store = repository.store_for(snapshot.tenant_id)
    keys = {
        **references(),
        **{str(e["env_workflow_id"]): str(e["key"]) for e in entries if e.get("env_workflow_id") and e.get("key")},
    }
    found = []
    with store.reader() as reader:
        for entry in entries:
            found.append(_entry_anew(reader, entry, keys))
    return found


def _entry_anew(reader: Any, entry: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    anew, mark = dict(entry), _mark(reader, str(entry.get("blob") or ""))
    if mark is not None:
        anew |= {"content_hash": mark.content_hash(keys), "comparable_hash": mark.comparable_hash(keys)}
    draft = draft_in(entry)
    draft_mark = _mark(reader, draft.blob) if draft is not None else None
    if draft is not None and draft_mark is not None:
        del anew["draft"]
        if (value := draft_mark.content_hash(keys)) != anew.get("content_hash"):
            anew["draft"] = msgspec.structs.replace(draft, content_hash=value).to_json()
    return anew


def _mark(reader: Any, blob: str) -> Fingerprint | None:
    try:
        data = reader.find(blob) if blob else None
        return fingerprint(parse(data[2])) if data is not None else None
    except (ContentError, OpsError):
        return None
