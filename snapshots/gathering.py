"""A look at every workflow of an instance, page by page: what each is, and what is odd about it.

Pages stream through: while one is hashed and its contents are put away, the next is fetched. No content is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core import clock
from core.errors import OpsError
from core.texts import storable
from workflows import identity
from workflows.content import ContentError, draft_of, dump, portable, warnings
from workflows.n8n import PAGE_SIZES
from workflows.n8n.errors import NotAnApi, RemoteNotFound, TooLarge
from workflows.references import called_workflows, webhook_address

from .manifest import FINDINGS_KEPT, SET_ASIDE, CaptureFinding
from .page_memory import PageMemory, StoredContent, StoredDraft, Taken

if TYPE_CHECKING:
    from workflows.n8n import Page
    from workflows.n8n.client import N8nClient

PutBlob = Callable[[bytes], str]
"""Stores a content and returns its blob."""
ASKED_AGAIN = 200
"""Workflows known, but not on the list, that are asked for one by one before they are called gone."""
WARNINGS_KEPT = 20


@dataclass(slots=True)
class Gathered:
    """What a look at an environment found, by n8n id; contents are in Git (or nowhere, for a dry look).

    ``listed`` are the ids that the list named, ``set_aside`` those of workflows that are there and could not be taken
    in; ``unnamed`` counts those of which not even the id is known.
    """

    seen: dict[str, identity.SeenWorkflow] = field(default_factory=dict)
    stored: dict[str, StoredContent] = field(default_factory=dict)
    findings: list[CaptureFinding] = field(default_factory=list)
    set_aside: set[str] = field(default_factory=set)
    unnamed: int = 0
    listed: set[str] = field(default_factory=set)
    looked_at: datetime = field(default_factory=clock.now)

    @property
    def complete(self) -> bool:
        """Whether what is neither here nor set aside is surely not there."""
        return not self.unnamed

    def note(self, findings: Iterable[CaptureFinding]) -> None:
        """Keep what was found odd; bounded."""
        room = FINDINGS_KEPT - len(self.findings)
        self.findings.extend(itertools.islice(findings, room))

    def leave_out(self, workflow_id: str, name: str, why: str) -> None:
        """Set a workflow aside, by name; no other finding takes the place of this one."""
        self.set_aside.add(workflow_id)
        self.findings.insert(0, _finding(SET_ASIDE, why, workflow_id, name))
        del self.findings[FINDINGS_KEPT:]

    def take_page(self, page: Page, workflows: Iterable[Taken]) -> None:
        """Add the workflows of a page; a second look at the list adds only those that are new."""
        self.listed.update(page.ids)
        if page.unnamed:
            self.unnamed += 1
            last = next(reversed(self.seen.values())).name if self.seen else ""
            where = f"after “{last}”" if last else "at the beginning"
            why = f"A workflow {where} of n8n's list is too large even to be named."
            self.note([_finding(SET_ASIDE, why)])
        for taken in workflows:
            if not (page.again and taken.seen.env_workflow_id in self.seen):
                self.take(taken)

    def take(self, taken: Taken) -> None:
        """Add a workflow. Listed twice, the later one counts."""
        workflow_id = taken.seen.env_workflow_id
        if workflow_id in self.seen:
            message = "n8n listed it twice; the later one counts."
            self.note([_finding("seen_twice", message, workflow_id, taken.seen.name)])
        self.note(taken.findings)
        self.seen[workflow_id], self.stored[workflow_id] = taken.seen, taken.stored


@dataclass(frozen=True, slots=True)
class _Look:
    """One look under way: where it goes, how contents are stored, and whether to go on (``check`` may raise)."""

    gathered: Gathered
    put: PutBlob | None
    check: Callable[[], None]
    known: Mapping[str, str]
    """n8n ids of workflows that were there before, with their names."""

    def take_all(self, items: Iterable[Mapping[str, Any]]) -> tuple[Taken, ...]:
        return tuple(taken for raw in items if (taken := self.take(raw)) is not None)

    def take(self, raw: Mapping[str, Any]) -> Taken | None:
        """What is kept of n8n's answer; None, and noted, where it cannot be read."""
        workflow_id = storable(str(raw.get("id") or ""))
        try:
            read = _read(raw)
        except (ContentError, TypeError, AttributeError, ValueError, RecursionError) as error:
            message = error.message if isinstance(error, OpsError) else "It does not have the shape of a workflow."
            name = raw.get("name") if isinstance(raw.get("name"), str) else ""
            self.set_aside(workflow_id, message, name=str(name or ""))
            return None
        stored = StoredContent(
            bytes=len(read.data),
            blob=self._put(read.data),
            webhooks=read.webhooks,
            refs=read.refs,
            calls=read.calls if set(read.calls) != set(read.refs) else None,  # a setting names who may call it
            draft=StoredDraft(bytes=len(read.draft), blob=self._put(read.draft)) if read.draft else None,
        )
        return Taken(read.seen, stored, tuple(_findings(read, workflow_id)))

    def set_aside(self, workflow_id: str, why: str, *, name: str = "") -> None:
        self.gathered.leave_out(workflow_id, name or self.known.get(workflow_id, ""), why)

    def _put(self, data: bytes) -> str:
        return self.put(data) if self.put is not None else ""


