"""What is approved in an environment: the branch ``env/<slug>``, and the hashes that follow it.

The branch holds ``workflows/<key>.json`` with the ids of its own environment inside, ``drafts/<key>.json`` where a
draft beside it was approved as well, and ``references.json``: every id that was ever called in it, with its key. So
what an approved content means stays clear when a workflow is recreated under another id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from core import clock
from core.errors import OpsError
from core.texts import json_bytes
from core.wording import counted
from operations.effects import ExternalCall
from operations.engine import Run
from tenants.scope import assert_no_scope, tenant_scope
from workflows import identity
from workflows.content import Fingerprint, dump, fingerprint, parse
from workflows.facts import Facts, facts_of, without
from workflows.identity import WITHDRAWN, Approval
from workflows.models import Environment
from workflows.references import references, rewrite

from . import repository
from .approved_hashes import Approved, approved_by_hash
from .contents import entries, references_of
from .errors import SnapshotUnreadable
from .manifest import DRAFTS, FOLDER, ManifestEntry, draft_path, workflow_path
from .models import Snapshot
from .reading import WAY_OUT, Rescued, Source, source_of
from .store import ContentDamaged, ContentMissing

if TYPE_CHECKING:
    from .store import GitStore, Writer

REFERENCES = "references.json"

Scope = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that is in Git already: its blob, and what it is; with the draft beside it, if there is one."""

    blob: str
    fingerprint: Fingerprint
    active: bool
    facts: Facts | None = None
    draft_blob: str = ""
    draft: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class WithDraft:
    """A portable content that runs, and the draft that its editor holds beside it."""

    content: Mapping[str, Any]
    draft: Mapping[str, Any] | None


Approvable = Mapping[str, Any] | WithDraft | Stored | None
"""A portable content, with its draft or where it is stored; None: no longer approved."""


def in_git(environment: Environment) -> ExternalCall:
    """What the trail says of a step that moves ``env/<slug>``."""
    facts = {"branch": environment.canonical_branch, "commit_before": environment.baseline_commit_sha or ""}
    return ExternalCall("git", "environments", environment.pk, environment.name, facts)


def commit_canonical(
    run: Run | None,
    *,
    environment: Environment,
    changes: Mapping[str, Approvable],
    message: str,
    trailers: Mapping[str, str] | None = None,
) -> str:
    """Move ``env/<slug>``: key → portable content (with this environment's ids, or where it is stored),
    or None to take it away.

    Updates ``git_content_hash`` and ``git_active`` of the map and ``baseline_commit_sha`` of the environment; the
    commit's sha. Nothing is committed where nothing differs. Safe to begin again. Call outside any scope.
    """
    assert_no_scope("Git")
    with _scope(run, environment)():
        keys = identity.key_by_workflow_id(environment.pk)
    store = repository.store_for(environment.tenant_id)
    change = _Change({**_references(store, environment), **keys})
    for key, content in changes.items():
        change.add(key, content)
    commit = _commit(run, store, environment, change.fill, change.called, message, trailers)
    _approve(run, environment, change.approvals, commit)
    return commit


@dataclass(slots=True)
class _Change:
    """What one commit approves. ``known`` maps n8n ids to keys; ``called`` are those of them that contents call."""

    known: Mapping[str, str]
    approvals: dict[str, Approval] = field(default_factory=dict)
    files: dict[str, bytes | str | None] = field(default_factory=dict)
    """Path → bytes, the blob that holds them, or None to remove the file."""
    called: dict[str, str] = field(default_factory=dict)

    def add(self, key: str, content: Approvable) -> None:
        if content is None:
            self.approvals[key] = WITHDRAWN
            self.files |= {workflow_path(key): None, draft_path(key): None}
            return
        if isinstance(content, Stored):
            stored = content
            self.files |= {workflow_path(key): stored.blob, draft_path(key): stored.draft_blob or None}
        else:
            stored, data, draft = _to_store(content if isinstance(content, WithDraft) else WithDraft(content, None))
            self.files |= {workflow_path(key): data, draft_path(key): draft}
        self.approvals[key] = Approval(
            content_hash=stored.fingerprint.content_hash(self.known),
            active=stored.active,
            draft_hash=stored.draft.content_hash(self.known) if stored.draft is not None else None,
            facts=stored.facts,
        )
        self.called |= {ref: self.known[ref] for ref in stored.fingerprint.workflow_refs if ref in self.known}

    def fill(self, writer: Writer) -> None:
        for path, data in self.files.items():
            if data is None:
                writer.remove(path)
            elif isinstance(data, str):
                writer.keep(path, data)
            else:
                writer.put(path, data)


