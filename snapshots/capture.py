"""Capture: an environment as it is now, into Git, and a row to find it by.

Pages stream through: while one is hashed and written as blobs, the next is fetched. No content is kept in memory. The
keys of new workflows are known only when all have been seen, so blobs are written first and the tree is built at the
end. Everything happens in one step that may be begun again: Git already has the blobs then, and a commit that was made
is found by its ``Snapshot-Id``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from operations.engine import Run
from operations.errors import Interrupted
from opsconsole.core import clock
from opsconsole.core.errors import OpsError
from workflows import identity
from workflows.content import ContentError, dump, fingerprint, live_portable, portable, warnings
from workflows.gateway import client_for
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n.errors import N8nError, RemoteNotFound, TooLarge
from workflows.recording import record_seen
from workflows.references import webhook_address

from . import hooks, repository
from .beside import Beside
from .canonical import in_git
from .errors import CaptureFailed
from .manifest import FINDINGS_KEPT, FOLDER, build_manifest, dump_manifest, manifest_path, parse_manifest, workflow_path
from .models import Snapshot, SnapshotType
from .page_memory import PageMemory, Taken, memory_path

if TYPE_CHECKING:
    from workflows.n8n import Page
    from workflows.n8n.client import N8nClient

    from .store import GitStore, Writer

logger = logging.getLogger(__name__)

PAGE_SIZES = (250, 25, 1)
"""Tried in turn where an answer is too large to be taken."""

ASKED_AGAIN = 200
"""Workflows known, but not on the list, that are asked for one by one before they are called gone."""

VERIFIED_TYPES = frozenset({SnapshotType.PRE_PROMOTION, SnapshotType.PRE_RESTORE, SnapshotType.PRE_STABILIZE})
"""Somebody will rely on these within minutes: they are read back from Git at once."""


@dataclass(slots=True)
class Gathered:
    """What a look at an environment found; contents are in Git (or nowhere, for a dry look)."""

    seen: dict[str, identity.SeenWorkflow] = field(default_factory=dict)
    extras: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[dict[str, str]] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    total_bytes: int = 0
    looked_at: datetime = field(default_factory=clock.now)

    @property
    def complete(self) -> bool:
        """Whether what is not here is surely not there."""
        return not self.unreadable

    def note(self, code: str, message: str, *, workflow_id: str = "", name: str = "", node: str = "") -> None:
        """Put down something odd; bounded."""
        self.note_all([_finding(code, message, workflow_id, name, node)])

    def note_all(self, findings: Iterable[Mapping[str, str]]) -> None:
        """Put down what was found odd about a workflow; bounded."""
        room = FINDINGS_KEPT - len(self.findings)
        self.findings.extend(dict(found) for found in itertools.islice(findings, room))

    def take_page(self, page: Page, workflows: Iterable[Taken]) -> None:
        """Add the workflows of a page; a second look at the list adds only those that are new."""
        self.listed.update(page.ids)
        for taken in workflows:
            if not (page.again and taken.seen.env_workflow_id in self.seen):
                self.take(taken)

    def take(self, taken: Taken) -> None:
        """Add a workflow. Listed twice, the later one counts."""
        ident = taken.seen.env_workflow_id
        if ident in self.seen:
            self.note(
                "seen_twice", "n8n listed it twice; the later one counts.", workflow_id=ident, name=taken.seen.name
            )
        self.note_all(taken.findings)
        self.total_bytes += taken.extra["bytes"] - self.extras.get(ident, {}).get("bytes", 0)
        self.seen[ident], self.extras[ident] = taken.seen, dict(taken.extra)


def gather(
    client: N8nClient,
    *,
    put: Callable[[bytes], str] | None,
    memory: PageMemory | None = None,
    known_ids: frozenset[str] = frozenset(),
    check: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _count: None,
) -> Gathered:
    """Look at every workflow of an instance. ``put`` stores a content and gives its blob; None stores nothing.

    What n8n calls unchanged is taken from ``memory``, which then holds what was read now. A workflow that cannot be
    read is noted in ``findings``; the others go on. Raises ``N8nError``.
    """
    for size in PAGE_SIZES:
        gathered, pages = Gathered(), memory if memory is not None else PageMemory()
        before, pages.taken = pages.taken, {}
        try:
            for page in client.iter_workflow_pages(page_size=size, cache=pages.pages):
                check()
                taken = before.get(page.etag, ()) if page.unchanged else _take_all(gathered, page.items, put)
                gathered.take_page(page, taken)
                if page.etag and len(taken) == len(page.ids):
                    pages.taken[page.etag] = taken
                progress(len(gathered.seen))
            break
        except TooLarge:
            if size == PAGE_SIZES[-1]:
                raise
    _ask_again(gathered, client, known_ids, put, check)
    return gathered


def _take_all(
    gathered: Gathered, items: Iterable[Mapping[str, Any]], put: Callable[[bytes], str] | None
) -> tuple[Taken, ...]:
    return tuple(taken for raw in items if (taken := _take(gathered, raw, put)) is not None)


def _take(gathered: Gathered, raw: Mapping[str, Any], put: Callable[[bytes], str] | None) -> Taken | None:
    """What is kept of n8n's answer; None, and noted, where it cannot be read."""
    ident = str(raw.get("id") or "")
    name = raw.get("name") if isinstance(raw.get("name"), str) else ""
    try:
        content = portable(raw)
        data = dump(content)
        seen = identity.seen_workflow(raw, content)
    except (ContentError, TypeError, AttributeError, ValueError, RecursionError) as error:
        told = error.message if isinstance(error, OpsError) else "It does not have the shape of a workflow."
        gathered.unreadable.add(ident)
        gathered.note("unreadable", told, workflow_id=ident, name=str(name or ""))
        return None
    findings = [
        _finding(odd["code"], odd["message"], ident, seen.name, odd.get("node", "")) for odd in warnings(content)[:20]
    ]
    extra: dict[str, Any] = {"bytes": len(data), "blob": put(data) if put is not None else ""}
    addresses = sorted({a for a in map(webhook_address, content["nodes"]) if a})
    if addresses:
        extra["webhooks"] = addresses
    if seen.fingerprint.workflow_refs:
        extra["refs"] = list(dict.fromkeys(seen.fingerprint.workflow_refs))
    live = live_portable(raw)
    if live is not None:
        extra["live"] = fingerprint(live)
        findings.append(_finding("draft", "The editor holds a draft; n8n runs another version.", ident, seen.name))
    return Taken(seen, extra, tuple(findings))


