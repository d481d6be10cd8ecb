"""The target as it is right now: every workflow by hash, read from n8n. Every proof compares with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core import clock
from operations.engine import Run
from snapshots.capture import Gathered
from snapshots.manifest import draft_in
from workflows.content import ContentError, Fingerprint, draft_of, fingerprint, is_archived, portable
from workflows.identity import SeenWorkflow, seen_workflow
from workflows.models import Environment, MapStatus, WorkflowEnvMap
from workflows.n8n.client import N8nClient
from workflows.recording import record_seen
from workflows.references import called_workflows
from workflows.writes import Resolver

from .documents import Difference


@dataclass(slots=True)
class Live:
    """One workflow as it is now; ``content`` only where it was asked for. ``calls``: n8n ids of what it calls."""

    env_workflow_id: str
    name: str
    active: bool
    fingerprint: Fingerprint
    content: dict[str, Any] | None = None
    draft: Fingerprint | None = None
    draft_content: dict[str, Any] | None = None
    archived: bool = False
    calls: tuple[str, ...] = ()


@dataclass(slots=True)
class Reading:
    """All workflows of an environment at one moment, by n8n id. ``seen``: those that were to be looked at closely.

    ``unreadable`` are n8n ids of what is there and is no workflow.
    """

    workflows: dict[str, Live] = field(default_factory=dict)
    seen: list[SeenWorkflow] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)

    def hash_of(self, env_workflow_id: str, resolver: Resolver) -> str | None:
        """The content hash, or None where there is no such workflow."""
        live = self.workflows.get(env_workflow_id)
        return resolver.hash_of(live.fingerprint) if live is not None else None

    def draft_hash_of(self, env_workflow_id: str, resolver: Resolver) -> str | None:
        """The hash of the draft beside what runs, or None where there is none that holds something else."""
        live = self.workflows.get(env_workflow_id)
        if live is None or live.draft is None:
            return None
        found = resolver.hash_of(live.draft)
        return found if found != resolver.hash_of(live.fingerprint) else None


def reading_of(gathered: Gathered) -> Reading:
    """The same of a reading that put the contents into Git."""
    return Reading(
        {
            there: Live(there, seen.name, seen.active, seen.fingerprint, draft=seen.draft, archived=seen.facts.archived)
            for there, seen in gathered.seen.items()
        }
    )


def read_back(run: Run, client: N8nClient, target: Environment, touched: Collection[str]) -> Reading:
    """Read the whole list, and let the mapping of what was touched (n8n ids) say what stands there now."""
    run.progress(len(touched), len(touched), "Reading the target back")
    reading = read_target(run, client, look_at=touched)
    gone = set(touched) - reading.workflows.keys() - reading.unreadable
    with run.fenced():
        now = clock.now()
        record_seen(
            tenant_id=target.tenant_id, environment_id=target.pk, seen=reading.seen, captured_at=now, unread=None
        )
        missing = WorkflowEnvMap.objects.filter(environment_id=target.pk, env_workflow_id__in=gone)
        missing.filter(status__in=[MapStatus.LINKED, MapStatus.UNMAPPED]).update(
            status=MapStatus.MISSING, updated_at=now
        )
    return reading


def read_target(
    run: Run,
    client: N8nClient,
    *,
    keep: Collection[str] = (),
    keep_new: Collection[str] | None = None,
    look_at: Collection[str] = (),
) -> Reading:
    """Read the whole list. Contents are kept of the ids in ``keep``, and of all that are not in ``keep_new``; those of
    ``look_at`` are seen as a capture would see them.

    What cannot be read is left out, as captures leave it out: one broken workflow must not keep others from being
    restored.
    """
    reading = Reading()
    for raw in client.iter_workflows(exclude_pinned_data=True):
        run.check()
        there = raw["id"]
        try:
            content, draft = portable(raw), draft_of(raw)
            of_content = fingerprint(content)
            of_draft = fingerprint(draft) if draft is not None else None
        except ContentError:
            reading.unreadable.add(there)
            continue
        wanted = there in keep or (keep_new is not None and there not in keep_new)
        reading.workflows[there] = Live(
            there,
            content["name"],
            bool(raw.get("active")),
            of_content,
            content if wanted else None,
            of_draft if of_draft != of_content else None,
            draft if wanted else None,
            is_archived(raw),
            tuple(called_workflows(content)) if of_content.workflow_refs else (),
        )
        if there in look_at:
            reading.seen.append(seen_workflow(raw, content))
    return reading


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
    entries = {str(entry["env_workflow_id"]): entry for entry in manifest}
    compared = {there: entry for there, entry in entries.items() if there not in leave_out}
    found = [_difference(entry, reading, resolver) for entry in compared.values()]
    differ = [one for one in found if one is not None]
    extra = [
        Difference(
            env_workflow_id=there,
            key="",
            name=live.name,
            what="extra",
            expected=None,
            found=resolver.hash_of(live.fingerprint),
        )
        for there, live in reading.workflows.items()
        if there not in entries and there not in leave_out
    ]
    return len(compared) - len(differ), [*differ, *extra]


def _difference(entry: Mapping[str, Any], reading: Reading, resolver: Resolver) -> Difference | None:
    """The first thing in which a workflow is not as the manifest's entry says; None where it is."""
    there = str(entry["env_workflow_id"])
    for what, expected, found in _compared(entry, reading, resolver):
        if expected != found:
            return Difference(
                env_workflow_id=there,
                key=str(entry["key"]),
                name=str(entry.get("name") or ""),
                what=what,
                expected=_as_text(expected),
                found=_as_text(found),
            )
    return None


def _compared(
    entry: Mapping[str, Any], reading: Reading, resolver: Resolver
) -> Iterator[tuple[str, str | bool | None, str | bool | None]]:
    """What is compared, in this order, with what is expected and what was found."""
    there, expected = str(entry["env_workflow_id"]), str(entry["content_hash"])
    live = reading.workflows.get(there)
    if live is None:
        yield "missing", expected, None
        return
    yield "content", expected, resolver.hash_of(live.fingerprint)
    yield "activation", bool(entry.get("active")), live.active
    yield "archived", bool(entry.get("archived")), live.archived
    yield "draft", draft_hash_in(entry), reading.draft_hash_of(there, resolver)


def _as_text(value: str | bool | None) -> str | None:
    return str(value) if isinstance(value, bool) else value
