"""Reads about drift. All need the tenant's scope unless said otherwise."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import Any

from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce

from audit.models import AuditLog
from core import clock
from core.paging import Page, by_time, decode, of_another_list, paged
from tenants.models import User

from .documents import details_from
from .models import ACTIVE, DriftIncident, IncidentState, Severity
from .severity import LEVELS

#: What has no deadline comes after all that has one.
NEVER = Value(datetime(9999, 12, 31, tzinfo=UTC))

HISTORY_SHOWN = 60
STATES = {"active": [str(s) for s in ACTIVE], **{str(s): [str(s)] for s in IncidentState.values}}


def incident_rows() -> QuerySet[DriftIncident]:
    """Incidents with what lists show of them."""
    return DriftIncident.objects.select_related(
        "workflow_env_map__environment", "workflow_env_map__canonical_workflow", "assigned_to", "resolved_by"
    ).defer("workflow_env_map__fingerprint", "workflow_env_map__git_fingerprint")


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFilter:
    """What a page or a program asks for; empty: any. ``state`` is a state's name or ``active``.

    ``expired``: only those past their time. Without ``grouped`` those that n8n made at an upgrade are left out: they
    are shown as that one event.
    """

    state: str = ""
    severity: str = ""
    environment_id: uuid.UUID | None = None
    kind: str = ""
    expired: bool = False
    keys: Collection[str] = ()
    q: str = ""
    upgrade_id: uuid.UUID | None = None
    grouped: bool = True

    @property
    def is_narrowed(self) -> bool:
        """Whether it asks for more than a state."""
        narrowing = (self.severity, self.kind, self.expired, self.q, self.environment_id, self.keys, self.upgrade_id)
        return any(narrowing)

    def conditions(self) -> Q:
        """For the database."""
        canonical = "workflow_env_map__canonical_workflow"
        conditions = [
            (self.state in STATES, Q(incident_state__in=STATES.get(self.state, ()))),
            (self.severity in Severity.values, Q(severity=self.severity)),
            (self.environment_id is not None, Q(workflow_env_map__environment_id=self.environment_id)),
            (self.kind, Q(kind=self.kind)),
            (self.expired, Q(ttl_expires_at__lt=clock.now(), incident_state__in=ACTIVE)),
            (self.keys, Q(**{f"{canonical}__key__in": list(self.keys)})),
            (self.q, _named_like(self.q[:100])),
            (self.upgrade_id is not None, Q(upgrade_id=self.upgrade_id)),
            (not self.grouped and self.upgrade_id is None, Q(upgrade_id__isnull=True)),
        ]
        return reduce(and_, (condition for asked, condition in conditions if asked), Q())


def _named_like(text: str) -> Q:
    canonical = "workflow_env_map__canonical_workflow"
    return (
        Q(workflow_env_map__env_name__icontains=text)
        | Q(**{f"{canonical}__name__icontains": text})
        | Q(**{f"{canonical}__key__icontains": text})
    )


def page(asked: IncidentFilter, *, cursor: str = "", limit: int = 50) -> Page:
    """One page, newest first. The full diffs stay in the database."""
    return by_time(incident_rows().filter(asked.conditions()), cursor=cursor, limit=limit)


def most_urgent(asked: IncidentFilter, *, cursor: str = "", limit: int = 50) -> Page:
    """One page in the order in which they must be settled: by deadline, of one deadline the gravest first."""
    rows = incident_rows().filter(asked.conditions()).annotate(due=Coalesce("ttl_expires_at", NEVER), rank=_rank())
    if cursor:
        due, rank, last_id = decode(cursor, 3)
        with of_another_list():
            at = datetime.fromisoformat(str(due))
            later = Q(due__gt=at) | Q(due=at, rank__gt=int(rank)) | Q(due=at, rank=int(rank), pk__gt=last_id)
            rows = rows.filter(later)
    return paged(rows.order_by("due", "rank", "pk"), limit, lambda row: [row.due.isoformat(), row.rank, row.pk])


def _rank() -> Case:
    return Case(
        *[When(severity=level, then=Value(number)) for number, level in enumerate(reversed(LEVELS))],
        default=Value(9),
        output_field=IntegerField(),
    )


def counts(*, environment_id: uuid.UUID | None = None) -> dict[str, int]:
    """Standing incidents by severity, how many are past their time, and all of them. One query."""
    rows = DriftIncident.objects.filter(incident_state__in=ACTIVE)
    if environment_id is not None:
        rows = rows.filter(workflow_env_map__environment_id=environment_id)
    found = rows.aggregate(
        active=Count("pk"),
        expired=Count("pk", filter=Q(ttl_expires_at__lt=clock.now())),
        **{level: Count("pk", filter=Q(severity=level)) for level in LEVELS},
    )
    return {name: int(count) for name, count in found.items()}


def gravest_first(rows: QuerySet[DriftIncident]) -> QuerySet[DriftIncident]:
    """Critical before low, then by age."""
    return rows.order_by(_rank(), "created_at", "pk")


def chosen(incident_ids: Collection[uuid.UUID]) -> list[DriftIncident]:
    """The incidents of a selection, the gravest first; what is not the tenant's is left out."""
    return list(gravest_first(incident_rows().filter(pk__in=list(incident_ids))))


