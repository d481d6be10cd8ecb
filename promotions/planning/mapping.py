"""Turns a workflow of the source into the one that the target should have, and says what would dangle. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.content import fingerprint
from workflows.normalization import DATA_TABLE
from workflows.references import CredentialRef, Reference, references, rewrite
from workflows.structure import repaired
from workflows.writes import pending

from .inputs import Facts
from .needs import listed as _listed
from .needs import missing_table as _missing_table

#: Left behind: the target's own run-time state, and test data of whoever built the workflow.
LEFT_BEHIND = ("staticData", "pinData")


@dataclass(frozen=True, slots=True)
class Mapped:
    """A workflow rewritten for the target.

    ``content`` calls workflows that are yet to be created by their ``pending`` id. ``dangling`` stops the promotion;
    ``loose`` (names in ``callerIds``) does not, nor ``unused``: what the workflow runs without.
    """

    content: dict[str, Any]
    wanted_hash: str
    credentials: list[dict[str, Any]]
    workflows: list[dict[str, Any]]
    dangling: list[dict[str, Any]] = field(default_factory=list)
    loose: list[dict[str, Any]] = field(default_factory=list)
    unused: list[dict[str, Any]] = field(default_factory=list)
    data_tables: list[dict[str, Any]] = field(default_factory=list)
    webhooks: list[str] = field(default_factory=list)


def target_ids(facts: Facts, creating: frozenset[str]) -> dict[str, str]:
    """The target's id, or a ``pending`` one, for each workflow id of the source."""
    ids: dict[str, str] = {}
    for key, place in facts.source.places.items():
        there = facts.target.places.get(key)
        if there is not None:
            ids[place.env_workflow_id] = there.env_workflow_id
        elif key in creating:
            ids[place.env_workflow_id] = pending(key)
    return ids


def keys_in_target(facts: Facts, creating: frozenset[str]) -> dict[str, str]:
    """Key by id in the target, pending ones included."""
    return facts.target.key_by_id | {pending(key): key for key in creating}


def map_workflow(
    content: Mapping[str, Any], *, facts: Facts, workflow_ids: Mapping[str, str], keys: Mapping[str, str]
) -> Mapped:
    """Rewrite one workflow; ``workflow_ids`` from ``target_ids``, ``keys`` from ``keys_in_target``."""
    if facts.prunes:
        content = repaired(content)
    refs = references(content)
    credentials: dict[tuple[str, str], CredentialRef] = {}
    told: dict[tuple[str, str, str], dict[str, Any]] = {}
    for ref in refs:
        if ref.kind not in ("credential", "data_table"):
            continue
        resolved = facts.resolve(ref.credential_type, ref.name, ref.value)
        told[ref.credential_type, ref.name, ref.value] = {
            "type": ref.credential_type,
            "source_name": ref.name,
            "source_id": ref.value,
            "target_name": resolved.target.name if resolved.target else None,
            "target_id": resolved.target.id if resolved.target else None,
            "how": resolved.how,
            "verified": resolved.verified,
            "in_use": ref.in_use or told.get((ref.credential_type, ref.name, ref.value), {}).get("in_use", False),
        }
        if resolved.target is not None:
            # By id where there is one: two credentials of one name must not be taken for each other.
            credentials[ref.credential_type, ref.value or ref.name] = resolved.target
    kept = {name: value for name, value in content.items() if name not in LEFT_BEHIND}
    rewritten = rewrite(kept, workflow_ids=workflow_ids, credentials=credentials)
    source_keys = facts.source.key_by_id
    return Mapped(
        content=rewritten.content,
        wanted_hash=fingerprint(rewritten.content).content_hash(keys),
        credentials=[one for one in told.values() if one["type"] != DATA_TABLE],
        data_tables=[one for one in told.values() if one["type"] == DATA_TABLE],
        workflows=[
            {
                "node": ref.node,
                "path": ref.path,
                "source_id": ref.value,
                "key": source_keys.get(ref.value),
                "target_id": workflow_ids.get(ref.value),
            }
            for ref in refs
            if ref.kind == "workflow"
        ],
        dangling=[
            _dangling(ref, facts, source_keys)
            for ref in rewritten.dangling
            if ref.in_use and ref.sure and not _is_loose(ref)
        ],
        loose=[_dangling(ref, facts, source_keys) for ref in rewritten.dangling if _is_loose(ref)],
        unused=[
            {**_dangling(ref, facts, source_keys), "sure": ref.sure}
            for ref in rewritten.dangling
            if not (ref.in_use and ref.sure) and not _is_loose(ref)
        ],
        webhooks=[ref.value for ref in refs if ref.kind == "webhook"],
    )


def _is_loose(ref: Reference) -> bool:
    # A workflow that may call this one, and is not there, breaks nothing.
    return ref.path == "settings.callerIds"


def _dangling(ref: Reference, facts: Facts, source_keys: Mapping[str, str]) -> dict[str, Any]:
    found = {
        "kind": ref.kind,
        "node": ref.node,
        "path": ref.path,
        "value": ref.value,
        "label": ref.name,
        "credential_type": ref.credential_type,
        "key": None,
    }
    where = f"“{ref.node}”" if ref.node else ref.path
    target = facts.target.environment.name
    if ref.kind == "credential":
        how = facts.resolve(ref.credential_type, ref.name, ref.value).how
        names = facts.source_names.get((ref.credential_type, ref.value)) or (ref.name,)
        why = {
            "ambiguous": f"{target} has several credentials of that name",
            "several_names": f"nodes call it {_listed(names)}, and {target} has a credential of more than one of these",
            "gone": f"the one that it is mapped to is not in {target} any more",
        }.get(how, f"{target} is not known to have it")
        label = names[0] or ref.value or "unnamed"
        found |= {"label": label, "stored_name": ref.name}
        return found | {
            "reason": how,
            "message": f"{where} uses the credential “{label}” ({ref.credential_type}): {why}.",
        }
    if ref.kind == "data_table":
        return found | _missing_table(ref, facts)
    key = source_keys.get(ref.value)
    if key is None:
        message = (
            f"{where} calls the workflow {ref.value}, which was not seen in {facts.source.environment.name} either."
        )
        return found | {"reason": "missing_in_source", "message": message}
    name = facts.source.places[key].name or key
    message = f"{where} calls “{name}”, which {target} does not have."
    return found | {"reason": "missing_in_target", "key": key, "label": name, "message": message}