def _to_store(pair: WithDraft) -> tuple[Stored, bytes, bytes | None]:
    """What a content is, and the bytes of it and of its draft."""
    content, draft = pair.content, pair.draft
    found = fingerprint(content)
    draft_found = fingerprint(draft) if draft is not None else None
    if draft_found == found:
        draft = draft_found = None
    stored = Stored("", found, bool(content.get("active")), facts_of(content), draft=draft_found)
    return stored, dump(content), dump(draft) if draft is not None else None


def set_baseline(
    run: Run | None,
    *,
    environment: Environment,
    snapshot: Snapshot,
    keys: Collection[str] | None = None,
    published: Collection[str] = (),
    message: str = "",
    trailers: Mapping[str, str] | None = None,
) -> str:
    """Approve what a snapshot of this environment holds (all of it, or ``keys``); the commit's sha.

    With all of it, what is not in the snapshot is no longer approved. ``published`` are keys of workflows that are
    approved as published though they were not in the snapshot. Call outside any scope.
    """
    assert_no_scope("Git")
    store = repository.store_for(environment.tenant_id)
    chosen = {e.key: e for e in entries(snapshot) if keys is None or e.key in keys}
    blobs = {key: chosen[key].blob for key in published if key in chosen}
    baseline = _Baseline(
        entries=chosen,
        withdrawn=frozenset(keys or ()) - chosen.keys(),
        published={key: data for key, (_, data) in zip(blobs, store.read_blobs(list(blobs.values())), strict=True)},
        whole=keys is None,
    )
    called = {**references_of(snapshot), **{e.env_workflow_id: key for key, e in chosen.items() if e.env_workflow_id}}
    subject = message or f"Approve {environment.name} as it was captured, {counted(len(chosen), 'workflow')}"
    origin = {"Snapshot-Id": str(snapshot.pk), **(trailers or {})}
    commit = _commit(run, store, environment, baseline.fill, called, subject, origin)
    _approve(run, environment, baseline.approvals(), commit, whole=baseline.whole)
    return commit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Baseline:
    """Entries to be approved. ``published`` are the bytes of those that are approved as published though they were not;
    with ``whole`` nothing else stays approved."""

    entries: Mapping[str, ManifestEntry]
    withdrawn: frozenset[str]
    published: Mapping[str, bytes]
    whole: bool

    def approvals(self) -> dict[str, Approval]:
        found = {key: approval_of(entry) for key, entry in self.entries.items()}
        found |= {key: _as_published(found[key]) for key in self.published}
        return found | dict.fromkeys(self.withdrawn, WITHDRAWN)

    def fill(self, writer: Writer) -> None:
        if self.whole:
            writer.replace(FOLDER)
            writer.replace(DRAFTS)
        for key, entry in self.entries.items():
            if key in self.published:
                writer.put(workflow_path(key), _published(self.published[key]))
            else:
                writer.keep(workflow_path(key), entry.blob)
            if entry.draft is not None:
                writer.keep(entry.draft.path, entry.draft.blob)
            elif not self.whole:
                writer.remove(draft_path(key))
        for key in self.withdrawn:
            writer.remove(workflow_path(key))
            writer.remove(draft_path(key))


def _as_published(approval: Approval) -> Approval:
    facts = msgspec.structs.replace(approval.facts, archived=False) if approval.facts is not None else None
    return replace(approval, active=True, facts=facts)


def _published(data: bytes) -> bytes:
    """The bytes of a content, published and not archived."""
    return dump({**without(parse(data), ("archived",)), "active": True})


def approval_of(entry: ManifestEntry) -> Approval:
    """What it means to approve an entry of a manifest."""
    return Approval(
        content_hash=entry.content_hash, active=entry.active, draft_hash=entry.draft_hash, facts=entry.facts
    )


def canonical_content(
    environment: Environment,
    keys: Iterable[str] | None = None,
    *,
    drafts: bool = False,
    rescued: Rescued | None = None,
) -> dict[str, dict[str, Any]]:
    """Approved contents by key (with ``drafts``: approved drafts), with the ids that workflows have *now*.

    Keys that are not approved are not in the answer. What Git has lost is read from the database, and ``rescued``
    learns which those were. Call outside any scope; ``SnapshotUnreadable`` or ``ContentDamaged`` for what is nowhere.
    """
    assert_no_scope("Git")
    named = _named_in_git(environment, drafts=drafts)
    blobs, rescued = named.blobs, rescued or Rescued()
    wanted = list(blobs) if keys is None else [key for key in dict.fromkeys(keys) if key in blobs]
    if not wanted:
        return {}
    if named.lost_branch:
        rescued.branch = named.lost_branch
    with tenant_scope(environment.tenant_id):
        present = identity.workflow_id_by_key(environment.pk)
    called = {**named.references, **canonical_references(environment)}
    today = {workflow_id: present[key] for workflow_id, key in called.items() if key in present}
    with source_of(environment.tenant_id) as source:
        return {key: _with_todays_ids(read_approved(source, key, blobs[key], rescued), today) for key in wanted}


