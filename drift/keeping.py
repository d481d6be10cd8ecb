"""What stabilizing would switch off although something that runs on calls it: it is kept published, and named."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from snapshots.manifest import calls_in
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
    entries: Iterable[Mapping[str, Any]],
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
    now = {
        str(entry["key"]): Standing(
            str(entry.get("name") or entry["key"]), bool(entry.get("active")), by_key(calls_in(entry), keys)
        )
        for entry in entries
    }
    return {key: names for key, names in kept_running(now, then).items() if key not in despite}


def by_key(ids: Iterable[str], keys: Mapping[str, str]) -> list[str]:
    """The keys of what is called; what nobody knows is left out."""
    return [keys[ident] for ident in ids if ident in keys]


def as_approved(row: WorkflowEnvMap, calls: Sequence[str]) -> Standing:
    """How a workflow stands once it is put back to what is approved, and then ``calls`` these (keys)."""
    facts = loaded_facts(row.git_facts)
    runs = bool(row.env_active if row.git_active is None else row.git_active)
    return Standing(row.env_name or row.env_workflow_id, runs and not (facts is not None and facts.archived), calls)


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
    entries = Snapshot.objects.filter(pk=environment.last_snapshot_id).values_list("workflows", flat=True).first()
    rows = WorkflowEnvMap.objects.filter(pk__in=[i.workflow_env_map_id for i in incidents])
    keys = key_by_workflow_id(environment.pk)
    then: dict[str, Standing | None] = {}
    for row in rows.select_related("canonical_workflow").exclude(status=MapStatus.DELETED):
        calls = (row.git_fingerprint or {}).get("refs") or ()
        is_approved = row.git_content_hash is not None
        then[row.canonical_workflow.key] = as_approved(row, by_key(calls, keys)) if is_approved else None
    despite = {i.workflow_env_map.canonical_workflow.key for i in incidents if i.upgrade_id}
    return kept_for(environment, entries or (), then, keys, despite=despite)
