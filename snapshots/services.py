"""What others do with snapshots: start a capture, read contents, verify, recover rows from Git."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from audit.services import record_event
from core import clock
from core.errors import Invalid, NotFound, OpsError
from core.ids import uuid_or_not_found
from operations import services as operations
from operations.engine import Run
from operations.models import Operation
from operations.selectors import started_before
from tenants.models import User
from tenants.scope import assert_no_scope, platform_scope, tenant_scope
from workflows.content import NORMALIZATION_VERSION, ContentError, fingerprint, parse
from workflows.gateway import environment_by_id
from workflows.models import Environment

from . import rehashing, repository
from .canonical import canonical_content, commit_canonical, set_baseline
from .capture import capture_into, row_values
from .errors import SnapshotDamaged, SnapshotUnreadable
from .manifest import Draft, draft_in, key_map, parse_manifest, problem, workflow_path
from .models import Snapshot, SnapshotType

__all__ = [
    "canonical_content",
    "capture_into",
    "commit_canonical",
    "commit_of",
    "entries_of",
    "load_bytes",
    "load_content",
    "load_drafts",
    "moved_hashes",
    "name_commits",
    "record_download",
    "recover",
    "references_of",
    "set_baseline",
    "snapshot_by_id",
    "start_capture",
    "start_verify",
    "verify_snapshot",
]

PROBLEMS_KEPT = 200
NAMED = 50


def start_capture(
    *,
    tenant_id: uuid.UUID,
    environment_id: uuid.UUID,
    snapshot_type: str = SnapshotType.MANUAL_BACKUP,
    description: str = "",
    requested_by: User | None,
    idempotency_key: str | None = None,
) -> Operation:
    """Start a capture; the operation's ``subject_id`` is the id that the snapshot will have.

    Raises ``NotFound`` for an environment of nobody or somebody else, ``Invalid`` for an unknown type.
    """
    if snapshot_type not in SnapshotType.values:
        raise Invalid(
            f"There is no snapshot type “{snapshot_type}”.",
            recovery=f"Use one of {', '.join(SnapshotType.values)}.",
            details={"snapshot_type": snapshot_type},
        )
    environment = environment_by_id(tenant_id, environment_id)
    with tenant_scope(tenant_id):
        known = started_before(kind="snapshots.capture", key=idempotency_key)
        if known is not None:
            same = {k: v for k, v in known.params.items() if k != "snapshot_id"} == {
                "environment_id": str(environment.pk),
                "snapshot_type": str(snapshot_type),
                "description": description.strip()[:500],
            }
            if same:
                return known
        snapshot_id = uuid.uuid4()
        return operations.start(
            tenant_id=tenant_id,
            kind="snapshots.capture",
            title=f"Capture {environment.name}",
            params={
                "environment_id": str(environment.pk),
                "snapshot_type": str(snapshot_type),
                "description": description.strip()[:500],
                "snapshot_id": str(snapshot_id),
            },
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            environment_id=environment.pk,
            subject_type="snapshot",
            subject_id=snapshot_id,
        )


def start_verify(*, snapshot: Snapshot, requested_by: User | None) -> Operation:
    """Start reading a snapshot back from Git."""
    return operations.start(
        tenant_id=snapshot.tenant_id,
        kind="snapshots.verify",
        title=f"Verify the snapshot of {snapshot.created_at:%Y-%m-%d %H:%M} UTC",
        params={"snapshot_id": str(snapshot.pk)},
        requested_by=requested_by,
        environment_id=snapshot.environment_id,
        subject_type="snapshot",
        subject_id=snapshot.pk,
    )


def snapshot_by_id(tenant_id: uuid.UUID, snapshot_id: uuid.UUID | str) -> Snapshot:
    """One snapshot of the tenant with its environment, or ``NotFound``."""
    wanted = uuid_or_not_found(snapshot_id)
    with tenant_scope(tenant_id):
        found = Snapshot.objects.select_related("environment", "created_by").filter(pk=wanted).first()
    if found is None:
        raise NotFound("There is no such snapshot.", recovery="Choose one from the list of snapshots.")
    return found


def record_download(snapshot: Snapshot, *, size: int, sha256: str) -> None:
    """Who takes a whole environment away as a file is on record; ``size`` in bytes."""
    with tenant_scope(snapshot.tenant_id):
        record_event(
            action="SNAPSHOT_DOWNLOADED",
            resource_type=Snapshot._meta.db_table,
            resource_id=snapshot.pk,
            tenant_id=snapshot.tenant_id,
            name=snapshot.environment.name,
            details={"bytes": size, "sha256": sha256},
        )


# -- contents ---------------------------------------------------------------------------------------------------------


def entries_of(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The entries of a snapshot; from its manifest in Git where the row has lost them. Outside any scope then.

    So it is for a snapshot of an older normalisation, whose hashes are made anew from Git.
    """
    return rehashing.current_entries(snapshot, _stored_entries(snapshot), lambda: references_of(snapshot))


