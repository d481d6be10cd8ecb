"""The doors to Git and drift that promotions go through: kept together so that what is used of them is plain."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from snapshots.manifest import calls_in, draft_in
from snapshots.models import Snapshot
from tenants.scope import tenant_scope
from workflows.content import parse

from .options import SourceVersion

READ_AHEAD = 64

#: Manifest entry and portable content, by key.
Contents = dict[str, tuple[Mapping[str, Any], dict[str, Any]]]


def load(snapshot: Snapshot, keys: Iterable[str] | None, version: str = SourceVersion.PUBLISHED) -> Contents:
    """Manifest entry and portable content of the named workflows (None: all) of a snapshot, by key. Outside scopes.

    With ``version`` *draft*, what the editor held counts where it is not what ran; the entry then speaks of the draft.
    """
    from snapshots.services import load_content, load_drafts

    wanted = None if keys is None else set(keys)
    if wanted is not None and not wanted:
        return {}
    whole = with_manifest(snapshot)
    found: Contents = {str(entry["key"]): (entry, content) for entry, content in load_content(whole, wanted)}
    if version == SourceVersion.DRAFT:
        for key, data in load_drafts(whole, found).items():
            entry = found[key][0]
            draft = draft_in(entry)
            assert draft is not None  # noqa: S101 - its bytes were just read
            told = {"content_hash": draft.content_hash, "blob": draft.blob, "version": str(SourceVersion.DRAFT)}
            found[key] = ({**entry, **told}, parse(data))
    return found


def with_manifest(snapshot: Snapshot) -> Snapshot:
    """The snapshot with its manifest, which lists and comparisons leave unread."""
    if "workflows" not in snapshot.get_deferred_fields():
        return snapshot
    with tenant_scope(snapshot.tenant_id):
        return Snapshot.objects.get(pk=snapshot.pk)


def loader(snapshot: Snapshot, version: str) -> Callable[[Iterable[str]], Contents]:
    """``load`` bound to one snapshot."""
    return lambda keys: load(snapshot, keys, version)


def listening(snapshot: Snapshot) -> dict[str, list[str]]:
    """Webhook addresses of the active workflows in a snapshot, by key."""
    with tenant_scope(snapshot.tenant_id):
        entries = Snapshot.objects.values_list("workflows", flat=True).get(pk=snapshot.pk)
    return {str(e["key"]): list(e["webhooks"]) for e in entries if e.get("active") and e.get("webhooks")}


def callers(snapshot: Snapshot, besides: Collection[str]) -> dict[str, list[str]]:
    """By the key of what is called: names of the active workflows in a snapshot that call it, ``besides`` left out."""
    with tenant_scope(snapshot.tenant_id):
        entries = Snapshot.objects.values_list("workflows", flat=True).get(pk=snapshot.pk)
    key_by_id = {str(e.get("env_workflow_id")): str(e["key"]) for e in entries}
    found: dict[str, list[str]] = {}
    for entry in entries:
        if not entry.get("active") or entry["key"] in besides:
            continue
        for ref in calls_in(entry):
            if (called := key_by_id.get(str(ref))) not in (None, entry["key"]):
                found.setdefault(str(called), []).append(str(entry.get("name") or entry["key"]))
    return found


def blocking_incidents(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Drift incidents that the tenant's policy lets stop a promotion into the environment, as JSON."""
    from drift.services import blocking_incidents as ask

    return [_incident(found) for found in ask(tenant_id=tenant_id, environment_id=environment_id, keys=keys)]


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """A standing drift incident of a workflow, as a comparison shows it."""

    id: str
    kind: str
    word: str
    severity: str


def open_incidents(*, tenant_id: uuid.UUID, environment_id: uuid.UUID) -> dict[str, list[OpenIncident]]:
    """Every standing incident of an environment by the workflow's key, whether it blocks or not."""
    from drift.models import ACTIVE, DriftIncident

    with tenant_scope(tenant_id):
        rows = (
            DriftIncident.objects.filter(workflow_env_map__environment_id=environment_id, incident_state__in=ACTIVE)
            .select_related("workflow_env_map__canonical_workflow")
            .only("kind", "severity", "workflow_env_map__canonical_workflow__key", "tenant_id")
            .order_by("created_at", "pk")
        )
        found: dict[str, list[OpenIncident]] = {}
        for row in rows:
            one = OpenIncident(str(row.pk), row.kind, row.get_kind_display(), row.severity)
            found.setdefault(row.workflow_env_map.canonical_workflow.key, []).append(one)
    return found


def _incident(found: Any) -> dict[str, Any]:
    if isinstance(found, Mapping):
        return dict(found)
    to_dict = getattr(found, "to_dict", None)
    if to_dict is not None:
        return dict(to_dict())
    place = found.workflow_env_map
    return {
        "id": str(found.pk),
        "severity": found.severity,
        "incident_state": found.incident_state,
        "kind": found.kind,
        "workflow_key": place.canonical_workflow.key,
        "workflow_name": place.env_name,
        "ttl_expires_at": found.ttl_expires_at.isoformat() if found.ttl_expires_at else None,
    }


class Reader:
    """Contents of a snapshot one at a time, read from Git a block ahead: thousands need little memory. Thread-safe.

    The block after the one that is asked for is read meanwhile, so that nobody who asks in order waits for Git.
    """

    def __init__(
        self, snapshot: Snapshot, keys: Sequence[str], *, version: str = SourceVersion.PUBLISHED, blocks: int = 3
    ) -> None:
        self._snapshot = with_manifest(snapshot)
        self._version = version
        self._blocks = [frozenset(keys[i : i + READ_AHEAD]) for i in range(0, len(keys), READ_AHEAD)]
        self._block_of = {key: number for number, block in enumerate(self._blocks) for key in block}
        self._kept: dict[int, Future[Contents]] = {}
        self._limit = blocks
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def get(self, key: str) -> tuple[Mapping[str, Any], dict[str, Any]] | None:
        """Entry and content, or None where the snapshot does not have the workflow."""
        number = self._block_of[key]
        with self._lock:
            wanted = self._block(number)
            if number + 1 < len(self._blocks):
                self._block(number + 1)
        return wanted.result().get(key)

    def _block(self, number: int) -> Future[Contents]:
        if number not in self._kept:
            while len(self._kept) >= self._limit:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = self._pool.submit(load, self._snapshot, self._blocks[number], self._version)
        return self._kept[number]
