"""What stabilizing would switch off although something that runs on calls it: it is kept published, and named."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence

from snapshots.manifest import ManifestEntry, entry_from
from snapshots.models import Snapshot
from workflows.calling import Standing, kept_running, needs_published_callees
from workflows.facts import loaded_facts
from workflows.identity import key_by_workflow_id
from workflows.models import Environment, MapStatus, WorkflowEnvMap

from .models import DriftIncident, DriftKind

ABOUT_RUNNING = frozenset({DriftKind.ACTIVATION, DriftKind.ARCHIVED, DriftKind.ADDED})
"""Drift that is nothing but that something runs: it stands as long as that is kept published."""


def kept_for(
    environment: Environment,
    entries: Iterable[ManifestEntry],
    then: Mapping[str, Standing | None],
    keys: Mapping[str, str],
    *,
    despite: Collection[str] = (),
) -> dict[str, list[str]]:
    """By key, who calls what would end. ``entries`` is a manifest of what is there, ``keys`` go by n8n id.

    ``despite`` are keys of what a person wants unpublished in spite of that.
    """
    if not needs_published_callees(environment):
        return {}
    now = {entry.key: Standing(entry.label, entry.active, by_key(entry.called_ids, keys)) for entry in entries}
    return {key: names for key, names in kept_running(now, then).items() if key not in despite}


def by_key(workflow_ids: Iterable[str], keys: Mapping[str, str]) -> list[str]:
    """The keys of what is called; what nobody knows is left out."""
    return [keys[workflow_id] for workflow_id in workflow_ids if workflow_id in keys]


def as_approved(mapping: WorkflowEnvMap, calls: Sequence[str]) -> Standing:
    """How a workflow stands once it is as approved again, and then ``calls`` these (keys)."""
    facts = loaded_facts(mapping.git_facts)
    runs = bool(mapping.env_active if mapping.git_active is None else mapping.git_active)
    is_archived = facts is not None and facts.archived
    return Standing(mapping.env_name or mapping.env_workflow_id, runs and not is_archived, calls)


def foreseen(incidents: Sequence[DriftIncident]) -> dict[uuid.UUID, list[str]]:
    """By incident: who calls what stabilizing all of them would leave published. Needs the tenant's scope.

    As far as was seen last: the job looks again.
    """
    by_environment: dict[uuid.UUID, list[DriftIncident]] = {}
    for incident in incidents:
        by_environment.setdefault(incident.workflow_env_map.environment_id, []).append(incident)
    found: dict[uuid.UUID, list[str]] = {}
    for group in by_environment.values():
        kept = _foreseen_in(group[0].workflow_env_map.environment, group)
        keys = {incident.pk: incident.workflow_env_map.canonical_workflow.key for incident in group}
        found |= {pk: kept[key] for pk, key in keys.items() if key in kept}
    return found


def _foreseen_in(environment: Environment, incidents: Sequence[DriftIncident]) -> dict[str, list[str]]:
    if environment.last_snapshot_id is None or not needs_published_callees(environment):
        return {}
    rows = Snapshot.objects.filter(pk=environment.last_snapshot_id).values_list("workflows", flat=True).first()
    keys = key_by_workflow_id(environment.pk)
    then = _as_approved_by_key([incident.workflow_env_map_id for incident in incidents], keys)
    despite = {i.workflow_env_map.canonical_workflow.key for i in incidents if i.upgrade_id}
    return kept_for(environment, map(entry_from, rows or ()), then, keys, despite=despite)


def _as_approved_by_key(map_ids: Collection[uuid.UUID], keys: Mapping[str, str]) -> dict[str, Standing | None]:
    """By key, how workflows stand once they are as approved; None for what is not approved."""
    mappings = WorkflowEnvMap.objects.filter(pk__in=map_ids).exclude(status=MapStatus.DELETED)
    found: dict[str, Standing | None] = {}
    for mapping in mappings.select_related("canonical_workflow"):
        calls = by_key((mapping.git_fingerprint or {}).get("refs") or (), keys)
        is_approved = mapping.git_content_hash is not None
        found[mapping.canonical_workflow.key] = as_approved(mapping, calls) if is_approved else None
    return found
