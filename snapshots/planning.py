"""What a restore would do: pure, from two manifests and the contents concerned.

A plan is computed, never stored: the same snapshot, the same capture taken before and the same options give
the same plan, so a restore that is begun again after a crash goes on with the one it had.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from workflows.calling import because_called
from workflows.facts import Facts, changes
from workflows.references import CredentialRef
from workflows.writes import webhook_clashes

from .manifest import ManifestEntry
from .restore_documents import (
    ExtraWorkflow,
    KeptPublished,
    MissingSecret,
    PlannedWorkflow,
    RestoreIssue,
    RestorePreview,
)


@dataclass(frozen=True, slots=True)
class CurrentWorkflow:
    """A workflow as it is in the environment now."""

    key: str
    name: str
    env_workflow_id: str
    content_hash: str
    active: bool
    webhooks: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    draft_hash: str | None = None
    archived: bool = False
    facts: Facts | None = None
    calls: tuple[str, ...] = ()
    """n8n ids of what it calls."""

    @classmethod
    def from_entry(cls, entry: ManifestEntry) -> CurrentWorkflow:
        """From an entry of a manifest."""
        return cls(
            key=entry.key,
            name=entry.name,
            env_workflow_id=entry.env_workflow_id,
            content_hash=entry.content_hash,
            active=entry.active,
            webhooks=tuple(entry.webhooks),
            tags=tuple(entry.tags),
            draft_hash=entry.draft_hash,
            archived=entry.archived,
            facts=entry.facts,
            calls=tuple(entry.called_ids),
        )

    @property
    def label(self) -> str:
        return self.name or self.key

    @property
    def folder(self) -> str | None:
        return self.facts.folder if self.facts is not None else None


class Approves(StrEnum):
    """What of the restored content becomes the approved version."""

    NOTHING = ""
    APPROVED_BEFORE = "approved_before"
    EVERYTHING = "everything"


SWITCHES = ("skip_validation", "stubs", "repair", "leave_out")
"""Options that are off unless chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What the person chose. ``keys`` None: every workflow of the snapshot.

    ``stubs``: credentials that are missing are made without their secrets. ``repair``: what n8n refuses and nothing
    needs is taken away. ``leave_out``: what cannot be restored is left out by name, and the rest is restored.
    ``approves`` is what becomes the approved version, ``reason`` why; a service decides the first, never a request.
    """

    keys: frozenset[str] | None = None
    overwrite_existing: bool = True
    delete_extra: bool = False
    skip_validation: bool = False
    stubs: bool = False
    repair: bool = False
    leave_out: bool = False
    approves: Approves = Approves.NOTHING
    reason: str = ""

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> RestoreOptions:
        """The options of a job, or of a form."""
        keys = params.get("keys")
        return cls(
            keys=frozenset(keys) if keys is not None else None,
            overwrite_existing=bool(params.get("overwrite_existing", True)),
            delete_extra=bool(params.get("delete_extra", False)),
            approves=Approves(params.get("approves") or ""),
            reason=str(params.get("reason") or "").strip()[:500],
            **{name: bool(params.get(name, False)) for name in SWITCHES},
        )

    def to_params(self) -> dict[str, Any]:
        """As a job keeps them."""
        return {
            "keys": sorted(self.keys) if self.keys is not None else None,
            "overwrite_existing": self.overwrite_existing,
            "delete_extra": self.delete_extra,
            "approves": str(self.approves),
            "reason": self.reason,
            **{name: getattr(self, name) for name in SWITCHES},
        }


@dataclass(frozen=True, slots=True)
class RestoreItem:
    """One workflow of the snapshot.

    ``action``: new, updated, unchanged, skipped (``overwrite_existing`` is off) or left_out (``why``). ``held`` says
    why it is not published, though it was; ``kept_for`` names who calls it, so that it stays published though it was
    not.
    """

    entry: ManifestEntry
    action: str
    current: CurrentWorkflow | None
    held: str = ""
    why: tuple[str, ...] = ()
    kept_for: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.entry.key

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def label(self) -> str:
        return self.entry.label

    @property
    def wanted(self) -> ManifestEntry:
        """The entry as it is to be afterwards."""
        if self.kept_for:
            return self.entry.as_published()
        return self.entry.as_unpublished() if self.held else self.entry

    @property
    def is_done(self) -> bool:
        """Whether it is there already as it is wanted."""
        return self.current is not None and _same(self.wanted, self.current)

    @property
    def only_content_differs(self) -> bool:
        """Whether nothing would be done to it but to write its content."""
        if self.current is None:
            return False
        same_content = msgspec.structs.replace(self.wanted, content_hash=self.current.content_hash)
        return not effects_of(same_content, self.current)

    @property
    def effects(self) -> list[str]:
        """What would happen to it, fact by fact, for a person."""
        if self.action not in ("new", "updated"):
            return []
        kept = f"It stays published, {because_called(self.kept_for)}." if self.kept_for else ""
        return [*effects_of(self.wanted, self.current), *filter(None, (self.held, kept))]

    def document(self, outcome: str | None = None) -> PlannedWorkflow:
        """For previews and reports."""
        current, wanted = self.current, self.wanted
        return PlannedWorkflow(
            key=self.key,
            name=self.name,
            action=self.action,
            env_workflow_id=current.env_workflow_id if current else None,
            snapshot_workflow_id=self.entry.env_workflow_id,
            content_hash=self.entry.content_hash,
            current_hash=current.content_hash if current else None,
            active=wanted.active,
            current_active=current.active if current else None,
            current_name=current.name if current else None,
            archived=wanted.archived,
            current_archived=current.archived if current else None,
            has_draft=self.entry.draft is not None,
            current_has_draft=bool(current and current.draft_hash),
            effects=self.effects,
            held=self.held,
            kept_for=list(self.kept_for),
            why=list(self.why),
            outcome=outcome,
        )


@dataclass(frozen=True, slots=True)
class MissingCredential:
    """A credential to be made without its secret. ``known_by``: the id, or the name, that contents know it by.

    ``keeps_id``: it gets the id that it had. ``also``: what else is known by its type and name alone, and means it.
    """

    type: str
    name: str
    known_by: str
    keeps_id: bool
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class RestorePlan:
    """The whole of it. ``problems`` stop the restore unless validation is switched off; ``warnings`` do not."""

    items: list[RestoreItem] = field(default_factory=list)
    extra: list[CurrentWorkflow] = field(default_factory=list)
    unknown_keys: list[str] = field(default_factory=list)
    problems: list[RestoreIssue] = field(default_factory=list)
    warnings: list[RestoreIssue] = field(default_factory=list)
    credentials: dict[tuple[str, str], CredentialRef] = field(default_factory=dict)
    stubs: list[MissingCredential] = field(default_factory=list)
    options: RestoreOptions = field(default_factory=RestoreOptions)
    kept_extra: dict[str, list[str]] = field(default_factory=dict)
    """By key, who calls what is not in the snapshot and so is not deleted."""

    def of(self, *actions: str) -> list[RestoreItem]:
        """The items with one of the actions."""
        return [item for item in self.items if item.action in actions]

    def item(self, key: str) -> RestoreItem | None:
        """The item of a workflow."""
        return next((item for item in self.items if item.key == key), None)

    @property
    def to_write(self) -> list[RestoreItem]:
        return self.of("new", "updated")

    @property
    def to_delete(self) -> list[CurrentWorkflow]:
        return [c for c in self.extra if c.key not in self.kept_extra] if self.options.delete_extra else []

    @property
    def touched(self) -> set[str]:
        """Keys of all that is written or deleted."""
        return {item.key for item in self.to_write} | {c.key for c in self.to_delete}

    @property
    def held(self) -> dict[str, str]:
        """By key, why a workflow that ran is brought back, or stays, unpublished."""
        return {item.key: item.held for item in self.of("new", "updated", "unchanged") if item.held}

    def change(self, key: str, **values: Any) -> None:
        """Replace facts of one item."""
        self.items = [replace(item, **values) if item.key == key else item for item in self.items]

    @property
    def kept(self) -> list[KeptPublished]:
        """What stays published, or there at all, because something that runs calls it."""
        kept = [KeptPublished(item.key, item.name, list(item.kept_for)) for item in self.items if item.kept_for]
        kept += [KeptPublished(c.key, c.name, names) for c in self.extra if (names := self.kept_extra.get(c.key))]
        return kept

    def preview(self) -> RestorePreview:
        """The shape that the API's ``.preview`` has."""
        doomed = {c.key for c in self.to_delete}
        lists = {name: [item.document() for item in self.of(action)] for name, action in _LISTS.items()}
        extra = [
            ExtraWorkflow(
                key=c.key,
                name=c.name,
                env_workflow_id=c.env_workflow_id,
                active=c.active,
                effect="deleted" if c.key in doomed else "left alone",
                kept_for=self.kept_extra.get(c.key, []),
            )
            for c in self.extra
        ]
        counts = {name.removesuffix("_workflows"): len(rows) for name, rows in lists.items()}
        return RestorePreview(
            **lists,
            extra_workflows=extra,
            kept_published=self.kept,
            stubs=[MissingSecret(stub.type, stub.name) for stub in self.stubs],
            problems=self.problems,
            warnings=self.warnings,
            counts={**counts, "extra": len(extra)},
            can_restore=not self.problems,
        )


