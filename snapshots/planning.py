"""What a restore would do: pure, from two manifests and the contents concerned.

A plan is computed, never stored: the same snapshot, the same capture taken before and the same options give
the same plan, so a restore that is begun again after a crash goes on with the one it had.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from workflows.calling import because_called, kept_published, stays_published
from workflows.facts import Facts, changes
from workflows.references import CredentialRef
from workflows.writes import webhook_clashes

from .manifest import calls_in, draft_in, facts_in, ran_something_else


@dataclass(frozen=True, slots=True)
class Current:
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
    def from_entry(cls, entry: Mapping[str, Any]) -> Current:
        """From an entry of a manifest."""
        return cls(
            key=str(entry["key"]),
            name=str(entry.get("name") or ""),
            env_workflow_id=str(entry.get("env_workflow_id") or ""),
            content_hash=str(entry.get("content_hash") or ""),
            active=bool(entry.get("active")),
            webhooks=tuple(entry.get("webhooks") or ()),
            tags=tuple(entry.get("tags") or ()),
            draft_hash=draft.content_hash if (draft := draft_in(entry)) is not None else None,
            archived=bool(entry.get("archived")),
            facts=facts_in(entry),
            calls=tuple(calls_in(entry)),
        )


SWITCHES = ("skip_validation", "stubs", "repair", "leave_out")
"""Options that are off unless chosen."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person chose. ``keys`` None: every workflow of the snapshot.

    ``stubs``: credentials that are missing are made without their secrets. ``repair``: what n8n refuses and nothing
    needs is taken away. ``leave_out``: what cannot be restored is left out by name, and the rest is restored.
    """

    keys: frozenset[str] | None = None
    overwrite_existing: bool = True
    delete_extra: bool = False
    skip_validation: bool = False
    stubs: bool = False
    repair: bool = False
    leave_out: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Options:
        keys = params.get("keys")
        return cls(
            keys=frozenset(keys) if keys is not None else None,
            overwrite_existing=bool(params.get("overwrite_existing", True)),
            delete_extra=bool(params.get("delete_extra", False)),
            **{name: bool(params.get(name, False)) for name in SWITCHES},
        )


@dataclass(frozen=True, slots=True)
class Planned:
    """One workflow of the snapshot.

    ``action``: new, updated, unchanged, skipped (``overwrite_existing`` is off) or left_out (``why``). ``held`` says
    why it is not published, though it was; ``kept_for`` names who calls it, so that it stays published though it was
    not.
    """

    key: str
    name: str
    action: str
    entry: Mapping[str, Any]
    current: Current | None
    held: str = ""
    why: tuple[str, ...] = ()
    kept_for: tuple[str, ...] = ()

    @property
    def wanted(self) -> Mapping[str, Any]:
        """The entry as it is to be afterwards."""
        if self.kept_for:
            return stays_published(self.entry)
        # A draft stands beside what is published only; it stays in Git until then.
        return {**self.entry, "active": False, "draft": None} if self.held else self.entry

    @property
    def label(self) -> str:
        return self.name or self.key

    def to_dict(self) -> dict[str, Any]:
        """JSON for previews and reports."""
        current = self.current
        return {
            "key": self.key,
            "name": self.name,
            "action": self.action,
            "env_workflow_id": current.env_workflow_id if current else None,
            "snapshot_workflow_id": self.entry.get("env_workflow_id"),
            "content_hash": self.entry.get("content_hash"),
            "current_hash": current.content_hash if current else None,
            "active": bool(self.wanted.get("active")),
            "current_active": current.active if current else None,
            "current_name": current.name if current else None,
            "archived": bool(self.wanted.get("archived")),
            "current_archived": current.archived if current else None,
            "has_draft": draft_in(self.entry) is not None,
            "current_has_draft": bool(current and current.draft_hash),
            "effects": self.effects,
            "held": self.held,
            "kept_for": list(self.kept_for),
            "why": list(self.why),
        }

    @property
    def is_done(self) -> bool:
        """Whether it is there already as it is wanted."""
        there = self.current
        return there is not None and _same(self.wanted, there)

    @property
    def only_content_differs(self) -> bool:
        """Whether nothing would be done to it but to write its content."""
        there = self.current
        return there is not None and not effects_of({**self.wanted, "content_hash": there.content_hash}, there)

    @property
    def effects(self) -> list[str]:
        """What would happen to it, fact by fact, for a person."""
        if self.action not in ("new", "updated"):
            return []
        kept = f"It stays published, {because_called(self.kept_for)}." if self.kept_for else ""
        return [*effects_of(self.wanted, self.current), *filter(None, (self.held, kept))]


@dataclass(frozen=True, slots=True)
class Lost:
    """A credential to be made without its secret. ``known_by``: the id, or the name, that contents know it by.

    ``keeps_id``: it gets the id that it had. ``also``: what else is known by its type and name alone, and means it.
    """

    type: str
    name: str
    known_by: str
    keeps_id: bool
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class Plan:
    """The whole of it. ``problems`` stop the restore unless validation is switched off; ``warnings`` do not."""

    items: list[Planned] = field(default_factory=list)
    extra: list[Current] = field(default_factory=list)
    unknown_keys: list[str] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    credentials: dict[tuple[str, str], CredentialRef] = field(default_factory=dict)
    stubs: list[Lost] = field(default_factory=list)
    options: Options = field(default_factory=Options)
    kept_extra: dict[str, list[str]] = field(default_factory=dict)
    """By key, who calls what is not in the snapshot and so is not deleted."""

    def of(self, *actions: str) -> list[Planned]:
        """The items with one of the actions."""
        return [item for item in self.items if item.action in actions]

    @property
    def to_write(self) -> list[Planned]:
        return self.of("new", "updated")

    @property
    def held(self) -> dict[str, str]:
        """By key, why a workflow that ran is brought back, or stays, unpublished."""
        return {item.key: item.held for item in self.of("new", "updated", "unchanged") if item.held}

    def change(self, key: str, **values: Any) -> None:
        """Replace facts of one item."""
        self.items = [replace(item, **values) if item.key == key else item for item in self.items]

    @property
    def to_delete(self) -> list[Current]:
        return [c for c in self.extra if c.key not in self.kept_extra] if self.options.delete_extra else []

    @property
    def kept(self) -> list[dict[str, Any]]:
        """What stays published, or there at all, because something that runs calls it."""
        rows: list[dict[str, Any]] = []
        rows += [{"key": item.key, "name": item.name, "kept_for": list(item.kept_for)} for item in self.items]
        rows += [{"key": c.key, "name": c.name, "kept_for": self.kept_extra.get(c.key)} for c in self.extra]
        return kept_published(rows)

    def to_dict(self) -> dict[str, Any]:
        """The shape that the API's ``.preview`` has."""
        lists = {
            "new_workflows": [i.to_dict() for i in self.of("new")],
            "updated_workflows": [i.to_dict() for i in self.of("updated")],
            "unchanged_workflows": [i.to_dict() for i in self.of("unchanged")],
            "skipped_workflows": [i.to_dict() for i in self.of("skipped")],
            "left_out_workflows": [i.to_dict() for i in self.of("left_out")],
            "extra_workflows": [
                {
                    "key": c.key,
                    "name": c.name,
                    "env_workflow_id": c.env_workflow_id,
                    "active": c.active,
                    "effect": "deleted" if c in self.to_delete else "left alone",
                    "kept_for": self.kept_extra.get(c.key, []),
                }
                for c in self.extra
            ],
        }
        return {
            **lists,
            "kept_published": self.kept,
            "stubs": [{"type": lost.type, "name": lost.name} for lost in self.stubs],
            "problems": self.problems,
            "warnings": self.warnings,
            "counts": {name.removesuffix("_workflows"): len(rows) for name, rows in lists.items()},
            "can_restore": not self.problems,
        }


