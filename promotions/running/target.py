"""The target as it is right now: every workflow by hash, read off n8n. The yardstick of every proof."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operations.engine import Run
from snapshots.capture import Gathered
from snapshots.manifest import draft_in
from workflows.content import ContentError, Fingerprint, draft_of, fingerprint, is_archived, portable
from workflows.n8n.client import N8nClient
from workflows.references import called_workflows
from workflows.writes import Resolver


@dataclass(slots=True)
class Live:
    """One workflow as it is now; ``content`` only where it was asked for. ``calls``: n8n ids of what it calls."""

    env_workflow_id: str
    name: str
    active: bool
    mark: Fingerprint
    content: dict[str, Any] | None = None
    draft: Fingerprint | None = None
    draft_content: dict[str, Any] | None = None
    archived: bool = False
    calls: tuple[str, ...] = ()


@dataclass(slots=True)
class Reading:
    """All workflows of an environment at one moment, by n8n id."""

    workflows: dict[str, Live] = field(default_factory=dict)

    def hash_of(self, env_workflow_id: str, resolver: Resolver) -> str | None:
        """The content hash, or None where there is no such workflow."""
        live = self.workflows.get(env_workflow_id)
        return resolver.hash_of(live.mark) if live is not None else None

    def draft_hash_of(self, env_workflow_id: str, resolver: Resolver) -> str | None:
        """The hash of the draft beside what runs, or None where there is none that holds something else."""
        live = self.workflows.get(env_workflow_id)
        if live is None or live.draft is None:
            return None
        found = resolver.hash_of(live.draft)
        return found if found != resolver.hash_of(live.mark) else None


def reading_of(gathered: Gathered) -> Reading:
    """The same of a look that put the contents into Git."""
    return Reading(
        {
            there: Live(there, seen.name, seen.active, seen.fingerprint, draft=seen.draft, archived=seen.facts.archived)
            for there, seen in gathered.seen.items()
        }
    )


def read_target(
    run: Run, client: N8nClient, *, keep: Collection[str] = (), keep_new: Collection[str] | None = None
) -> Reading:
    """Read the whole list. Contents are kept of the ids in ``keep``, and of all that are not in ``keep_new``.

    What cannot be read is left out, as captures leave it out: one broken workflow must not keep others from being
    put back.
    """
    reading = Reading()
    for raw in client.iter_workflows(exclude_pinned_data=True):
        run.check()
        there = raw["id"]
        try:
            content, draft = portable(raw), draft_of(raw)
            mark = fingerprint(content)
            draft_mark = fingerprint(draft) if draft is not None else None
        except ContentError:
            continue
        wanted = there in keep or (keep_new is not None and there not in keep_new)
        reading.workflows[there] = Live(
            there,
            content["name"],
            bool(raw.get("active")),
            mark,
            content if wanted else None,
            draft_mark if draft_mark != mark else None,
            draft if wanted else None,
            is_archived(raw),
            tuple(called_workflows(content)) if mark.workflow_refs else (),
        )
    return reading


@dataclass(slots=True)
class Difference:
    """Where a reading is not what a manifest says."""

    env_workflow_id: str
    key: str
    name: str
    what: str  # content | activation | archived | draft | missing | extra
    expected: str | None
    found: str | None

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def draft_hash_in(entry: Mapping[str, Any]) -> str | None:
    """The hash of the draft that a manifest's entry has beside what ran."""
    draft = draft_in(entry)
    return draft.content_hash if draft is not None else None


def differences(
    reading: Reading, manifest: Iterable[Mapping[str, Any]], resolver: Resolver, *, leave_out: Collection[str] = ()
) -> tuple[int, list[Difference]]:
    """Compare every workflow with a snapshot's manifest: how many are equal, and what is not.

    ``leave_out`` are n8n ids that are judged elsewhere.
    """
    equal = 0
    found: list[Difference] = []
    expected_ids = set()
    for entry in manifest:
        there = str(entry["env_workflow_id"])
        expected_ids.add(there)
        if there in leave_out:
            continue
        live = reading.workflows.get(there)
        key, name = str(entry["key"]), str(entry.get("name") or "")
        expected = str(entry["content_hash"])
        if live is None:
            found.append(Difference(there, key, name, "missing", expected, None))
            continue
        now = resolver.hash_of(live.mark)
        if now != expected:
            found.append(Difference(there, key, name, "content", expected, now))
        elif live.active != bool(entry.get("active")):
            found.append(Difference(there, key, name, "activation", str(bool(entry.get("active"))), str(live.active)))
        elif live.archived != bool(entry.get("archived")):
            was = str(bool(entry.get("archived")))
            found.append(Difference(there, key, name, "archived", was, str(live.archived)))
        elif (draft := reading.draft_hash_of(there, resolver)) != draft_hash_in(entry):
            found.append(Difference(there, key, name, "draft", draft_hash_in(entry), draft))
        else:
            equal += 1
    for there, live in reading.workflows.items():
        if there not in expected_ids and there not in leave_out:
            found.append(Difference(there, "", live.name, "extra", None, resolver.hash_of(live.mark)))
    return equal, found
