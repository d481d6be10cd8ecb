"""Capture: an environment as it is now, into Git, and a row to find it by.

The keys of new workflows are known only when all have been seen, so blobs are written first and the tree is built at
the end. Everything happens in one step that may be begun again: Git already has the blobs then, and a commit that was
made is found by its ``Snapshot-Id``. What n8n calls unchanged since the last capture is not read again.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from core import clock
from core.errors import OpsError
from core.events import StepHandler
from core.notices import step_handlers
from operations.engine import Run
from operations.errors import Interrupted
from outbox.publishing import publish
from workflows import bulk, identity
from workflows.gateway import client_for
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n.errors import N8nError
from workflows.recording import record_seen

from . import domain_events, rehashing, repository
from .authors import name_drafts
from .canonical import in_git
from .concurrent import Beside
from .errors import CaptureFailed
from .gathering import Gathered, gather
from .manifest import (
    DRAFTS,
    FOLDER,
    Draft,
    build_manifest,
    draft_path,
    dump_manifest,
    manifest_path,
    parse_manifest,
    workflow_path,
)
from .models import Snapshot, SnapshotType
from .notices import Captured
from .page_memory import PageMemory, memory_path

if TYPE_CHECKING:
    from workflows.n8n.client import N8nClient

    from .store import GitStore, Writer

logger = logging.getLogger(__name__)

VERIFIED_TYPES = frozenset({SnapshotType.PRE_PROMOTION, SnapshotType.PRE_RESTORE, SnapshotType.PRE_STABILIZE})
"""Somebody will rely on these within minutes: they are read back from Git at once."""

_SMALL = [field.name for field in Snapshot._meta.concrete_fields if field.name != "workflows"]


@contextlib.contextmanager
def gathered_into_store(run: Run, environment: Environment, client: N8nClient) -> Iterator[Gathered]:
    """Look at every workflow and put the contents into Git, for commits that are made inside the block.

    No commit names them yet; the open writer keeps them from being cleaned away meanwhile.
    """
    store = repository.store_for(environment.tenant_id)
    known = _known_ids(run, environment)
    with store.writer(environment.seen_branch) as writer:
        with repository.failures_named():
            gathered = gather(client, put=writer.put_blob, known_ids=known, check=run.check)
            writer.flush()
        yield gathered


def capture_into(
    run: Run,
    *,
    environment: Environment,
    snapshot_type: str,
    description: str,
    step: str,
    snapshot_id: uuid.UUID,
    verify: bool | None = None,
    gathered: Gathered | None = None,
) -> Snapshot:
    """Take a snapshot inside any operation; its steps are named ``<step>:…``. Call outside any scope.

    Safe to begin again with the same ``snapshot_id``. With ``verify`` (by default for snapshots that are taken to
    restore from) every content is read back from Git. ``gathered`` is what
    ``gathered_into_store`` has just seen: then n8n is not asked again.

    Raises ``N8nError`` where the environment cannot be read, ``CaptureFailed`` (SNAP_001) where Git cannot be written
    and ``SnapshotDamaged`` where it did not keep what it got; the environment's ``last_capture_error`` says so too.
    """
    from .services import set_baseline, verify_snapshot

    made = _Made()
    rehashing.ensure_current(run, environment, step=step)
    try:
        facts = run.step(
            f"{step}:git",
            f"Capture {environment.name}",
            lambda: _into_git(run, environment, snapshot_type, description, snapshot_id, gathered, made),
            intent={"snapshot_id": str(snapshot_id), "environment": environment.slug},
        )
        run.step(f"{step}:row", "Record the snapshot", lambda: _record(run, environment, snapshot_id, facts, made))
    except Interrupted:
        raise
    except OpsError as error:
        _note_failure(run, environment, error)
        raise
    with run.fenced():
        snapshot = made.row or Snapshot.objects.get(pk=snapshot_id)
        environment.refresh_from_db()
    if not environment.baseline_commit_sha and facts["complete"]:
        run.step(
            f"{step}:baseline",
            f"Take this as what is approved in {environment.name}",
            lambda: {"commit": set_baseline(run, environment=environment, snapshot=snapshot)},
            external_call=in_git(environment),
        )
    if made.approved_as_drafts:
        # A console of before took the draft for the workflow: what runs beside it is as approved as ever.
        run.step(
            f"{step}:drafts",
            "Take what runs beside approved drafts as approved",
            lambda: {
                "commit": set_baseline(run, environment=environment, snapshot=snapshot, keys=made.approved_as_drafts)
            },
            external_call=in_git(environment),
        )
    if verify if verify is not None else snapshot_type in VERIFIED_TYPES:
        run.step(
            f"{step}:verify",
            "Read every workflow back from Git",
            lambda: verify_snapshot(snapshot, run=run, raise_if_damaged=True),
        )
    name_drafts(run, environment, step=step)
    for handler in step_handlers(Captured):
        act = partial(_act_upon, handler, Captured(run, environment, snapshot))
        run.step(f"{step}:told:{handler.name}", "Look at what was captured", act)
    with run.fenced():
        snapshot.refresh_from_db(fields=_SMALL)
    return snapshot


@dataclass(slots=True)
class _Made:
    """What steps of this very attempt made: it need not be read again."""

    manifest: dict[str, Any] | None = None
    row: Snapshot | None = None
    capabilities: dict[str, bool] | None = None
    approved_as_drafts: list[str] = field(default_factory=list)


def _act_upon(handler: StepHandler, notice: Captured) -> Any:
    try:
        return handler.handle(notice)
    except Interrupted:
        raise
    except OpsError as error:
        return {"error": error.to_dict()}
    except Exception as error:
        logger.exception("a handler of captures failed")
        return {"error": {"code": "UNEXPECTED", "message": f"{type(error).__name__}: {error}"[:300]}}


def _known_ids(run: Run, environment: Environment) -> frozenset[str]:
    with run.fenced():
        return frozenset(
            WorkflowEnvMap.objects.filter(environment_id=environment.pk, status__in=[str(s) for s in identity.LIVE])
            .exclude(env_workflow_id="")
            .values_list("env_workflow_id", flat=True)
        )


def _into_git(
    run: Run,
    environment: Environment,
    snapshot_type: str,
    description: str,
    snapshot_id: uuid.UUID,
    gathered: Gathered | None,
    made: _Made,
) -> dict[str, Any]:
    """Read, store, identify, commit. Returns ``{commit, created_at, count, bytes, complete, new_blobs}``."""
    store = repository.store_for(environment.tenant_id)
    with repository.failures_named():
        there = repository.find_snapshot(store, environment, snapshot_id)
    if there is not None:
        commit, made.manifest = there
        return _facts(commit, made.manifest, reused=True)
    with run.fenced():
        keys = identity.key_by_workflow_id(environment.pk)
    with repository.failures_named(), store.writer(environment.seen_branch) as writer:
        memory, listed = None, None
        if gathered is None:
            known = _known_ids(run, environment)
            memory = _remembered(store, writer, environment, snapshot_type)
            with client_for(environment) as client:
                gathered = gather(
                    client,
                    put=writer.put_blob,
                    memory=memory,
                    known_ids=known,
                    check=run.check,
                    progress=lambda count: run.progress(count, max(count, len(known)), "Reading workflows"),
                )
                listed = _credentials_listed(client)
                made.capabilities = client.spec().capabilities()
        run.progress(len(gathered.seen), len(gathered.seen), "Recognising workflows")
        about = {
            "snapshot_id": snapshot_id,
            "environment_id": environment.pk,
            "environment_slug": environment.slug,
            "snapshot_type": snapshot_type,
            "description": description,
            "created_at": gathered.looked_at,
            "created_by": run.operation.requested_by_id,
            "operation_id": run.operation.pk,
        }
        # What is remembered too early is forgotten: pages whose contents no commit holds are read again.
        path = memory_path(store.path, environment.pk)
        remember = partial(memory.save, path, base_url=environment.base_url) if memory is not None else None
        if listed is not None:
            # Before the workflows: the names that nodes keep of credentials are only hints then.
            with run.fenced():
                identity.record_listed_credentials(
                    tenant_id=environment.tenant_id,
                    environment_id=environment.pk,
                    listed=listed,
                    seen_at=gathered.looked_at,
                )
        commit, manifest = _record_and_commit(run, writer, environment, gathered, keys, about, remember, made)
    made.manifest = manifest
    return _facts(commit, manifest)


def _credentials_listed(client: N8nClient) -> list[dict[str, Any]] | None:
    """n8n's own list of credentials; a capture does not fail for the lack of it."""
    try:
        return client.list_credentials()
    except N8nError as error:
        logger.info("the credentials could not be listed: %s", error.code)
        return None


