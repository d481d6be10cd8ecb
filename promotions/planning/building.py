"""Computes the plan of a promotion: what is done to each workflow, and what speaks against it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from snapshots.models import Snapshot
from workflows.calling import can_be_active, needs_published_callees
from workflows.models import Environment
from workflows.normalization import NORMALIZATION_VERSION
from workflows.references import references

from . import needs
from .called_workflows import Callers, keep_called, publish_called
from .documents import (
    Action,
    Counts,
    MissingReference,
    Plan,
    PlanItem,
    PlannedEnvironment,
    PlannedSource,
    PlannedTarget,
    PlanWarning,
    ProposedWorkflow,
    Reached,
)
from .inputs import PlanInputs
from .mapping import keys_in_target, map_workflow, target_ids
from .offers import complete_offers
from .options import ActivePolicy, Options, SourceVersion
from .warnings import WARNINGS_SHOWN, Subject, other_settings, warnings_of, with_webhook_clashes

#: Manifest entry and portable content of workflows, by key.
Contents = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
Load = Callable[[Iterable[str]], Contents]
#: Webhook addresses of the active workflows of the target, by key.
Listening = Callable[[], Mapping[str, list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """What is read while the plan is computed, only as far as it is needed."""

    source: Load
    listening: Listening
    callers: Callers


def build_plan(
    inputs: PlanInputs,
    *,
    keys: Sequence[str],
    options: Options,
    readers: Readers,
    now: datetime,
    reached: Reached = Reached(),  # noqa: B008 - frozen
) -> Plan:
    """Compute the plan for ``keys``, to which required sub-workflows are added if the options say so.

    Nothing is raised for what speaks against it: ``dangling`` and ``unknown_keys`` are in the plan and are refused
    at submission.
    """
    selection = _select(inputs, keys, options, readers.source)
    inputs = replace(inputs, repairs=options.repair)
    items, missing = _items(inputs, selection, options)
    items = keep_called(inputs, items, selection.may_run, readers.callers)
    items, unpublished = publish_called(inputs, items, selection.may_run)
    ordered = _in_order(_with_clashes(inputs, items, readers.listening))
    can_create = inputs.target_surroundings.creates_credentials
    return Plan(
        normalization_version=NORMALIZATION_VERSION,
        source=_environment(inputs.source.environment, inputs.source.captured()),
        target=_environment(inputs.target.environment, inputs.target.captured()),
        options=options,
        items=tuple(ordered),
        dangling=tuple(complete_offers([*missing, *unpublished], creates_credentials=can_create)),
        scopes=needs.check_scopes(inputs.target_surroundings, ordered),
        reached=reached,
        unknown_keys=selection.unknown,
        missing_contents=selection.missing_contents,
        proposed=_proposed(inputs, selection),
        counts=_counts(ordered),
        planned_at=now.isoformat(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which workflows are in the plan. ``required`` are sub-workflows that the target lacks, by who needs them."""

    contents: Contents
    chosen: tuple[str, ...]
    unknown: tuple[str, ...]
    selected: tuple[str, ...]
    added: frozenset[str]
    required: Mapping[str, set[str]]
    may_run: Mapping[str, bool]

    @property
    def missing_contents(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.chosen) - set(self.contents)))

    def added_for(self, key: str) -> tuple[str, ...]:
        """Who needs it, where it was not chosen but added."""
        return tuple(sorted(self.required[key])) if key in self.added and key not in self.chosen else ()


def _select(inputs: PlanInputs, keys: Sequence[str], options: Options, load_source: Load) -> Selection:
    known = {key for key, workflow in inputs.source.workflows.items() if not workflow.is_ignored}
    wanted = list(dict.fromkeys(keys))
    chosen = tuple(key for key in wanted if key in known)
    contents = dict(load_source(chosen))
    required = _required(inputs, contents, load_source)
    added = frozenset(required) if options.include_required else frozenset[str]()
    selected = tuple(sorted({*contents} & {*chosen, *added}))
    called_count = needs_published_callees(inputs.target.environment)
    return Selection(
        contents=contents,
        chosen=chosen,
        unknown=tuple(key for key in wanted if key not in known),
        selected=selected,
        added=added,
        required=required,
        may_run={key: _may_run(contents[key][1], options, called_count=called_count) for key in selected},
    )