def plan_restore(
    *,
    entries: Iterable[Mapping[str, Any]],
    current: Mapping[str, Current],
    options: Options,
    ignored: Collection[str] = (),
) -> Plan:
    """Compare the snapshot's ``entries`` with what is there now (by key). ``ignored`` keys are never deleted."""
    plan = Plan(options=options)
    known = set()
    for entry in sorted(entries, key=lambda e: str(e["key"])):
        key = str(entry["key"])
        known.add(key)
        if options.keys is not None and key not in options.keys:
            continue
        there = current.get(key)
        name = str(entry.get("name") or "")
        if there is None:
            action = "new"
        elif _same(entry, there):
            action = "unchanged"
        else:
            action = "updated" if options.overwrite_existing else "skipped"
        plan.items.append(Planned(key, name, action, entry, there))
    if options.keys is not None:
        plan.unknown_keys = sorted(options.keys - known)
        plan.problems += [
            {"code": "unknown_workflow", "key": key, "message": f"The snapshot holds no workflow “{key}”."}
            for key in plan.unknown_keys
        ]
    else:
        plan.extra = sorted(
            (c for key, c in current.items() if key not in known and key not in ignored), key=lambda c: c.key
        )
    check_webhooks(plan, current)
    return plan


def _same(entry: Mapping[str, Any], there: Current) -> bool:
    return bool(there.content_hash) and entry.get("content_hash") == there.content_hash and not effects_of(entry, there)