@dataclass(frozen=True, slots=True)
class Moved:
    """Hashes as a snapshot of an older normalisation has them → as they are made today, of contents and of drafts.

    None for a draft that holds nothing else than what runs, as it is compared today.
    """

    contents: Mapping[str, str] = field(default_factory=dict)
    drafts: Mapping[str, str | None] = field(default_factory=dict)


def moved_hashes(snapshot: Snapshot) -> Moved:
    """What became of the hashes of a snapshot; empty for one of today's normalisation. Reads Git: outside any scope."""
    if snapshot.hash_version == NORMALIZATION_VERSION:
        return Moved()
    contents, drafts = {}, {}
    for then, now in zip(_stored_entries(snapshot), entries_of(snapshot), strict=True):
        contents[str(then["content_hash"])] = str(now["content_hash"])
        if (draft := draft_in(then)) is not None:
            drafts[draft.content_hash] = after.content_hash if (after := draft_in(now)) is not None else None
    return Moved(contents, drafts)


def _stored_entries(snapshot: Snapshot) -> list[dict[str, Any]]:
    rows = snapshot.workflows
    if isinstance(rows, list) and (rows or not snapshot.workflow_count) and all(_usable(row) for row in rows):
        return rows
    return list(_manifest(snapshot)["workflows"])


def references_of(snapshot: Snapshot) -> dict[str, str]:
    """Ids that the snapshot's workflows call without being in it, with their keys. Reads Git."""
    try:
        return dict(_manifest(snapshot).get("references") or {})
    except OpsError:
        return {}


def _usable(row: Any) -> bool:
    return isinstance(row, dict) and bool(row.get("key"))


def _manifest(snapshot: Snapshot) -> dict[str, Any]:
    store = repository.store_for(snapshot.tenant_id)
    if snapshot.git_commit_sha:
        try:
            path = f"snapshots/{snapshot.environment_id}/{snapshot.pk}.json"
            return parse_manifest(store.read(snapshot.git_commit_sha, path))
        except OpsError:
            pass  # the row's commit is lost or wrong: the manifest is looked for by its id
    found = store.read_manifest(snapshot.environment_id, snapshot.pk)
    if found is None:
        raise SnapshotUnreadable(details={"snapshot_id": str(snapshot.pk), "commit": snapshot.git_commit_sha})
    return parse_manifest(found[1])