def _may_run(content: Mapping[str, Any], options: Options, *, called_count: bool) -> bool:
    """Whether n8n would publish it: by its triggers, or because it publishes the very same in the source.

    n8n counts more than triggers: a node that can wait for an answer (Slack, Gmail, Wait) listens for it, too.
    """
    if can_be_active(content, called_count=called_count):
        return True
    runs_there = bool(content.get("active")) and options.version == "published"
    return runs_there and not can_be_active(content, called_count=True)


def _required(inputs: PlanInputs, contents: dict[str, Any], load_source: Load) -> dict[str, set[str]]:
    """Sub-workflows that the target lacks, and who needs them; loads their contents into ``contents``."""
    needed: dict[str, set[str]] = {}
    todo = list(contents)
    while todo:
        found: dict[str, set[str]] = {}
        for key in todo:
            for called in _calls_missing_in_target(inputs, key, contents[key][1]):
                found.setdefault(called, set()).add(key)
        for called, by in found.items():
            needed.setdefault(called, set()).update(by)
        fresh = [key for key in found if key not in contents and not inputs.source.workflows[key].is_ignored]
        contents.update(load_source(fresh) if fresh else {})
        todo = [key for key in fresh if key in contents]
    return needed


def _calls_missing_in_target(inputs: PlanInputs, key: str, content: Mapping[str, Any]) -> Iterable[str]:
    keys = inputs.source.key_by_id
    for ref in references(content):
        if ref.kind != "workflow" or ref.path == "settings.callerIds":
            continue
        called = keys.get(ref.value)
        if called is not None and called != key and called not in inputs.target.workflows:
            yield called


def _items(
    inputs: PlanInputs, selection: Selection, options: Options
) -> tuple[dict[str, PlanItem], list[MissingReference]]:
    """An item for each workflow, and what is missing for it."""
    creating = frozenset(key for key in selection.selected if key not in inputs.target.workflows)
    workflow_ids, target_keys = target_ids(inputs, creating), keys_in_target(inputs, creating)
    names = {w.env_workflow_id: f"the workflow “{w.name}”" for w in inputs.source.workflows.values()}
    items: dict[str, PlanItem] = {}
    missing: list[MissingReference] = []
    for key in selection.selected:
        entry, content = selection.contents[key]
        mapped = map_workflow(content, inputs=inputs, workflow_ids=workflow_ids, keys=target_keys)
        subject = Subject(
            here=inputs.source.workflows[key],
            there=inputs.target.workflows.get(key),
            entry=entry,
            content=content,
            mapped=mapped,
        )
        verdict = needs.judge(content, mapped, inputs, hosts=inputs.hosts, ids=names)
        item = _item(inputs, subject, options, may_run=selection.may_run[key])
        items[key] = msgspec.structs.replace(
            item,
            added_for=selection.added_for(key),
            needs=tuple(verdict.needs),
            warnings=(*item.warnings, *verdict.warnings)[:WARNINGS_SHOWN],
        )
        missing += [
            msgspec.structs.replace(found, workflow_key=key, workflow_name=item.name)
            for found in (*mapped.dangling, *verdict.dangling)
        ]
    return items, missing


def _item(inputs: PlanInputs, subject: Subject, options: Options, *, may_run: bool) -> PlanItem:
    here, there, mapped, content = subject.here, subject.there, subject.mapped, subject.content
    wished = _wished_active(options, subject)
    active = wished and may_run
    action = _action(inputs, subject, active)
    warnings = [*warnings_of(subject, inputs), *_about_publishing(subject, action, wished=wished, active=active)]
    return PlanItem(
        key=here.key,
        name=str(content.get("name") or ""),
        action=action,
        source=_source(subject),
        target=_target(subject),
        expected_hash=there.content_hash if there else None,
        expected_draft_hash=there.draft_hash if there else None,
        wanted_hash=mapped.wanted_hash,
        active=active,
        tags=tuple(sorted(there.tags if there else content.get("tags") or ())),
        credentials=mapped.credentials,
        workflows=mapped.workflows,
        data_tables=mapped.data_tables,
        depends_on=tuple(sorted({w.key for w in mapped.workflows if w.key and w.key != here.key})),
        webhooks=mapped.webhooks,
        node_count=here.node_count,
        warnings=tuple(warnings[:WARNINGS_SHOWN]),
    )


