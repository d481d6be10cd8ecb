"""Reads of the trail. The scope decides whose rows are seen: a tenant's, or all of them for the platform's."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_date, parse_datetime

from core.errors import Invalid
from core.paging import Page, decode, encode, of_another_list
from core.registry import registry
from tenants.models import Tenant, User

from .models import AuditLog

PEOPLE = "people"
N8N = "n8n"
SUPPORT = "support"
#: The doors that nobody stands behind.
BY_ITSELF = ("task", "system")
#: How effects outside begin and end.
EFFECTS = ("EFFECT_INTENDED", "EFFECT_DONE", "EFFECT_FAILED", "EFFECT_UNKNOWN", "EFFECT_SKIPPED")
#: What the console writes about its own work: leases, heartbeats, when a schedule runs next.
BOOKKEEPING = ("background_jobs", "operation_steps", "schedules")


@dataclass(frozen=True, slots=True)
class TrailFilter:
    """What to look for; empty means anything. Times are ISO dates or moments, ``until`` a date includes its day.

    A person is an id, an address or a part of a name; a tenant likewise an id, a short name or a part of its name.
    """

    person: str = ""
    acted_as: str = ""
    action: str = ""
    resource_type: str = ""
    resource_id: str = ""
    source: str = ""
    operation: str = ""
    session: str = ""
    request: str = ""
    since: str = ""
    until: str = ""
    tenant: str = ""
    #: ``people``: what somebody did or had done, without the console's own work and bookkeeping; ``support``: what was
    #: done in support sessions; ``n8n``: what was written to n8n.
    by: str = ""

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> TrailFilter:
        """From an address's parameters; unknown ones are left alone. A form sends the time of a day beside it."""
        values = {f.name: str(query.get(f.name, "")).strip()[:200] for f in fields(cls)}
        for name in ("since", "until"):
            at = str(query.get(f"{name}_at", "")).strip()[:20]
            if at and values[name]:
                values[name] = f"{values[name]}T{at}"
        values["by"] = values["by"] if values["by"] in _BY else ""
        return cls(**values)

    def asked(self) -> dict[str, str]:
        """What is asked for, without what may be anything."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name))}

    def query(self) -> str:
        """The same as an address's query."""
        return urlencode(self.asked())

    def is_empty(self) -> bool:
        return not self.asked()

    def is_narrow(self) -> bool:
        """Whether something is asked for that the page keeps under “More”."""
        at = any("T" in moment for moment in (self.since, self.until))
        return at or any((self.resource_id, self.session, self.request, self.operation, self.source))


def _uuid(value: str, name: str) -> uuid.UUID:
    try:
        return uuid.UUID(value)
    except ValueError as error:
        raise Invalid(f"`{name}` must be an id (UUID).", details={name: value}) from error