def load_bytes(snapshot: Snapshot, keys: Collection[str] | None = None) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Entries with their bytes, by one Git process. Outside any scope; ``SnapshotUnreadable`` names what is missing."""
    assert_no_scope("Git")
    store = repository.store_for(snapshot.tenant_id)
    commit = snapshot.git_commit_sha or ""
    with store.reader() as reader:
        for entry in entries_of(snapshot):
            if keys is not None and entry["key"] not in keys:
                continue
            blob = str(entry.get("blob") or "")
            found = reader.find(blob) if blob else None
            if found is None and commit:
                found = reader.find(f"{commit}:{entry.get('path') or workflow_path(entry['key'])}")
            if found is None:
                raise SnapshotUnreadable(
                    f"The content of “{entry.get('name') or entry['key']}” is not in the Git store.",
                    details={"snapshot_id": str(snapshot.pk), "key": entry["key"], "blob": blob},
                )
            yield entry, found[2]


def load_drafts(snapshot: Snapshot, keys: Collection[str] | None = None) -> dict[str, bytes]:
    """By key, the bytes of each draft that was captured beside what ran. Outside any scope; as ``load_bytes``."""
    assert_no_scope("Git")
    wanted = {str(e["key"]): draft for e in entries_of(snapshot) if (draft := draft_in(e)) is not None}
    wanted = {key: draft for key, draft in wanted.items() if keys is None or key in keys}
    if not wanted:
        return {}
    found: dict[str, bytes] = {}
    with repository.store_for(snapshot.tenant_id).reader() as reader:
        for key, draft in wanted.items():
            read = reader.find(draft.blob)
            if read is None:
                raise SnapshotUnreadable(
                    "The draft of a workflow is not in the Git store.",
                    details={"snapshot_id": str(snapshot.pk), "key": key, "blob": draft.blob},
                )
            found[key] = read[2]
    return found


def load_content(
    snapshot: Snapshot, keys: Collection[str] | None = None
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Entries with their portable contents, one at a time. Outside any scope.

    Raises ``SnapshotUnreadable`` (SNAP_002) where Git lost one, ``ContentError`` where it is no workflow.
    """
    for entry, data in load_bytes(snapshot, keys):
        yield entry, parse(data)


# -- verification -----------------------------------------------------------------------------------------------------


def verify_snapshot(snapshot: Snapshot, *, run: Run | None = None, raise_if_damaged: bool = False) -> dict[str, Any]:
    """Read every content back from Git and compare it with its hash; the result is stored on the row.

    ``{status: verified | damaged, checked_at, workflows, bytes, problems: [{key, name, code, message}], findings}``.
    """
    entries = _stored_entries(snapshot)
    problems: list[dict[str, str]] = []
    references: Mapping[str, str] = {}
    findings: list[Any] = []
    try:
        manifest = _manifest(snapshot)
        references, findings = manifest.get("references") or {}, manifest.get("findings") or []
        by_key = {e["key"]: e.get("content_hash") for e in manifest["workflows"]}
        if by_key != {e["key"]: e.get("content_hash") for e in entries}:
            problems.append(
                problem("", "", "The row and the manifest in Git name different workflows.", code="SNAP_003")
            )
    except OpsError as error:
        problems.append(problem("", "", error))
    keys = key_map(entries, references)
    size = _check_contents(snapshot, entries, keys, problems, run)
    result = {
        "status": "damaged" if problems else "verified",
        "checked_at": clock.now().isoformat(),
        "workflows": len(entries),
        "bytes": size,
        "problems": problems[:PROBLEMS_KEPT],
        "findings": findings,
    }
    values = {"verified_at": clock.now(), "verification": result}
    with run.fenced() if run is not None else tenant_scope(snapshot.tenant_id):
        Snapshot.objects.filter(pk=snapshot.pk).update(**values)
    if problems and raise_if_damaged:
        raise SnapshotDamaged(details={"snapshot_id": str(snapshot.pk), "problems": problems[:20]})
    return {key: value for key, value in result.items() if key != "findings"}


def _check_contents(
    snapshot: Snapshot,
    entries: list[dict[str, Any]],
    keys: Mapping[str, str],
    problems: list[dict[str, str]],
    run: Run | None,
) -> int:
    size = 0
    store = repository.store_for(snapshot.tenant_id)
    with store.reader() as reader:
        for number, entry in enumerate(entries):
            if run is not None and number % 200 == 0:
                run.check()
                run.progress(number, len(entries), "Reading back from Git")
            key, name = entry["key"], str(entry.get("name") or "")
            blob = str(entry.get("blob") or "")
            try:
                found = reader.find(blob) if blob else None
            except SnapshotDamaged as error:
                problems.append(problem(key, name, error))
                continue
            if found is None:
                problems.append(problem(key, name, "The content is not in the Git store.", code="SNAP_002"))
                continue
            size += len(found[2])
            try:
                value = fingerprint(parse(found[2])).content_hash(keys)
            except ContentError as error:
                problems.append(problem(key, name, error))
                continue
            # Hashes of an older normalisation cannot be made any more; there the blob's own name is the proof.
            if snapshot.hash_version == NORMALIZATION_VERSION and value != entry.get("content_hash"):
                problems.append(problem(key, name, "The content is not the one that was captured.", code="SNAP_003"))
            draft = draft_in(entry)
            if draft is not None:
                size += _check_draft(reader, draft, key, name, keys, problems)
    return size