def effects_of(entry: Mapping[str, Any], there: Current | None) -> list[str]:
    """What bringing an entry back does beyond writing its content."""
    draft, published, archived = draft_in(entry), bool(entry.get("active")), bool(entry.get("archived"))
    if there is None:
        told = ["It is published." if published else "It stays unpublished."]
        return [*told, "It is archived again."] if archived else told
    told = []
    if entry.get("content_hash") != there.content_hash:
        told.append("What runs is replaced." if published else "The content is replaced.")
    if published != there.active:
        told.append("It is published." if published else "It is unpublished.")
    if archived != there.archived:
        told.append("It is archived." if archived else "It is taken out of the archive.")
    if (draft.content_hash if draft else None) != there.draft_hash:
        told.append("The draft is put back." if draft else "The draft in the editor is discarded; it stays in Git.")
    facts = facts_in(entry)
    if facts is not None and there.facts is not None:
        told += [change.sentence for change in changes(there.facts, facts) if change.kind != "archived"]
    elif set(entry.get("tags") or ()) != set(there.tags):
        told.append("The tags are put back.")
    return told


def check_facts(plan: Plan, offers: Mapping[str, bool]) -> None:
    """Say what the instance cannot give back: residues as warnings, a refusal where nothing else is safe."""
    for item in plan.to_write:
        there, name = item.current, item.name or item.key
        if there is not None and there.archived and not item.entry.get("archived") and not offers.get("unarchive"):
            plan.problems.append(
                {
                    "code": "archived",
                    "key": item.key,
                    "message": f"“{name}” is archived in n8n, and this version cannot take it out by its API:"
                    " unarchive it in n8n, or leave it out.",
                }
            )
        if item.entry.get("archived") and not (there and there.archived) and not offers.get("archive"):
            message = f"“{name}” was archived; this version of n8n does not archive by its API: it stays unpublished."
            plan.warnings.append({"code": "not_archived", "key": item.key, "message": message})
        folder = facts.folder if (facts := facts_in(item.entry)) is not None else None
        has = there.facts.folder if there is not None and there.facts is not None else None
        if folder not in (None, has) and not offers.get("move_to_folder"):
            message = (
                f"“{name}” lay in another folder; this n8n, or its licence, moves nothing there: it stays where it is."
            )
            plan.warnings.append({"code": "folder", "key": item.key, "message": message})
        if draft_in(item.entry) is not None and not offers.get("stage"):
            message = (
                f"To put the draft of “{name}” back, this n8n unpublishes it for a moment: calls meanwhile are lost."
                if offers.get("activate_version")
                else f"This n8n keeps no draft beside what runs: that of “{name}” stays in Git."
            )
            plan.warnings.append({"code": "draft", "key": item.key, "message": message})
        if ran_something_else(item.entry):
            message = (
                f"The snapshot holds only the draft of “{name}”; what ran then was another version that was not kept."
            )
            plan.warnings.append({"code": "draft_only", "key": item.key, "message": message})


def check_webhooks(plan: Plan, current: Mapping[str, Current]) -> None:
    """Say which addresses more than one workflow would listen on. Safe to repeat where more stays published."""
    plan.problems = [p for p in plan.problems if p["code"] != "webhook_clash"]
    plan.warnings = [w for w in plan.warnings if w["code"] != "webhook_clash"]
    touched = {item.key for item in plan.to_write}
    gone = {c.key for c in plan.to_delete}
    wanted = {i.key: i.entry.get("webhooks") or () for i in plan.to_write if i.entry.get("active") or i.kept_for}
    present = {k: c.webhooks for k, c in current.items() if c.active and k not in touched and k not in gone}
    for clash in webhook_clashes(wanted, present):
        keys = clash["keys"]
        found = {
            "code": "webhook_clash",
            "key": keys[0],
            "keys": keys,
            "message": f"“{clash['address']}” would be listened on by {len(keys)} active workflows: {', '.join(keys)}.",
        }
        # As it was in the snapshot itself: an exact restore brings the clash back, and says so.
        as_it_was = all(key in touched or _in_snapshot(plan, key) for key in keys)
        (plan.warnings if as_it_was else plan.problems).append(found)


def _in_snapshot(plan: Plan, key: str) -> bool:
    return any(item.key == key and item.entry.get("active") for item in plan.items)
