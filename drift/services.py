"""What people and other apps do with drift: check, acknowledge, stabilize, reconcile, close, ask what blocks."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from django.db.models import Q

from core import clock
from core.errors import Invalid, NotFound
from operations import services as operations
from operations.models import Operation
from operations.selectors import started_before
from snapshots.rehashing import is_behind
from tenants.models import Membership, User
from tenants.scope import tenant_scope
from workflows.content import NORMALIZATION_VERSION
from workflows.gateway import environment_by_id
from workflows.models import Environment

from . import policies, states
from .detection import TOLERATING, findings_of, writer_of
from .detection import detect as detect_from_snapshot
from .errors import (
    CheckHeldBack,
    HashesBehind,
    MadeByUpgrade,
    NotAMember,
    NothingOfUpgrade,
    StillDrifted,
    WrongState,
)
from .models import ACTIVE, DriftIncident, IncidentState, N8nUpgrade

__all__ = [
    "acknowledge",
    "approve_upgrade",
    "blocking_incidents",
    "close",
    "detect_from_snapshot",
    "incident_by_id",
    "reconcile",
    "stabilize",
    "start_check",
]

CHECK, STABILIZE, RECONCILE = "drift.check", "drift.stabilize", "drift.reconcile"
LARGEST_SELECTION = 500
BLOCKING_KEPT = 200

#: Ways in which a person may close, with what each says.
RESOLUTIONS = {
    "reconciled": "Reconciled: what was changed is approved now",
    "stabilized": "Stabilized: what was approved is back",
    "accepted": "Accepted as it is, until it changes again",
    "false_positive": "False alarm",
    "other": "Something else",
}
_SPELLINGS = {"reconciliation": "reconciled", "stabilization": "stabilized", "reverted": "stabilized"}
#: What can only be said of a drift that is gone.
_NEEDS_SETTLED = frozenset({"reconciled", "stabilized"})


def start_check(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, requested_by: User | None, idempotency_key: str | None = None
) -> Operation:
    """Look at an environment now. Raises ``CheckHeldBack`` while another job writes to it."""
    environment = environment_by_id(tenant_id, environment_id)
    if writer := writer_of(environment):
        raise CheckHeldBack(details={"writer": writer})
    return operations.start(
        tenant_id=tenant_id,
        kind=CHECK,
        title=f"Check {environment.name} for drift",
        params={"environment_id": str(environment.pk)},
        requested_by=requested_by,
        idempotency_key=idempotency_key,
        environment_id=environment.pk,
        subject_type="environment",
        subject_id=environment.pk,
    )


def incident_by_id(tenant_id: uuid.UUID, incident_id: uuid.UUID) -> DriftIncident:
    """One incident with its place, environment and people; ``NotFound`` where it is not the tenant's."""
    with tenant_scope(tenant_id):
        incident = (
            DriftIncident.objects.select_related(
                "workflow_env_map__environment", "workflow_env_map__canonical_workflow", "assigned_to", "resolved_by"
            )
            .defer("workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")
            .filter(pk=incident_id)
            .first()
        )
    if incident is None:
        raise NotFound("There is no such drift incident.", recovery="Choose one from the list of drift.")
    return incident


def member_named(tenant_id: uuid.UUID, who: str) -> User | None:
    """The member with this id or e-mail address; None for an empty string. Raises ``NotAMember``."""
    if not who.strip():
        return None
    try:
        lookup = Q(user_id=uuid.UUID(who.strip()))
    except ValueError:
        lookup = Q(user__email__iexact=who.strip())
    with tenant_scope(tenant_id):
        membership = Membership.objects.select_related("user").filter(lookup).first()
    if membership is None:
        raise NotAMember(details={"assigned_to": who[:120]})
    return membership.user


def acknowledge(
    *, tenant_id: uuid.UUID, incident_ids: Sequence[uuid.UUID], comment: str = "", assigned_to: str = "", by: User
) -> list[DriftIncident]:
    """Say that somebody looks into it. Changes nothing in n8n or Git, and does not stop the clock.

    ``assigned_to`` is a member's id or e-mail address (default: who acknowledges). All or nothing: ``WrongState``
    where one is settled already.
    """
    assignee = member_named(tenant_id, assigned_to)
    with tenant_scope(tenant_id):
        _existing(incident_ids)
        for incident_id in incident_ids:
            changes: dict[str, Any] = {"assigned_to": assignee or by}
            if comment.strip():
                changes["comment"] = comment.strip()
            states.move(incident_id, IncidentState.ACKNOWLEDGED, **changes)
    return [incident_by_id(tenant_id, incident_id) for incident_id in incident_ids]


