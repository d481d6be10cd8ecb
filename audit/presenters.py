"""What the trail's pages show of a row."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.urls import NoReverseMatch, reverse

from tenants.models import Tenant, User

from .models import AuditLog
from .selectors import ACTIONS, BY_ITSELF, PEOPLE, RESOURCES, TrailFilter

#: Where a row's object has its page: table to (URL name, whether it takes the id).
PAGES: dict[str, tuple[str, bool]] = {
    "environments": ("environment", True),
    "promotions": ("promotion", True),
    "snapshots": ("snapshot", True),
    "drift_incidents": ("drift-incident", True),
    "background_jobs": ("job", True),
    "memberships": ("members", False),
    "tenant_grants": ("members", False),
    "api_tokens": ("tokens", False),
    "tenants": ("tenant-settings", False),
    "drift_policies": ("drift", False),
    "credential_mappings": ("credentials", False),
    "report_runs": ("report-run", True),
    "report_schedules": ("reports", False),
}
SINGULAR = {
    "environments": "environment",
    "promotions": "promotion",
    "snapshots": "snapshot",
    "drift_incidents": "drift incident",
    "background_jobs": "job",
    "canonical_workflows": "workflow",
    "workflow_env_map": "workflow in an environment",
    "credential_mappings": "credential stand-in",
    "starter_watches": "watched starter",
    "memberships": "member",
    "tenant_grants": "grant",
    "environment_grants": "grant on an environment",
    "api_tokens": "token",
    "tenants": "tenant",
    "users": "person",
    "platform_admins": "platform admin",
    "platform_impersonation_sessions": "support session",
    "report_runs": "report",
    "report_schedules": "report sent by itself",
    "mails": "mail",
    "requests": "page",
}
STATES = {
    "CREATE": "added",
    "UPDATE": "moved",
    "DELETE": "removed",
    "SIGN_IN_FAILED": "failed",
    "SECOND_FACTOR_FAILED": "failed",
    "IMPERSONATION_BLOCKED": "failed",
    "TRAIL_NOT_ANCHORED": "failed",
    "IMPERSONATION_DECLINED": "failed",
    "TOKEN_TRIES_REFUSED": "failed",
    "REFUSED": "failed",
    "READ": "info",
    "EFFECT_INTENDED": "open",
    "EFFECT_FAILED": "failed",
    "EFFECT_UNKNOWN": "unknown",
    "EFFECT_SKIPPED": "inactive",
}
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
    name, takes_id = PAGES.get(row.resource_type, ("", False))
    if not name or not slug or (takes_id and not row.resource_id) or row.action == "DELETE":
        return ""
    try:
        return reverse(name, kwargs={"tenant_slug": slug, **({"pk": row.resource_id} if takes_id else {})})
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
    shown = []
    for row in rows:
        tenant = (tenants or {}).get(row.tenant_id) if row.tenant_id else None
        own_slug = slug or (tenant.slug if tenant else "")
        shown.append(
            {
                "row": row,
                "actor": people.get(row.actor_user_id) if row.actor_user_id else None,
                "as_whom": people.get(row.impersonated_user_id) if row.impersonated_user_id else None,
                "action": ACTIONS.get(row.action, row.action.replace("_", " ").capitalize()),
                "state": STATES.get(row.action, "completed"),
                "kind": SINGULAR.get(row.resource_type, row.resource_type.replace("_", " ")),
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
    said = row.details
    what = " ".join(str(said[name]) for name in ("method", "path", "branch") if said.get(name))
    return ": ".join(part for part in (str(said.get("system", "")), what, str(said.get("code", ""))) if part)


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


RESOURCE_CHOICES = tuple(RESOURCES.items())
ACTION_CHOICES = tuple(ACTIONS.items())
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
_NAMES = {
    "by": {PEOPLE: "people, not the console itself"},
    "action": ACTIONS,
    "resource_type": RESOURCES,
    "source": SOURCES,
}


def in_words(wanted: TrailFilter) -> list[tuple[str, str]]:
    """What a filter asks for, as (what, value)."""
    asked = wanted.asked()
    return [
        (words, _NAMES.get(name, {}).get(asked[name], asked[name])) for name, words in _WORDS.items() if name in asked
    ]
