"""A look at every workflow of an instance, page by page: what each is, and what is odd about it.

Pages stream through: while one is hashed and its contents are put away, the next is fetched. No content is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core import clock
from core.errors import OpsError
from workflows import identity
from workflows.content import ContentError, draft_of, dump, portable, warnings
from workflows.n8n import PAGE_SIZES
from workflows.n8n.errors import RemoteNotFound, TooLarge
from workflows.names import storable
from workflows.references import called_workflows, webhook_address

from .manifest import FINDINGS_KEPT
from .page_memory import PageMemory, Taken

if TYPE_CHECKING:
    from workflows.n8n import Page
    from workflows.n8n.client import N8nClient

ASKED_AGAIN = 200
"""Workflows known, but not on the list, that are asked for one by one before they are called gone."""


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
    ident = storable(str(raw.get("id") or ""))
    name = raw.get("name") if isinstance(raw.get("name"), str) else ""
    try:
        content = portable(raw)
        data = dump(content)
        seen = identity.seen_workflow(raw, content)
        odd = warnings(content)[:20]
        addresses = sorted({storable(a) for a in map(webhook_address, content["nodes"]) if a})
        draft = dump(draft_of(raw)) if seen.draft is not None else b""  # type: ignore[arg-type] # there is one then
    except (ContentError, TypeError, AttributeError, ValueError, RecursionError) as error:
        told = error.message if isinstance(error, OpsError) else "It does not have the shape of a workflow."
        gathered.unreadable.add(ident)
        gathered.note("unreadable", told, workflow_id=ident, name=str(name or ""))
        return None
    findings = [_finding(one["code"], one["message"], ident, seen.name, one.get("node", "")) for one in odd]
    extra: dict[str, Any] = {"bytes": len(data), "blob": put(data) if put is not None else ""}
    if addresses:
        extra["webhooks"] = addresses
    if seen.fingerprint.workflow_refs:
        extra["refs"] = list(dict.fromkeys(seen.fingerprint.workflow_refs))
        calls = called_workflows(content)
        if set(calls) != set(extra["refs"]):  # a setting names who may call it
            extra["calls"] = calls
    if draft:
        extra["draft"] = {"bytes": len(draft), "blob": put(draft) if put is not None else ""}
        findings.append(_finding("draft", "The editor holds a draft; n8n runs another version.", ident, seen.name))
    return Taken(seen, extra, tuple(findings))


def _finding(code: str, message: str, workflow_id: str = "", name: str = "", node: str = "") -> dict[str, str]:
    found = {"code": code, "message": message, "env_workflow_id": workflow_id, "name": name, "node": node}
    return {key: storable(value) for key, value in found.items() if value}


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
        if (taken := _take(gathered, raw, put)) is not None:
            gathered.take(taken)
