"""What is approved in an environment: the branch ``env/<slug>``, and the hashes that follow it.

The branch holds ``workflows/<key>.json`` with the ids of its own environment inside, ``drafts/<key>.json`` where a
draft beside it was approved as well, and ``references.json``: every id that was ever called in it, with its key. So
what an approved content means stays clear when a workflow is recreated under another id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from core import clock
from core.errors import OpsError
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
from .manifest import DRAFTS, FOLDER, draft_in, draft_path, facts_in, workflow_path
from .models import Snapshot

if TYPE_CHECKING:
    from .store import GitStore, Writer

REFERENCES = "references.json"

Scope = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that is in Git already: its blob, and what it is; with the draft beside it, if there is one."""

    blob: str
    mark: Fingerprint
    active: bool
    facts: Facts | None = None
    draft_blob: str = ""
    draft: Fingerprint | None = None


@dataclass(frozen=True, slots=True)
class WithDraft:
    """A portable content that runs, and the draft that its editor holds beside it."""

    content: Mapping[str, Any]
    draft: Mapping[str, Any] | None


def in_git(environment: Environment) -> ExternalCall:
    """What the trail says of a step that moves ``env/<slug>``."""
    facts = {"branch": environment.canonical_branch, "commit_before": environment.baseline_commit_sha or ""}
    return ExternalCall("git", "environments", environment.pk, environment.name, facts)


def commit_canonical(
    run: Run | None,
    *,
    environment: Environment,
    changes: Mapping[str, Mapping[str, Any] | WithDraft | Stored | None],
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
    known = {**_references(store, environment), **keys}
    approvals: dict[str, Approval] = {}
    blobs: dict[str, bytes | str | None] = {}
    called: dict[str, str] = {}
    for key, content in changes.items():
        blobs[draft_path(key)] = None
        if content is None:
            approvals[key], blobs[workflow_path(key)] = WITHDRAWN, None
            continue
        stored = content if isinstance(content, Stored) else None
        if stored is None:
            pair = content if isinstance(content, WithDraft) else WithDraft(content, None)  # type: ignore[arg-type]
            stored, written = _to_store(pair)
            blobs |= {workflow_path(key): written[0], draft_path(key): written[1]}
        else:
            blobs[workflow_path(key)] = stored.blob
            blobs[draft_path(key)] = stored.draft_blob or None
        approvals[key] = Approval(
            content_hash=stored.mark.content_hash(known),
            active=stored.active,
            draft_hash=stored.draft.content_hash(known) if stored.draft is not None else None,
            facts=stored.facts,
        )
        called |= {ref: known[ref] for ref in stored.mark.workflow_refs if ref in known}

    def fill(writer: Writer) -> None:
        for path, data in blobs.items():
            if data is None:
                writer.remove(path)
            elif isinstance(data, str):
                writer.keep(path, data)
            else:
                writer.put(path, data)

    commit = _commit(run, store, environment, fill, called, message, trailers)
    _approve(run, environment, approvals, commit)
    return commit


def _to_store(pair: WithDraft) -> tuple[Stored, tuple[bytes, bytes | None]]:
    """What a content is, and the bytes of it and of its draft."""
    content, draft = pair.content, pair.draft
    mark, draft_mark = fingerprint(content), fingerprint(draft) if draft is not None else None
    if draft_mark == mark:
        draft = draft_mark = None
    stored = Stored("", mark, bool(content.get("active")), facts_of(content), draft=draft_mark)
    return stored, (dump(content), dump(draft) if draft is not None else None)


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
    from .services import entries_of, references_of

    assert_no_scope("Git")
    store = repository.store_for(environment.tenant_id)
    entries = {str(e["key"]): e for e in entries_of(snapshot) if keys is None or e["key"] in keys}
    approvals = {key: approval_of(entry) for key, entry in entries.items()}
    running = {key: str(entries[key]["blob"]) for key in published if key in entries}
    approvals |= {key: _as_published(approvals[key]) for key in running}
    contents = dict(zip(running, store.read_blobs(list(running.values())), strict=True))
    gone = set(keys or ()) - entries.keys()
    approvals |= dict.fromkeys(gone, WITHDRAWN)
    ids = {str(e["env_workflow_id"]): key for key, e in entries.items() if e.get("env_workflow_id")}
    called = {**references_of(snapshot), **ids}

    def fill(writer: Writer) -> None:
        if keys is None:
            writer.replace(FOLDER)
            writer.replace(DRAFTS)
        for key, entry in entries.items():
            if key in contents:
                writer.put(workflow_path(key), _published(contents[key][1]))
            else:
                writer.keep(workflow_path(key), str(entry["blob"]))
            if (draft := draft_in(entry)) is not None:
                writer.keep(draft.path, draft.blob)
            elif keys is not None:
                writer.remove(draft_path(key))
        for key in gone:
            writer.remove(workflow_path(key))
            writer.remove(draft_path(key))

    said = message or f"Approve {environment.name} as it was captured, {len(entries)} workflows"
    commit = _commit(run, store, environment, fill, called, said, {"Snapshot-Id": str(snapshot.pk), **(trailers or {})})
    _approve(run, environment, approvals, commit, whole=keys is None)
    return commit


def _as_published(approval: Approval) -> Approval:
    facts = msgspec.structs.replace(approval.facts, archived=False) if approval.facts is not None else None
    return replace(approval, active=True, facts=facts)


def _published(data: bytes) -> bytes:
    """The bytes of a content, published and not archived."""
    return dump({**without(parse(data), ("archived",)), "active": True})


def approval_of(entry: Mapping[str, Any]) -> Approval:
    """What it means to approve an entry of a manifest."""
    draft = draft_in(entry)
    return Approval(
        content_hash=str(entry["content_hash"]),
        active=bool(entry.get("active")),
        draft_hash=draft.content_hash if draft is not None else None,
        facts=facts_in(entry),
    )


def canonical_content(
    environment: Environment, keys: Iterable[str] | None = None, *, drafts: bool = False
) -> dict[str, dict[str, Any]]:
    """Approved contents by key (with ``drafts``: approved drafts), with the ids that workflows have *now*.

    Keys that are not approved are not in the answer. Call outside any scope. Raises ``Missing`` where Git lost one.
    """
    assert_no_scope("Git")
    store = repository.store_for(environment.tenant_id)
    blobs = canonical_blobs(environment, folder=DRAFTS if drafts else FOLDER)
    wanted = list(blobs) if keys is None else [key for key in dict.fromkeys(keys) if key in blobs]
    if not wanted:
        return {}
    with tenant_scope(environment.tenant_id):
        present = identity.workflow_id_by_key(environment.pk)
    origin = canonical_references(environment)
    found = {}
    for key, (_, data) in zip(wanted, store.read_blobs([blobs[key] for key in wanted]), strict=True):
        content = parse(data)
        moves = {
            r.value: present[origin[r.value]]
            for r in references(content)
            if r.kind == "workflow" and origin.get(r.value) in present and present[origin[r.value]] != r.value
        }
        found[key] = rewrite(content, workflow_ids=moves, credentials={}).content if moves else content
    return found


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
    mark = fingerprint(content)
    return mark, mark.content_hash(canonical_references(environment))


def _references(store: GitStore, environment: Environment) -> dict[str, str]:
    tip = store.tip(environment.canonical_branch)
    if tip is None:
        return {}
    try:
        return {str(k): str(v) for k, v in orjson.loads(store.read(tip, REFERENCES)).items()}
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
        writer.put(REFERENCES, orjson.dumps(dict(sorted(known.items())), option=orjson.OPT_INDENT_2) + b"\n")
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