def _moment(value: str, name: str, *, end: bool) -> datetime:
    try:
        day = parse_date(value)
        moment = parse_datetime(value) if day is None else datetime.combine(day, time.min)
        if moment is None:
            raise ValueError(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment + timedelta(days=1) if end and day is not None else moment
    except (ValueError, OverflowError) as error:
        raise Invalid(f"`{name}` must be a date or a time in ISO form.", details={name: value}) from error


def _person_ids(text: str) -> list[uuid.UUID]:
    """Ids of the people whom an id, an address or a part of a name means (at most 50)."""
    try:
        return [uuid.UUID(text)]
    except ValueError:
        found = User.objects.filter(Q(email__icontains=text) | Q(name__icontains=text))
        # Somebody who is not there is looked for like everybody else: how long it takes tells nothing.
        return list(found.values_list("pk", flat=True)[:50]) or [uuid.UUID(int=0)]


def _tenant_ids(text: str) -> list[uuid.UUID]:
    """Ids of the tenants whom an id, a short name or a part of a name means (at most 50)."""
    try:
        return [uuid.UUID(text)]
    except ValueError:
        exact = list(Tenant.objects.filter(slug=text.lower()).values_list("pk", flat=True))
        return exact or list(Tenant.objects.filter(name__icontains=text).values_list("pk", flat=True)[:50])


def _involving(text: str) -> Q:
    ids = _person_ids(text)
    return Q(actor_user_id__in=ids) | Q(impersonated_user_id__in=ids)


def _action(text: str) -> Q:
    return Q(action=text if text in registry.trail_actions() else text.upper())


def _by_people() -> Q:
    by_itself = Q(source__in=BY_ITSELF)
    return ~(by_itself & Q(actor_user_id__isnull=True)) & ~(
        by_itself & Q(resource_type__in=BOOKKEEPING, action="UPDATE")
    )


#: Kinds of entries that people look through as a whole.
_BY: Mapping[str, Callable[[], Q]] = {
    PEOPLE: _by_people,
    SUPPORT: lambda: Q(session_id__isnull=False),
    N8N: lambda: Q(action__in=EFFECTS, details__system="n8n"),
}
#: What each field of a ``TrailFilter`` asks of a row.
_CONDITIONS: Mapping[str, Callable[[str], Q]] = {
    "person": _involving,
    "acted_as": lambda text: Q(impersonated_user_id__in=_person_ids(text)),
    "tenant": lambda text: Q(tenant_id__in=_tenant_ids(text)),
    "action": _action,
    "resource_type": lambda text: Q(resource_type=text),
    "resource_id": lambda text: Q(resource_id=_uuid(text, "resource_id")),
    "source": lambda text: Q(source=text),
    "operation": lambda text: Q(operation_id=_uuid(text, "operation")),
    "session": lambda text: Q(session_id=_uuid(text, "session")),
    "request": lambda text: Q(request_id=text),
    "by": lambda text: _BY[text](),
    "since": lambda text: Q(created_at__gte=_moment(text, "since", end=False)),
    "until": lambda text: Q(created_at__lt=_moment(text, "until", end=True)),
}


def filtered(wanted: TrailFilter) -> QuerySet[AuditLog]:
    """Rows that match; raises ``Invalid`` for a filter that cannot be read."""
    rows = AuditLog.objects.all()
    for name, text in wanted.asked().items():
        rows = rows.filter(_CONDITIONS[name](text))
    return rows


def list_trail(wanted: TrailFilter, *, cursor: str = "", limit: int = 50) -> Page:
    """The trail, newest first."""
    return newest_first(filtered(wanted), cursor=cursor, limit=limit)


def exports(limit: int = 10) -> list[AuditLog]:
    """The last exports of the scope's trail, newest first; ``details`` is the manifest of each."""
    return newest_first(AuditLog.objects.filter(action="TRAIL_EXPORTED"), limit=limit).rows


def newest_first(rows: QuerySet[AuditLog], *, cursor: str = "", limit: int = 50) -> Page:
    """A page by (time, id): every index of the trail ends in these, and months before and after are not touched."""
    if cursor:
        moment, last_id = decode(cursor, 2)
        with of_another_list():
            when, pk = datetime.fromisoformat(str(moment)), int(last_id)
        # As one range with a remainder; an OR of both would be read from the newest entry on.
        rows = rows.filter(created_at__lte=when).filter(Q(created_at__lt=when) | Q(pk__lt=pk))
    found = list(rows.order_by("-created_at", "-pk")[: limit + 1])
    last = found[limit - 1] if len(found) > limit else None
    return Page(found[:limit], encode([last.created_at.isoformat(), last.pk]) if last else "")


def entries_of_session(session_id: uuid.UUID, *, cursor: str = "", limit: int = 50) -> Page:
    """Everything on record of a support session, newest first. In a scope that sees its tenant.

    ``Page.rows`` are ``AuditLog``: writes (CREATE, UPDATE, DELETE with ``details['previous_value']`` and
    ``['new_value']``) and events (reads, refusals, effects outside); ``Page.next_cursor`` leads on.
    """
    return newest_first(AuditLog.objects.filter(session_id=session_id), cursor=cursor, limit=limit)


def people_of(rows: Iterable[AuditLog]) -> dict[uuid.UUID, User]:
    """The people named in the rows, in one query."""
    ids = {i for row in rows for i in (row.actor_user_id, row.impersonated_user_id) if i}
    ids |= {row.resource_id for row in rows if row.resource_type == "users" and row.resource_id}
    return User.objects.only("id", "name", "email").in_bulk(ids) if ids else {}


def tenants_named(rows: Iterable[AuditLog]) -> dict[uuid.UUID, Tenant]:
    """The tenants named in the rows, in one query. Platform scope."""
    ids = {row.tenant_id for row in rows if row.tenant_id}
    return Tenant.objects.only("id", "name", "slug").in_bulk(ids) if ids else {}


def audit_row(row: AuditLog, people: Mapping[uuid.UUID, User]) -> dict[str, Any]:
    """JSON-able facts for the API."""

    def email(user_id: uuid.UUID | None) -> str | None:
        person = people.get(user_id) if user_id else None
        return person.email if person else None

    return {
        "id": row.pk,
        "tenant_id": row.tenant_id,
        "created_at": row.created_at,
        "action": row.action,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "actor_user_id": row.actor_user_id,
        "actor_email": email(row.actor_user_id),
        "impersonated_user_id": row.impersonated_user_id,
        "impersonated_email": email(row.impersonated_user_id),
        "session_id": row.session_id,
        "operation_id": row.operation_id,
        "request_id": row.request_id,
        "source": row.source,
        "ip_address": row.ip_address,
        "details": row.details,
    }
