"""Capture: an environment as it is now, into Git, and a row to find it by.

The keys of new workflows are known only when all have been seen, so blobs are written first and the tree is built at
the end. Everything happens in one step that may be begun again: Git already has the blobs then, and a commit that was
made is found by its ``Snapshot-Id``. What n8n calls unchanged since the last capture is not read again.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

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
from .canonical import in_git, set_baseline
from .concurrent import Beside
from .contents import entries
from .errors import CaptureFailed
from .gathered_entries import called_elsewhere, entry_of, paths_of
from .gathering import Gathered, gather
from .manifest import (
    DRAFTS,
    FOLDER,
    Manifest,
    current_manifest,
    dump_manifest,
    manifest_path,
    parse_manifest,
)
from .models import Snapshot, SnapshotType
from .notices import Captured
from .page_memory import PageMemory, memory_path
from .recovery import row_values
from .verification import verify_snapshot

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
    known = _known_names(run, environment)
    with store.writer(environment.seen_branch) as writer:
        with repository.failures_named():
            gathered = gather(client, put=writer.put_blob, known=known, check=run.check)
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
    gathered: Gathered | None = None,
) -> Snapshot:
    """Take a snapshot inside any operation; its steps are named ``<step>:…``. Call outside any scope.

    Safe to begin again with the same ``snapshot_id``. Every content of a snapshot that is taken to restore from
    (``VERIFIED_TYPES``) is read back from Git. ``gathered`` is what ``gathered_into_store`` has just seen: then n8n is
    not asked again.

    Raises ``N8nError`` where the environment cannot be read, ``CaptureFailed`` (SNAP_001) where Git cannot be written
    and ``SnapshotDamaged`` where it did not keep what it got; the environment's ``last_capture_error`` says so too.
    """
    capture = _Capture(run, environment, snapshot_type, description, snapshot_id)
    rehashing.ensure_current(run, environment, step=step)
    try:
        facts = run.step(
            f"{step}:git",
            f"Capture {environment.name}",
            lambda: capture.into_git(gathered),
            intent={"snapshot_id": str(snapshot_id), "environment": environment.slug},
        )
        run.step(f"{step}:row", "Record the snapshot", lambda: capture.record(facts["commit"]))
    except Interrupted:
        raise
    except OpsError as error:
        _note_failure(run, environment, error)
        raise
    with run.fenced():
        snapshot = capture.row or Snapshot.objects.get(pk=snapshot_id)
        environment.refresh_from_db()
    capture.approve(snapshot, step=step, complete=facts["complete"])
    if snapshot_type in VERIFIED_TYPES:
        run.step(
            f"{step}:verify",
            "Read every workflow back from Git",
            lambda: msgspec.to_builtins(verify_snapshot(snapshot, run=run, raise_if_damaged=True)),
        )
    name_drafts(run, environment, step=step)
    tell(run, environment, snapshot, step=step)
    with run.fenced():
        snapshot.refresh_from_db(fields=_SMALL)
    return snapshot


def tell(run: Run, environment: Environment, snapshot: Snapshot, *, step: str) -> None:
    """Let the layers above look at what a snapshot holds beside what is approved; again where that has changed."""
    for handler in step_handlers(Captured):
        act = partial(_act_upon, handler, Captured(run, environment, snapshot))
        run.step(f"{step}:told:{handler.name}", "Look at what was captured", act)


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


def _known_names(run: Run, environment: Environment) -> dict[str, str]:
    with run.fenced():
        return dict(
            WorkflowEnvMap.objects.filter(environment_id=environment.pk, status__in=[str(s) for s in identity.LIVE])
            .exclude(env_workflow_id="")
            .values_list("env_workflow_id", "env_name")
        )


@dataclass(slots=True)
class _Look:
    """What was seen, and what goes with it: n8n's list of credentials, its capabilities, the memory of its pages.

    All but ``gathered`` are None where an earlier look is captured.
    """

    gathered: Gathered
    credentials: list[dict[str, Any]] | None = None
    capabilities: dict[str, bool] | None = None
    remember: Callable[[], None] | None = None


@dataclass(slots=True)
class _Capture:
    """One capture, and what steps of this very attempt made: that need not be read again."""

    run: Run
    environment: Environment
    snapshot_type: str
    description: str
    snapshot_id: uuid.UUID
    manifest: Manifest | None = None
    row: Snapshot | None = None
    capabilities: dict[str, bool] | None = None
    approved_as_drafts: list[str] = field(default_factory=list)

    # -- into Git -------------------------------------------------------------------------------------------------

    def into_git(self, gathered: Gathered | None) -> dict[str, Any]:
        """Read, store, identify, commit. Returns ``{commit, created_at, count, bytes, complete, findings, …}``."""
        run, environment = self.run, self.environment
        store = repository.store_for(environment.tenant_id)
        with repository.failures_named():
            there = repository.find_snapshot(store, environment, self.snapshot_id)
        if there is not None:
            commit, self.manifest = there
            return _summary(commit, self.manifest, reused=True)
        with run.fenced():
            keys = identity.key_by_workflow_id(environment.pk)
        with repository.failures_named(), store.writer(environment.seen_branch) as writer:
            look = self._look(store, writer) if gathered is None else _Look(gathered)
            self.capabilities = look.capabilities
            seen = look.gathered.seen
            run.progress(len(seen), len(seen), "Recognising workflows")
            self._record_credentials(look)
            commit, self.manifest = self._record_and_commit(writer, look, keys)
        return _summary(commit, self.manifest)

    def _look(self, store: GitStore, writer: Writer) -> _Look:
        run, environment = self.run, self.environment
        known = _known_names(run, environment)
        memory = _remembered(store, writer, environment, self.snapshot_type)
        with client_for(environment) as client:
            gathered = gather(
                client,
                put=writer.put_blob,
                memory=memory,
                known=known,
                check=run.check,
                progress=lambda count: run.progress(count, max(count, len(known)), "Reading workflows"),
            )
            # What is remembered too early is forgotten: pages whose contents no commit holds are read again.
            path = memory_path(store.path, environment.pk)
            return _Look(
                gathered,
                _credentials_listed(client),
                client.spec().capabilities(),
                partial(memory.save, path, base_url=environment.base_url),
            )

    def _record_credentials(self, look: _Look) -> None:
        """Before the workflows: the names that nodes keep of credentials are only hints then."""
        if look.credentials is None:
            return
        with self.run.fenced():
            identity.record_listed_credentials(
                tenant_id=self.environment.tenant_id,
                environment_id=self.environment.pk,
                listed=look.credentials,
                seen_at=look.gathered.looked_at,
            )

    def _record_and_commit(self, writer: Writer, look: _Look, keys: Mapping[str, str]) -> tuple[str, Manifest]:
        """Write the rows and, beside them, the commit, which becomes visible after them: its sha and its manifest."""
        environment, gathered = self.environment, look.gathered
        asked_by = repository.people(self.run)

        def commit(recorded: Mapping[str, identity.Placed], rows_written: Callable[[], None]) -> tuple[str, Manifest]:
            manifest = self._manifest(gathered, recorded, keys)
            if look.remember is not None:
                look.remember()
            sha = repository.commit_snapshot(
                writer,
                repository.SnapshotCommit(
                    environment=environment,
                    snapshot_id=self.snapshot_id,
                    paths=paths_of(manifest.workflows),
                    manifest=dump_manifest(manifest),
                    message=self._message(len(manifest.workflows)),
                    asked_by=asked_by,
                ),
                ready=rows_written,
                guard=self.run.check,
            )
            return sha, manifest

        with Beside() as beside:
            with self.run.fenced():
                recorded = record_seen(
                    tenant_id=environment.tenant_id,
                    environment_id=environment.pk,
                    seen=list(gathered.seen.values()),
                    captured_at=gathered.looked_at,
                    unread=frozenset(gathered.set_aside) if gathered.complete else None,
                    is_baseline=gathered.complete and not environment.baseline_commit_sha,
                    decided=lambda recorded: beside.begin(partial(commit, recorded)),
                )
            self.approved_as_drafts = sorted(one.key for one in recorded.values() if one.was_approved_as_draft)
            found: tuple[str, Manifest] = beside.finish()
            return found

    def _manifest(
        self, gathered: Gathered, recorded: Mapping[str, identity.Placed], keys: Mapping[str, str]
    ) -> Manifest:
        operation, environment = self.run.operation, self.environment
        head = Manifest(
            id=str(self.snapshot_id),
            environment_id=str(environment.pk),
            environment=environment.slug,
            snapshot_type=str(self.snapshot_type),
            description=self.description,
            created_at=gathered.looked_at.isoformat(),
            created_by=str(operation.requested_by_id) if operation.requested_by_id else None,
            operation_id=str(operation.pk),
            workflows=[],
        )
        here = {workflow_id: one.key for workflow_id, one in recorded.items()}
        return current_manifest(
            head=head,
            entries=[entry_of(gathered, workflow_id, one) for workflow_id, one in recorded.items()],
            references=called_elsewhere(gathered, here, keys),
            findings=gathered.findings,
            complete=gathered.complete,
        )

    def _message(self, count: int) -> str:
        kind = dict(SnapshotType.choices).get(self.snapshot_type, self.snapshot_type)
        subject = f"{kind}: {self.environment.name}, {count} workflow{'' if count == 1 else 's'}"
        description = self.description.strip()
        return f"{subject}\n\n{description}" if description else subject

    # -- the row --------------------------------------------------------------------------------------------------

    def record(self, commit: str) -> dict[str, Any]:
        """Insert the row, once, from the manifest in Git: the same way in which it would be recovered."""
        environment, manifest = self.environment, self.manifest
        if manifest is None:
            store = repository.store_for(environment.tenant_id)
            with repository.failures_named():
                manifest = parse_manifest(store.read(commit, manifest_path(environment.pk, self.snapshot_id)))
        with self.run.fenced():
            self.row = Snapshot.objects.filter(pk=self.snapshot_id).first()
            if self.row is None:
                self.row = Snapshot(pk=self.snapshot_id, **row_values(environment, manifest, commit))
                bulk.insert([self.row])
                publish(_completed(self.row), tenant_id=environment.tenant_id)
            Environment.objects.filter(pk=environment.pk).update(
                last_captured_at=self.row.created_at,
                last_snapshot_id=self.snapshot_id,
                last_capture_error=None,
                updated_at=clock.now(),
                **({"capabilities": self.capabilities} if self.capabilities else {}),
            )
        return {"snapshot_id": str(self.snapshot_id)}

    def approve(self, snapshot: Snapshot, *, step: str, complete: bool) -> None:
        """Take as approved: the first whole capture of an environment, each baseline, what runs beside approved drafts.

        Of a baseline that could not see everything, what it saw; the rest stays approved as it was.
        """
        run, environment = self.run, self.environment
        is_first = not environment.baseline_commit_sha and complete
        if is_first or self.snapshot_type == SnapshotType.BASELINE:
            keys = None if complete else [entry.key for entry in entries(snapshot)]
            run.step(
                f"{step}:baseline",
                f"Take this as what is approved in {environment.name}",
                lambda: {"commit": self._set_baseline(snapshot, keys)},
                external_call=in_git(environment),
            )
        if self.approved_as_drafts:
            keys = self.approved_as_drafts
            # An older console took the draft for the workflow: what runs beside it is as approved as ever.
            run.step(
                f"{step}:drafts",
                "Take what runs beside approved drafts as approved",
                lambda: {"commit": set_baseline(run, environment=environment, snapshot=snapshot, keys=keys)},
                external_call=in_git(environment),
            )

    def _set_baseline(self, snapshot: Snapshot, keys: Collection[str] | None) -> str:
        message = ""
        if self.description:
            message = f"Approve {self.environment.name} as it was captured\n\n{self.description}"
        return set_baseline(self.run, environment=self.environment, snapshot=snapshot, keys=keys, message=message)


def _credentials_listed(client: N8nClient) -> list[dict[str, Any]] | None:
    """n8n's own list of credentials; a capture does not fail for the lack of it."""
    try:
        return client.list_credentials()
    except N8nError as error:
        logger.info("the credentials could not be listed: %s", error.code)
        return None


def _remembered(store: GitStore, writer: Writer, environment: Environment, snapshot_type: str) -> PageMemory:
    """What need not be read again. What somebody will rely on within minutes is read as a whole."""
    if snapshot_type in VERIFIED_TYPES:
        return PageMemory()
    memory = PageMemory.load(memory_path(store.path, environment.pk), base_url=environment.base_url)
    memory.forget_without(writer.blobs_of(FOLDER) | writer.blobs_of(DRAFTS))
    return memory


def _summary(commit: str, manifest: Manifest, *, reused: bool = False) -> dict[str, Any]:
    return {
        "commit": commit,
        "created_at": manifest.created_at,
        "count": len(manifest.workflows),
        "bytes": manifest.total_bytes,
        "complete": manifest.complete,
        "findings": len(manifest.findings),
        "snapshot_type": manifest.snapshot_type,
        "reused": reused,
    }


def _completed(snapshot: Snapshot) -> domain_events.CaptureCompleted:
    return domain_events.CaptureCompleted(
        environment_id=snapshot.environment_id,
        snapshot_id=snapshot.pk,
        snapshot_type=snapshot.snapshot_type,
        workflow_count=snapshot.workflow_count or 0,
    )


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