def _finding(code: str, message: str, workflow_id: str = "", name: str = "", node: str = "") -> dict[str, str]:
    found = {"code": code, "message": message, "env_workflow_id": workflow_id, "name": name, "node": node}
    return {key: value for key, value in found.items() if value}


def _ask_again(
    gathered: Gathered,
    client: N8nClient,
    known_ids: frozenset[str],
    put: Callable[[bytes], str] | None,
    check: Callable[[], None],
) -> None:
    """A list that moves can skip a row: what is known and was not listed is asked for by its id.

    So is what was listed on a page that n8n did not send, and is not remembered.
    """
    absent = known_ids - gathered.listed
    unsent = gathered.listed - gathered.seen.keys() - gathered.unreadable
    for ident in sorted(unsent | absent if len(absent) <= ASKED_AGAIN else unsent):
        check()
        try:
            raw = client.get_workflow(ident)
        except RemoteNotFound:
            continue
        if raw.get("isArchived"):
            continue
        if (taken := _take(gathered, raw, put)) is not None:
            gathered.take(taken)


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

    try:
        facts = run.step(
            f"{step}:git",
            f"Capture {environment.name}",
            lambda: _into_git(run, environment, snapshot_type, description, snapshot_id, gathered),
            intent={"snapshot_id": str(snapshot_id), "environment": environment.slug},
        )
        run.step(f"{step}:row", "Record the snapshot", lambda: _record(run, environment, snapshot_id, facts))
    except Interrupted:
        raise
    except OpsError as error:
        _note_failure(run, environment, error)
        raise
    with run.fenced():
        snapshot = Snapshot.objects.get(pk=snapshot_id)
        environment.refresh_from_db()
    if not environment.baseline_commit_sha and facts["complete"]:
        run.step(
            f"{step}:baseline",
            f"Take this as what is approved in {environment.name}",
            lambda: {"commit": set_baseline(run, environment=environment, snapshot=snapshot)},
            outside=in_git(environment),
        )
    if verify if verify is not None else snapshot_type in VERIFIED_TYPES:
        run.step(
            f"{step}:verify",
            "Read every workflow back from Git",
            lambda: verify_snapshot(snapshot, run=run, raise_if_damaged=True),
        )
    for name, callback in hooks.captured_callbacks():
        tell = partial(_tell, callback, run, environment, snapshot)
        run.step(f"{step}:told:{name}", "Look at what was captured", tell)
    with run.fenced():
        return Snapshot.objects.get(pk=snapshot_id)


