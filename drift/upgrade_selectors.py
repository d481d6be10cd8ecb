"""Reads about upgrades of n8n. All need the tenant's scope."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.db.models import Count, Q, QuerySet

from core.errors import NotFound
from core.paging import Page, by_time
from workflows.upgrading import RULES, UpgradeChange, change_from

from .models import ACTIVE, DriftIncident, N8nUpgrade
from .severity import LEVELS


@dataclass(slots=True)
class Standing:
    """An upgrade, and how many of the changes that n8n made stand as drift, by severity."""

    upgrade: N8nUpgrade
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def gravest(self) -> str:
        return next((level for level in reversed(LEVELS) if self.counts.get(level)), "low")


def _rows() -> QuerySet[N8nUpgrade]:
    return N8nUpgrade.objects.select_related("environment")


def page(*, environment_id: uuid.UUID | None = None, cursor: str = "", limit: int = 50) -> Page:
    """Upgrades, newest first, without their changes."""
    rows = _rows().defer("changes")
    if environment_id is not None:
        rows = rows.filter(environment_id=environment_id)
    return by_time(rows, cursor=cursor, limit=limit, field="noticed_at")


def upgrade_by_id(upgrade_id: uuid.UUID) -> N8nUpgrade:
    """One upgrade with its environment; ``NotFound`` where it is not the tenant's."""
    found = _rows().filter(pk=upgrade_id).first()
    if found is None:
        raise NotFound("There is no such upgrade.", recovery="Choose one from the list of upgrades.")
    return found


def standing(
    *, upgrade_ids: Collection[uuid.UUID] | None = None, environment_id: uuid.UUID | None = None
) -> list[Standing]:
    """Upgrades of which something stands as drift, newest first; two queries."""
    rows = DriftIncident.objects.filter(upgrade_id__isnull=False, incident_state__in=ACTIVE)
    if upgrade_ids is not None:
        rows = rows.filter(upgrade_id__in=list(upgrade_ids))
    if environment_id is not None:
        rows = rows.filter(workflow_env_map__environment_id=environment_id)
    counts: dict[uuid.UUID, dict[str, int]] = {}
    for upgrade_id, severity, count in rows.values_list("upgrade_id", "severity").annotate(count=Count("pk")):
        counts.setdefault(upgrade_id, {})[severity] = count
    upgrades = _rows().defer("changes").filter(pk__in=list(counts)).order_by("-noticed_at", "-pk")
    return [Standing(upgrade, counts[upgrade.pk]) for upgrade in upgrades]


def changes_of(upgrade: N8nUpgrade) -> list[UpgradeChange]:
    """What differs between the snapshots around it, n8n's own changes first."""
    return [change for data in upgrade.changes if (change := change_from(data)) is not None]


def incidents_of(upgrade: N8nUpgrade) -> dict[str, DriftIncident]:
    """Key to the latest incident of each change that n8n made."""
    rows = (
        DriftIncident.objects.filter(
            Q(upgrade_id=upgrade.pk) | Q(drift_snapshot__upgrade__id=str(upgrade.pk)),
            workflow_env_map__environment_id=upgrade.environment_id,
        )
        .select_related("workflow_env_map__canonical_workflow")
        .defer("drift_snapshot", "workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")
        .order_by("created_at")
    )
    return {row.workflow_env_map.canonical_workflow.key: row for row in rows}


def upgrade_row(upgrade: N8nUpgrade, *, whole: bool = False) -> dict[str, Any]:
    """JSON-able facts for the API; ``whole`` adds the changes."""
    row: dict[str, Any] = {
        "id": str(upgrade.pk),
        "environment_id": str(upgrade.environment_id),
        "environment_name": upgrade.environment.name,
        "from_version": upgrade.from_version,
        "to_version": upgrade.to_version,
        "noticed_at": upgrade.noticed_at,
        "last_seen_before_at": upgrade.last_seen_before_at,
        "before_snapshot_id": str(upgrade.before_snapshot_id) if upgrade.before_snapshot_id else None,
        "after_snapshot_id": str(upgrade.after_snapshot_id) if upgrade.after_snapshot_id else None,
        "by_n8n": upgrade.by_n8n,
        "by_people": upgrade.by_people,
        "operation_id": str(upgrade.operation_id) if upgrade.operation_id else None,
    }
    if whole:
        row["changes"] = msgspec.to_builtins(changes_of(upgrade))
    return row


def rule_in_words(rule: str) -> str:
    """A rule in words."""
    return RULES.get(rule, rule)