#: Lists of a preview, by the action of their items.
_LISTS = {
    "new_workflows": "new",
    "updated_workflows": "updated",
    "unchanged_workflows": "unchanged",
    "skipped_workflows": "skipped",
    "left_out_workflows": "left_out",
}


def plan_restore(
    *,
    entries: Iterable[ManifestEntry],
    current: Mapping[str, CurrentWorkflow],
    options: RestoreOptions,
    ignored: Collection[str] = (),
) -> RestorePlan:
    """Compare the snapshot's ``entries`` with what is there now (by key). ``ignored`` keys are never deleted."""
    by_key = {entry.key: entry for entry in sorted(entries, key=lambda entry: entry.key)}
    chosen = [entry for key, entry in by_key.items() if options.keys is None or key in options.keys]
    plan = RestorePlan(options=options, items=[_item(entry, current.get(entry.key), options) for entry in chosen])
    if options.keys is None:
        plan.extra = [current[key] for key in sorted(current.keys() - by_key.keys() - set(ignored))]
    else:
        plan.unknown_keys = sorted(options.keys - by_key.keys())
    for key in plan.unknown_keys:
        message = f"The snapshot holds no workflow “{key}”."
        plan.problems.append(RestoreIssue(code="unknown_workflow", key=key, message=message))
    check_webhooks(plan, current)
    return plan


