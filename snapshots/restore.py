"""THE restore path: the only code that writes old content back to an n8n.

A restore by a person, the put-back of a failed promotion, a rollback and a stabilization all come through
``restore_into``. It rewrites references to the ids that workflows have now, writes through ``workflows.writes`` (which
never overwrites somebody else's edit and proves each write by reading back), notes the ids of what was created anew,
and rewires everything that still called the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from operations.engine import Run
from operations.models import OperationStep
from tenants.scope import assert_no_scope, tenant_scope
from workflows import identity
from workflows.content import Fingerprint, dump, fingerprint, parse
from workflows.gateway import client_for
from workflows.models import Environment, WorkflowEnvMap
from workflows.references import CredentialRef, references, rewrite
from workflows.structure import repaired
from workflows.writes import (
    Archived,
    EditedMeanwhile,
    Release,
    Resolver,
    WriteItem,
    WriteTarget,
    Written,
    created_before,
    failures,
    pending,
    perform,
)

from . import services
from .manifest import draft_in, facts_in, key_map, live_in
from .models import Snapshot
from .preview import preview
from .rewiring import rewire, rewired_by
from .starting import start_restore

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

__all__ = ["RestoreReport", "preview", "put_back", "restore_into", "start_restore"]


@dataclass(slots=True)
class RestoreReport:
    """What became of each workflow, by key; ``rewired`` are callers that got a new id to call.

    ``wanted`` are the hashes that were to be reached, made today: what a step says may be of an older normalisation.
    """

    results: dict[str, Written] = field(default_factory=dict)
    rewired: dict[str, Written] = field(default_factory=dict)
    unreadable: list[dict[str, str]] = field(default_factory=list)
    wanted: dict[str, str | None] = field(default_factory=dict)

    def of(self, outcome: str) -> list[Written]:
        return [w for _, w in sorted(self.results.items()) if w.outcome == outcome]

    @property
    def failed(self) -> list[Written]:
        """What failed, callers included."""
        return [*self.of("failed"), *(w for w in self.rewired.values() if w.outcome == "failed")]

    def to_dict(self) -> dict[str, Any]:
        """JSON: lists by outcome, with counts."""
        lists = {
            name: [w.to_json() for w in self.of(name)]
            for name in ("created", "updated", "skipped", "deleted", "failed")
        }
        lists["rewired"] = [w.to_json() for _, w in sorted(self.rewired.items())]
        return {**lists, "unreadable": self.unreadable, "counts": {name: len(rows) for name, rows in lists.items()}}


@dataclass(frozen=True, slots=True)
class _Place:
    env_workflow_id: str
    is_live: bool


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One workflow to be brought back: its bytes are kept, not its parsed form."""

    key: str
    name: str
    data: bytes
    active: bool
    tags: tuple[str, ...]
    archived: bool = False
    draft: bytes | None = None
    live_version_id: str = ""
    folder: str | None = None


