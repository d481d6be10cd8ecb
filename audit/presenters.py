"""What the trail's pages show of a row."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.urls import NoReverseMatch, reverse

from core.registry import TrailAction, registry
from tenants.models import Tenant, User

from .models import AuditLog
from .selectors import BY_ITSELF, N8N, PEOPLE, SUPPORT, TrailFilter

SOURCES = {
    "web": "console",
    "api": "API",
    "task": "job",
    "shell": "command line",
    "sql": "SQL by hand",
    "system": "the console itself",
}


def page_of(row: AuditLog, slug: str) -> str:
    """The page of what the row is about, or ''."""
    return "" if row.action == "DELETE" else page_of_subject(row.resource_type, row.resource_id, slug)


def page_of_subject(table: str, pk: object, slug: str) -> str:
    """The page of one row of a table, or ''."""
    subject = registry.subjects().get(table)
    if subject is None or not subject.url_name or not slug or (subject.url_takes_id and not pk):
        return ""
    try:
        return reverse(subject.url_name, kwargs={"tenant_slug": slug, **({"pk": pk} if subject.url_takes_id else {})})
    except NoReverseMatch:
        return ""


def object_name(row: AuditLog, people: Mapping[uuid.UUID, User]) -> str:
    """What the object is called, as far as the row says."""
    if row.resource_type == "users" and row.resource_id is not None and row.resource_id in people:
        return people[row.resource_id].email
    return row.object_repr[:80]


def present(
    rows: list[AuditLog],
    *,
    people: Mapping[uuid.UUID, User],
    tenants: Mapping[uuid.UUID, Tenant] | None = None,
    slug: str = "",
) -> list[dict[str, Any]]:
    """Rows for the table and the detail page."""
    shown, actions = [], registry.trail_actions()
    for row in rows:
        action = actions.get(row.action) or TrailAction(
            code=row.action, words=row.action.replace("_", " ").capitalize()
        )
        tenant = (tenants or {}).get(row.tenant_id) if row.tenant_id else None
        own_slug = slug or (tenant.slug if tenant else "")
        shown.append(
            {
                "row": row,
                "actor": people.get(row.actor_user_id) if row.actor_user_id else None,
                "as_whom": people.get(row.impersonated_user_id) if row.impersonated_user_id else None,
                "action": action.words,
                "state": action.state,
                "kind": registry.noun(row.resource_type),
                "name": object_name(row, people),
                "source": SOURCES.get(row.source, row.source),
                "is_console": row.source in BY_ITSELF,
                "database_role": row.database_role if row.source == "sql" else "",
                "tenant": tenant,
                "url": page_of(row, own_slug),
                "slug": own_slug,
                "changed": changed_columns(row),
                "call": call_of(row),
            }
        )
    return shown


def changed_columns(row: AuditLog) -> list[str]:
    """Of an update, the columns that changed."""
    after = row.details.get("new_value")
    return sorted(set(after) - {"updated_at"}) if row.action == "UPDATE" and isinstance(after, dict) else []


def call_of(row: AuditLog) -> str:
    """Of an effect outside, what was asked of whom; of a request in a support session, which page."""
    if not row.action.startswith("EFFECT_") and row.resource_type != "requests":
        return ""
    details = row.details
    what = " ".join(str(details[name]) for name in ("method", "path", "branch") if details.get(name))
    return ": ".join(part for part in (str(details.get("system", "")), what, str(details.get("code", ""))) if part)


def sides(row: AuditLog) -> list[dict[str, Any]]:
    """Before and after by column, for the detail page."""
    before, after = row.details.get("previous_value") or {}, row.details.get("new_value") or {}
    if not isinstance(before, dict) or not isinstance(after, dict):
        return []
    return [
        {
            "column": column,
            "before": before.get(column),
            "after": after.get(column),
            "had": column in before,
            "has": column in after,
            "differs": before.get(column) != after.get(column),
        }
        for column in sorted(set(before) | set(after))
    ]


def facts(row: AuditLog) -> dict[str, Any]:
    """What an event says besides before and after."""
    return {k: v for k, v in row.details.items() if k not in ("previous_value", "new_value")}


def resource_choices() -> list[tuple[str, str]]:
    """The kinds of objects that the filter offers, in the words of the page."""
    return [(table, subject.title) for table, subject in registry.subjects().items() if subject.title]


def action_choices() -> list[tuple[str, str]]:
    return [(code, action.words) for code, action in registry.trail_actions().items()]


#: Kinds of entries that have a tab of their own.
BY = {PEOPLE: "What people did", SUPPORT: "Support sessions", N8N: "Written to n8n"}
SOURCE_CHOICES = tuple(SOURCES.items())
#: The fields of a filter in the words of the page, as they are told.
_WORDS = {
    "person": "by or as",
    "acted_as": "in the place of",
    "tenant": "tenant",
    "action": "done",
    "resource_type": "to",
    "resource_id": "object",
    "source": "through",
    "operation": "job",
    "session": "support session",
    "request": "request",
    "since": "from",
    "until": "to and with",
    "by": "by whom",
}


def in_words(wanted: TrailFilter) -> list[tuple[str, str]]:
    """What a filter asks for, as (what, value)."""
    asked = wanted.asked()
    names = {
        "by": {PEOPLE: "people, not the console itself", SUPPORT: "support", N8N: "writes to n8n"},
        "action": dict(action_choices()),
        "resource_type": dict(resource_choices()),
        "source": SOURCES,
    }
    return [
        (words, names.get(name, {}).get(asked[name], asked[name])) for name, words in _WORDS.items() if name in asked
    ]