def _item(entry: ManifestEntry, current: CurrentWorkflow | None, options: RestoreOptions) -> RestoreItem:
    if current is None:
        action = "new"
    elif _same(entry, current):
        action = "unchanged"
    else:
        action = "updated" if options.overwrite_existing else "skipped"
    return RestoreItem(entry, action, current)


def _same(entry: ManifestEntry, current: CurrentWorkflow) -> bool:
    same_content = bool(current.content_hash) and entry.content_hash == current.content_hash
    return same_content and not effects_of(entry, current)


def effects_of(entry: ManifestEntry, current: CurrentWorkflow | None) -> list[str]:
    """What bringing an entry back does beyond writing its content."""
    return list(_effects_of_new(entry) if current is None else _effects(entry, current))


def _effects_of_new(entry: ManifestEntry) -> Iterator[str]:
    yield "It is published." if entry.active else "It stays unpublished."
    if entry.archived:
        yield "It is archived again."


def _effects(entry: ManifestEntry, current: CurrentWorkflow) -> Iterator[str]:
    if entry.content_hash != current.content_hash:
        yield "What runs is replaced." if entry.active else "The content is replaced."
    if entry.active != current.active:
        yield "It is published." if entry.active else "It is unpublished."
    if entry.archived != current.archived:
        yield "It is archived." if entry.archived else "It is unarchived."
    if entry.draft_hash != current.draft_hash:
        yield "The draft is restored." if entry.draft else "The draft in the editor is discarded; it stays in Git."
    yield from _effects_on_details(entry, current)


def _effects_on_details(entry: ManifestEntry, current: CurrentWorkflow) -> Iterator[str]:
    if entry.facts is not None and current.facts is not None:
        found = changes(current.facts, entry.facts)
        yield from (change.sentence for change in found if change.kind != "archived")
    elif set(entry.tags) != set(current.tags):
        yield "The tags are restored."


def check_webhooks(plan: RestorePlan, current: Mapping[str, CurrentWorkflow]) -> None:
    """Say which addresses more than one workflow would listen on. Safe to repeat where more stays published."""
    plan.problems = [p for p in plan.problems if p.code != "webhook_clash"]
    plan.warnings = [w for w in plan.warnings if w.code != "webhook_clash"]
    touched = {item.key for item in plan.to_write}
    running = touched | {item.key for item in plan.items if item.entry.active}
    for clash in webhook_clashes(_addresses_wanted(plan), _addresses_kept(plan, current)):
        keys = clash["keys"]
        message = f"“{clash['address']}” would be listened on by {len(keys)} active workflows: {', '.join(keys)}."
        issue = RestoreIssue(code="webhook_clash", key=keys[0], keys=list(keys), message=message)
        # As it was in the snapshot itself: an exact restore brings the clash back, and says so.
        (plan.warnings if running.issuperset(keys) else plan.problems).append(issue)


def _addresses_wanted(plan: RestorePlan) -> dict[str, list[str]]:
    """By key, what the workflows that are written and run will listen on."""
    return {item.key: item.entry.webhooks for item in plan.to_write if item.entry.active or item.kept_for}


def _addresses_kept(plan: RestorePlan, current: Mapping[str, CurrentWorkflow]) -> dict[str, tuple[str, ...]]:
    """By key, what the workflows that run on untouched listen on."""
    touched = plan.touched
    return {key: c.webhooks for key, c in current.items() if c.active and key not in touched}