def restore_into(
    run: Run,
    *,
    environment: Environment,
    prefix: str,
    snapshot: Snapshot | None = None,
    contents: Mapping[str, Mapping[str, Any]] | None = None,
    keys: Collection[str] | None = None,
    expected: Mapping[str, str | Collection[str] | None] | None = None,
    delete: Mapping[str, str] | None = None,
    credentials: Mapping[tuple[str, str], CredentialRef] | None = None,
    origin: Mapping[str, str] | None = None,
    expected_drafts: Mapping[str, Collection[str | None]] | None = None,
    drafts: Mapping[str, Mapping[str, Any]] | None = None,
    keep_published: Collection[str] = (),
    release: Release = Release(),  # noqa: B008 - frozen
    held: Collection[str] = (),
    may_rest: Collection[str] = (),
    repair: bool = False,
    tolerant: bool = False,
    concurrency: int = 8,
    client: N8nClient | None = None,
) -> RestoreReport:
    """Bring workflows of an environment back to the content of ``snapshot`` (or ``contents``, portable by key).

    Each fact of a workflow comes back: what ran is published again, a draft (``drafts`` beside ``contents``) stands
    beside it again, the archived are archived, the unpublished unpublished. Cursors of polling triggers stay as they
    are in n8n. What the instance cannot do is in ``Written.left``. Of what others call (``keep_published``, keys) the
    old content comes back and runs, whatever was published then.

    ``expected_drafts`` says, by key, which drafts may be overwritten (None among them: that there is none); keys that
    are not in it allow any. ``release`` is what n8n's own history says of what is published.
    ``expected`` says, by key, what may be overwritten: a content hash, several, or None for whatever is there. Keys
    that are not in it are overwritten whatever is there; without ``expected`` all are. What is already as wanted is
    left alone. ``delete`` (key → n8n id) removes workflows, under the same rule. ``origin`` maps ids inside the
    contents to keys (by default: the snapshot's own, else the environment's). Those in ``held`` are not published,
    those in ``may_rest`` only if n8n agrees. With ``repair`` what n8n refuses and nothing needs is taken away
    (``workflows.structure``). With ``tolerant`` a failure is reported
    in the result and the others go on; otherwise the first one is raised.

    Steps are named ``<prefix>:…``; safe to begin again. Call outside any scope. Raises what ``writes.perform`` raises
    and ``SnapshotUnreadable``.
    """
    assert_no_scope("A restore")
    report = RestoreReport()
    wanted = [
        replace(found, active=True, archived=False) if found.key in keep_published else found
        for found in _wanted(snapshot, contents, drafts or {}, keys)
    ]
    with run.fenced():
        places = _places(environment)
        keys_here = identity.key_by_workflow_id(environment.pk)
    origins = dict(origin) if origin is not None else _origins(snapshot, keys_here)
    creating = {w.key for w in wanted if not (p := places.get(w.key)) or not p.is_live}
    strange = {w.key: w.name for w in wanted if w.key not in places}
    if strange:
        with run.fenced():
            identity.make_known(tenant_id=environment.tenant_id, names=strange)
    targets = {key: place.env_workflow_id for key, place in places.items() if place.is_live}
    targets |= {key: pending(key) for key in creating}
    former = {p.env_workflow_id: key for key, p in places.items() if p.env_workflow_id}
    is_home = snapshot is None or snapshot.environment_id == environment.pk
    ids = {**(origins if is_home else {}), **former, **keys_here}
    resolver = Resolver(ids)
    making = _Making(
        creating,
        origins,
        targets,
        ids,
        credentials or {},
        expected,
        expected_drafts or {},
        release,
        is_home,
        repair,
    )
    items = [making.item(w, places.get(w.key)) for w in wanted]
    report.wanted = {item.key: item.wanted_hash for item in items}
    items = [_unpublished(i) if i.key in held else replace(i, may_rest=i.key in may_rest) for i in items]
    items += _deletions(delete or {}, expected, expected_drafts or {}, {w.key: w.name for w in wanted})

    def remember(made: Mapping[str, str]) -> None:
        with run.fenced():
            identity.bind(tenant_id=environment.tenant_id, environment_id=environment.pk, ids=made)

    with _client(environment, client) as connected:
        target = WriteTarget(
            client=connected,
            environment=environment,
            resolver=resolver,
            prefix=prefix,
            tolerant=tolerant,
            concurrency=concurrency,
        )
        report.results = perform(run, items, target, on_created=remember)
        if resolver.moved:
            done = {w.env_workflow_id for w in report.results.values()}
            report.rewired = rewire(run, connected, environment, resolver, done, prefix=prefix, tolerant=tolerant)
    gone = [w.key for w in report.results.values() if w.outcome == "deleted"]
    if gone:
        with run.fenced():
            identity.mark_deleted(tenant_id=environment.tenant_id, environment_id=environment.pk, keys=gone)
    return report