def _source(subject: Subject) -> PlannedSource:
    entry = subject.entry
    return PlannedSource(
        env_workflow_id=subject.here.env_workflow_id,
        content_hash=entry.get("content_hash") or subject.here.content_hash,
        blob=entry.get("blob"),
        active=bool(subject.content.get("active")),
        version=str(entry.get("version") or SourceVersion.PUBLISHED),
    )


def _target(subject: Subject) -> PlannedTarget | None:
    there = subject.there
    if there is None:
        return None
    return PlannedTarget(
        env_workflow_id=there.env_workflow_id, name=there.name, active=there.active, archived=there.is_archived
    )


def _wished_active(options: Options, subject: Subject) -> bool:
    """Whether it is to be published, as far as the choice goes."""
    if options.active == ActivePolicy.KEEP:
        return bool(subject.there and subject.there.active)
    return options.active == ActivePolicy.COPY and bool(subject.content.get("active"))


def _action(inputs: PlanInputs, subject: Subject, active: bool) -> Action:
    there = subject.there
    if there is None:
        return "create"
    same = there.content_hash == subject.mapped.wanted_hash and there.active == active and not there.is_archived
    return "unchanged" if same and not other_settings(inputs, there, subject.content) else "update"


def _about_publishing(subject: Subject, action: Action, *, wished: bool, active: bool) -> Iterable[PlanWarning]:
    if wished and not active:
        text = "It has no trigger, so n8n cannot publish it: it stays unpublished."
        yield PlanWarning(code="no_trigger", message=text)
    if action == "create" and not active and subject.content.get("active"):
        text = "New in the target: it is created unpublished."
        yield PlanWarning(code="starts_inactive", message=text)


def _environment(environment: Environment, snapshot: Snapshot) -> PlannedEnvironment:
    return PlannedEnvironment(
        environment_id=str(environment.pk),
        slug=environment.slug,
        name=environment.name,
        snapshot_id=str(snapshot.pk),
        commit=snapshot.git_commit_sha,
        captured_at=snapshot.created_at.isoformat(),
    )


def _proposed(inputs: PlanInputs, selection: Selection) -> tuple[ProposedWorkflow, ...]:
    return tuple(
        ProposedWorkflow(key=key, name=inputs.source.workflows[key].name, needed_by=tuple(sorted(by)))
        for key, by in sorted(selection.required.items())
        if key not in selection.selected
    )


def _counts(items: Iterable[PlanItem]) -> Counts:
    actions = [item.action for item in items]
    return Counts(**{action: actions.count(action) for action in ("create", "update", "unchanged")})


def _with_clashes(inputs: PlanInputs, items: Mapping[str, PlanItem], listening: Listening) -> dict[str, PlanItem]:
    if not any(item.active and item.webhooks for item in items.values()):
        return dict(items)
    names = {key: workflow.name for key, workflow in inputs.target.workflows.items()}
    names |= {key: item.name for key, item in items.items()}
    return {item.key: item for item in with_webhook_clashes(items.values(), names, listening())}


def _in_order(items: Mapping[str, PlanItem]) -> list[PlanItem]:
    """Called workflows before their callers; a circle is broken at its first by name."""
    ordered: dict[str, PlanItem] = {}
    for start in sorted(items):
        stack: list[tuple[str, bool]] = [(start, False)]
        open_keys: set[str] = set()
        while stack:
            key, leaving = stack.pop()
            if leaving:
                ordered.setdefault(key, items[key])
                continue
            if key in ordered or key in open_keys:
                continue
            open_keys.add(key)
            stack.append((key, True))
            stack += [(called, False) for called in reversed(items[key].depends_on) if called in items]
    return list(ordered.values())