def _tell(callback: hooks.Captured, run: Run, environment: Environment, snapshot: Snapshot) -> Any:
    try:
        return callback(run, environment, snapshot)
    except Interrupted:
        raise
    except OpsError as error:
        return {"error": error.to_dict()}
    except Exception as error:
        logger.exception("a listener of captures failed")
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
) -> dict[str, Any]:
    """Read, store, identify, commit. Returns ``{commit, created_at, count, bytes, complete, new_blobs}``."""
    store = repository.store_for(environment.tenant_id)
    with repository.failures_named():
        made = repository.find_snapshot(store, environment, snapshot_id)
    if made is not None:
        commit, manifest = made
        return _facts(commit, manifest, reused=True)
    with run.fenced():
        keys = identity.key_by_workflow_id(environment.pk)
    with repository.failures_named(), store.writer(environment.seen_branch) as writer:
        memory = None
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
        writer.end_soon()
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
        commit, manifest = _record_and_commit(run, writer, environment, gathered, keys, about)
    if memory is not None:
        memory.save(memory_path(store.path, environment.pk), base_url=environment.base_url)
    return _facts(commit, manifest)


def _record_and_commit(
    run: Run,
    writer: Writer,
    environment: Environment,
    gathered: Gathered,
    keys: Mapping[str, str],
    about: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """Write the rows and, beside them, the commit, which becomes visible after them: its sha and its manifest."""
    asked_by = repository.people(run)

    def commit(placed: Mapping[str, identity.Placed], rows_written: Callable[[], None]) -> tuple[str, dict[str, Any]]:
        manifest = _manifest(gathered, placed, keys, about)
        entries = manifest["workflows"]
        sha = repository.commit_snapshot(
            writer,
            environment=environment,
            snapshot_id=about["snapshot_id"],
            paths={workflow_path(e["key"]): e["blob"] for e in entries},
            manifest=dump_manifest(manifest),
            message=_message(environment, about["snapshot_type"], about["description"], len(entries)),
            asked_by=asked_by,
            ready=rows_written,
            guard=run.check,
        )
        return sha, manifest

    with Beside() as beside:
        with run.fenced():
            record_seen(
                tenant_id=environment.tenant_id,
                environment_id=environment.pk,
                seen=list(gathered.seen.values()),
                captured_at=gathered.looked_at,
                complete=gathered.complete,
                is_baseline=gathered.complete and not environment.baseline_commit_sha,
                decided=lambda placed: beside.begin(partial(commit, placed)),
            )
        return beside.finish()


def _manifest(
    gathered: Gathered, placed: Mapping[str, identity.Placed], keys: Mapping[str, str], about: Mapping[str, Any]
) -> dict[str, Any]:
    entries = [_entry(gathered, ident, place) for ident, place in placed.items()]
    here = {ident: place.key for ident, place in placed.items()}
    for entry in entries:
        live = gathered.extras[entry["env_workflow_id"]].get("live")
        if live is not None:
            entry["live_content_hash"] = live.content_hash({**keys, **here})
    return build_manifest(
        **about,
        entries=entries,
        references=_called_elsewhere(gathered, here, keys),
        findings=gathered.findings,
        complete=gathered.complete,
    )


def _remembered(store: GitStore, writer: Writer, environment: Environment, snapshot_type: str) -> PageMemory:
    """What need not be read again. What somebody will rely on within minutes is read as a whole."""
    if snapshot_type in VERIFIED_TYPES:
        return PageMemory()
    memory = PageMemory.load(memory_path(store.path, environment.pk), base_url=environment.base_url)
    memory.forget_without(writer.blobs_of(FOLDER))
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
    for name in ("webhooks", "refs"):
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


def _record(run: Run, environment: Environment, snapshot_id: uuid.UUID, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Insert the row, once, from the manifest in Git: the same way in which it would be recovered."""
    store = repository.store_for(environment.tenant_id)
    with repository.failures_named():
        manifest = parse_manifest(store.read(facts["commit"], manifest_path(environment.pk, snapshot_id)))
    with run.fenced():
        row, _ = Snapshot.objects.get_or_create(
            pk=snapshot_id, defaults=row_values(environment, manifest, facts["commit"])
        )
        Environment.objects.filter(pk=environment.pk).update(
            last_captured_at=row.created_at, last_snapshot_id=row.pk, last_capture_error=None, updated_at=clock.now()
        )
    return {"snapshot_id": str(snapshot_id)}


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


__all__ = ["CaptureFailed", "Gathered", "N8nError", "capture_into", "gather", "row_values"]