def workflow_name(incident: DriftIncident) -> str:
    """The name a person knows the workflow by."""
    mapping = incident.workflow_env_map
    return mapping.env_name or mapping.canonical_workflow.name or mapping.canonical_workflow.key


def is_overdue(incident: DriftIncident) -> bool:
    """Whether a standing incident is past its time."""
    return bool(incident.is_active and incident.ttl_expires_at and incident.ttl_expires_at < clock.now())


def incident_row(incident: DriftIncident, *, whole: bool = False) -> dict[str, Any]:
    """JSON-able facts for the API, as runbooks read them; ``whole`` adds the full diff."""
    mapping = incident.workflow_env_map
    details = incident.details.to_json()
    details = details if whole else {"diff_summary": details["diff_summary"]}
    return {
        "id": str(incident.pk),
        "tenant_id": str(incident.tenant_id),
        "environment_id": str(mapping.environment_id),
        "environment_name": mapping.environment.name,
        "workflow_env_map_id": str(mapping.pk),
        "workflow_key": mapping.canonical_workflow.key,
        "workflow_name": workflow_name(incident),
        "env_workflow_id": mapping.env_workflow_id,
        "kind": incident.kind,
        "severity": incident.severity,
        "incident_state": incident.incident_state,
        "created_at": incident.created_at,
        "updated_at": incident.updated_at,
        "last_detected_at": incident.last_detected_at,
        "ttl_expires_at": incident.ttl_expires_at,
        "expired": is_overdue(incident),
        "assigned_to": str(incident.assigned_to_id) if incident.assigned_to_id else None,
        "comment": incident.comment,
        "resolution_type": incident.resolution_type or None,
        "resolved_by": str(incident.resolved_by_id) if incident.resolved_by_id else None,
        "resolved_at": incident.resolved_at,
        "operation_id": str(incident.operation_id) if incident.operation_id else None,
        "upgrade_id": str(incident.upgrade_id) if incident.upgrade_id else None,
        "git_content_hash": mapping.git_content_hash,
        "env_content_hash": mapping.env_content_hash,
        "drift_snapshot": details,
    }


def history(incident: DriftIncident) -> list[dict[str, Any]]:
    """What happened to an incident, oldest first, from the trail: ``components/timeline.html``'s entries."""
    rows = list(
        AuditLog.objects.filter(resource_type="drift_incidents", resource_id=incident.pk)
        .only("id", "created_at", "actor_user_id", "impersonated_user_id", "action", "details", "source")
        .order_by("-id")[:HISTORY_SHOWN]
    )
    ids = {i for row in rows for i in (row.actor_user_id, row.impersonated_user_id) if i}
    people: dict[Any, str] = dict(User.objects.filter(pk__in=ids).values_list("pk", "email")) if ids else {}
    return [entry for row in reversed(rows) if (entry := _entry(row, people)) is not None]


def _entry(row: AuditLog, people: Mapping[Any, str]) -> dict[str, Any] | None:
    described = _described(row)
    if described is None:
        return None
    title, text, state = described
    actor, as_whom = people.get(row.actor_user_id, "The console"), people.get(row.impersonated_user_id, "")
    if _came_of_a_look(row):
        # Whoever had the console look has neither drifted nor mended anything.
        asked = f" that {actor} asked for" if row.actor_user_id in people else ""
        actor, as_whom, text = "The console", "", f"{text} By a look{asked}.".strip()
    return {
        "at": row.created_at,
        "actor": actor,
        "as_whom": as_whom,
        "title": title,
        "text": text,
        "state": state,
    }


def _came_of_a_look(row: AuditLog) -> bool:
    """Whether the console found it when it looked at the environment, and nobody decided it."""
    new: dict[str, Any] = row.details.get("new_value") or {}
    is_found = row.action.upper() in ("CREATE", "INSERT") or "drifted_hash" in new
    return is_found or (bool(new.get("resolution_type")) and not new.get("resolved_by_id"))


def _described(row: AuditLog) -> tuple[str, str, str] | None:
    """A line of the trail in words: title, text, state; None for bookkeeping."""
    new: dict[str, Any] = row.details.get("new_value") or {}
    if row.action.upper() in ("CREATE", "INSERT"):
        return "Found", f"Severity {new.get('severity', 'unknown')}.", "open"
    if state := new.get("incident_state"):
        return dict(IncidentState.choices).get(state, state), _closing_words(new), state
    if "drift_snapshot" in new:
        return _described_details(new)
    return _described_note(new)


def _closing_words(new: Mapping[str, Any]) -> str:
    resolution = str(new.get("resolution_type") or "").replace("_", " ")
    return " ".join(filter(None, (str(new.get("comment") or ""), f"({resolution})" if resolution else "")))


def _described_details(new: Mapping[str, Any]) -> tuple[str, str, str] | None:
    if "drifted_hash" in new:
        return "Changed again", f"Severity {new['severity']}." if "severity" in new else "", "differs"
    details = details_from(new["drift_snapshot"])
    if details.last_failure is not None:
        return "Could not be settled", details.last_failure.message or "", "failed"
    if details.kept is not None:
        return "Kept published", f"Called by {', '.join(details.kept.callers)}.", "acknowledged"
    return _described_note(new)


def _described_note(new: Mapping[str, Any]) -> tuple[str, str, str] | None:
    if "assigned_to_id" in new or "comment" in new:
        return "Noted", str(new.get("comment") or ""), "acknowledged"
    return None