def close(
    *, tenant_id: uuid.UUID, incident_id: uuid.UUID, comment: str = "", resolution_type: str = "", by: User
) -> DriftIncident:
    """End an incident.

    A settled one can always be closed. A standing one only as accepted, a false alarm or other, or when the drift is
    in truth gone; *accepted* and *false_positive* keep this very drift from being reported again until it changes.
    """
    wanted = resolution_type.strip().lower()
    wanted = _SPELLINGS.get(wanted, wanted)
    with tenant_scope(tenant_id):
        incident = DriftIncident.objects.select_for_update().filter(pk=incident_id).first()
        if incident is None:
            raise NotFound
        wanted = wanted or incident.resolution_type or "other"
        if wanted not in RESOLUTIONS and wanted != incident.resolution_type:
            raise Invalid(
                f"There is no resolution “{wanted}”.",
                recovery=f"Use one of {', '.join(RESOLUTIONS)}.",
                details={"resolution_type": wanted},
            )
        changes: dict[str, Any] = {"resolution_type": wanted}
        if incident.is_active:
            if wanted in _NEEDS_SETTLED and _still_drifts(incident):
                raise StillDrifted(details={"incident_id": str(incident_id)})
            changes |= {"resolved_by": by, "resolved_at": clock.now()}
            if wanted in TOLERATING:
                signature = incident.drift_snapshot.get("signature")
                changes["drift_snapshot"] = {**incident.drift_snapshot, "tolerates": signature}
        elif incident.resolution_type in TOLERATING:
            # What keeps this drift from being reported again must not be lost by a closing word.
            changes["resolution_type"] = incident.resolution_type
        if comment.strip():
            changes["comment"] = comment.strip()
        states.move(incident_id, IncidentState.CLOSED, **changes)
    return incident_by_id(tenant_id, incident_id)


def _still_drifts(incident: DriftIncident) -> bool:
    environment = incident.workflow_env_map.environment
    return any(f.place == (incident.workflow_env_map_id, incident.aspect) for f in findings_of(environment))


def stabilize(
    *,
    tenant_id: uuid.UUID,
    incident_ids: Sequence[uuid.UUID],
    comment: str = "",
    force: bool = False,
    added: str = "deactivate",
    despite_upgrade: bool = False,
    requested_by: User | None,
    idempotency_key: str | None = None,
) -> list[Operation]:
    """Put the workflows back to what is approved; one job per environment concerned.

    What was edited after it was looked at is left alone unless ``force``. What something that runs on calls stays
    published, from n8n 2 on; only where n8n itself published it, ``despite_upgrade`` switches it off. ``added`` says
    what becomes of workflows that nobody approved: ``deactivate`` or ``delete``. Raises ``WrongState`` for settled
    incidents, ``Busy`` where another job writes to the environment, and ``MadeByUpgrade`` for what n8n itself changed,
    unless a person says that they know what it breaks (``despite_upgrade``).
    """
    if added not in ("deactivate", "delete"):
        raise Invalid("`added` is “deactivate” or “delete”.", details={"added": added})
    if not despite_upgrade:
        _refuse_upgrades(tenant_id, incident_ids)
    params = {"comment": comment.strip(), "force": bool(force), "added": added}
    return _start(tenant_id, STABILIZE, "Stabilize", incident_ids, params, requested_by, idempotency_key)


def _refuse_upgrades(tenant_id: uuid.UUID, incident_ids: Sequence[uuid.UUID]) -> None:
    with tenant_scope(tenant_id):
        rows = [row for row in _existing(incident_ids) if row.upgrade_id is not None and row.is_active]
    if rows:
        told = [
            {
                "incident_id": str(row.pk),
                "name": row.workflow_env_map.env_name,
                "breaks": (row.drift_snapshot.get("upgrade") or {}).get("breaks", ""),
            }
            for row in rows[:50]
        ]
        raise MadeByUpgrade(details={"workflows": told, "upgrade_id": str(rows[0].upgrade_id)})


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
        said = f"n8n {upgrade.from_version} → {upgrade.to_version}: what n8n itself changed"
        params = {
            "comment": f"{said}. {comment.strip()}" if comment.strip() else said,
            "update_git": True,
            "create_promotion_record": False,
        }
        operation = _start(tenant_id, RECONCILE, "Approve", ids, params, requested_by, idempotency_key, limit=None)[0]
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
    return _start(tenant_id, RECONCILE, "Reconcile", incident_ids, params, requested_by, idempotency_key)


