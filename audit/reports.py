"""Reports out of the trail. What changes access and what is a refusal, the apps declare."""

# ruff: noqa: S608 -- put together from constants; what a person enters is a parameter

from __future__ import annotations

from core.registry import registry
from core.reports import IN_PERIOD, Column, Report, listed, of_person, of_tenant


def _access_review() -> str:
    sources = sorted(registry.access_sources(), key=lambda source: source.position)
    grant_tables = [source.grant_table for source in sources if source.grant_table]
    every = " UNION ALL ".join(
        f"SELECT {source.position}, source.* FROM ({source.sql}) AS source" for source in sources
    )
    return f"""
    WITH given AS (
        SELECT DISTINCT ON (e.resource_type, e.object_pk)
               e.resource_type, e.object_pk, e.created_at, e.actor_user_id, e.source
          FROM audit_logs e
         WHERE e.resource_type IN ({listed(grant_tables)}) AND e.action = 'CREATE'
         ORDER BY e.resource_type, e.object_pk, e.created_at DESC, e.id DESC),
    every (position, access, user_id, tenant_id, role, grants, granted_at, granted_by_id, granted_how, last_used,
           expires_at, tie) AS ({every})
    SELECT u.email AS person_email, u.name AS person_name,
           CASE WHEN u.is_service THEN 'service account' ELSE 'person' END AS account, u.is_active AS active,
           EXISTS (SELECT FROM mfa_authenticator f WHERE f.user_id = u.id) AS second_factor, t.slug AS tenant,
           every.access, every.role, every.grants, every.granted_at, b.email AS granted_by, every.granted_how,
           u.last_login AS last_sign_in, every.last_used, every.expires_at
      FROM every
      JOIN users u ON u.id = every.user_id
      LEFT JOIN tenants t ON t.id = every.tenant_id
      LEFT JOIN users b ON b.id = every.granted_by_id
     WHERE (%(tenant)s::text = '' OR t.slug = %(tenant)s)
       AND (%(person)s::text = '' OR lower(u.email) = lower(%(person)s))
     ORDER BY u.email, t.slug NULLS FIRST, every.position, every.role, every.grants, every.tie
"""


ACCESS_REVIEW = Report(
    name="access-review",
    position=30,
    title="Access review",
    answers="Who may do what where today: roles, grants, tokens, platform roles; who gave it, when, and when it"
    " was last used.",
    has_period=False,
    note="In a tenant's review, people of the platform are left out: they stand in the platform's review.",
    columns=(
        Column("person_email", "Who"),
        Column("person_name", "Name"),
        Column("account", "Account"),
        Column("active", "Active", "boolean"),
        Column("second_factor", "Second factor", "boolean"),
        Column("tenant", "Tenant"),
        Column("access", "Kind of access"),
        Column("role", "Role or object"),
        Column("grants", "May"),
        Column("granted_at", "Given", "time"),
        Column("granted_by", "Given by"),
        Column("granted_how", "Given through"),
        Column("last_sign_in", "Last sign-in", "time"),
        Column("last_used", "Last used", "time"),
        Column("expires_at", "Expires", "time"),
    ),
    sql=_access_review,
)

_ABOUT = "coalesce(al.details->'new_value'->>'user_id', al.details->'previous_value'->>'user_id')::uuid"


def _changes_access() -> str:
    """The condition that an entry changes who gets in, or what guards the rest."""
    subjects = registry.subjects().values()
    whole = [subject.table for subject in subjects if subject.changes_access]
    columns = " ".join(
        f"OR (al.resource_type = '{subject.table}' AND (al.action IN ('CREATE', 'DELETE')"
        f" OR al.details->'new_value' ?| ARRAY[{listed(subject.access_columns)}]))"
        for subject in subjects
        if subject.access_columns
    )
    actions = [action.code for action in registry.trail_actions().values() if action.changes_access]
    return f"al.resource_type IN ({listed(whole)}) {columns} OR al.action IN ({listed(actions)})"


