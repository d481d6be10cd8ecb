"""Jobs that settle incidents: stabilize, reconcile, and approve what an upgrade of n8n changed."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from core import clock
from core.errors import Invalid, NotFound
from operations import services as operations
from operations.models import Operation
from operations.selectors import started_before
from snapshots.rehashing import is_behind
from tenants.models import User
from tenants.scope import tenant_scope
from workflows.content import NORMALIZATION_VERSION

from .documents import SettlingItem
from .errors import HashesBehind, MadeByUpgrade, NothingOfUpgrade, WrongState
from .models import ACTIVE, DriftIncident, N8nUpgrade

STABILIZE, RECONCILE = "drift.stabilize", "drift.reconcile"
LARGEST_SELECTION = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StabilizeOptions:
    """How incidents are stabilized.

    What was edited after it was looked at is left alone unless ``force``. ``added`` says what becomes of workflows that
    nobody approved: ``deactivate`` or ``delete``. ``despite_upgrade``: also what n8n itself changed at an upgrade, by
    somebody who knows what it breaks.
    """

    force: bool = False
    added: str = "deactivate"
    despite_upgrade: bool = False


def stabilize(
    *,
    tenant_id: uuid.UUID,
    incident_ids: Sequence[uuid.UUID],
    comment: str = "",
    options: StabilizeOptions = StabilizeOptions(),
    requested_by: User | None,
    idempotency_key: str | None = None,
) -> list[Operation]:
    """Write back what is approved; one job per environment concerned.

    What something that runs on calls stays published, from n8n 2 on; only where n8n itself published it,
    ``despite_upgrade`` switches it off. Raises ``WrongState`` for settled incidents, ``Busy`` where another job writes
    to the environment, and ``MadeByUpgrade`` for what n8n itself changed.
    """
    if options.added not in ("deactivate", "delete"):
        raise Invalid("`added` is “deactivate” or “delete”.", details={"added": options.added})
    if not options.despite_upgrade:
        _refuse_upgrades(tenant_id, incident_ids)
    params = {"comment": comment.strip(), "force": options.force, "added": options.added}
    settling = _Settling(STABILIZE, "Stabilize", params)
    return _start(tenant_id, settling, incident_ids, requested_by, idempotency_key)


def _refuse_upgrades(tenant_id: uuid.UUID, incident_ids: Sequence[uuid.UUID]) -> None:
    with tenant_scope(tenant_id):
        rows = [row for row in existing(incident_ids) if row.upgrade_id is not None and row.is_active]
    if rows:
        workflows = [
            {"incident_id": str(row.pk), "name": row.workflow_env_map.env_name, "breaks": breaks_of(row)}
            for row in rows[:50]
        ]
        raise MadeByUpgrade(details={"workflows": workflows, "upgrade_id": str(rows[0].upgrade_id)})


def breaks_of(incident: DriftIncident) -> str:
    """What putting back a change that n8n itself made would break; empty where nothing is known to."""
    upgrade = incident.details.upgrade
    return upgrade.breaks if upgrade is not None else ""


def approve_upgrade(
    *,
    tenant_id: uuid.UUID,
    upgrade_id: uuid.UUID,
    comment: str = "",
    requested_by: User | None,
    idempotency_key: str | None = None,
) -> Operation:
    """Take all that n8n changed at an upgrade, and that still stands as drift, as approved: one job, one commit.

    Raises ``NothingOfUpgrade`` where nothing stands, ``Busy`` where another job writes to the environment.
    """
    with tenant_scope(tenant_id):
        upgrade = N8nUpgrade.objects.select_for_update().select_related("environment").filter(pk=upgrade_id).first()
        if upgrade is None:
            raise NotFound("There is no such upgrade.", recovery="Choose one from the list of upgrades.")
        standing = DriftIncident.objects.filter(upgrade_id=upgrade_id, incident_state__in=ACTIVE)
        ids = list(standing.order_by("created_at", "pk").values_list("pk", flat=True))
        if not ids:
            raise NothingOfUpgrade(details={"upgrade_id": str(upgrade_id)})
        subject = f"n8n {upgrade.from_version} → {upgrade.to_version}: what n8n itself changed"
        params = {
            "comment": f"{subject}. {comment.strip()}" if comment.strip() else subject,
            "update_git": True,
            "create_promotion_record": False,
        }
        settling = _Settling(RECONCILE, "Approve", params, limit=None)
        operation = _start(tenant_id, settling, ids, requested_by, idempotency_key)[0]
        N8nUpgrade.objects.filter(pk=upgrade_id).update(operation_id=operation.pk, updated_at=clock.now())
        return operation


def reconcile(
    *,
    tenant_id: uuid.UUID,
    incident_ids: Sequence[uuid.UUID],
    comment: str = "",
    update_git: bool = True,
    create_promotion_record: bool = False,
    requested_by: User | None,
    idempotency_key: str | None = None,
) -> list[Operation]:
    """Take what is seen as approved; one job and one commit per environment concerned.

    Without ``update_git`` nothing approved moves: the drift is accepted as it is until it changes again.
    """
    params = {
        "comment": comment.strip(),
        "update_git": bool(update_git),
        "create_promotion_record": bool(create_promotion_record),
    }
    settling = _Settling(RECONCILE, "Reconcile", params)
    return _start(tenant_id, settling, incident_ids, requested_by, idempotency_key)


@dataclass(frozen=True, slots=True)
class _Settling:
    """A kind of job that settles incidents, with its parameters. ``limit``: how many at once; None: any number."""

    kind: str
    verb: str
    params: dict[str, Any]
    limit: int | None = LARGEST_SELECTION


def _start(
    tenant_id: uuid.UUID,
    settling: _Settling,
    incident_ids: Sequence[uuid.UUID],
    requested_by: User | None,
    idempotency_key: str | None,
) -> list[Operation]:
    with tenant_scope(tenant_id):
        groups: dict[uuid.UUID, list[DriftIncident]] = {}
        for row in existing(incident_ids, settling.limit):
            groups.setdefault(row.workflow_env_map.environment_id, []).append(row)
        started = []
        for environment_id, group in groups.items():
            key = f"{idempotency_key}:{environment_id}" if idempotency_key else None
            known = started_before(kind=settling.kind, key=key)
            if known is not None and _same_request(known, group, settling.params):
                started.append(known)
            else:
                started.append(_start_in(group, settling, requested_by, key))
        return started


def _start_in(
    group: Sequence[DriftIncident], settling: _Settling, requested_by: User | None, idempotency_key: str | None
) -> Operation:
    """Start one job for incidents of one environment. Needs the tenant's scope."""
    environment = group[0].workflow_env_map.environment
    if settled := [row for row in group if not row.is_active]:
        raise WrongState(
            f"“{settled[0].workflow_env_map.env_name}” is {settled[0].get_incident_state_display().lower()}.",
            details={"incidents": [str(row.pk) for row in settled[:50]]},
        )
    if is_behind(environment.pk):
        raise HashesBehind(details={"environment_id": str(environment.pk)})
    what = group[0].workflow_env_map.env_name if len(group) == 1 else f"{len(group)} workflows"
    operation = operations.start(
        tenant_id=environment.tenant_id,
        kind=settling.kind,
        title=f"{settling.verb} {what} in {environment.name}",
        params={
            "environment_id": str(environment.pk),
            "incidents": [msgspec.to_builtins(_item(row)) for row in group],
            "normalization_version": NORMALIZATION_VERSION,
            **settling.params,
        },
        requested_by=requested_by,
        idempotency_key=idempotency_key,
        exclusive_key=environment.write_lock,
        environment_id=environment.pk,
        subject_type="drift_incident",
        subject_id=group[0].pk if len(group) == 1 else None,
    )
    DriftIncident.objects.filter(pk__in=[row.pk for row in group]).update(
        operation_id=operation.pk, updated_at=clock.now()
    )
    return operation


