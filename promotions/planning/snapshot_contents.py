"""What snapshots hold, as promotions read it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from snapshots import services as snapshots
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
    wanted = None if keys is None else set(keys)
    if wanted is not None and not wanted:
        return {}
    whole = with_manifest(snapshot)
    found: Contents = {str(entry["key"]): (entry, content) for entry, content in snapshots.load_content(whole, wanted)}
    if version == SourceVersion.DRAFT:
        for key, data in snapshots.load_drafts(whole, found).items():
            entry = found[key][0]
            draft = draft_in(entry)
            assert draft is not None  # noqa: S101 - its bytes were just read
            of_draft = {"content_hash": draft.content_hash, "blob": draft.blob, "version": str(SourceVersion.DRAFT)}
            found[key] = ({**entry, **of_draft}, parse(data))
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
