"""What people and other apps do with drift: check, acknowledge, stabilize, reconcile, close, ask what blocks."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import Q

from core import clock
from core.errors import Invalid, NotFound
from operations import services as operations
from operations.models import Operation, OperationStatus
from tenants.models import Membership, User
from tenants.scope import tenant_scope
from workflows.gateway import environment_by_id
from workflows.models import Environment

from . import policies, states
from .accepted import TOLERATING
from .detection import detect as detect_from_snapshot
from .detection import writer_of
from .documents import BlockingIncident
from .errors import (
    CheckHeldBack,
    NotAMember,
    StillDrifted,
)
from .findings import findings_of
from .models import ACTIVE, DriftIncident, DriftPolicy, IncidentState
from .settling import LARGEST_SELECTION, StabilizeOptions, approve_upgrade, breaks_of, existing, reconcile, stabilize

__all__ = [
    "LARGEST_SELECTION",
    "StabilizeOptions",
    "acknowledge",
    "approve_upgrade",
    "blocking_incidents",
    "breaks_of",
    "close",
    "detect_from_snapshot",
    "incident_by_id",
    "reconcile",
    "stabilize",
    "start_check",
]

CHECK = "drift.check"
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
    """Look at an environment now; whoever asks while one waits to begin gets that one.

    Raises ``CheckHeldBack`` while another job writes to it.
    """
    environment = environment_by_id(tenant_id, environment_id)
    if writer := writer_of(environment):
        raise CheckHeldBack(details={"writer": writer})
    with tenant_scope(tenant_id):
        # Two presses at the same moment come one after the other, so that the second one finds the first.
        Environment.objects.select_for_update(no_key=True).filter(pk=environment.pk).first()
        if not idempotency_key and (same := _check_to_come(environment)) is not None:
            return same
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


def _check_to_come(environment: Environment) -> Operation | None:
    """A check that has not begun: it will see all that is there now."""
    rows = Operation.objects.filter(kind=CHECK, environment_id=environment.pk, status=OperationStatus.PENDING)
    return rows.filter(attempt=0, cancel_requested_at=None).order_by("created_at").first()


def incident_by_id(tenant_id: uuid.UUID, incident_id: uuid.UUID) -> DriftIncident:
    """One incident with its mapping, environment and people; ``NotFound`` where it is not the tenant's."""
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
        existing(incident_ids)
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
        changes = _closing_standing(incident, wanted, by) if incident.is_active else _closing_settled(incident, wanted)
        if comment.strip():
            changes["comment"] = comment.strip()
        states.move(incident_id, IncidentState.CLOSED, **changes)
    return incident_by_id(tenant_id, incident_id)


def _closing_standing(incident: DriftIncident, resolution: str, by: User) -> dict[str, Any]:
    """What closing a standing incident changes; raises ``StillDrifted``."""
    if resolution in _NEEDS_SETTLED and _still_drifts(incident):
        raise StillDrifted(details={"incident_id": str(incident.pk)})
    changes: dict[str, Any] = {"resolution_type": resolution, "resolved_by": by, "resolved_at": clock.now()}
    if resolution in TOLERATING:
        details = incident.details
        changes["drift_snapshot"] = msgspec.structs.replace(details, tolerates=details.signature).to_json()
    return changes


def _closing_settled(incident: DriftIncident, resolution: str) -> dict[str, Any]:
    # What keeps this drift from being reported again must not be lost by a closing word.
    tolerating = incident.resolution_type in TOLERATING
    return {"resolution_type": incident.resolution_type if tolerating else resolution}


def _still_drifts(incident: DriftIncident) -> bool:
    subject = (incident.workflow_env_map_id, incident.aspect)
    return any(finding.subject == subject for finding in findings_of(incident.workflow_env_map.environment))


def blocking_incidents(
    *, tenant_id: uuid.UUID, environment_id: uuid.UUID, keys: Collection[str] | None = None
) -> list[BlockingIncident]:
    """The incidents that stop a promotion into the environment, the gravest reason first; at most 200.

    With ``block_on_active_drift`` each standing incident of the workflows concerned (``keys``; None: any) blocks. With
    ``enforce_ttl`` one past its time blocks every promotion into the environment, whatever workflows it moves.
    """
    now = clock.now()
    with tenant_scope(tenant_id):
        policy = policies.read_policy(tenant_id)
        rows = (
            DriftIncident.objects.filter(
                _blocks(policy, keys, now), workflow_env_map__environment_id=environment_id, incident_state__in=ACTIVE
            )
            .select_related("workflow_env_map__environment", "workflow_env_map__canonical_workflow")
            .defer("drift_snapshot", "workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")
            .order_by("ttl_expires_at", "pk")[:BLOCKING_KEPT]
        )
        return [_blocking(row, policy.enforce_ttl, now) for row in rows]


def _blocks(policy: DriftPolicy, keys: Collection[str] | None, now: datetime) -> Q:
    """Which standing incidents the policy lets block."""
    if policy.block_on_active_drift and keys is None:
        return Q()
    found = Q(pk__in=[])
    if policy.block_on_active_drift:
        found |= Q(workflow_env_map__canonical_workflow__key__in=list(keys or ()))
    if policy.enforce_ttl:
        found |= Q(ttl_expires_at__lt=now)
    return found


def _blocking(incident: DriftIncident, enforced: bool, now: datetime) -> BlockingIncident:
    mapping, due = incident.workflow_env_map, incident.ttl_expires_at
    expired = bool(due and due < now)
    overdue = expired and enforced
    return BlockingIncident(
        id=str(incident.pk),
        incident_id=str(incident.pk),
        workflow_key=mapping.canonical_workflow.key,
        workflow_name=mapping.env_name or mapping.canonical_workflow.name,
        environment_id=str(mapping.environment_id),
        environment_name=mapping.environment.name,
        kind=incident.kind,
        severity=incident.severity,
        incident_state=incident.incident_state,
        created_at=incident.created_at.isoformat(),
        ttl_expires_at=due.isoformat() if due else None,
        expired=expired,
        reason="ttl_expired" if overdue else "active_drift",
        message="Its time is over and it is not settled." if overdue else "It is not settled.",
    )


def environments_of(tenant_id: uuid.UUID) -> list[Environment]:
    """The environments that can drift, in pipeline order."""
    with tenant_scope(tenant_id):
        return list(Environment.objects.filter(is_archived=False))