def _check_draft(
    reader: Any, draft: Draft, key: str, name: str, keys: Mapping[str, str], problems: list[dict[str, str]]
) -> int:
    try:
        found = reader.find(draft.blob)
        if found is None:
            problems.append(problem(key, name, "The draft is not in the Git store.", code="SNAP_002"))
            return 0
        if fingerprint(parse(found[2])).content_hash(keys) != draft.content_hash:
            problems.append(problem(key, name, "The draft is not the one that was captured.", code="SNAP_003"))
        return len(found[2])
    except (SnapshotDamaged, ContentError) as error:
        problems.append(problem(key, name, error))
        return 0


# -- recovery ---------------------------------------------------------------------------------------------------------


def commit_of(snapshot: Snapshot) -> str | None:
    """The commit that holds a snapshot's manifest; looked for in Git where the row does not say. Outside any scope.

    A manifest cannot name the commit that it lies in, so a row that a runbook has made from one names none at first.
    """
    if snapshot.git_commit_sha:
        return snapshot.git_commit_sha
    try:
        found = repository.store_for(snapshot.tenant_id).find_manifest(snapshot.environment_id, snapshot.pk)
    except OpsError:
        return None
    return found.commit if found is not None else None


def name_commits() -> int:
    """Enter the commit into rows that were made by hand and name none; how many. For the beat."""
    with platform_scope():
        bare = list(Snapshot.objects.filter(git_commit_sha=None).defer("workflows").order_by("-created_at")[:NAMED])
    named = 0
    for row in bare:
        commit = commit_of(row)
        if commit is not None:
            with tenant_scope(row.tenant_id):
                named += Snapshot.objects.filter(pk=row.pk, git_commit_sha=None).update(git_commit_sha=commit)
    return named


def recover(*, tenant_id: uuid.UUID, environment_id: uuid.UUID | None = None) -> list[uuid.UUID]:
    """Make the rows again of snapshots whose manifests are in Git and whose rows are gone; their ids."""
    store = repository.store_for(tenant_id)
    with tenant_scope(tenant_id):
        environments = {e.pk: e for e in Environment.objects.all() if environment_id in (None, e.pk)}
        present = set(Snapshot.objects.values_list("pk", flat=True))
    made: list[uuid.UUID] = []
    for ref in store.manifests(environment_id or ""):
        try:
            environment, ident = environments.get(uuid.UUID(ref.environment_id)), uuid.UUID(ref.snapshot_id)
        except ValueError:
            continue
        if environment is None or ident in present:
            continue
        manifest = parse_manifest(store.read(ref.commit, ref.path))
        made += _recover_row(environment, ident, manifest, ref.commit)
        present.add(ident)
    return made


def _recover_row(
    environment: Environment, ident: uuid.UUID, manifest: Mapping[str, Any], commit: str
) -> list[uuid.UUID]:
    with tenant_scope(environment.tenant_id):
        values = row_values(environment, manifest, commit)
        if values["created_by_id"] and not User.objects.filter(pk=values["created_by_id"]).exists():
            values["created_by_id"] = None
        _, created = Snapshot.objects.get_or_create(pk=ident, defaults=values)
        latest = Snapshot.objects.filter(environment=environment).order_by("-created_at").first()
        if latest is not None:
            Environment.objects.filter(pk=environment.pk).update(
                last_snapshot_id=latest.pk, last_captured_at=latest.created_at
            )
    return [ident] if created else []