class _client:
    """The caller's client, left open; or one of our own, closed at the end."""

    def __init__(self, environment: Environment, given: N8nClient | None) -> None:
        self._environment, self._given = environment, given
        self._own: N8nClient | None = None

    def __enter__(self) -> N8nClient:
        if self._given is not None:
            return self._given
        self._own = client_for(self._environment)
        return self._own

    def __exit__(self, *_exc: object) -> None:
        if self._own is not None:
            self._own.close()


def _wanted(
    snapshot: Snapshot | None,
    contents: Mapping[str, Mapping[str, Any]] | None,
    drafts: Mapping[str, Mapping[str, Any]],
    keys: Collection[str] | None,
) -> list[_Wanted]:
    if contents is not None:
        chosen = [key for key in contents if keys is None or key in keys]
        return [
            _Wanted(
                key,
                str(contents[key].get("name") or ""),
                dump(contents[key]),
                bool(contents[key].get("active")),
                tuple(contents[key].get("tags") or ()),
                bool(contents[key].get("archived")),
                dump(drafts[key]) if key in drafts else None,
                folder=contents[key].get("folder"),
            )
            for key in sorted(chosen)
        ]
    if snapshot is None or (keys is not None and not keys):
        return []
    kept = services.load_drafts(snapshot, keys)
    return [
        _Wanted(
            str(entry["key"]),
            str(entry.get("name") or ""),
            data,
            bool(entry.get("active")),
            tuple(entry.get("tags") or ()),
            bool(entry.get("archived")),
            kept.get(str(entry["key"])),
            live.version_id if (live := live_in(entry)) is not None else "",
            facts.folder if (facts := facts_in(entry)) is not None else None,
        )
        for entry, data in services.load_bytes(snapshot, keys)
    ]


def _unpublished(item: WriteItem) -> WriteItem:
    return replace(item, active=False, draft=None, wanted_draft_hash=None)


def _places(environment: Environment) -> dict[str, _Place]:
    live = {str(s) for s in identity.LIVE}
    rows = WorkflowEnvMap.objects.filter(environment_id=environment.pk).values_list(
        "canonical_workflow__key", "env_workflow_id", "status"
    )
    return {key: _Place(ident, bool(ident) and status in live) for key, ident, status in rows}


def _origins(snapshot: Snapshot | None, keys_here: Mapping[str, str]) -> dict[str, str]:
    if snapshot is None:
        return dict(keys_here)
    manifest_keys = key_map(services.entries_of(snapshot), services.references_of(snapshot))
    return {**keys_here, **manifest_keys}


