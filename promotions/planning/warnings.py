"""What a person should know of a workflow in a plan, and what stops nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from core.wording import counted
from snapshots.manifest import ran_something_else
from workflows.content import warnings as content_warnings
from workflows.facts import Facts as WorkflowFacts
from workflows.facts import changes, facts_of
from workflows.models import MapStatus
from workflows.normalization import STICKY
from workflows.writes import webhook_clashes

from .documents import PlanItem, PlanWarning
from .inputs import PlanInputs, WorkflowState
from .mapping import Mapped
from .options import SourceVersion

WARNINGS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One workflow of a plan: as the source has it (``here``), and as the target has it (``there``, if it does)."""

    here: WorkflowState
    there: WorkflowState | None
    entry: Mapping[str, Any]
    content: Mapping[str, Any]
    mapped: Mapped


def warnings_of(subject: Subject, inputs: PlanInputs) -> list[PlanWarning]:
    """All of them, the target's copy first."""
    return [
        *_about_the_copy(subject.there),
        *_about_the_counterpart(subject, inputs),
        *_about_the_version(subject),
        *_about_the_target_draft(subject.there),
        *_about_the_source(subject),
        *_about_settings(subject, inputs),
        *_about_references(subject.mapped),
        *(
            PlanWarning(code=one["code"], message=one["message"], node=one.get("node", ""))
            for one in content_warnings(subject.content)
        ),
    ]


def _about_the_copy(there: WorkflowState | None) -> Iterator[PlanWarning]:
    if there is None:
        return
    if there.is_drifted:
        text = "The target's copy is not as approved: that change would be overwritten."
        yield PlanWarning(code="drifted", message=text)
    if there.is_ignored:
        yield PlanWarning(code="ignored", message="The target's copy is marked as ignored.")


def _about_the_counterpart(subject: Subject, inputs: PlanInputs) -> Iterator[PlanWarning]:
    if subject.there is not None:
        return
    if subject.here.status == MapStatus.UNMAPPED:
        text = "Its counterpart was never confirmed: look whether the target has one of the same name."
        yield PlanWarning(code="unconfirmed", message=text)
    elif any(other.name == subject.here.name for other in inputs.target.workflows.values()):
        text = "The target has another workflow of the same name; this one will be created beside it."
        yield PlanWarning(code="namesake", message=text)


def _about_the_version(subject: Subject) -> Iterator[PlanWarning]:
    if subject.entry.get("version") == SourceVersion.DRAFT:
        yield PlanWarning(code="draft", message="Its draft is promoted, not what is published in the source.")
    elif subject.here.draft_hash is not None:
        yield PlanWarning(code="source_draft", message="The source's editor holds a draft, which is not promoted.")
    elif ran_something_else(subject.entry):
        text = "An older capture: its draft is promoted, not what ran in the source."
        yield PlanWarning(code="draft", message=text)


def _about_the_target_draft(there: WorkflowState | None) -> Iterator[PlanWarning]:
    if there is not None and there.draft_hash is not None:
        text = "The target's editor holds a draft; it is replaced and stays in Git."
        yield PlanWarning(code="target_draft", message=text)
    if there is not None and there.is_archived:
        yield PlanWarning(code="archived", message="It is archived in the target: it is taken out of the archive.")


def _about_the_source(subject: Subject) -> Iterator[PlanWarning]:
    if subject.here.is_archived:
        yield PlanWarning(code="archived_source", message="It is archived in the source.")
    if subject.content.get("pinData"):
        yield PlanWarning(code="pinned_data", message="Pinned test data stays in the source.")
    nodes = subject.content.get("nodes") or ()
    off = [node for node in nodes if node.get("disabled") and node.get("type") != STICKY]
    if off:
        names = ", ".join(f"“{node.get('name')}”" for node in off[:5])
        yield PlanWarning(
            code="disabled_nodes",
            message=f"{counted(len(off), 'node')} {'is' if len(off) == 1 else 'are'} switched off: {names}.",
        )


def _about_settings(subject: Subject, inputs: PlanInputs) -> Iterator[PlanWarning]:
    differ = other_settings(inputs, subject.there, subject.content) if subject.there is not None else []
    if differ:
        yield PlanWarning(code="settings", message=f"Settings that differ: {', '.join(differ)}.")
    left = settings_left_behind(inputs, subject.there, subject.content)
    if left:
        target = inputs.target.environment.name
        text = f"n8n in {target} does not take these settings: {', '.join(left)}. They stay behind."
        yield PlanWarning(code="settings_left_behind", message=text)


def _about_references(mapped: Mapped) -> Iterator[PlanWarning]:
    for credential in mapped.credentials:
        if credential.target_id and not credential.verified:
            text = f"The credential “{credential.target_name}” was entered by hand; no workflow was seen to use it."
            yield PlanWarning(code="unverified_credential", message=text)
    for loose in mapped.loose:
        text = f"It may be called by {loose.value}, which the target does not have."
        yield PlanWarning(code="caller_unknown", message=text)


def other_settings(inputs: PlanInputs, there: WorkflowState, content: Mapping[str, Any]) -> list[str]:
    """Names of settings beyond the known ones that the target's copy has otherwise, as far as its n8n has them."""
    learnt = inputs.target.environment.learnt_settings
    taken = {name for workflow in inputs.target.workflows.values() for name in workflow.facts.settings}
    has, wants = there.facts.settings, facts_of(content).settings
    found = changes(WorkflowFacts(settings=has), WorkflowFacts(settings=wants), defaults=learnt)
    return sorted(change.name for change in found if change.name in taken and change.after is not None)


def settings_left_behind(inputs: PlanInputs, there: WorkflowState | None, content: Mapping[str, Any]) -> list[str]:
    """Names of settings that the target's n8n takes from nobody and does not have so by itself."""
    taken, learnt = inputs.target_surroundings.settings, inputs.target.environment.learnt_settings
    if taken is None:
        return []
    has = {**learnt, **(there.facts.settings if there is not None else {})}
    wants = facts_of(content).settings
    return sorted(name for name, value in wants.items() if name not in taken and has.get(name) != value)


def with_webhook_clashes(
    items: Iterable[PlanItem], names: Mapping[str, str], listening: Mapping[str, list[str]]
) -> list[PlanItem]:
    """The items, each with a warning for every address at which another workflow of the target listens as well.

    n8n lets two active workflows listen at one address without a word. ``listening`` are the addresses of active
    workflows of the target, by key; ``names`` what workflows are called.
    """
    by_key = {item.key: item for item in items}
    wanted = {key: list(item.webhooks) for key, item in by_key.items() if item.active and item.webhooks}
    others = {key: addresses for key, addresses in listening.items() if key not in by_key}
    for clash in webhook_clashes(wanted, others):
        for key in clash["keys"]:
            if key in wanted:
                by_key[key] = _with_clash(by_key[key], clash, names)
    return list(by_key.values())


def _with_clash(item: PlanItem, clash: Mapping[str, Any], names: Mapping[str, str]) -> PlanItem:
    others = ", ".join(f"“{names.get(key) or key}”" for key in clash["keys"] if key != item.key)
    text = f"{others} listens at the same address ({clash['address']}): only one of them will be called."
    warning = PlanWarning(code="webhook_clash", message=text)
    return msgspec.structs.replace(item, warnings=(*item.warnings, warning))
