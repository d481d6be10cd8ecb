"""What is approved in an environment: the branch ``env/<slug>``, and the hashes that follow it.

The branch holds ``workflows/<key>.json`` with the ids of its own environment inside, and ``references.json``: every id
that was ever called in it, with its key. So what an approved content means stays clear when a workflow is recreated
under another id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from operations.effects import Outside
from operations.engine import Run
from opsconsole.core import clock
from opsconsole.core.errors import OpsError
from tenants.scope import assert_no_scope, tenant_scope
from workflows import identity
from workflows.content import Fingerprint, dump, fingerprint, parse
from workflows.models import Environment
from workflows.references import references, rewrite

from . import repository
from .manifest import FOLDER, workflow_path
from .models import Snapshot

if TYPE_CHECKING:
    from .store import GitStore, Writer

REFERENCES = "references.json"

Scope = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that is in Git already: its blob, and what it is."""

    blob: str
    mark: Fingerprint
    active: bool


def in_git(environment: Environment) -> Outside:
    """What the trail says of a step that moves ``env/<slug>``."""
    facts = {"branch": environment.canonical_branch, "commit_before": environment.baseline_commit_sha or ""}
    return Outside("git", "environments", environment.pk, environment.name, facts)


def commit_canonical(
    run: Run | None,
    *,
    environment: Environment,
    changes: Mapping[str, Mapping[str, Any] | Stored | None],
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
    hashes: dict[str, tuple[str | None, bool | None]] = {}
    blobs: dict[str, bytes | str | None] = {}
    called: dict[str, str] = {}
    for key, content in changes.items():
        if content is None:
            hashes[key], blobs[key] = (None, None), None
            continue
        if isinstance(content, Stored):
            mark, active, blobs[key] = content.mark, content.active, content.blob
        else:
            mark, active, blobs[key] = fingerprint(content), bool(content.get("active")), dump(content)
        hashes[key] = (mark.content_hash(known), active)
        called |= {ref: known[ref] for ref in mark.workflow_refs if ref in known}

    def fill(writer: Writer) -> None:
        for key, data in blobs.items():
            if data is None:
                writer.remove(workflow_path(key))
            elif isinstance(data, str):
                writer.keep(workflow_path(key), data)
            else:
                writer.put(workflow_path(key), data)

    commit = _commit(run, store, environment, fill, called, message, trailers)
    _approve(run, environment, hashes, commit)
    return commit


def set_baseline(
    run: Run | None,
    *,
    environment: Environment,
    snapshot: Snapshot,
    keys: Collection[str] | None = None,
    message: str = "",
    trailers: Mapping[str, str] | None = None,
) -> str:
    """Approve what a snapshot of this environment holds (all of it, or ``keys``); the commit's sha.

    With all of it, what is not in the snapshot is no longer approved. Call outside any scope.
    """
    from .services import entries_of, references_of

    assert_no_scope("Git")
    store = repository.store_for(environment.tenant_id)
    entries = {str(e["key"]): e for e in entries_of(snapshot) if keys is None or e["key"] in keys}
    hashes: dict[str, tuple[str | None, bool | None]] = {
        key: (str(e["content_hash"]), bool(e.get("active"))) for key, e in entries.items()
    }
    gone = set(keys or ()) - entries.keys()
    hashes |= dict.fromkeys(gone, (None, None))
    ids = {str(e["env_workflow_id"]): key for key, e in entries.items() if e.get("env_workflow_id")}
    called = {**references_of(snapshot), **ids}

    def fill(writer: Writer) -> None:
        if keys is None:
            writer.replace(FOLDER)
        for key, entry in entries.items():
            writer.keep(workflow_path(key), str(entry["blob"]))
        for key in gone:
            writer.remove(workflow_path(key))

    said = message or f"Approve {environment.name} as it was captured, {len(entries)} workflows"
    commit = _commit(run, store, environment, fill, called, said, {"Snapshot-Id": str(snapshot.pk), **(trailers or {})})
    _approve(run, environment, hashes, commit, whole=keys is None)
    return commit


def canonical_content(environment: Environment, keys: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """Approved contents by key, with the ids that workflows have in the environment *now*.

    Keys that are not approved are not in the answer. Call outside any scope. Raises ``Missing`` where Git lost one.
    """
    assert_no_scope("Git")
    store = repository.store_for(environment.tenant_id)
    tip = store.tip(environment.canonical_branch)
    if tip is None:
        return {}
    blobs = canonical_blobs(environment)
    wanted = list(blobs) if keys is None else [key for key in dict.fromkeys(keys) if key in blobs]
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


def canonical_blobs(environment: Environment) -> dict[str, str]:
    """Key → blob of everything approved. Call outside any scope."""
    store = repository.store_for(environment.tenant_id)
    tip = store.tip(environment.canonical_branch)
    if tip is None:
        return {}
    tree = store.tree(tip, FOLDER)
    return {path.removeprefix(f"{FOLDER}/").removesuffix(".json"): blob for path, blob in tree.items()}


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
    hashes: Mapping[str, tuple[str | None, bool | None]],
    commit: str,
    *,
    whole: bool = False,
) -> None:
    with _scope(run, environment)():
        identity.mark_approved(
            tenant_id=environment.tenant_id, environment_id=environment.pk, hashes=hashes, whole=whole
        )
        Environment.objects.filter(pk=environment.pk).update(baseline_commit_sha=commit, updated_at=clock.now())
    environment.baseline_commit_sha = commit