@dataclass(frozen=True, slots=True)
class _Making:
    """What is needed to turn what is wanted into items to be written."""

    creating: Collection[str]
    origins: Mapping[str, str]
    targets: Mapping[str, str]
    ids: Mapping[str, str]
    credentials: Mapping[tuple[str, str], CredentialRef]
    expected: Mapping[str, str | Collection[str] | None] | None
    expected_drafts: Mapping[str, Collection[str | None]]
    release: Release
    is_home: bool
    """Whether the contents are of this very environment: the folders of another one are not here."""
    repair: bool

    def item(self, wanted: _Wanted, place: _Place | None) -> WriteItem:
        load = self._loader(wanted.data)
        mark = fingerprint(load())
        is_new = wanted.key in self.creating
        hashes = _allowed(wanted.key, self.expected)
        draft = self._loader(wanted.draft) if wanted.draft is not None else None
        wanted_hash = self._hash(mark)
        draft_hash = self._hash(fingerprint(draft())) if draft is not None else None
        has_draft = draft is not None and draft_hash != wanted_hash
        drafts: frozenset[str | None] | None = None
        if wanted.key in self.expected_drafts:
            drafts = frozenset(self.expected_drafts[wanted.key])
        return WriteItem(
            key=wanted.key,
            name=wanted.name,
            title=f"{'Create' if is_new else 'Write'} {wanted.name or wanted.key}",
            action="create" if is_new else "update",
            env_workflow_id=place.env_workflow_id if place and place.env_workflow_id else None,
            content=load,
            wanted_hash=wanted_hash,
            expected_hash=hashes[0] if hashes else None,
            also_expected=frozenset(hashes[1:]) if hashes else frozenset(),
            active=wanted.active,
            archived=wanted.archived,
            tags=wanted.tags,
            folder=wanted.folder if self.is_home else None,
            draft=draft if has_draft else None,
            wanted_draft_hash=draft_hash if has_draft else None,
            expected_drafts=drafts,
            live_version_id=wanted.live_version_id if not is_new else "",
            release=self.release,
            needs=frozenset(key for key in self.creating if pending(key) in mark.workflow_refs),
        )

    def _loader(self, data: bytes) -> Callable[[], dict[str, Any]]:
        content = self._parsed(data)
        moves = _moves(content, self.origins, self.targets)
        stand_ins = {
            known_by: self.credentials[known_by]
            for r in references(content)
            # Old ones are known by their name alone.
            if r.kind in ("credential", "data_table")
            and (known_by := (r.credential_type, r.value or r.name)) in self.credentials
        }

        def load() -> dict[str, Any]:
            found = self._parsed(data)
            if not moves and not stand_ins:
                return found
            return rewrite(found, workflow_ids=moves, credentials=stand_ins).content

        return load

    def _parsed(self, data: bytes) -> dict[str, Any]:
        return repaired(parse(data)) if self.repair else parse(data)

    def _hash(self, mark: Fingerprint) -> str:
        waiting = {pending(key): key for key in self.creating if pending(key) in mark.workflow_refs}
        return mark.content_hash({**self.ids, **waiting})


def _moves(content: Mapping[str, Any], origins: Mapping[str, str], targets: Mapping[str, str]) -> dict[str, str]:
    """Id in the content → id in the target (or a pending one), where the two differ."""
    moves = {}
    for reference in references(content):
        if reference.kind != "workflow":
            continue
        target = targets.get(origins.get(reference.value, ""))
        if target and target != reference.value:
            moves[reference.value] = target
    return moves


def _allowed(key: str, expected: Mapping[str, str | Collection[str] | None] | None) -> list[str]:
    """The hashes that may be overwritten; none: anything."""
    given = expected.get(key) if expected is not None else None
    if given is None:
        return []
    return [given] if isinstance(given, str) else sorted(h for h in given if h)


def _deletions(
    delete: Mapping[str, str],
    expected: Mapping[str, str | Collection[str] | None] | None,
    expected_drafts: Mapping[str, Collection[str | None]],
    names: Mapping[str, str],
) -> list[WriteItem]:
    items = []
    for key, ident in sorted(delete.items()):
        hashes = _allowed(key, expected)
        name = names.get(key) or key
        items.append(
            WriteItem(
                key=key,
                name=name,
                title=f"Delete {name}",
                action="delete",
                env_workflow_id=ident,
                expected_hash=hashes[0] if hashes else None,
                also_expected=frozenset(hashes[1:]) if hashes else frozenset(),
                expected_drafts=frozenset(expected_drafts[key]) if key in expected_drafts else None,
            )
        )
    return items


# -- putting back -----------------------------------------------------------------------------------------------------


