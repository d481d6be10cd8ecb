"""Incidents keep their meaning when the hashes that they hold are computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.db.models import Q

from core import clock
from snapshots.notices import EnvironmentRehashed, Rehashed
from workflows.models import Environment

from .accepted import TOLERATING
from .describing import signature
from .documents import DriftDetails
from .models import ACTIVE, DriftAspect, DriftIncident, DriftKind, N8nUpgrade


def rehashed(notice: EnvironmentRehashed) -> None:
    """Give standing and tolerated incidents, and upgrades, the new hashes; inside the caller's transaction."""
    environment, places = notice.environment, notice.rehashed
    moved = {place.map_id: place for place in places}
    rows = DriftIncident.objects.filter(
        Q(incident_state__in=ACTIVE) | Q(resolution_type__in=TOLERATING), workflow_env_map_id__in=list(moved)
    )
    for row in rows:
        changes = _changes(row, moved[row.workflow_env_map_id])
        if changes:
            DriftIncident.objects.filter(pk=row.pk).update(**changes, updated_at=clock.now())
    _upgrades(environment, places)


def _changes(row: DriftIncident, hashes: Rehashed) -> dict[str, Any]:
    if row.aspect == DriftAspect.DRAFT:
        return _draft_changes(row, hashes)
    details = row.details
    git, env = details.git_content_hash, details.env_content_hash
    if git != hashes.old_git or (env != hashes.old_env and row.kind != DriftKind.REMOVED):
        return {}
    new_env = None if row.kind == DriftKind.REMOVED else hashes.new_env
    changed = msgspec.structs.replace(details, git_content_hash=hashes.new_git, env_content_hash=new_env)
    if row.aspect != DriftAspect.WORKFLOW:
        return {"drift_snapshot": changed.to_json()}
    active = bool(details.is_active)
    before, after = signature(row.kind, git, env, active), signature(row.kind, hashes.new_git, new_env, active)
    return {"drift_snapshot": _signed(changed, before, after).to_json(), "drifted_hash": new_env or ""}


def _draft_changes(row: DriftIncident, hashes: Rehashed) -> dict[str, Any]:
    """An incident about a draft is recognized by the hashes of drafts; it also holds those of what runs."""
    details = row.details
    changed = msgspec.structs.replace(
        details,
        git_content_hash=_new(details.git_content_hash, hashes.old_git, hashes.new_git),
        env_content_hash=_new(details.env_content_hash, hashes.old_env, hashes.new_env),
    )
    drafts = details.git_draft_hash, details.env_draft_hash
    if drafts != (hashes.old_git_draft, hashes.old_env_draft):
        return {"drift_snapshot": changed.to_json()}
    changed = msgspec.structs.replace(changed, git_draft_hash=hashes.new_git_draft, env_draft_hash=hashes.new_env_draft)
    active = bool(details.is_active)
    before = signature(row.kind, *drafts, active)
    after = signature(row.kind, hashes.new_git_draft, hashes.new_env_draft, active)
    return {"drift_snapshot": _signed(changed, before, after).to_json(), "drifted_hash": hashes.new_env_draft or ""}


def _new(found: str | None, old: str | None, new: str | None) -> str | None:
    return new if found == old else found


def _signed(details: DriftDetails, before: str, after: str) -> DriftDetails:
    """The details with the signature of the same drift by its new hashes."""
    return msgspec.structs.replace(
        details, signature=_new(details.signature, before, after), tolerates=_new(details.tolerates, before, after)
    )


def _upgrades(environment: Environment, rehashed: Sequence[Rehashed]) -> None:
    by_key = {hashes.key: _moves(hashes) for hashes in rehashed}
    for upgrade in N8nUpgrade.objects.filter(environment_id=environment.pk).exclude(changes=[]):
        changes = [_moved(change, by_key.get(str(change.get("key")), {})) for change in upgrade.changes]
        if changes != upgrade.changes:
            N8nUpgrade.objects.filter(pk=upgrade.pk).update(changes=changes, updated_at=clock.now())


def _moves(hashes: Rehashed) -> dict[str, str | None]:
    pairs = ((hashes.old_git, hashes.new_git), (hashes.old_env, hashes.new_env))
    return {old: new for old, new in pairs if old is not None}


def _moved(change: Mapping[str, Any], hashes: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        **change,
        **{name: hashes[change[name]] for name in ("before_hash", "after_hash") if change.get(name) in hashes},
    }
