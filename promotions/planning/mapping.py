"""A workflow of the source as the target should have it, and which of its references are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from workflows.content import fingerprint
from workflows.normalization import DATA_TABLE
from workflows.references import CredentialRef, Reference, references, rewrite
from workflows.structure import repaired
from workflows.writes import pending

from .documents import CalledWorkflow, MissingReference, UsedResource
from .inputs import PlanInputs
from .missing import missing_reference

#: Left behind: the target's own run-time state, and test data of whoever built the workflow.
LEFT_BEHIND = ("staticData", "pinData")


@dataclass(frozen=True, slots=True)
class UnusedReference:
    """A missing reference that the workflow runs without; ``sure`` is False where it may be another n8n's."""

    missing: MissingReference
    sure: bool


@dataclass(frozen=True, slots=True)
class Mapped:
    """A workflow rewritten for the target.

    ``content`` calls workflows that are yet to be created by their ``pending`` id. ``dangling`` stops the promotion;
    ``loose`` (names in ``callerIds``) does not, nor ``unused``: what the workflow runs without.
    """

    content: dict[str, Any]
    wanted_hash: str
    credentials: tuple[UsedResource, ...]
    data_tables: tuple[UsedResource, ...]
    workflows: tuple[CalledWorkflow, ...]
    webhooks: tuple[str, ...]
    dangling: tuple[MissingReference, ...] = ()
    loose: tuple[MissingReference, ...] = ()
    unused: tuple[UnusedReference, ...] = ()


def target_ids(inputs: PlanInputs, creating: frozenset[str]) -> dict[str, str]:
    """The target's id, or a ``pending`` one, for each workflow id of the source."""
    ids: dict[str, str] = {}
    for key, here in inputs.source.workflows.items():
        there = inputs.target.workflows.get(key)
        if there is not None:
            ids[here.env_workflow_id] = there.env_workflow_id
        elif key in creating:
            ids[here.env_workflow_id] = pending(key)
    return ids


def keys_in_target(inputs: PlanInputs, creating: frozenset[str]) -> dict[str, str]:
    """Key by id in the target, pending ones included."""
    return inputs.target.key_by_id | {pending(key): key for key in creating}


def map_workflow(
    content: Mapping[str, Any], *, inputs: PlanInputs, workflow_ids: Mapping[str, str], keys: Mapping[str, str]
) -> Mapped:
    """Rewrite one workflow; ``workflow_ids`` from ``target_ids``, ``keys`` from ``keys_in_target``."""
    if inputs.repairs:
        content = repaired(content)
    refs = references(content)
    resources, targets = _resources(refs, inputs)
    kept = {name: value for name, value in content.items() if name not in LEFT_BEHIND}
    rewritten = rewrite(kept, workflow_ids=workflow_ids, credentials=targets)
    dangling, loose, unused = _sorted_by_weight(rewritten.dangling, inputs)
    return Mapped(
        content=rewritten.content,
        wanted_hash=fingerprint(rewritten.content).content_hash(keys),
        credentials=tuple(one for one in resources if one.type != DATA_TABLE),
        data_tables=tuple(one for one in resources if one.type == DATA_TABLE),
        workflows=_called(refs, inputs, workflow_ids),
        webhooks=tuple(ref.value for ref in refs if ref.kind == "webhook"),
        dangling=dangling,
        loose=loose,
        unused=unused,
    )


def _resources(
    refs: Iterable[Reference], inputs: PlanInputs
) -> tuple[list[UsedResource], dict[tuple[str, str], CredentialRef]]:
    """Credentials and data tables that are used, and what to write instead of each (by id, else by name)."""
    used: dict[tuple[str, str, str], UsedResource] = {}
    targets: dict[tuple[str, str], CredentialRef] = {}
    for ref in refs:
        if ref.kind not in ("credential", "data_table"):
            continue
        identity = (ref.credential_type, ref.name, ref.value)
        used[identity] = _used(ref, inputs, used.get(identity))
        target = inputs.resources.resolve(ref.credential_type, ref.name, ref.value).target
        if target is not None:
            # By id where there is one: two credentials of one name must not be taken for each other.
            targets[ref.credential_type, ref.value or ref.name] = target
    return list(used.values()), targets


def _used(ref: Reference, inputs: PlanInputs, before: UsedResource | None) -> UsedResource:
    if before is not None:
        return msgspec.structs.replace(before, in_use=ref.in_use or before.in_use)
    resolved = inputs.resources.resolve(ref.credential_type, ref.name, ref.value)
    return UsedResource(
        type=ref.credential_type,
        source_name=ref.name,
        source_id=ref.value,
        target_name=resolved.target.name if resolved.target else None,
        target_id=resolved.target.id if resolved.target else None,
        how=resolved.how,
        verified=resolved.verified,
        in_use=ref.in_use,
    )


def _called(
    refs: Iterable[Reference], inputs: PlanInputs, workflow_ids: Mapping[str, str]
) -> tuple[CalledWorkflow, ...]:
    keys = inputs.source.key_by_id
    return tuple(
        CalledWorkflow(
            node=ref.node,
            path=ref.path,
            source_id=ref.value,
            key=keys.get(ref.value),
            target_id=workflow_ids.get(ref.value),
        )
        for ref in refs
        if ref.kind == "workflow"
    )


def _sorted_by_weight(
    dangling: Iterable[Reference], inputs: PlanInputs
) -> tuple[tuple[MissingReference, ...], tuple[MissingReference, ...], tuple[UnusedReference, ...]]:
    """Missing references that stop the promotion; those that say who may call; those that it runs without."""
    needed: list[MissingReference] = []
    loose: list[MissingReference] = []
    unused: list[UnusedReference] = []
    for ref in dangling:
        missing = missing_reference(ref, inputs)
        # A workflow that may call this one, and is not there, breaks nothing.
        if ref.path == "settings.callerIds":
            loose.append(missing)
        elif ref.in_use and ref.sure:
            needed.append(missing)
        else:
            unused.append(UnusedReference(missing, ref.sure))
    return tuple(needed), tuple(loose), tuple(unused)
