"""Reads about drift. All need the tenant's scope unless said otherwise."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When

from audit.models import AuditLog
from core import clock
from core.paging import Page, by_time
from tenants.models import User

from .models import ACTIVE, DriftIncident, IncidentState, Severity
from .severity import LEVELS

HISTORY_SHOWN = 60
STATES = {"active": [str(s) for s in ACTIVE], **{str(s): [str(s)] for s in IncidentState.values}}


def _rows() -> QuerySet[DriftIncident]:
    return DriftIncident.objects.select_related(
        "workflow_env_map__environment", "workflow_env_map__canonical_workflow", "assigned_to", "resolved_by"
    ).defer("workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")


def filtered(
    *,
    state: str = "",
    severity: str = "",
    environment_id: uuid.UUID | None = None,
    kind: str = "",
    expired: bool = False,
    keys: Collection[str] = (),
    q: str = "",
    upgrade_id: uuid.UUID | None = None,
    grouped: bool = True,
) -> QuerySet[DriftIncident]:
    """Incidents by what a page or a program asks for. ``state`` is a state's name or ``active``.

    Without ``grouped`` those that n8n made at an upgrade are left out: they are shown as that one event.
    """
    rows = _rows()
    if upgrade_id is not None:
        rows = rows.filter(upgrade_id=upgrade_id)
    elif not grouped:
        rows = rows.filter(upgrade_id__isnull=True)
    if state in STATES:
        rows = rows.filter(incident_state__in=STATES[state])
    if severity in Severity.values:
        rows = rows.filter(severity=severity)
    if environment_id is not None:
        rows = rows.filter(workflow_env_map__environment_id=environment_id)
    if kind:
        rows = rows.filter(kind=kind)
    if expired:
        rows = rows.filter(ttl_expires_at__lt=clock.now(), incident_state__in=ACTIVE)
    if keys:
        rows = rows.filter(workflow_env_map__canonical_workflow__key__in=list(keys))
    if q:
        name, q = "workflow_env_map__canonical_workflow", q[:100]
        here = Q(workflow_env_map__env_name__icontains=q)
        rows = rows.filter(here | Q(**{f"{name}__name__icontains": q}) | Q(**{f"{name}__key__icontains": q}))
    return rows


def page(*, cursor: str = "", limit: int = 50, **filters: Any) -> Page:
    """One page, newest first. The full diffs stay in the database."""
    return by_time(filtered(**filters), cursor=cursor, limit=limit)


def counts() -> dict[str, int]:
    """Standing incidents by severity, how many are past their time, and all of them. One query."""
    rows = DriftIncident.objects.filter(incident_state__in=ACTIVE)
    found = rows.aggregate(
        active=Count("pk"),
        expired=Count("pk", filter=Q(ttl_expires_at__lt=clock.now())),
        **{level: Count("pk", filter=Q(severity=level)) for level in LEVELS},
    )
    return {name: int(count) for name, count in found.items()}


def gravest_first(rows: QuerySet[DriftIncident]) -> QuerySet[DriftIncident]:
    """Critical before low, then by age."""
    rank = Case(
        *[When(severity=level, then=Value(number)) for number, level in enumerate(reversed(LEVELS))],
        default=Value(9),
        output_field=IntegerField(),
    )
    return rows.order_by(rank, "created_at", "pk")


def chosen(incident_ids: Collection[uuid.UUID]) -> list[DriftIncident]:
    """The incidents of a selection, the gravest first; what is not the tenant's is left out."""
    return list(gravest_first(_rows().filter(pk__in=list(incident_ids))))


def workflow_name(incident: DriftIncident) -> str:
    """The name a person knows the workflow by."""
    place = incident.workflow_env_map
    return place.env_name or place.canonical_workflow.name or place.canonical_workflow.key