def _same_request(known: Operation, group: Sequence[DriftIncident], params: dict[str, Any]) -> bool:
    asked = {incident["id"] for incident in known.params.get("incidents", ())}
    return asked == {str(row.pk) for row in group} and all(known.params.get(k) == v for k, v in params.items())


def _item(incident: DriftIncident) -> SettlingItem:
    """What the job must know of an incident as the person saw it."""
    mapping, details = incident.workflow_env_map, incident.details
    return SettlingItem(
        id=str(incident.pk),
        map_id=str(mapping.pk),
        key=mapping.canonical_workflow.key,
        name=mapping.env_name or mapping.canonical_workflow.name,
        kind=incident.kind,
        expected_hash=(details.env_content_hash or incident.drifted_hash) or None,
        expected_active=details.is_active,
        expected_draft=details.env_draft_hash,
        # Of incidents that were found before facts were kept with them, what was seen last.
        expected_facts=details.env_facts or mapping.env_facts,
        by_upgrade=incident.upgrade_id is not None,
    )


def existing(incident_ids: Collection[uuid.UUID], limit: int | None = LARGEST_SELECTION) -> list[DriftIncident]:
    """The incidents, oldest first; raises ``Invalid`` or ``NotFound``. Needs the tenant's scope."""
    wanted = set(incident_ids)
    if not wanted:
        raise Invalid("Choose at least one incident.", recovery="Select rows of the list first.")
    if limit is not None and len(wanted) > limit:
        raise Invalid(f"At most {limit} incidents at once.", recovery="Choose fewer.")
    rows = list(
        DriftIncident.objects.select_related("workflow_env_map__environment", "workflow_env_map__canonical_workflow")
        .defer("workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")
        .filter(pk__in=wanted)
        .order_by("created_at", "pk")
    )
    if len(rows) != len(wanted):
        raise NotFound("There is no such drift incident.", recovery="Choose one from the list of drift.")
    return rows