def _privileged_changes() -> str:
    return f"""
    SELECT al.created_at AS at, al.id AS entry_id, au.email AS actor_email, iu.email AS acting_as_email,
           t.slug AS tenant, al.action, al.resource_type AS object_kind,
           coalesce(p.codename, nullif(al.object_repr, ''), al.object_pk) AS object,
           coalesce(su.email, mu.email, ou.email) AS about,
           (al.details->'previous_value')::text AS before,
           coalesce(al.details->'new_value',
                    CASE WHEN al.action NOT IN ('CREATE', 'UPDATE', 'DELETE') THEN al.details END)::text AS after,
           al.source, host(al.ip_address) AS ip_address, al.session_id::text AS session_id, al.request_id,
           al.database_role
      FROM audit_logs al
      LEFT JOIN users au ON au.id = al.actor_user_id
      LEFT JOIN users iu ON iu.id = al.impersonated_user_id
      LEFT JOIN tenants t ON t.id = al.tenant_id
      LEFT JOIN users su ON su.id = {_ABOUT}
      LEFT JOIN memberships m ON al.resource_type = 'memberships' AND m.id = al.resource_id
      LEFT JOIN users mu ON mu.id = m.user_id
      LEFT JOIN users ou ON al.resource_type IN ('users', 'platform_admins') AND ou.id = al.resource_id
      LEFT JOIN auth_permission p
        ON p.id = (coalesce(al.details->'new_value', al.details->'previous_value')->>'permission_id')::integer
     WHERE {IN_PERIOD.format("al.created_at")}
       AND ({_changes_access()})
       AND {of_tenant("al.tenant_id")}
       AND {of_person("al.actor_user_id", "al.impersonated_user_id", _ABOUT, "m.user_id", "ou.id")}
     ORDER BY al.created_at, al.id
"""


PRIVILEGED_CHANGES = Report(
    name="privileged-changes",
    position=40,
    title="Privileged changes",
    answers="Every change of roles, grants, members, tokens, keys, policies and platform admins, with before and"
    " after.",
    columns=(
        Column("at", "When", "time"),
        Column("entry_id", "Entry", "integer"),
        Column("actor_email", "Who"),
        Column("acting_as_email", "As whom"),
        Column("tenant", "Tenant"),
        Column("action", "What"),
        Column("object_kind", "To what kind"),
        Column("object", "To what"),
        Column("about", "About whom"),
        Column("before", "Before"),
        Column("after", "After"),
        Column("source", "Through"),
        Column("ip_address", "Address"),
        Column("session_id", "Support session"),
        Column("request_id", "Request"),
        Column("database_role", "Database role"),
    ),
    sql=_privileged_changes,
)


def _refused_attempts() -> str:
    refusals = [action.code for action in registry.trail_actions().values() if action.is_refusal]
    return f"""
    SELECT al.created_at AS at, al.id AS entry_id, al.action, au.email AS actor_email, iu.email AS acting_as_email,
           t.slug AS tenant, coalesce(tu.email, al.details->>'target_email') AS target_email,
           al.details->>'code' AS code, al.details->>'reason' AS reason,
           nullif(concat_ws(' ', al.details->>'method', al.details->>'path'), '') AS path, al.source,
           host(al.ip_address) AS ip_address, al.session_id::text AS session_id, al.request_id
      FROM audit_logs al
      LEFT JOIN users au ON au.id = al.actor_user_id
      LEFT JOIN users iu ON iu.id = al.impersonated_user_id
      LEFT JOIN users tu ON al.resource_type = 'users' AND tu.id = al.resource_id
      LEFT JOIN tenants t ON t.id = al.tenant_id
     WHERE {IN_PERIOD.format("al.created_at")} AND al.action IN ({listed(refusals)})
       AND {of_tenant("al.tenant_id")}
       AND {of_person("al.actor_user_id", "al.impersonated_user_id", "tu.id")}
     ORDER BY al.created_at, al.id
"""


REFUSED_ATTEMPTS = Report(
    name="refused-attempts",
    position=50,
    title="Refused attempts",
    answers="What was tried and turned away: blocked and declined support sessions, refused requests inside them,"
    " failed sign-ins, tokens that were guessed.",
    note="Failed sign-ins belong to no tenant: they stand in the platform's report.",
    columns=(
        Column("at", "When", "time"),
        Column("entry_id", "Entry", "integer"),
        Column("action", "What"),
        Column("actor_email", "Who"),
        Column("acting_as_email", "As whom"),
        Column("tenant", "Tenant"),
        Column("target_email", "Aimed at"),
        Column("code", "Code"),
        Column("reason", "Why it was refused"),
        Column("path", "Address asked for"),
        Column("source", "Through"),
        Column("ip_address", "From"),
        Column("session_id", "Support session"),
        Column("request_id", "Request"),
    ),
    sql=_refused_attempts,
)

REPORTS = (ACCESS_REVIEW, PRIVILEGED_CHANGES, REFUSED_ATTEMPTS)