def incident_row(incident: DriftIncident, *, whole: bool = False) -> dict[str, Any]:
    """JSON-able facts for the API, as runbooks read them; ``whole`` adds the full diff."""
    place = incident.workflow_env_map
    snapshot = incident.drift_snapshot if whole else {"diff_summary": incident.drift_snapshot.get("diff_summary")}
    return {
        "id": str(incident.pk),
        "tenant_id": str(incident.tenant_id),
        "environment_id": str(place.environment_id),
        "environment_name": place.environment.name,
        "workflow_env_map_id": str(place.pk),
        "workflow_key": place.canonical_workflow.key,
        "workflow_name": workflow_name(incident),
        "env_workflow_id": place.env_workflow_id,
        "kind": incident.kind,
        "severity": incident.severity,
        "incident_state": incident.incident_state,
        "created_at": incident.created_at,
        "updated_at": incident.updated_at,
        "last_detected_at": incident.last_detected_at,
        "ttl_expires_at": incident.ttl_expires_at,
        "expired": bool(incident.is_active and incident.ttl_expires_at and incident.ttl_expires_at < clock.now()),
        "assigned_to": str(incident.assigned_to_id) if incident.assigned_to_id else None,
        "comment": incident.comment,
        "resolution_type": incident.resolution_type or None,
        "resolved_by": str(incident.resolved_by_id) if incident.resolved_by_id else None,
        "resolved_at": incident.resolved_at,
        "operation_id": str(incident.operation_id) if incident.operation_id else None,
        "upgrade_id": str(incident.upgrade_id) if incident.upgrade_id else None,
        "git_content_hash": place.git_content_hash,
        "env_content_hash": place.env_content_hash,
        "drift_snapshot": snapshot,
    }


def history(incident: DriftIncident) -> list[dict[str, Any]]:
    """What happened to an incident, oldest first, from the trail: ``components/timeline.html``'s entries."""
    rows = list(
        AuditLog.objects.filter(resource_type="drift_incidents", resource_id=incident.pk)
        .only("id", "created_at", "actor_user_id", "impersonated_user_id", "action", "details", "source")
        .order_by("-id")[:HISTORY_SHOWN]
    )
    ids = {i for row in rows for i in (row.actor_user_id, row.impersonated_user_id) if i}
    people = dict(User.objects.filter(pk__in=ids).values_list("pk", "email")) if ids else {}
    entries = []
    for row in reversed(rows):
        told = _told(row)
        if told is None:
            continue
        title, text, state = told
        entries.append(
            {
                "at": row.created_at,
                "actor": people.get(row.actor_user_id, "The console") if row.actor_user_id else "The console",
                "as_whom": people.get(row.impersonated_user_id, "") if row.impersonated_user_id else "",
                "title": title,
                "text": text,
                "state": state,
            }
        )
    return entries


def _told(row: AuditLog) -> tuple[str, str, str] | None:
    """A line of the trail in words; None for bookkeeping."""
    new = row.details.get("new_value") or {}
    if row.action.upper() in ("CREATE", "INSERT"):
        return "Found", f"Severity {new.get('severity', 'unknown')}.", "open"
    state = new.get("incident_state")
    if state:
        resolution = str(new.get("resolution_type") or "").replace("_", " ")
        text = " ".join(t for t in (str(new.get("comment") or ""), f"({resolution})" if resolution else "") if t)
        return dict(IncidentState.choices).get(state, state), text, state
    if "drift_snapshot" in new and "drifted_hash" in new:
        return "Changed again", f"Severity {new['severity']}." if "severity" in new else "", "differs"
    if "drift_snapshot" in new and (new["drift_snapshot"] or {}).get("last_failure"):
        return "Could not be settled", str(new["drift_snapshot"]["last_failure"].get("message") or ""), "failed"
    if "drift_snapshot" in new and (kept := (new["drift_snapshot"] or {}).get("kept")):
        return "Kept published", f"Called by {', '.join(kept.get('callers') or ())}.", "acknowledged"
    if "assigned_to_id" in new or "comment" in new:
        return "Noted", str(new.get("comment") or ""), "acknowledged"
    return None