def _named_in_git(environment: Environment, *, drafts: bool) -> Approved:
    """Names in Git of what is approved; by the hashes that the database keeps where Git has lost the branch itself."""
    try:
        tip = repository.store_for(environment.tenant_id).tip(environment.canonical_branch)
        if tip is not None:
            return Approved(canonical_blobs(environment, folder=DRAFTS if drafts else FOLDER))
    except (ContentMissing, ContentDamaged):
        pass
    return approved_by_hash(environment, drafts=drafts)


def read_approved(source: Source, key: str, blob: str, rescued: Rescued) -> dict[str, Any]:
    """An approved content by its name in Git; from the database where Git has lost it, which ``rescued`` learns."""
    found = source.find(blob)
    if found is None:
        message = f"The approved content of “{key}” is neither in the Git store nor in the database."
        raise SnapshotUnreadable(message, recovery=WAY_OUT, details={"key": key, "blob": blob})
    content = parse(found.data)
    if found.rescued:
        rescued.add(key, str(content.get("name") or key))
    return content


def _with_todays_ids(content: dict[str, Any], today: Mapping[str, str]) -> dict[str, Any]:
    """The content with its references rewritten. ``today`` maps ids that were ever called to those of now."""
    called = {reference.value for reference in references(content) if reference.kind == "workflow"}
    moves = {old: today[old] for old in called if today.get(old, old) != old}
    return rewrite(content, workflow_ids=moves, credentials={}).content if moves else content


def canonical_blobs(environment: Environment, *, folder: str = FOLDER) -> dict[str, str]:
    """Key → blob of everything approved. Call outside any scope."""
    store = repository.store_for(environment.tenant_id)
    tip = store.tip(environment.canonical_branch)
    if tip is None:
        return {}
    tree = store.tree(tip, folder)
    return {path.removeprefix(f"{folder}/").removesuffix(".json"): blob for path, blob in tree.items()}


def canonical_references(environment: Environment) -> dict[str, str]:
    """n8n id → key: of the environment now, and of every id that approved content ever called."""
    store = repository.store_for(environment.tenant_id)
    with tenant_scope(environment.tenant_id):
        keys = identity.key_by_workflow_id(environment.pk)
    return {**_references(store, environment), **keys}


def canonical_fingerprint(content: Mapping[str, Any], environment: Environment) -> tuple[Fingerprint, str]:
    """Fingerprint and content hash of an approved content of this environment."""
    found = fingerprint(content)
    return found, found.content_hash(canonical_references(environment))


def _references(store: GitStore, environment: Environment) -> dict[str, str]:
    tip = store.tip(environment.canonical_branch)
    return _references_at(store, tip) if tip is not None else {}


def _references_at(store: GitStore, commit: str) -> dict[str, str]:
    try:
        return {str(k): str(v) for k, v in orjson.loads(store.read(commit, REFERENCES)).items()}
    except (OpsError, orjson.JSONDecodeError, AttributeError):
        return {}


def _commit(
    run: Run | None,
    store: GitStore,
    environment: Environment,
    fill: Callable[[Writer], None],
    called: Mapping[str, str],
    message: str,
    trailers: Mapping[str, str] | None,
) -> str:
    author, origin = repository.people(run)
    branch = environment.canonical_branch
    known = {**_references(store, environment), **called}
    with repository.failures_named(), store.writer(branch) as writer:
        fill(writer)
        writer.put(REFERENCES, json_bytes(dict(sorted(known.items())), option=orjson.OPT_INDENT_2) + b"\n")
        return writer.commit(
            message=message,
            author=author,
            trailers={"Environment": environment.slug, **origin, **(trailers or {})},
            guard=run.check if run else None,
        )


def _scope(run: Run | None, environment: Environment) -> Scope:
    return run.fenced if run is not None else lambda: tenant_scope(environment.tenant_id)


def _approve(
    run: Run | None,
    environment: Environment,
    approvals: Mapping[str, Approval],
    commit: str,
    *,
    whole: bool = False,
) -> None:
    with _scope(run, environment)():
        identity.mark_approved(
            tenant_id=environment.tenant_id, environment_id=environment.pk, approvals=approvals, whole=whole
        )
        Environment.objects.filter(pk=environment.pk).update(baseline_commit_sha=commit, updated_at=clock.now())
    environment.baseline_commit_sha = commit