def gather(
    client: N8nClient,
    *,
    put: PutBlob | None,
    memory: PageMemory | None = None,
    known: Mapping[str, str] | None = None,
    check: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] = lambda _count: None,
) -> Gathered:
    """Look at every workflow of an instance. ``put`` stores a content and gives its blob; None stores nothing.

    ``known`` names workflows that were there before, by id: those that are not listed are asked for. What n8n calls
    unchanged is taken from ``memory``, which then holds what was read now. A workflow that cannot be taken in is set
    aside, by name; the others go on. Raises ``N8nError``.
    """
    for size in PAGE_SIZES:
        look, pages = _Look(Gathered(), put, check, known or {}), memory if memory is not None else PageMemory()
        before, pages.taken = pages.taken, {}
        try:
            for page in client.iter_workflow_pages(page_size=size, cache=pages.pages):
                check()
                taken = before.get(page.etag, ()) if page.unchanged else look.take_all(page.items)
                look.gathered.take_page(page, taken)
                if page.etag and len(taken) == len(page.ids):
                    pages.taken[page.etag] = taken
                progress(len(look.gathered.seen))
            break
        except TooLarge:
            if size == PAGE_SIZES[-1]:
                raise
    _ask_again(look, client)
    return look.gathered


@dataclass(frozen=True, slots=True)
class _Read:
    """One workflow of n8n's answer, read: its content as bytes, the draft beside it (empty: none), what is odd."""

    seen: identity.SeenWorkflow
    data: bytes
    draft: bytes
    webhooks: list[str]
    refs: list[str]
    calls: list[str]
    warnings: Sequence[Mapping[str, str]]


def _read(raw: Mapping[str, Any]) -> _Read:
    """Raises what a workflow of the wrong shape makes the readers raise."""
    content = portable(raw)
    seen = identity.seen_workflow(raw, content)
    data = dump(content)
    draft = draft_of(raw) if seen.draft is not None else None
    refs = list(dict.fromkeys(seen.fingerprint.workflow_refs))
    return _Read(
        seen=seen,
        data=data,
        draft=dump(draft) if draft is not None else b"",
        webhooks=sorted({storable(address) for address in map(webhook_address, content["nodes"]) if address}),
        refs=refs,
        calls=list(map(storable, called_workflows(content))) if refs else [],
        warnings=warnings(content)[:WARNINGS_KEPT],
    )


def _findings(read: _Read, workflow_id: str) -> Iterable[CaptureFinding]:
    name = read.seen.name
    for warning in read.warnings:
        yield _finding(warning["code"], warning["message"], workflow_id, name, warning.get("node", ""))
    if read.draft:
        yield _finding("draft", "The editor holds a draft; n8n runs another version.", workflow_id, name)


def _finding(code: str, message: str, workflow_id: str = "", name: str = "", node: str = "") -> CaptureFinding:
    return CaptureFinding(
        code=code,
        message=storable(message),
        env_workflow_id=storable(workflow_id),
        name=storable(name),
        node=storable(node),
    )


def _ask_again(look: _Look, client: N8nClient) -> None:
    """A list that moves can skip a row: what is known and was not listed is asked for by its id.

    So is what was listed on a page that n8n did not send, and is not remembered.
    """
    gathered = look.gathered
    absent = look.known.keys() - gathered.listed
    unsent = gathered.listed - gathered.seen.keys() - gathered.set_aside
    for workflow_id in sorted(unsent | absent if len(absent) <= ASKED_AGAIN else unsent):
        look.check()
        try:
            raw = client.get_workflow(workflow_id)
        except RemoteNotFound:
            continue
        except (TooLarge, NotAnApi) as error:
            look.set_aside(workflow_id, error.message)
            continue
        if (taken := look.take(raw)) is not None:
            gathered.take(taken)