def _start(
    tenant_id: uuid.UUID,
    kind: str,
    verb: str,
    incident_ids: Sequence[uuid.UUID],
    params: dict[str, Any],
    requested_by: User | None,
    idempotency_key: str | None,
    *,
    limit: int | None = LARGEST_SELECTION,
) -> list[Operation]:
    started = []
    with tenant_scope(tenant_id):
        rows = _existing(incident_ids, limit)
        by_environment: dict[uuid.UUID, list[DriftIncident]] = {}
        for row in rows:
            by_environment.setdefault(row.workflow_env_map.environment_id, []).append(row)
        for environment_id, group in by_environment.items():
            key = f"{idempotency_key}:{environment_id}" if idempotency_key else None
            known = started_before(kind=kind, key=key)
            if known is not None and _same_request(known, group, params):
                started.append(known)
                continue
            if settled := [row for row in group if not row.is_active]:
                raise WrongState(
                    f"“{settled[0].workflow_env_map.env_name}” is {settled[0].get_incident_state_display().lower()}.",
                    details={"incidents": [str(row.pk) for row in settled[:50]]},
                )
            environment = group[0].workflow_env_map.environment
            if is_behind(environment_id):
                raise HashesBehind(details={"environment_id": str(environment_id)})
            what = group[0].workflow_env_map.env_name if len(group) == 1 else f"{len(group)} workflows"
            operation = operations.start(
                tenant_id=tenant_id,
                kind=kind,
                title=f"{verb} {what} in {environment.name}",
                params={
                    "environment_id": str(environment_id),
                    "incidents": [_described(row) for row in group],
                    "normalization_version": NORMALIZATION_VERSION,
                    **params,
                },
                requested_by=requested_by,
                idempotency_key=key,
                exclusive_key=environment.write_lock,
                environment_id=environment_id,
                subject_type="drift_incident",
                subject_id=group[0].pk if len(group) == 1 else None,
            )
            DriftIncident.objects.filter(pk__in=[row.pk for row in group]).update(
                operation_id=operation.pk, updated_at=clock.now()
            )
            started.append(operation)
    return started


def _same_request(known: Operation, group: Sequence[DriftIncident], params: dict[str, Any]) -> bool:
    asked = {incident["id"] for incident in known.params.get("incidents", ())}
    return asked == {str(row.pk) for row in group} and all(known.params.get(k) == v for k, v in params.items())


def _described(row: DriftIncident) -> dict[str, Any]:
    """What the job must know of an incident as the person saw it."""
    place = row.workflow_env_map
    return {
        "id": str(row.pk),
        "map_id": str(place.pk),
        "key": place.canonical_workflow.key,
        "name": place.env_name or place.canonical_workflow.name,
        "kind": row.kind,
        "expected_hash": (row.drift_snapshot.get("env_content_hash") or row.drifted_hash) or None,
        "expected_active": row.drift_snapshot.get("is_active"),
        "expected_draft": row.drift_snapshot.get("env_draft_hash"),
        # Of incidents that were found before facts were kept with them, what was seen last.
        "expected_facts": row.drift_snapshot.get("env_facts") or place.env_facts,
        "by_upgrade": row.upgrade_id is not None,
    }


def _existing(incident_ids: Collection[uuid.UUID], limit: int | None = LARGEST_SELECTION) -> list[DriftIncident]:
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


def blocking_incidents(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """The incidents that stop a promotion into the environment, the gravest reason first; at most 200.

    With ``block_on_active_drift`` each standing incident of the workflows concerned (``keys``; None: any) blocks. With
    ``enforce_ttl`` one past its time blocks every promotion into the environment, whatever workflows it moves.
    """
    now = clock.now()
    with tenant_scope(tenant_id):
        policy = policies.read_policy(tenant_id)
        why = Q(pk__in=[])
        if policy.block_on_active_drift:
            why |= Q() if keys is None else Q(workflow_env_map__canonical_workflow__key__in=list(keys))
        if keys is None and policy.block_on_active_drift:
            why = Q()
        elif policy.enforce_ttl:
            why |= Q(ttl_expires_at__lt=now)
        rows = (
            DriftIncident.objects.filter(
                why, workflow_env_map__environment_id=environment_id, incident_state__in=ACTIVE
            )
            .select_related("workflow_env_map__environment", "workflow_env_map__canonical_workflow")
            .defer("drift_snapshot", "workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")
            .order_by("ttl_expires_at", "pk")[:BLOCKING_KEPT]
        )
        return [_blocking(row, policy.enforce_ttl, now) for row in rows]


def _blocking(row: DriftIncident, enforced: bool, now: Any) -> dict[str, Any]:
    place = row.workflow_env_map
    expired = bool(row.ttl_expires_at and row.ttl_expires_at < now)
    overdue = expired and enforced
    return {
        "id": str(row.pk),
        "incident_id": str(row.pk),
        "workflow_key": place.canonical_workflow.key,
        "workflow_name": place.env_name or place.canonical_workflow.name,
        "environment_id": str(place.environment_id),
        "environment_name": place.environment.name,
        "kind": row.kind,
        "severity": row.severity,
        "incident_state": row.incident_state,
        "created_at": row.created_at.isoformat(),
        "ttl_expires_at": row.ttl_expires_at.isoformat() if row.ttl_expires_at else None,
        "expired": expired,
        "reason": "ttl_expired" if overdue else "active_drift",
        "message": "Its time is over and it is not settled." if overdue else "It is not settled.",
    }


def environments_of(tenant_id: uuid.UUID) -> list[Environment]:
    """The environments that can drift, in pipeline order."""
    with tenant_scope(tenant_id):
        return list(Environment.objects.filter(is_archived=False))