def _record_and_commit(
    run: Run,
    writer: Writer,
    environment: Environment,
    gathered: Gathered,
    keys: Mapping[str, str],
    about: Mapping[str, Any],
    remember: Callable[[], None] | None,
    made: _Made,
) -> tuple[str, dict[str, Any]]:
    """Write the rows and, beside them, the commit, which becomes visible after them: its sha and its manifest.

    ``remember`` is called beside the rows as well.
    """
    asked_by = repository.people(run)

    def commit(placed: Mapping[str, identity.Placed], rows_written: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        manifest = _manifest(gathered, placed, keys, about)
        if remember is not None:
            remember()
        entries = manifest["workflows"]
        sha = repository.commit_snapshot(
            writer,
            environment=environment,
            snapshot_id=about["snapshot_id"],
            paths=_paths(entries),
            manifest=dump_manifest(manifest),
            message=_message(environment, about["snapshot_type"], about["description"], len(entries)),
            asked_by=asked_by,
            ready=rows_written,
            guard=run.check,
        )
        return sha, manifest

    with Beside() as beside:
        with run.fenced():
            placed = record_seen(
                tenant_id=environment.tenant_id,
                environment_id=environment.pk,
                seen=list(gathered.seen.values()),
                captured_at=gathered.looked_at,
                complete=gathered.complete,
                is_baseline=gathered.complete and not environment.baseline_commit_sha,
                decided=lambda placed: beside.begin(partial(commit, placed)),
            )
        made.approved_as_drafts = sorted(place.key for place in placed.values() if place.was_approved_as_draft)
        found: tuple[str, dict[str, Any]] = beside.finish()
        return found


def _manifest(
    gathered: Gathered, placed: Mapping[str, identity.Placed], keys: Mapping[str, str], about: Mapping[str, Any]
) -> dict[str, Any]:
    entries = [_entry(gathered, ident, place) for ident, place in placed.items()]
    here = {ident: place.key for ident, place in placed.items()}
    return build_manifest(
        **about,
        entries=entries,
        references=_called_elsewhere(gathered, here, keys),
        findings=gathered.findings,
        complete=gathered.complete,
    )


def _paths(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Path to blob of every content, drafts included."""
    paths = {workflow_path(e["key"]): e["blob"] for e in entries}
    return paths | {e["draft"]["path"]: e["draft"]["blob"] for e in entries if "draft" in e}


def _remembered(store: GitStore, writer: Writer, environment: Environment, snapshot_type: str) -> PageMemory:
    """What need not be read again. What somebody will rely on within minutes is read as a whole."""
    if snapshot_type in VERIFIED_TYPES:
        return PageMemory()
    memory = PageMemory.load(memory_path(store.path, environment.pk), base_url=environment.base_url)
    memory.forget_without(writer.blobs_of(FOLDER) | writer.blobs_of(DRAFTS))
    return memory


def _facts(commit: str, manifest: Mapping[str, Any], *, reused: bool = False) -> dict[str, Any]:
    entries = manifest["workflows"]
    return {
        "commit": commit,
        "created_at": manifest["created_at"],
        "count": len(entries),
        "bytes": sum(int(entry.get("bytes") or 0) for entry in entries),
        "complete": bool(manifest.get("complete", True)),
        "findings": len(manifest.get("findings") or ()),
        "snapshot_type": manifest["snapshot_type"],
        "reused": reused,
    }


def _entry(gathered: Gathered, ident: str, place: identity.Placed) -> dict[str, Any]:
    seen, extra = gathered.seen[ident], gathered.extras[ident]
    entry: dict[str, Any] = {
        "key": place.key,
        "name": seen.name,
        "path": workflow_path(place.key),
        "content_hash": place.content_hash,
        "comparable_hash": place.comparable_hash,
        "active": seen.active,
        "env_workflow_id": ident,
        "blob": extra["blob"],
        "bytes": extra["bytes"],
        "node_count": seen.node_count,
        "version_id": seen.version_id,
        "updated_at": seen.updated_at.isoformat() if seen.updated_at else None,
    }
    if seen.tags:
        entry["tags"] = list(seen.tags)
    if seen.facts.archived:
        entry["archived"] = True
    entry["facts"] = seen.facts.to_json()
    if seen.live is not None:
        entry["live"] = seen.live.to_json()
    if place.draft_hash is not None and "draft" in extra:
        kept = Draft(
            content_hash=place.draft_hash,
            path=draft_path(place.key),
            blob=extra["draft"]["blob"],
            bytes=extra["draft"]["bytes"],
            version_id=seen.version_id,
        )
        entry["draft"] = kept.to_json()
    for name in ("webhooks", "refs", "calls"):
        if name in extra:
            entry[name] = extra[name]
    return entry


def _called_elsewhere(gathered: Gathered, here: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    """Keys of workflows that are called and known, but were not seen: gone, or not readable."""
    called = {ref for seen in gathered.seen.values() for ref in seen.fingerprint.workflow_refs}
    return {ref: keys[ref] for ref in called - here.keys() if ref in keys}


def _message(environment: Environment, snapshot_type: str, description: str, count: int) -> str:
    kind = dict(SnapshotType.choices).get(snapshot_type, snapshot_type)
    subject = f"{kind}: {environment.name}, {count} workflow{'' if count == 1 else 's'}"
    return f"{subject}\n\n{description.strip()}" if description.strip() else subject


def _record(
    run: Run, environment: Environment, snapshot_id: uuid.UUID, facts: Mapping[str, Any], made: _Made
) -> dict[str, Any]:
    """Insert the row, once, from the manifest in Git: the same way in which it would be recovered."""
    manifest = made.manifest
    if manifest is None:
        store = repository.store_for(environment.tenant_id)
        with repository.failures_named():
            manifest = parse_manifest(store.read(facts["commit"], manifest_path(environment.pk, snapshot_id)))
    with run.fenced():
        made.row = Snapshot.objects.filter(pk=snapshot_id).first()
        if made.row is None:
            made.row = Snapshot(pk=snapshot_id, **row_values(environment, manifest, facts["commit"]))
            bulk.insert([made.row])
            publish(_completed(made.row), tenant_id=environment.tenant_id)
        Environment.objects.filter(pk=environment.pk).update(
            last_captured_at=made.row.created_at,
            last_snapshot_id=snapshot_id,
            last_capture_error=None,
            updated_at=clock.now(),
            **({"capabilities": made.capabilities} if made.capabilities else {}),
        )
    return {"snapshot_id": str(snapshot_id)}


def _completed(snapshot: Snapshot) -> domain_events.CaptureCompleted:
    return domain_events.CaptureCompleted(
        environment_id=snapshot.environment_id,
        snapshot_id=snapshot.pk,
        snapshot_type=snapshot.snapshot_type,
        workflow_count=snapshot.workflow_count or 0,
    )


def row_values(environment: Environment, manifest: Mapping[str, Any], commit: str) -> dict[str, Any]:
    """The columns of a snapshot's row as its manifest gives them."""
    entries = manifest["workflows"]
    return {
        "tenant_id": environment.tenant_id,
        "environment_id": environment.pk,
        "snapshot_type": manifest["snapshot_type"],
        "description": str(manifest.get("description") or "")[:500],
        "workflows": entries,
        "workflow_count": len(entries),
        "total_bytes": sum(int(entry.get("bytes") or 0) for entry in entries),
        "git_commit_sha": commit,
        "operation_id": manifest.get("operation_id"),
        "created_by_id": manifest.get("created_by"),
        "created_at": datetime.fromisoformat(manifest["created_at"]),
        "hash_version": int(manifest.get("normalization_version") or 1),
        "verification": {"status": "not_checked", "findings": manifest.get("findings") or []},
    }


def _note_failure(run: Run, environment: Environment, error: OpsError) -> None:
    failure = {
        "code": error.code,
        "title": error.title,
        "message": error.message,
        "recovery": error.recovery,
        "at": clock.now().isoformat(),
        "operation_id": str(run.operation.pk),
    }
    with run.fenced():
        Environment.objects.filter(pk=environment.pk).update(last_capture_error=failure, updated_at=clock.now())
        failed = domain_events.CaptureFailed(
            environment_id=environment.pk, job_id=run.operation.pk, code=error.code, message=error.message
        )
        publish(failed, tenant_id=environment.tenant_id)


__all__ = ["CaptureFailed", "Gathered", "N8nError", "capture_into", "gather", "row_values"]