def put_back(
    run: Run,
    *,
    environment: Environment,
    before: Snapshot,
    keys: Iterable[str],
    written: Mapping[str, str | Collection[str]],
    forward_prefix: str,
    prefix: str,
    tolerant: bool,
    keep_published: Collection[str] = (),
) -> RestoreReport:
    """Undo what ``perform``/``restore_into`` did under ``forward_prefix``: contents from ``before``, creations deleted.

    ``written`` is, by key, what was being written (content hashes): that, what ``before`` holds and what a broken-off
    write left may be overwritten; anything else is somebody's edit and is left alone. With ``tolerant`` that, and what
    n8n refuses, is reported in ``report.failed``; else the first failure is raised. Of ``keep_published`` the content
    goes back and runs on. Not to be cancelled.
    """
    entries = {str(e["key"]): e for e in services.entries_of(before)}
    created = {written.key: written.env_workflow_id for written in created_before(run, forward_prefix)}
    faults = failures(run, prefix=forward_prefix)
    halves: dict[str, set[str]] = {}
    for key, error in faults.items():
        details = error.get("details") or {}
        if error.get("code") in ("WRITE_002", "WRITE_004") and details.get("found"):
            halves.setdefault(key, set()).add(str(details["found"]))
        if (details.get("created") or details.get("outcome") == "created") and details.get("env_workflow_id"):
            created.setdefault(key, str(details["env_workflow_id"]))
    rewired = rewired_by(run, forward_prefix)
    wanted = {key for key in {*keys, *rewired} if key in entries and key not in created}
    intended = _intended(run, forward_prefix)
    expected: dict[str, Collection[str]] = {}
    for key in {*wanted, *created}:
        hashes = written.get(key) or ()
        allowed = ({hashes} if isinstance(hashes, str) else set(hashes)) | intended.get(key, set())
        if key in entries:
            allowed.add(str(entries[key].get("content_hash") or ""))
        expected[key] = allowed | halves.get(key, set())
    # Something recreated because it had vanished meanwhile stays: deleting it would not bring the old id back.
    delete = {key: ident for key, ident in created.items() if key not in entries}
    recreated = {key for key in created if key in entries}
    with run.shielded():
        return restore_into(
            run,
            environment=environment,
            prefix=prefix,
            snapshot=before,
            keys=wanted | recreated,
            expected=expected,
            expected_drafts=_known_drafts(run, forward_prefix, entries, intended),
            delete=delete,
            keep_published=keep_published,
            tolerant=tolerant,
        )


def _intended(run: Run, forward_prefix: str) -> dict[str, set[str]]:
    """By key, the hashes that our own writes were about to bring: mended, or with another credential, as on record."""
    begun = OperationStep.objects.filter(operation_id=run.operation.pk, name__startswith=f"{forward_prefix}:")
    found: dict[str, set[str]] = {}
    with tenant_scope(run.tenant_id):
        for intent in begun.values_list("intent", flat=True):
            if isinstance(intent, dict) and intent.get("key") and intent.get("wanted_hash"):
                found.setdefault(str(intent["key"]), set()).add(str(intent["wanted_hash"]))
    return found


_REFUSED_UNTOUCHED = frozenset({EditedMeanwhile.code, Archived.code})
"""Failures that come before anything is written."""


def _known_drafts(
    run: Run, forward_prefix: str, entries: Mapping[str, Mapping[str, Any]], intended: Mapping[str, set[str]]
) -> dict[str, Collection[str | None]]:
    """By key, the drafts that were there before or that our own finished writes have left; any, where one broke off."""
    start, done = f"{forward_prefix}:write:", run.done_steps()
    faults = failures(run, prefix=forward_prefix)
    known: dict[str, Collection[str | None]] = {}
    for key, entry in entries.items():
        result = done[f"{start}{key}"].result if f"{start}{key}" in done else None
        if isinstance(result, dict):
            # What was about to be published may be the draft, where its own version could not be published.
            ours = {result.get("draft_hash") or None, result.get("leaves_draft") or None, *intended.get(key, ())}
            known[key] = {None, _draft_hash(entry), *(ours if result.get("staged") else ())}
        elif not run.was_begun(f"{start}{key}") or (faults.get(key) or {}).get("code") in _REFUSED_UNTOUCHED:
            known[key] = {None, _draft_hash(entry)}
    return known


def _draft_hash(entry: Mapping[str, Any]) -> str | None:
    draft = draft_in(entry)
    return draft.content_hash if draft is not None else None
