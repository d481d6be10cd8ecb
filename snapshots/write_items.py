"""From what is to be restored to the items that ``workflows.writes`` writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workflows.content import Fingerprint, dump, fingerprint, parse
from workflows.references import CredentialRef, references, rewrite
from workflows.structure import repaired
from workflows.writes import Release, WriteItem, pending

from . import contents
from .manifest import ManifestEntry
from .models import Snapshot

if TYPE_CHECKING:
    from workflows.models import Environment

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """Which workflows are brought back into ``environment``, and what may be overwritten there.

    ``snapshot`` holds the contents (of all, or of ``keys``), or ``contents`` does: portable, by key, with ``drafts``
    beside them. Each fact of a workflow comes back: what ran is published again, a draft stands beside it again, the
    archived are archived, the unpublished unpublished. Cursors of polling triggers stay as they are in n8n.

    ``expected`` says, by key, what may be overwritten: a content hash, several, or None for whatever is there. Keys
    that are not in it are overwritten whatever is there; without ``expected`` all are. ``expected_drafts`` says the
    same of drafts (None among them: that there is none); keys that are not in it allow any. What is already as wanted
    is left alone. ``delete`` (key → n8n id) removes workflows, under the same rule.

    ``credentials`` stand in for those that the contents name. ``origin`` maps ids inside the contents to keys (by
    default: the snapshot's own, else the environment's). Of ``keep_published`` (keys of what others call) the old
    content comes back and runs, whatever was published then. Those in ``held`` are not published, those in
    ``may_rest`` only if n8n agrees. ``release`` is what n8n's own history says of what is published. With ``repair``
    what n8n refuses and nothing needs is taken away (``workflows.structure``).

    Steps are named ``<prefix>:…``. With ``tolerant`` a failure is reported in the result and the others go on;
    otherwise the first one is raised. ``concurrency`` is how many writes go on at once.
    """

    environment: Environment
    prefix: str
    snapshot: Snapshot | None = None
    contents: Mapping[str, Content] | None = None
    drafts: Mapping[str, Content] = field(default_factory=dict)
    keys: Collection[str] | None = None
    expected: Mapping[str, str | Collection[str] | None] = field(default_factory=dict)
    expected_drafts: Mapping[str, Collection[str | None]] = field(default_factory=dict)
    delete: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[tuple[str, str], CredentialRef] = field(default_factory=dict)
    origin: Mapping[str, str] | None = None
    keep_published: Collection[str] = ()
    held: Collection[str] = ()
    may_rest: Collection[str] = ()
    release: Release = field(default_factory=Release)
    repair: bool = False
    tolerant: bool = False
    concurrency: int = 8

    @property
    def is_home(self) -> bool:
        """Whether the contents are of this very environment: the folders of another one are not here."""
        return self.snapshot is None or self.snapshot.environment_id == self.environment.pk

    def allowed_hashes(self, key: str) -> list[str]:
        """The content hashes that may be overwritten; none: anything."""
        given = self.expected.get(key)
        if given is None:
            return []
        return [given] if isinstance(given, str) else sorted(value for value in given if value)

    def allowed_drafts(self, key: str) -> frozenset[str | None] | None:
        """The hashes of drafts that may be overwritten; None: any."""
        return frozenset(self.expected_drafts[key]) if key in self.expected_drafts else None


@dataclass(frozen=True, slots=True)
class WantedWorkflow:
    """One workflow to be brought back: its bytes are kept, not its parsed form."""

    key: str
    name: str
    data: bytes
    active: bool
    tags: tuple[str, ...]
    archived: bool = False
    draft: bytes | None = None
    live_version_id: str = ""
    folder: str | None = None


def wanted_by(request: RestoreRequest) -> list[WantedWorkflow]:
    """What a request brings back. Reads Git: outside any scope."""
    found = _from_contents(request) if request.contents is not None else _from_snapshot(request)
    kept = request.keep_published
    return [replace(one, active=True, archived=False) if one.key in kept else one for one in found]


def _from_contents(request: RestoreRequest) -> list[WantedWorkflow]:
    given = request.contents or {}
    keys = sorted(key for key in given if request.keys is None or key in request.keys)
    return [_from_content(key, given[key], request.drafts.get(key)) for key in keys]


def _from_content(key: str, content: Content, draft: Content | None) -> WantedWorkflow:
    return WantedWorkflow(
        key=key,
        name=str(content.get("name") or ""),
        data=dump(content),
        active=bool(content.get("active")),
        tags=tuple(content.get("tags") or ()),
        archived=bool(content.get("archived")),
        draft=dump(draft) if draft is not None else None,
        folder=content.get("folder"),
    )


def _from_snapshot(request: RestoreRequest) -> list[WantedWorkflow]:
    snapshot, keys = request.snapshot, request.keys
    if snapshot is None or (keys is not None and not keys):
        return []
    drafts = contents.load_drafts(snapshot, keys)
    return [_from_entry(entry, data, drafts.get(entry.key)) for entry, data in contents.load_bytes(snapshot, keys)]


def _from_entry(entry: ManifestEntry, data: bytes, draft: bytes | None) -> WantedWorkflow:
    return WantedWorkflow(
        key=entry.key,
        name=entry.name,
        data=data,
        active=entry.active,
        tags=tuple(entry.tags),
        archived=entry.archived,
        draft=draft,
        live_version_id=entry.live.version_id if entry.live is not None else "",
        folder=entry.folder,
    )


@dataclass(frozen=True, slots=True)
class ItemBuilder:
    """Makes items of what is wanted.

    ``creating`` are keys of what is not in the environment, ``origins`` maps ids in the contents to keys, ``targets``
    maps keys to the ids there (pending ones for what is created), ``keys`` maps ids there to keys.
    """

    request: RestoreRequest
    creating: Collection[str]
    origins: Mapping[str, str]
    targets: Mapping[str, str]
    keys: Mapping[str, str]

    def item(self, wanted: WantedWorkflow, env_workflow_id: str | None) -> WriteItem:
        """The item that brings a workflow back, under the id that it has there (or had)."""
        request, load = self.request, self._loader(wanted.data)
        found = fingerprint(load())
        wanted_hash = self._hash(found)
        draft, draft_hash = self._draft(wanted, wanted_hash)
        is_new = wanted.key in self.creating
        verb = "Create" if is_new else "Write"
        hashes = request.allowed_hashes(wanted.key)
        item = WriteItem(
            key=wanted.key,
            name=wanted.name,
            title=f"{verb} {wanted.name or wanted.key}",
            action="create" if is_new else "update",
            env_workflow_id=env_workflow_id or None,
            content=load,
            wanted_hash=wanted_hash,
            expected_hash=hashes[0] if hashes else None,
            also_expected=frozenset(hashes[1:]),
            active=wanted.active,
            archived=wanted.archived,
            tags=wanted.tags,
            folder=wanted.folder if request.is_home else None,
            draft=draft,
            wanted_draft_hash=draft_hash,
            expected_drafts=request.allowed_drafts(wanted.key),
            live_version_id="" if is_new else wanted.live_version_id,
            release=request.release,
            needs=frozenset(key for key in self.creating if pending(key) in found.workflow_refs),
        )
        return unpublished(item) if wanted.key in request.held else replace(item, may_rest=item.key in request.may_rest)

    def _draft(
        self, wanted: WantedWorkflow, content_hash: str
    ) -> tuple[Callable[[], dict[str, Any]] | None, str | None]:
        """The draft and its hash, where it holds something else than the content."""
        if wanted.draft is None:
            return None, None
        load = self._loader(wanted.draft)
        draft_hash = self._hash(fingerprint(load()))
        return (load, draft_hash) if draft_hash != content_hash else (None, None)

    def _loader(self, data: bytes) -> Callable[[], dict[str, Any]]:
        content = self._parsed(data)
        moves = self._moves(content)
        stand_ins = self._stand_ins(content)

        def load() -> dict[str, Any]:
            found = self._parsed(data)
            if not moves and not stand_ins:
                return found
            return rewrite(found, workflow_ids=moves, credentials=stand_ins).content

        return load

    def _moves(self, content: Content) -> dict[str, str]:
        """Id in the content → id in the target (or a pending one), where the two differ."""
        called = {reference.value for reference in references(content) if reference.kind == "workflow"}
        found = {value: self.targets.get(self.origins.get(value, ""), "") for value in called}
        return {value: target for value, target in found.items() if target and target != value}

    def _stand_ins(self, content: Content) -> dict[tuple[str, str], CredentialRef]:
        # Old ones are known by their name alone.
        named = {
            (reference.credential_type, reference.value or reference.name)
            for reference in references(content)
            if reference.kind in ("credential", "data_table")
        }
        credentials = self.request.credentials
        return {known_by: credentials[known_by] for known_by in named if known_by in credentials}

    def _parsed(self, data: bytes) -> dict[str, Any]:
        return repaired(parse(data)) if self.request.repair else parse(data)

    def _hash(self, found: Fingerprint) -> str:
        waiting = {pending(key): key for key in self.creating if pending(key) in found.workflow_refs}
        return found.content_hash({**self.keys, **waiting})


def unpublished(item: WriteItem) -> WriteItem:
    """The item of a workflow that is brought back without running."""
    return replace(item, active=False, draft=None, wanted_draft_hash=None)


def deletions(request: RestoreRequest, names: Mapping[str, str]) -> list[WriteItem]:
    """The items that remove workflows. ``names`` are by key."""
    return [
        _deletion(request, key, workflow_id, names.get(key) or key)
        for key, workflow_id in sorted(request.delete.items())
    ]


def _deletion(request: RestoreRequest, key: str, workflow_id: str, name: str) -> WriteItem:
    hashes = request.allowed_hashes(key)
    return WriteItem(
        key=key,
        name=name,
        title=f"Delete {name}",
        action="delete",
        env_workflow_id=workflow_id,
        expected_hash=hashes[0] if hashes else None,
        also_expected=frozenset(hashes[1:]),
        expected_drafts=request.allowed_drafts(key),
    )
