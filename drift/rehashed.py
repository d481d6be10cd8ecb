"""Incidents keep their meaning when the hashes that they hold are made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Q

from core import clock
from snapshots.notices import EnvironmentRehashed, Rehashed
from workflows.models import Environment

from .describing import signature
from .detection import TOLERATING
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


def _changes(row: DriftIncident, place: Rehashed) -> dict[str, Any]:
    if row.aspect == DriftAspect.DRAFT:
        return _draft_changes(row, place)
    snapshot = row.drift_snapshot
    git, env = snapshot.get("git_content_hash"), snapshot.get("env_content_hash")
    if git != place.old_git or (env != place.old_env and row.kind != DriftKind.REMOVED):
        return {}
    new_env = None if row.kind == DriftKind.REMOVED else place.new_env
    if row.aspect != DriftAspect.WORKFLOW:
        return {"drift_snapshot": {**snapshot, "git_content_hash": place.new_git, "env_content_hash": new_env}}
    active = bool(snapshot.get("is_active"))
    before, after = signature(row.kind, git, env, active), signature(row.kind, place.new_git, new_env, active)
    told = {**snapshot, "git_content_hash": place.new_git, "env_content_hash": new_env}
    for name in ("signature", "tolerates"):
        if snapshot.get(name) == before:
            told[name] = after
    return {"drift_snapshot": told, "drifted_hash": new_env or ""}


def _draft_changes(row: DriftIncident, place: Rehashed) -> dict[str, Any]:
    """An incident about a draft is told by the hashes of drafts; those of what runs stand beside them."""
    snapshot = row.drift_snapshot
    drafts = snapshot.get("git_draft_hash"), snapshot.get("env_draft_hash")
    told = {**snapshot}
    for name, old, new in (
        ("git_content_hash", place.old_git, place.new_git),
        ("env_content_hash", place.old_env, place.new_env),
    ):
        if snapshot.get(name) == old:
            told[name] = new
    if drafts != (place.old_git_draft, place.old_env_draft):
        return {"drift_snapshot": told}
    told |= {"git_draft_hash": place.new_git_draft, "env_draft_hash": place.new_env_draft}
    active = bool(snapshot.get("is_active"))
    before = signature(row.kind, *drafts, active)
    after = signature(row.kind, place.new_git_draft, place.new_env_draft, active)
    told |= {name: after for name in ("signature", "tolerates") if snapshot.get(name) == before}
    return {"drift_snapshot": told, "drifted_hash": place.new_env_draft or ""}


def _upgrades(environment: Environment, places: Sequence[Rehashed]) -> None:
    by_key = {place.key: _moves(place) for place in places}
    for upgrade in N8nUpgrade.objects.filter(environment_id=environment.pk).exclude(changes=[]):
        changes = [_moved(change, by_key.get(str(change.get("key")), {})) for change in upgrade.changes]
        if changes != upgrade.changes:
            N8nUpgrade.objects.filter(pk=upgrade.pk).update(changes=changes, updated_at=clock.now())


def _moves(place: Rehashed) -> dict[str, str | None]:
    return {
        old: new for old, new in ((place.old_git, place.new_git), (place.old_env, place.new_env)) if old is not None
    }


def _moved(change: Mapping[str, Any], hashes: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        **change,
        **{name: hashes[change[name]] for name in ("before_hash", "after_hash") if change.get(name) in hashes},
    }
