"""A check of an environment that costs little: what is as it was is neither fetched, parsed, hashed nor written.

Pages come with their ETag; what a page held is remembered as one digest. A page that n8n calls unchanged is compared by
its digest with the rows. The workflows of another one are looked at while the next is on its way: first as bytes, as
Git has them, and where those differ by what they do. Only when something differs is a capture taken. The memory is a
convenience: without it everything is looked at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from core.wording import counted
from snapshots.manifest import entry_from
from snapshots.models import Snapshot
from snapshots.selectors import set_aside_in
from snapshots.store import blob_name
from workflows.content import ContentError, draft_of, dump, portable
from workflows.identity import LIVE, SeenWorkflow, seen_workflow, stored_fingerprint
from workflows.models import Environment, WorkflowEnvMap
from workflows.n8n import CachedPage, Page


class RememberedPage(msgspec.Struct, array_like=True, frozen=True):
    """One page as it is kept: its ETag, the ids on it, the cursor of the next, and the digest of what it held."""

    etag: str
    ids: list[str]
    next_cursor: str | None
    digest: str


class RememberedPages(msgspec.Struct, frozen=True):
    """What ``DriftMemory.pages`` holds: pages by their address."""

    pages: dict[str, RememberedPage] = {}


@dataclass(slots=True)
class Memory:
    """What is remembered between checks.

    ``pages``: address to (etag, ids, next); ``digests``: etag to the digest of what the page held.
    """

    pages: dict[str, CachedPage] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it is kept; pages whose digest is not known are not."""
        pages = {
            address: RememberedPage(page.etag, list(page.ids), page.next_cursor, self.digests[page.etag])
            for address, page in self.pages.items()
            if page.etag in self.digests
        }
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(RememberedPages(pages)))
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Memory:
        """What was kept; nothing where it cannot be read."""
        try:
            kept = msgspec.convert(data or {}, RememberedPages).pages
        except msgspec.ValidationError:
            return cls()
        return cls(
            {address: CachedPage(page.etag, tuple(page.ids), page.next_cursor) for address, page in kept.items()},
            {page.etag: page.digest for page in kept.values()},
        )


@dataclass(slots=True)
class QuickCheck:
    """What a quick check found. ``reason`` is empty where all is as the rows say."""

    reason: str = ""
    seen: int = 0
    pages: int = 0
    unchanged_pages: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.reason)


def row_digest(
    stored: Mapping[str, Any] | None, name: str, active: bool | None, facts: Mapping[str, Any] | None
) -> str:
    """A digest of what a row says was seen; equal to that of the same workflow looked at again."""
    seen = [stored, name, bool(active), facts]
    # PostgreSQL gives a number like 1e20 back as an integer that only Python's own writer takes.
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:32]


class Known(NamedTuple):
    """A workflow as the rows say it was captured: their digest, and the blobs that hold exactly that, if any do.

    ``is_set_aside``: the last capture could not take it in.
    """

    digest: str
    blob: str = ""
    draft_blob: str = ""
    is_set_aside: bool = False


NOT_KNOWN = Known("")
SET_ASIDE = Known("set aside", is_set_aside=True)


def known_workflows(environment: Environment) -> dict[str, Known]:
    """By n8n id, everything that was there at the last capture. Needs the tenant's scope."""
    blobs = _captured_blobs(environment.last_snapshot_id)
    rows = WorkflowEnvMap.objects.filter(environment_id=environment.pk, status__in=[str(s) for s in LIVE])
    columns = (
        "env_workflow_id",
        "env_content_hash",
        "env_draft_hash",
        "fingerprint",
        "env_name",
        "env_active",
        "env_tags",
        "env_facts",
    )
    known = {}
    for workflow_id, content_hash, draft_hash, stored, name, active, tags, facts in (
        rows.exclude(env_workflow_id="").values_list(*columns).iterator()
    ):
        found = blobs.get((workflow_id, content_hash, draft_hash, name, bool(active), tuple(tags or ())), ("", ""))
        known[workflow_id] = Known(row_digest(stored, name, active, facts), *found)
    return known | {finding.env_workflow_id: SET_ASIDE for finding in set_aside_in(environment)}


def _captured_blobs(snapshot_id: Any) -> dict[tuple[Any, ...], tuple[str, str]]:
    """The blobs of the last snapshot, by all that a row says of a workflow: rows may have moved on since."""
    rows = Snapshot.objects.filter(pk=snapshot_id).values_list("workflows", flat=True).first() or ()
    found: dict[tuple[Any, ...], tuple[str, str]] = {}
    for entry in map(entry_from, rows):
        seen = (entry.content_hash, entry.draft_hash, entry.name, entry.active, tuple(entry.tags))
        found[entry.env_workflow_id, *seen] = (entry.blob, entry.draft.blob if entry.draft is not None else "")
    return found


def look(
    pages: Iterable[Page], *, known: Mapping[str, Known], memory: Memory, check: Callable[[], None] = lambda: None
) -> QuickCheck:
    """Compare the list of an instance with what the rows say (by n8n id). ``memory`` is brought up to date.

    Stops at the first difference: a capture will look at everything anyway. Raises ``N8nError``.
    """
    found = QuickCheck()
    unseen = {workflow_id for workflow_id, one in known.items() if not one.is_set_aside}
    for page in pages:
        check()
        found.pages += 1
        found.seen += len(page.ids)
        if page.unchanged:
            found.unchanged_pages += 1
            if memory.digests.get(page.etag) != joined(known, page.ids):
                found.reason = "A page is as it was some time ago, and not as it was captured last."
        else:
            found.reason = _compare(page.items, known)
            if not found.reason and page.etag and len(page.items) == len(page.ids):
                memory.digests[page.etag] = joined(known, page.ids)
        unseen.difference_update(page.ids)
        if found.reason:
            return found
    if unseen:
        found.reason = f"No longer there: {counted(len(unseen), 'workflow')}."
    return found


def _compare(items: Iterable[dict[str, Any]], known: Mapping[str, Known]) -> str:
    """Why the items are not as the rows say, or nothing."""
    for raw in items:
        captured = known.get(raw["id"], NOT_KNOWN)
        try:
            content, draft = portable(raw), draft_of(raw)
            if captured.is_set_aside:
                return f"“{raw.get('name')}” was set aside, and can be read now."
            blobs = (blob_name(dump(content)), blob_name(dump(draft)) if draft is not None else "")
            if blobs != (captured.blob, captured.draft_blob):
                seen = seen_workflow(raw, content)
                if _digest(seen) != captured.digest:
                    how = "is new" if captured is NOT_KNOWN else "is not as it was captured last"
                    return f"“{seen.name}” {how}."
        except (ContentError, TypeError, AttributeError, ValueError, RecursionError):
            if captured.is_set_aside:
                continue
            return "A workflow has a shape that cannot be read."
    return ""


def _digest(seen: SeenWorkflow) -> str:
    stored = stored_fingerprint(seen.fingerprint, seen.node_types, seen.draft, hosts=seen.hosts)
    return row_digest(stored, seen.name[:500], seen.active, seen.facts.to_json())


def joined(known: Mapping[str, Known], ids: Iterable[str]) -> str:
    """One digest for a page that holds these workflows as they are known."""
    return hashlib.sha256("".join(f"{known.get(i, NOT_KNOWN).digest}," for i in ids).encode()).hexdigest()[:32]
